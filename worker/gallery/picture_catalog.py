"""Everything that the page shows of the pictures: files, facts and decisions, with a version that counts changes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from worker.gallery.decisions import UNDECIDED, Change, Journal, PictureDecision, match, write_line
from worker.gallery.duplicates import near_duplicates
from worker.gallery.facts import PictureFacts, read_facts
from worker.gallery.picture_reading import UnreadablePicture, look_hash, read_notes
from worker.gallery.store.picture_store import PictureFile, PictureGone, PictureStore, facts_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.gallery.thumbnails import Thumbnails

HEAD_BYTES = 256 * 1024
"""Of a PNG or JPEG, in which its notes are."""

_WHOLE_FILE = (".webp", ".avif")
_LARGEST_FACTS = 1024 * 1024


@dataclass(slots=True)
class PictureEntry:
    """A picture and what is known of it.

    Attributes:
        file: As listed.
        version: The catalog's when it was last changed.
        facts: None until they are read.
        fingerprint: Of the content; None until it was needed.
        decision: A person's.
        is_gone: Whether the picture is not there any more.
    """

    file: PictureFile
    version: int
    facts: PictureFacts | None = None
    fingerprint: str | None = None
    decision: PictureDecision = UNDECIDED
    is_gone: bool = False


class PictureCatalog:
    """The pictures of a store. Thread-safe; the store is read outside the lock.

    Args:
        store: Where the pictures lie.
        thumbnails: Of the same store.
        now: The time of a decision.
    """

    def __init__(
        self,
        store: PictureStore,
        thumbnails: Thumbnails,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._store = store
        self._thumbnails = thumbnails
        self._now = now
        self._lock = threading.RLock()
        self._scanning = threading.Lock()
        self._deciding = threading.Lock()
        self._entries: dict[str, PictureEntry] = {}
        self._version = 0
        self._journal = Journal()
        self._journal_text = ""
        self._hashes: dict[str, tuple[str, int | None]] = {}

    @property
    def size(self) -> int:
        """Number of pictures."""
        with self._lock:
            return sum(not entry.is_gone for entry in self._entries.values())

    def scan(self) -> None:
        """Compare with the store: new, changed and vanished pictures, decisions of other programs.

        Raises:
            StoreUnavailable: it can't be read.
        """
        with self._scanning, self._deciding:
            files = list(self._store.files())
            text = self._store.journal()
            with self._lock:
                self._take_files(files)
            if text.startswith(self._journal_text):
                self._journal.add(text[len(self._journal_text) :])
            else:
                self._journal = Journal()
                self._journal.add(text)
            self._journal_text = text if text.endswith("\n") else text[: text.rfind("\n") + 1]
            found = match(self._journal, files, self._fingerprint, _is_unchanged)
            with self._lock:
                for entry in self._entries.values():
                    fingerprint = found.get(entry.file.name)
                    decision = self._journal.decisions[fingerprint] if fingerprint else UNDECIDED
                    if entry.decision != decision:
                        entry.decision = decision
                        self._touch(entry)

    def _take_files(self, files: Sequence[PictureFile]) -> None:
        there = set()
        for file in files:
            there.add(file.id)
            entry = self._entries.get(file.id)
            if entry is None or entry.is_gone or entry.file.revision != file.revision:
                self._entries[file.id] = entry = PictureEntry(file, 0)
                self._touch(entry)
        for one, entry in self._entries.items():
            if one not in there and not entry.is_gone:
                entry.is_gone = True
                self._touch(entry)

    def _touch(self, entry: PictureEntry) -> None:
        self._version += 1
        entry.version = self._version

    def _fingerprint(self, file: PictureFile) -> str | None:
        with self._lock:
            entry = self._entries.get(file.id)
            if entry is not None and entry.fingerprint is not None:
                return entry.fingerprint
        try:
            fingerprint = self._store.fingerprint(file)
        except PictureGone:
            return None
        if entry is not None:
            entry.fingerprint = fingerprint
        return fingerprint

    def read_missing_facts(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Read the facts of every picture whose facts are not known yet."""
        with self._lock:
            waiting = [entry for entry in self._entries.values() if entry.facts is None and not entry.is_gone]
        for entry in waiting:
            if is_stopped():
                return
            facts = self._facts(entry.file)
            with self._lock:
                entry.facts = facts
                self._touch(entry)

    def _facts(self, file: PictureFile) -> PictureFacts:
        document = None
        for name in facts_names(file.name):
            try:
                document = self._store.read(name, most=_LARGEST_FACTS)
                break
            except PictureGone:
                continue
        whole = PurePosixPath(file.name).suffix.lower() in _WHOLE_FILE
        try:
            infotext, size = read_notes(self._store.read(file.name, most=None if whole else HEAD_BYTES))
        except PictureGone:
            infotext, size = None, (0, 0)
        return read_facts(file.name, document, infotext, size)

    def entry(self, one: str) -> PictureEntry:
        """Return the picture with this id. Raises PictureGone."""
        with self._lock:
            entry = self._entries.get(one)
        if entry is None or entry.is_gone:
            raise PictureGone(one)
        return entry

    def facts(self, one: str) -> PictureFacts:
        """Return the facts of a picture, read now where they were not yet. Raises PictureGone."""
        entry = self.entry(one)
        if entry.facts is None:
            facts = self._facts(entry.file)
            with self._lock:
                entry.facts = facts
                self._touch(entry)
        return entry.facts

    def entries(self) -> list[PictureEntry]:
        """Return every picture that is there."""
        with self._lock:
            return [entry for entry in self._entries.values() if not entry.is_gone]

    def changes(self, since: int) -> dict[str, Any]:
        """Return the pictures that changed after version `since`, and the version now.

        Prompts are listed once each; a picture has its prompt's place in that list.
        """
        prompts: dict[str, int] = {}
        with self._lock:
            changed = [entry for entry in self._entries.values() if entry.version > since]
            told = [_told(entry, prompts) for entry in changed]
            return {"version": self._version, "pictures": told, "prompts": list(prompts)}

    def decide(self, changes: Sequence[tuple[str, Change]]) -> list[str]:
        """Write changes of decisions; return the ids of pictures that are not there any more.

        Raises:
            StoreUnavailable: nothing was written, and the decisions are as before.
        """
        missing: list[str] = []
        lines: list[str] = []
        made: list[tuple[PictureEntry, Mapping[str, Any]]] = []
        with self._deciding:
            for one, change in changes:
                try:
                    entry = self.entry(one)
                except PictureGone:
                    missing.append(one)
                    continue
                fingerprint = self._fingerprint(entry.file)
                if fingerprint is None:
                    missing.append(one)
                    continue
                wanted = change.to_json()
                lines.append(write_line(entry.file, fingerprint, wanted, self._now()))
                made.append((entry, wanted))
            if lines:
                self._store.append_journal(lines)
            with self._lock:
                for entry, change_made in made:
                    entry.decision = entry.decision.changed(change_made)
                    self._touch(entry)
        return missing

    def duplicates(self, is_stopped: Callable[[], bool] = lambda: False) -> list[list[str]]:
        """Return groups of ids of pictures that look alike; makes every thumbnail that is missing."""
        hashes = {}
        for entry in self.entries():
            if is_stopped():
                break
            value = self._hash(entry.file)
            if value is not None:
                hashes[entry.file.id] = value
        return near_duplicates(hashes)

    def _hash(self, file: PictureFile) -> int | None:
        revision, value = self._hashes.get(file.id, ("", None))
        if revision == file.revision:
            return value
        try:
            value = look_hash(self._thumbnails.get(file))
        except (PictureGone, UnreadablePicture):
            value = None
        self._hashes[file.id] = (file.revision, value)
        return value


