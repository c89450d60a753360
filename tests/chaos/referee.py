"""Knows each job's expected pictures and says what became of it."""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import requests
from PIL import Image

from tests.chaos.plan import BROKEN_MODELS
from tests.chaos.studio_kinds import LEAST_QUALITY
from tests.support.rig import pixels
from worker.errors import all_errors
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import inspect
from worker.judges.quality import measure_quality, score_quality
from worker.models.format.safetensors import BrokenHeader, read_header
from worker.models.volume.registry import BrokenRegistry, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.asks import Ask, Draw
    from tests.chaos.plan import Job
    from tests.support.jobsource import JobSource
    from tests.support.standin import StandIn

CODES = {error.code for error in all_errors()}
FEWER = "no more could be made"
"""In a warning: a picture could not be made after others were accepted."""


class ImpossibleDraw(Exception):
    """What an answer says its pictures have drawn can not be drawn."""


class Expectations:
    """The right pictures of every job, as a WebUI makes them to which nothing happens.

    Args:
        standin: That WebUI.
        jobs: Their pictures are made at once; where they draw something, it takes the answer to know of what.
    """

    def __init__(self, standin: StandIn, jobs: Iterable[Job]) -> None:
        self._standin = standin
        self._known = {
            job.id: [[pixels(image) for image in images] for images in self._made(job, job.asks)]
            for job in jobs
            if job.valid and job.draw is None
        }

    def of(self, job: Job, output: Mapping[str, Any]) -> list[str]:
        """Return the hashes of the pictures that have to be in a job's answer, but for the parts that failed.

        Raises:
            ImpossibleDraw: the answer can't be right.
        """
        if job.valid and job.draw is not None:
            return [pixels(image) for images in self._made(job, _drawn(job, job.draw, output)) for image in images]
        failed = failed_parts(output)
        known = enumerate(self._known.get(job.id, ()))
        return [image for number, images in known if number not in failed for image in images]

    def pictures(self, job: Job, output: Mapping[str, Any]) -> list[list[str]]:
        """Return a job's right pictures, by the requests that make them; none where they can't be known."""
        try:
            return self._made(job, job.asks if job.draw is None else _drawn(job, job.draw, output))
        except ImpossibleDraw:
            return []

    def _made(self, job: Job, asks: Sequence[Ask]) -> list[list[str]]:
        found: list[list[str]] = []
        for ask in asks:
            if len(found) == job.most:
                break
            if ask.judged is None or is_accepted(_pictures(self._standin, ask.judged)[ask.judged.first]):
                images = _pictures(self._standin, ask)
                found.append(images[ask.first : ask.first + ask.count])
                assert len(found[-1]) == ask.count, f"{job.kind}: {len(images)} pictures"
        return found


def failed_parts(output: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the errors of an answer's parts, by their number."""
    return {number: part["error"] for number, part in enumerate(output.get("parts", ())) if "error" in part}


def _drawn(job: Job, draw: Draw, output: Mapping[str, Any]) -> list[Ask]:
    """Return the requests of a job's pictures that were made, with what they have drawn in their prompts."""
    failed, rows = failed_parts(output), output.get("pictures", ())
    made = [ask for number, ask in enumerate(job.asks) if number not in failed]
    if len(rows) != len(made):
        raise ImpossibleDraw(f"{len(rows)} pictures are told of, not {len(made)}")
    asks = []
    for ask, row in zip(made, rows, strict=True):
        plain, said = ask.body["prompt"], str(row["prompt"])
        lines = said.removeprefix(plain).split(", ")[1:]
        known = said == ", ".join([plain, *lines]) and set(lines) <= set(draw.lines)
        if not known or len(set(lines)) < len(lines) or not draw.least <= len(lines) <= draw.most:
            raise ImpossibleDraw(said)
        (lora,) = row["loras"]
        if lora["name"] not in draw.loras or not draw.scale[0] <= lora["scale"] <= draw.scale[1]:
            raise ImpossibleDraw(str(lora))
        asks.append(replace(ask, body={**ask.body, "prompt": f"{said} <lora:{lora['name']}:{lora['scale']:.6f}>"}))
    return asks


def is_accepted(image: str) -> bool:
    """Return whether a picture has the quality that the jobs with judges ask for."""
    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        score, _ = score_quality(measure_quality(opened.convert("RGB")))
    return score >= LEAST_QUALITY


def delivered(output: Mapping[str, Any]) -> list[str]:
    """Return the pictures of an answer, those of its stages first; of a continuation also those finished before."""
    parts = output.get("parts", ())
    if any("status" in part for part in parts):
        return [image for part in parts for image in part.get("images", ())]
    shown = [image for stage in output.get("stages", ()) for image in stage.get("images", ())]
    return [*shown, *output.get("images", ())]


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
        self.cached = 0
        """Jobs of which the cache had pictures."""
        self.suspects: dict[str, Job] = {}
        """Jobs of which something is wrong, by their id."""
        self._right: dict[str, list[str]] = {}

    def judge(self, jobs: Sequence[Job], expectations: Expectations, source: JobSource) -> None:
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
            self._one(job, done[0].data, expectations)

    def _one(self, job: Job, body: dict[str, Any], expectations: Expectations) -> None:
        output = body.get("output") or {}
        if body.get("error") or output.get("error_code"):
            self._failed(job, {**output, "error": body.get("error")})
            return
        made = [_seen(image) for image in delivered(output)]
        try:
            wanted = expectations.of(job, output)
        except ImpossibleDraw as impossible:
            self._wrong(job, f"drawn: {impossible}")
            return
        failed = failed_parts(output)
        fewer = job.most is not None and any(FEWER in warning for warning in output.get("warnings", ()))
        self.cached += any(one.get("cached") for one in (output, *output.get("stages", ()), *output.get("parts", ())))
        if not job.valid or made != (wanted[: len(made)] if fewer else wanted):
            self._wrong(job, f"{str(made)[:400]} {output.get('warnings')}")
        elif failed:
            self._failed(job, next(iter(failed.values())))
        elif job.is_repeat and self._right.get(job.after or "", made) != made:
            self._wrong(job, f"not what {job.after} was: {str(made)[:400]}")
        else:
            self.right += 1
            self.rights[job.kind] += 1
            self._right[job.id] = made

    def _wrong(self, job: Job, what: str) -> None:
        self.suspects[job.id] = job
        self.wrong.append(f"{job.id} ({job.kind}) after {job.harm}: {what}")

    def _failed(self, job: Job, error: Mapping[str, Any]) -> None:
        code, text = error.get("error_code"), str(error.get("error", ""))
        if code not in CODES or not text.startswith(f"{code}: ") or not isinstance(error.get("retryable"), bool):
            self._wrong(job, f"an error without a type: {str(error)[:300]}")
            return
        self.errors[code] += 1
        if job.valid:
            self.told.append(f"{job.id} ({job.kind}) after {job.harm}: {text[:200]}")

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
