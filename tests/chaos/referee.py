"""Knows each job's expected pictures and says what became of it."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import requests

from tests.chaos.plan import BROKEN_MODELS
from tests.support.rig import pixels
from worker.errors import all_errors
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import inspect
from worker.models.format.safetensors import BrokenHeader, read_header
from worker.models.volume.registry import BrokenRegistry, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.kinds import Ask
    from tests.chaos.plan import Job
    from tests.support.jobsource import JobSource
    from tests.support.standin import StandIn

CODES = {error.code for error in all_errors()}
Hashes = list[list[str]]
"""Of a job's pictures, by the requests that make them."""


def expected(standin: StandIn, jobs: Iterable[Job]) -> dict[str, Hashes]:
    """Return the hashes of each valid job's pictures, as a WebUI makes them to which nothing happens."""
    return {
        job.id: [[pixels(image) for image in images] for images in references(standin, job)]
        for job in jobs
        if job.valid
    }


def references(standin: StandIn, job: Job) -> list[list[str]]:
    """Return a job's right pictures, by the requests that make them."""
    found = []
    for ask in job.asks:
        images = _pictures(standin, ask)
        found.append(images[ask.first : ask.first + ask.count])
        assert len(found[-1]) == ask.count, f"{job.kind}: {len(images)} pictures"
    return found


def _pictures(standin: StandIn, ask: Ask) -> list[str]:
    """The pictures of one request, made after the request whose picture it begins with."""
    body = ask.body
    if ask.start is not None:
        start = _pictures(standin, ask.start)[ask.start.first]
        body = {**body, **({"init_images": [start]} if ask.path == "img2img" else {"image": start})}
    answer = standin.post(ask.path, body)
    assert answer.status_code == 200, f"{ask.path}: {answer.text[:500]}"
    content = answer.json()
    images: list[str] = content["images"] if "images" in content else [content["image"]]
    return images


class Score:
    """What became of the jobs."""

    def __init__(self) -> None:
        self.right = 0
        self.rights: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.told: list[str] = []
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.duplicates: list[str] = []
        self.torn: list[str] = []
        self.suspects: dict[str, Job] = {}
        """Jobs of which something is wrong, by their id."""

    def judge(self, jobs: Sequence[Job], hashes: Mapping[str, Hashes], source: JobSource) -> None:
        """Take note of what became of `jobs`. Links are opened, as whoever gets them would."""
        for job in jobs:
            done = source.events("done", job.id)
            if len(done) > 1:
                self.duplicates.append(job.id)
                self.suspects[job.id] = job
            if not done:
                if job.fault == "cancel":
                    self.errors["cancelled"] += 1
                else:
                    self.lost.append(job.id)
                    self.suspects[job.id] = job
                continue
            self._one(job, done[0].data, hashes.get(job.id, []))

    def _one(self, job: Job, body: dict[str, Any], hashes: Hashes) -> None:
        output = body.get("output") or {}
        if body.get("error") or output.get("error_code"):
            self._failed(job, {**output, "error": body.get("error")})
            return
        parts = {number: part["error"] for number, part in enumerate(output.get("parts", ())) if "error" in part}
        wanted = [image for number, images in enumerate(hashes) if number not in parts for image in images]
        made = [_seen(image) for image in output.get("images", ())]
        if not job.valid or made != wanted:
            self.suspects[job.id] = job
            self.wrong.append(f"{job.id} ({job.kind}) after {job.fault}: {str(made)[:400]} {output.get('warnings')}")
        elif parts:
            self._failed(job, next(iter(parts.values())))
        else:
            self.right += 1
            self.rights[job.kind] += 1

    def _failed(self, job: Job, error: Mapping[str, Any]) -> None:
        code, text = error.get("error_code"), str(error.get("error", ""))
        if code not in CODES or not text.startswith(f"{code}: ") or not isinstance(error.get("retryable"), bool):
            self.suspects[job.id] = job
            self.wrong.append(f"{job.id}: an error without a type: {str(error)[:300]}")
            return
        self.errors[code] += 1
        if job.valid:
            self.told.append(f"{job.id} ({job.kind}) after {job.fault}: {text[:200]}")

    def look_for_torn(self, folder: Path) -> None:
        """Find files under their final names that are not whole."""
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or ".incom" in str(path) or path.stem in BROKEN_MODELS.values():
                continue
            try:
                if path.name == "cache_registry.json":
                    decode(path.read_bytes())
                elif path.suffix == ".safetensors":
                    read_header(path)
                elif path.suffix == ".json" and "kept" in path.parts:
                    orjson.loads(path.read_bytes())
                elif path.suffix == ".png":
                    inspect(path.read_bytes())
            except (BrokenHeader, BrokenPicture, BrokenRegistry, orjson.JSONDecodeError) as broken:
                self.torn.append(f"{path}: {broken}")


def _seen(image: str) -> str:
    """Return the hash of a picture, or what keeps its link from being opened."""
    if "://" in image:
        answer = requests.get(image, timeout=30)
        if answer.status_code != 200:
            return f"a dead link ({answer.status_code})"
        image = base64.b64encode(answer.content).decode()
    return pixels(image)
