"""Names of pictures in a store. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from string import Formatter
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 100
_FINGERPRINT = 8
_LONGEST_NAME = _LONGEST + 1 + _FINGERPRINT


def safe(text: str) -> str:
    """Return `text` as one segment of a key: letters, digits, `.`, `_`, `-`, at most 100 of them, no leading dot.

    A text that had to be changed gets a fingerprint of the original, so that two of them never meet.
    """
    plain = _UNSAFE.sub("-", text).strip(".-")[:_LONGEST]
    if plain and plain == text:
        return plain
    fingerprint = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_FINGERPRINT]
    return f"{plain or 'x'}-{fingerprint}"


def safe_prefix(prefix: str) -> str:
    """Return `prefix` with each of its segments made safe, without slashes at its ends."""
    return "/".join(safe(part) for part in prefix.split("/") if part.strip())


@dataclass(frozen=True, slots=True)
class KeyFields:
    """Values for the placeholders of a key.

    Attributes:
        job: The job's id.
        number: The picture's place in the job, from 0.
        seed: Its own.
        stage: The kind of job, or the stage of a workflow, that made it.
        checkpoint: The checkpoint that made it; empty: none did.
        started: The beginning of the job.
    """

    job: str
    number: int
    seed: int
    stage: str = ""
    checkpoint: str = ""
    started: datetime = datetime(1970, 1, 1, tzinfo=timezone.utc)


class BadTemplate(ValueError):
    """A template of keys can't be used; the message says why."""


_PLACEHOLDERS = ("job", "n", "seed", "stage", "date", "time", "checkpoint")
_NEEDED = frozenset({"job", "n"})
_DIGITS = frozenset({"n", "seed", "date", "time"})
_LITERAL = re.compile(r"[A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """Names of pictures below a prefix: ``{job}/{n}-{seed}``, without their ending.

    Raises:
        BadTemplate: an unknown placeholder, an unsafe character, or two pictures could get the same name.
    """

    text: str = "{job}/{n}-{seed}"

    def __post_init__(self) -> None:
        try:
            parts = list(Formatter().parse(self.text))
        except ValueError as error:
            raise BadTemplate(f"can't be read: {error}") from None
        for literal, name, form, conversion in parts:
            if not _LITERAL.fullmatch(literal):
                raise BadTemplate(f"may have letters, digits and ._-/ beside its placeholders, not {literal!r}")
            if name is not None and (name not in _PLACEHOLDERS or form or conversion):
                known = " ".join(f"{{{each}}}" for each in _PLACEHOLDERS)
                raise BadTemplate(f"has the unknown placeholder {{{name}}}; there are {known}")
        missing = _NEEDED - {name for _, name, _, _ in parts if name is not None}
        if missing:
            names = " and ".join(f"{{{name}}}" for name in sorted(missing))
            raise BadTemplate(f"needs {names}: without, pictures would overwrite each other")
        if any(not segment.strip(".") for segment in self.text.split("/")):
            raise BadTemplate("has an empty part between slashes")

    def key(self, prefix: str, fields: KeyFields, extension: str) -> str:
        """Return the key of a picture below `prefix`."""
        started = fields.started.astimezone(timezone.utc)
        name = self.text.format(
            job=safe(fields.job),
            n=fields.number,
            seed=fields.seed,
            stage=_plain(fields.stage),
            date=started.strftime("%Y%m%d"),
            time=started.strftime("%H%M%S"),
            checkpoint=_plain(fields.checkpoint),
        )
        return "/".join(part for part in (safe_prefix(prefix), f"{name}.{extension}") if part)

    def jobs(self, prefix: str, key: str) -> tuple[str, ...]:
        """Return the jobs whose pictures may have this key, the likeliest first: names side by side leave a choice."""
        begin = safe_prefix(prefix)
        own = key.removeprefix(f"{begin}/") if begin else key
        found: list[str] = []
        for several in (f"{{1,{_LONGEST_NAME}}}?", f"{{1,{_LONGEST_NAME}}}"):
            pattern = "".join(self._patterns(several))
            match = re.fullmatch(rf"{pattern}\.[A-Za-z0-9]+", own)
            found += [match["job"]] if match is not None else []
        return tuple(dict.fromkeys(found))

    def _patterns(self, several: str) -> Iterator[str]:
        seen = set[str]()
        for literal, name, _, _ in Formatter().parse(self.text):
            yield re.escape(literal)
            if name is None:
                continue
            signs = f"\\d{several}" if name in _DIGITS else f"[A-Za-z0-9._-]{several}"
            yield f"(?P={name})" if name in seen else f"(?P<{name}>{signs})"
            seen.add(name)


def _plain(text: str) -> str:
    """Return `text` with only what is safe in a key; ``none`` where nothing is left."""
    return _UNSAFE.sub("-", text).strip(".-")[:_LONGEST] or "none"


def folder(prefix: str, job_id: str) -> str:
    """Return `<prefix>/<job id>`, where all files of a job are."""
    return "/".join(part for part in (safe_prefix(prefix), safe(job_id)) if part)


def public_url(base: str, name: str) -> str:
    """Return the plain URL of the key `name` in a public bucket."""
    return f"{base.rstrip('/')}/{quote(name)}"
