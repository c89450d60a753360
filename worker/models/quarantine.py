"""Corrupt files, set aside with the reason beside them, so that they are fetched again."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from worker.models.names import short_hash
from worker.models.presence import is_broken
from worker.models.verify import complaint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.models.inventory import Inventory
    from worker.models.local import LocalModel
    from worker.settings import ModelKind

FETCHED, OWN = ".corrupt", ".set-aside"
"""How files that can be fetched again end there, and those that people put on the volume."""
_LONGEST = 180


class Quarantine:
    """The quarantine of one volume; emptied by `python -m worker models gc`, of what was fetched also to make room."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def put(self, model: LocalModel, reason: str) -> Path | None:
        """Set a corrupt file aside; None when it is not there any more. Raises OSError: the volume can't be written."""
        return self.put_file(model.kind, model.key.partition("/")[2], reason)

    def put_corrupt(self, models: Iterable[LocalModel]) -> list[LocalModel]:
        """Set aside those of `models` that are corrupt and can be fetched again; return them. Reads whole files.

        For when the WebUI could not load a model. Raises OSError, VolumeUnavailable.
        """
        corrupt = []
        for model in models:
            try:
                wrong = self._complaint(model) if model.source is not None else None
            except OSError as error:
                if is_broken(error) or self._inventory.presence.lost(model.kind) is not None:
                    raise self._inventory.presence.unavailable(model.kind, error.strerror or "unreadable") from None
                raise
            if wrong is not None and self.put(model, wrong) is not None:
                corrupt.append(model)
        return corrupt

    def _complaint(self, model: LocalModel) -> str | None:
        return complaint(model.path, sha256=self._inventory.written_hash(model.key))

    def put_file(self, kind: ModelKind, file: str, reason: str) -> Path | None:
        """Like `put`, of the file of that name in the folder of `kind`."""
        volume = self._inventory.volume
        folder = volume.quarantine(kind)
        folder.mkdir(parents=True, exist_ok=True)
        path = volume.path(kind, file)
        entry = self._inventory.entries().get(f"{kind}/{file}")
        name = path.name if len(os.fsencode(path.name)) <= _LONGEST else f"{short_hash(path.name)}{path.suffix}"
        ending = FETCHED if entry is not None and entry.source is not None else OWN
        target = folder / f"{time.time_ns()}-{name}{ending}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # a full disk
            target.with_name(f"{target.name}.txt").write_text(f"{reason[:1000]}\n")
        if entry is None or not entry.pinned:  # the pin is for what comes in its place
            self._inventory.forget(f"{kind}/{file}")
        return target
