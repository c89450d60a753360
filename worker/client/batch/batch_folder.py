"""The folder of a batch: its pictures, the JSON of each, and everything that a later run needs to go on.

``stage1/`` has candidates, ``final/`` finished pictures, ``intermediates/`` those of stages between, and ``metadata/``
one JSON a picture. A picture counts as made when its JSON is there: deleting the picture rejects it, and it is not
made again. Pictures are written under a hidden name first, and get their own after the JSON, so that a run that is
killed at any moment leaves neither a picture without JSON nor a JSON whose picture is lost.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from PIL import Image

from worker.client.batch.batch_items import SEEDS, BatchItem, item_key
from worker.client.batch.picture_jobs import job_of_one, job_to_the_end, whole_number
from worker.common.atomic_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from worker.client.batch.batch_answers import AnsweredPicture

STAGE1, FINALS, BETWEEN, METADATA = "stage1", "final", "intermediates", "metadata"
SCHEMA = "a1111-worker/batch/1"
_RUNNING = ".running"
_PART = ".part"
_ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "AVIF": ".avif"}
_FORMATS = tuple(_ENDINGS)


class BatchFolderError(Exception):
    """The folder can't be used."""


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """The JSON of a picture.

    Attributes:
        stem: Its name without ending.
        document: Its content.
    """

    stem: str
    document: Mapping[str, Any]

    @property
    def picture(self) -> str | None:
        """The picture's path below the folder; None where there never was one."""
        name = self.document.get("picture")
        return name if isinstance(name, str) else None

    @property
    def source(self) -> str | None:
        """The candidate that it finishes."""
        name = self.document.get("source")
        return name if isinstance(name, str) else None

    @property
    def batch(self) -> Mapping[str, Any]:
        """The part of its content that belongs to the batch."""
        told = self.document.get("batch")
        return told if isinstance(told, dict) else {}


