"""Decisions on pictures and their journal: one JSON object a line, the last one counts. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from worker.gallery.store.picture_store import PictureFile

VERSION = 1
LONGEST_NOTE = 500


class Change(BaseModel):
    """A change of a picture's decision; fields that are not set stay as they are."""

    model_config = ConfigDict(extra="forbid", strict=True)

    flag: Literal["none", "pick", "reject"] | None = None
    stars: int | None = Field(None, ge=0, le=5)
    label: int | None = Field(None, ge=0, le=4)
    note: str | None = Field(None, max_length=LONGEST_NOTE)
    reviewed: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class PictureDecision:
    """A person's opinion of a picture.

    Attributes:
        flag: Kept (`pick`), rejected, or undecided (`none`).
        stars: 0 to 5, independent of the flag.
        label: Colour 1 to 4; 0: none.
        note: Free text.
        reviewed: Whether it was looked at in full or marked.
    """

    flag: str = "none"
    stars: int = 0
    label: int = 0
    note: str = ""
    reviewed: bool = False

    def changed(self, change: Mapping[str, Any]) -> PictureDecision:
        """Return the decision after a change."""
        return replace(self, **change)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that differ from an undecided picture's."""
        return {name: value for name, value in asdict(self).items() if value != getattr(UNDECIDED, name)}


UNDECIDED = PictureDecision()


class _Line(BaseModel):
    v: Literal[1]
    t: str
    size: int
    fingerprint: str
    set: Change


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the journal, about one picture.

    Attributes:
        name: The picture's at that time.
        size: Of the file, in bytes.
        fingerprint: Of its content.
        time: Of the decision, ISO 8601.
        number: Of the line, from 1.
    """

    name: str
    size: int
    fingerprint: str
    time: str
    number: int


@dataclass(slots=True)
class Journal:
    """All decisions by the content they were made on.

    Attributes:
        decisions: Fingerprint → decision.
        by_name: Name → the last line with that name.
        by_content: Fingerprint → the last line with that fingerprint.
    """

    decisions: dict[str, PictureDecision] = field(default_factory=dict)
    by_name: dict[str, Line] = field(default_factory=dict)
    by_content: dict[str, Line] = field(default_factory=dict)
    _read: int = 0

    def add(self, text: str) -> None:
        """Read further lines. Those that can't be read, such as the half of one, are passed over."""
        for raw in text.splitlines():
            self._read += 1
            try:
                told = json.loads(raw)
                name = str(told.pop("name"))  # pydantic takes no name that is not valid UTF-8
                read = _Line.model_validate(told)
            except (ValidationError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
                continue
            line = Line(name, read.size, read.fingerprint, read.t, self._read)
            before = self.decisions.get(line.fingerprint, UNDECIDED)
            self.decisions[line.fingerprint] = before.changed(read.set.to_json())
            self.by_name[name] = self.by_content[line.fingerprint] = line


def write_line(file: PictureFile, fingerprint: str, change: Mapping[str, Any], now: datetime) -> str:
    """Return the journal's line for a change of `file`, without a line break."""
    return _written(file.name, file.size, fingerprint, now.isoformat(timespec="milliseconds"), change)


def _written(name: str, size: int, fingerprint: str, time: str, change: Mapping[str, Any]) -> str:
    line = {"v": VERSION, "t": time, "name": name, "size": size, "fingerprint": fingerprint, "set": dict(change)}
    return json.dumps(line)  # ASCII: names that are not valid UTF-8 come back as they were


def read_journal(text: str) -> Journal:
    """Return what a journal says."""
    journal = Journal()
    journal.add(text)
    return journal


def compacted(journal: Journal) -> list[str]:
    """Return the fewest lines that say the same as `journal`."""
    lines = {line.number: line for line in (*journal.by_name.values(), *journal.by_content.values())}
    return [
        _written(line.name, line.size, line.fingerprint, line.time, asdict(journal.decisions[line.fingerprint]))
        for _, line in sorted(lines.items())
    ]


def match(
    journal: Journal,
    files: Sequence[PictureFile],
    fingerprint: Callable[[PictureFile], str | None],
    is_unchanged: Callable[[PictureFile, str], bool],
) -> dict[str, str]:
    """Return the fingerprint in the journal that belongs to each picture, by its name.

    A picture is known by its name, size and age. Decisions whose picture is not where it was are looked for among the
    pictures of the same size, which are then read.

    Args:
        journal: The decisions.
        files: The pictures that are there.
        fingerprint: Returns the fingerprint of a file's content, None where it can't be read.
        is_unchanged: Whether a file has not been written since the time in a decision.
    """
    found: dict[str, str] = {}
    for file in files:
        line = journal.by_name.get(file.name)
        if line is None or line.size != file.size:
            continue
        if is_unchanged(file, line.time) or fingerprint(file) == line.fingerprint:
            found[file.name] = line.fingerprint
    lost = set(journal.decisions) - set(found.values())
    sizes = {journal.by_content[one].size for one in lost}
    for file in files:
        if file.name not in found and file.size in sizes:
            known = fingerprint(file) or ""
            if known in lost:
                found[file.name] = known
    return found