def _is_unchanged(file: PictureFile, told: str) -> bool:
    """Return whether a file in a folder is older than the decision on it; a bucket's ETag is compared instead."""
    try:
        decided = datetime.fromisoformat(told.replace("Z", "+00:00"))
    except ValueError:
        return False
    return not file.etag and file.modified < decided.timestamp()


def _told(entry: PictureEntry, prompts: dict[str, int]) -> dict[str, Any]:
    file, facts = entry.file, entry.facts
    told: dict[str, Any] = {"id": file.id}
    if entry.is_gone:
        return {**told, "gone": True}
    told["name"] = file.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    told["revision"] = file.revision
    told["modified"] = file.modified
    if decision := entry.decision.to_json():
        told["decision"] = decision
    if facts is None:
        return told
    known = {
        "seed": None if facts.seed is None else str(facts.seed),  # JavaScript's numbers end at 2⁵³
        "checkpoint": facts.checkpoint,
        "loras": facts.loras,
        "width": facts.width,
        "height": facts.height,
        "stage": facts.stage,
        "job": facts.job,
        "source": facts.source,
        "scores": facts.scores,
    }
    told["facts"] = {name: value for name, value in known.items() if value}
    told["facts"]["prompt"] = prompts.setdefault(facts.prompt, len(prompts))
    return told