class BatchFolder:
    """The folder of a batch. Thread-safe.

    Args:
        root: Made where it is not there.

    Raises:
        BatchFolderError: it can't be made or written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._taken = set[str]()
        try:
            for name in (STAGE1, FINALS, BETWEEN, METADATA, _RUNNING):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BatchFolderError(f"{root} can't be made: {error.strerror}") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other batches out of the folder, and mend what a killed run left.

        Raises:
            BatchFolderError: another batch is at work in it.
        """
        lock = FileLock(self.root / ".batch.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BatchFolderError(f"another batch is at work in {self.root}") from None
        try:
            self._mend()
            yield
        finally:
            lock.release()

    def first_seed(self) -> int:
        """Return the seed of jobs that name none: drawn once, and kept."""
        kept = _read_json(self.root / "batch.json").get("first_seed")
        if isinstance(kept, int) and 0 <= kept < SEEDS:
            return kept
        seed = secrets.randbelow(SEEDS)
        self._settle(first_seed=seed)
        return seed

    def endpoints(self) -> list[str]:
        """Return the endpoints that the last run named."""
        kept = _read_json(self.root / "batch.json").get("endpoints")
        return [one for one in kept if isinstance(one, str)] if isinstance(kept, list) else []

    def keep_endpoints(self, endpoints: Sequence[str]) -> None:
        """Note the endpoints of this run, for `endpoints`; one with a password in its address is left out."""
        self._settle(endpoints=[one for one in endpoints if "@" not in one])

    def _settle(self, **fields: Any) -> None:
        path = self.root / "batch.json"
        told = {**_read_json(path), "schema": SCHEMA, **fields}
        write_atomically(path, json.dumps(told, indent=1).encode())

    def records(self) -> list[PictureRecord]:
        """Return the JSON of every picture, those the gallery has written beside its own pictures too."""
        paths = sorted((self.root / METADATA).glob("*.json"))
        found = [PictureRecord(path.stem, _read_json(path)) for path in paths if not path.name.startswith(".")]
        for folder in (STAGE1, FINALS):
            pictures = {path.stem: path for path in (self.root / folder).glob("*") if _is_picture(path)}
            for path in sorted((self.root / folder).glob("*.json")):
                if path.stem in pictures:
                    place = f"{folder}/{pictures[path.stem].name}"
                    found.append(PictureRecord(path.stem, {**_read_json(path), "picture": place}))
        return found

    def made(self) -> dict[str, set[int]]:
        """Return the pictures that were made, by the key of their job: of whole jobs `{-1}`, else their places."""
        found: dict[str, set[int]] = {}
        wanted: dict[str, int] = {}
        for record in self.records():
            key, index, count = (record.batch.get(name) for name in ("item", "index", "of"))
            job = record.document.get("job")
            if key is None and isinstance(job, dict):  # made in the gallery, as a job of this batch would have made it
                key, index, count = item_key(job, record.source), 0, 1
            if isinstance(key, str) and isinstance(index, int) and isinstance(count, int):
                found.setdefault(key, set()).add(index)
                wanted[key] = count
        return {key: {-1} if len(places) >= wanted[key] else places for key, places in found.items()}

    def candidates(self) -> list[str]:
        """Return the candidates that are there and have no final, by name."""
        there = [f"{STAGE1}/{path.name}" for path in sorted((self.root / STAGE1).iterdir()) if _is_picture(path)]
        sources = {record.source for record in self.records()}
        stems = {path.stem for path in (self.root / FINALS).iterdir() if _is_picture(path)}
        return [name for name in there if name not in sources and Path(name).stem not in stems]

    def finishing(self, candidate: str) -> BatchItem | None:
        """Return the job that finishes a candidate; None where its JSON does not tell one."""
        name = f"{Path(candidate).stem}.json"
        document = _read_json(self.root / METADATA / name) or _read_json((self.root / candidate).with_name(name))
        job, key = document.get("job"), document.get("key")
        if isinstance(key, str) and key:
            again: dict[str, Any] = {"type": "continue", "keys": [key]}
            if isinstance(job, dict) and isinstance(job.get("output"), dict):
                again["output"] = {name: value for name, value in job["output"].items() if name != "intermediates"}
        else:
            left = job_to_the_end(job, whole_number(document.get("seed"))) if isinstance(job, dict) else None
            if left is None:
                return None
            again = left
        return BatchItem(item_key(again, candidate), 0, again, candidate)

    def keep(
        self,
        item: BatchItem,
        picture: AnsweredPicture | None,
        data: Sequence[bytes],
        now: datetime,
        **batch: Any,
    ) -> str | None:
        """Write a picture, those of stages before it and their JSON; return its path below the folder.

        Args:
            item: Its job.
            picture: None: the job has made none that is delivered; the JSON says so.
            data: Bytes of the picture, then of its intermediates.
            now: The time in its name.
            batch: What the JSON tells of the job: ``index``, ``of``, ``job_id``, ``endpoint``, ``judged``.

        Raises:
            ValueError: the bytes are no picture.
            OSError: they can't be written.
        """
        seed = picture.seed if picture is not None else item.job.get("seed")
        named_by = seed if picture is None or picture.job_seed is None else picture.job_seed
        document: dict[str, Any] = {"schema": SCHEMA, **(picture.facts if picture is not None else {})}
        named = list[tuple[str, bytes]]()
        with self._lock:
            if picture is None:
                stem = self._new_stem(now, named_by, "none", (0, 0))
            else:
                folder = STAGE1 if "until" in item.job else FINALS
                stages = [picture.stage, *(stage for stage, _ in picture.intermediates)]
                for place, (stage, content) in enumerate(zip(stages, data, strict=True)):
                    size, ending = _look(content)
                    name = self._new_stem(now, named_by, stage, size)
                    named.append((f"{BETWEEN if place else folder}/{name}{ending}", content))
                stem = Path(named[0][0]).stem
                size, _ = _look(data[0])
                document |= {"size": {"width": size[0], "height": size[1]}, "stage": picture.stage}
        own = None if picture is None else job_of_one(item.job, picture.job_seed)
        document |= {"seed": seed, "picture": named[0][0] if named else None, "job": own or dict(item.job)}
        document |= {"made_at": now.isoformat(timespec="seconds"), "batch": {"item": item.key, **batch}}
        document.setdefault("job_id", batch.get("job_id"))
        if len(named) > 1:
            document["intermediates"] = [name for name, _ in named[1:]]
        if item.source is not None:
            document["source"] = item.source
        for name, content in named:
            _write_durably(self._part(name), content)
        write_atomically(self.root / METADATA / f"{stem}.json", json.dumps(document, indent=1).encode())
        for name, _ in named:
            self._part(name).replace(self.root / name)
        return named[0][0] if named else None

    def running(self, key: str) -> Mapping[str, Any]:
        """Return where the job of that key was put in line by a run that did not see its end; {}: nowhere."""
        return _read_json(self.root / _RUNNING / f"{key}.json")

    def note_running(self, key: str, *, endpoint: str, job_id: str, worker: str | None) -> None:
        """Note where a job was put in line, so that a later run waits for it instead of sending it again."""
        told = {"endpoint": endpoint, "job": job_id, "worker": worker}
        write_atomically(self.root / _RUNNING / f"{key}.json", json.dumps(told).encode(), durable=False)

    def forget_running(self, key: str) -> None:
        """Forget where a job was put in line: it is over."""
        (self.root / _RUNNING / f"{key}.json").unlink(missing_ok=True)

    def _new_stem(self, now: datetime, seed: object, stage: str, size: tuple[int, int]) -> str:
        word = "".join(char if char.isalnum() and char.isascii() else "-" for char in stage.lower())[:30] or "stage"
        base = f"{now:%Y%m%d-%H%M%S}_s{seed if isinstance(seed, int) else 0}_{word}_{size[0]}x{size[1]}"
        stem, number = base, 1
        while stem in self._taken or any(self._has(folder, stem) for folder in (STAGE1, FINALS, BETWEEN, METADATA)):
            number += 1
            stem = f"{base}-{number}"
        self._taken.add(stem)
        return stem

    def _has(self, folder: str, stem: str) -> bool:
        return any((self.root / folder / f"{stem}{ending}").exists() for ending in (".json", *_ENDINGS.values()))

    def _part(self, name: str) -> Path:
        path = self.root / name
        return path.with_name(f".{path.name}{_PART}")

    def _mend(self) -> None:
        """Give pictures whose JSON was written their names, and remove those without."""
        parts = [part for folder in (STAGE1, FINALS, BETWEEN) for part in (self.root / folder).glob(f".*{_PART}")]
        if not parts:
            return
        named = set[str]()
        for record in self.records():
            between = record.document.get("intermediates")
            named |= {record.picture or "", *(between if isinstance(between, list) else ())}
        for part in parts:
            name = part.name[1 : -len(_PART)]
            if f"{part.parent.name}/{name}" in named:
                part.replace(part.with_name(name))
            else:
                part.unlink()


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in (*_ENDINGS.values(), ".jpeg") and not path.name.startswith(".") and path.is_file()


def _look(data: bytes) -> tuple[tuple[int, int], str]:
    """Return the size of a picture, and the ending of its name. Raises ValueError."""
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            return image.size, _ENDINGS[str(image.format)]
    except Exception as error:
        raise ValueError(f"it is no picture: {error}") from error


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, {} where there is none that can be read."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
