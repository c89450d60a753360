"""Decisions of the gallery on the pictures of a batch's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.gallery.decisions import PictureDecision, match, read_journal
from worker.gallery.store.folder import Folder
from worker.gallery.store.picture_store import PictureGone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.gallery.store.picture_store import PictureFile

PICK, REJECT = "pick", "reject"


def decisions_in(folder: Path) -> dict[str, PictureDecision]:
    """Return the decisions on the pictures of a folder, by their paths below it.

    Raises:
        StoreUnavailable: the folder can't be read.
    """
    store = Folder(folder)
    journal = read_journal(store.journal())
    files = list(store.files())

    def fingerprint(file: PictureFile) -> str | None:
        try:
            return store.fingerprint(file)
        except PictureGone:
            return None

    found = match(journal, files, fingerprint, lambda _file, _time: False)
    return {name: journal.decisions[one] for name, one in found.items()}


def chosen(candidates: Sequence[str], decisions: Mapping[str, PictureDecision]) -> list[str]:
    """Return the candidates that are to be finished: those picked, or, where none is, all that are not rejected."""
    flags = {name: decisions[name].flag if name in decisions else "" for name in candidates}
    if any(decision.flag == PICK for name, decision in decisions.items() if name.startswith("stage1/")):
        return [name for name in candidates if flags[name] == PICK]
    return [name for name in candidates if flags[name] != REJECT]
