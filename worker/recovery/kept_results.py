"""Answers kept on the volume for a while: a job that is handed out again gets the answer that it already had.

The platform may refuse or lose the posting of a result, or hand a job out twice; then the pictures must not be paid
for again. An answer is found by the job's id and only for the same input. Pictures that could not be delivered are kept
too.
Files are written whole or not at all; what is older than the retention time is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from worker.common.atomic_files import TEMPORARY_ENDING, write_atomically
from worker.delivery.expiry import links_end
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.images.formats.picture import Picture

ANSWER = "answer.json"
DEAD_AFTER_S = 600.0
"""An unfinished file of this age belongs to a worker that is dead."""
TIDY_EVERY_S = 600.0
TIME_TO_OPEN_S = 30.0
"""A kept answer whose links live no longer than that is of no use to a client that gets it now."""
MOST_VALUES, MOST_TEXT = 20_000, 100_000_000
"""Of an input whose answer is kept: values, and characters in all."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ResultKey:
    """The place of a job's answer, and the digest of the input that it has to be the answer to."""

    folder: str
    input: str


def result_key(job: Mapping[str, Any]) -> ResultKey:
    """Return the key of a job whose input is plain JSON.

    Raises:
        TypeError: it is none.
        ValueError: it is larger than any job that is run.
    """
    if not _is_bearable([job.get("input"), job.get("s3Config")]):
        raise ValueError("too large to be told apart")
    asked = {"input": job.get("input"), "s3Config": job.get("s3Config")}
    digest = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return ResultKey(_folder(str(job.get("id", ""))), digest)


class KeptResults:
    """The folder of kept answers, shared by all workers of a volume. Blocking; to be called from any thread.

    Args:
        folder: Where; None: nothing is kept.
        retention_s: For how long.
        now: Seconds since the epoch.
    """

    def __init__(self, folder: Path | None, retention_s: float, now: Callable[[], float] = time.time) -> None:
        self._root = folder if retention_s > 0 else None
        self._retention_s = retention_s
        self._now = now
        self._tidied = 0.0
        self._log = get_logger("results")

    @property
    def on(self) -> bool:
        """True where answers are kept."""
        return self._root is not None

    def find(self, wanted: ResultKey) -> Any:
        """Return the answer that was kept for this very job, None where there is none, or its links are dead by now."""
        if self._root is None:
            return None
        path = self._root / wanted.folder / ANSWER
        try:
            if self._now() - path.stat().st_mtime >= self._retention_s:
                return None
            kept = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        if not isinstance(kept, dict) or kept.get("input") != wanted.input:
            return None
        answer = kept.get("answer")
        end = links_end(answer)
        return answer if end is None or self._now() + TIME_TO_OPEN_S < end else None

    def keep(self, done: ResultKey, answer: Any) -> None:
        """Keep an answer for every worker to find; that it can't be kept is a warning in the log, no more.

        It is in the hands of the operating system then, which outlives this process; see `secure`.
        """
        if self._root is None:
            return
        try:
            self._write(done.folder, ANSWER, orjson.dumps({"input": done.input, "answer": answer}), secure=False)
        except (OSError, TypeError) as error:
            self._log.warning("an answer could not be kept", error=str(error))

    def secure(self, done: ResultKey) -> None:
        """Bring a kept answer to the disk, so that it outlives the machine as well; tidy up when it is time to."""
        if self._root is None:
            return
        with contextlib.suppress(OSError), (self._root / done.folder / ANSWER).open("rb") as file:
            os.fsync(file.fileno())
        self.tidy()

    def find_part(self, job: ResultKey, name: str) -> bytes | None:
        """Return what `keep_part` has kept of this very job, None where there is nothing, or it is too old."""
        if self._root is None:
            return None
        path = self._root / job.folder / _part(job, name)
        try:
            if self._now() - path.stat().st_mtime >= self._retention_s:
                return None
            return path.read_bytes()
        except OSError:
            return None

    def keep_part(self, job: ResultKey, name: str, data: bytes) -> bool:
        """Keep a part of a job's result, so that the job, handed out again, need not make it; return whether it is."""
        if self._root is None:
            return False
        try:
            self._write(job.folder, _part(job, name), data, secure=False)
        except OSError as error:
            self._log.warning("a part of a result could not be kept", error=str(error))
            return False
        return True

    def keep_pictures(self, job_id: str, pictures: Sequence[Picture], seeds: Sequence[int]) -> list[str]:
        """Keep pictures that could not be delivered; return their paths, none where they can't be kept."""
        if self._root is None:
            return []
        names = [
            f"{number}-{seeds[number] if number < len(seeds) else 0}.{picture.extension}"
            for number, picture in enumerate(pictures)
        ]
        try:
            for name, picture in zip(names, pictures, strict=True):
                self._write(_folder(job_id), name, picture.data)
        except OSError as error:
            self._log.warning("pictures could not be kept", error=str(error))
            return []
        return [str(self._root / _folder(job_id) / name) for name in names]

    def tidy(self, *, force: bool = False) -> None:
        """Remove what is too old and what dead workers left unfinished; now and then, or at once."""
        if self._root is None or (not force and time.monotonic() - self._tidied < TIDY_EVERY_S):
            return
        self._tidied = time.monotonic()
        for folder in _entries(self._root):
            files = list(_entries(folder))
            for file in files:
                limit = DEAD_AFTER_S if file.name.endswith(TEMPORARY_ENDING) else self._retention_s
                with contextlib.suppress(OSError):
                    if self._now() - file.stat().st_mtime >= limit:
                        file.unlink()
            with contextlib.suppress(OSError):
                if not files and self._now() - folder.stat().st_mtime < DEAD_AFTER_S:
                    continue  # somebody may have made it just now
                folder.rmdir()  # fails, as it should, while there is something in it

    def _write(self, folder: str, name: str, data: bytes, *, secure: bool = True) -> None:
        if self._root is None:
            return
        place = self._root / folder
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / name, data, durable=secure)


def _is_bearable(value: Any) -> bool:
    """Return whether making JSON of `value` costs little, found out at little cost."""
    values = text = 0
    pending = [value]
    while pending:
        one = pending.pop()
        values += 1
        if isinstance(one, str):
            text += len(one)
        elif isinstance(one, dict | list):
            values += len(one)
            if values <= MOST_VALUES:
                pending.extend(one.values() if isinstance(one, dict) else one)
                text += sum(len(name) for name in one if isinstance(name, str)) if isinstance(one, dict) else 0
        if values > MOST_VALUES or text > MOST_TEXT:
            return False
    return True


def _part(job: ResultKey, name: str) -> str:
    return f"{_UNSAFE.sub('-', name)[:80]}-{job.input[:16]}.part"


def _folder(job_id: str) -> str:
    plain = _UNSAFE.sub("-", job_id)[:80]
    return f"{plain}-{hashlib.sha256(job_id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return
