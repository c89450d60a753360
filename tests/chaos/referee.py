"""Knows each job's expected pictures and says what became of it."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import orjson

from tests.chaos.plan import reference
from tests.support.rig import pixels
from worker.errors import all_errors
from worker.images.inspect import inspect
from worker.images.picture import BrokenPicture
from worker.models.header import BrokenHeader, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.plan import Job
    from tests.support.jobsource import JobSource
    from tests.support.standin import StandIn

CODES = {error.code for error in all_errors()}


def expected(standin: StandIn, jobs: Iterable[Job]) -> dict[str, list[str]]:
    """Return the hashes of each valid job's pictures, as a WebUI makes them to which nothing happens."""
    found = {}
    for job in jobs:
        if job.valid:
            answer = standin.post("txt2img", reference(job))
            assert answer.status_code == 200, answer.text[:500]
            found[job.id] = [pixels(image) for image in answer.json()["images"]]
    return found


class Score:
    """What became of the jobs."""

    def __init__(self) -> None:
        self.right = 0
        self.errors: Counter[str] = Counter()
        self.told: list[str] = []
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.duplicates: list[str] = []
        self.torn: list[str] = []

    def judge(
        self, jobs: Sequence[Job], hashes: Mapping[str, list[str]], source: JobSource, stored: Mapping[str, bytes]
    ) -> None:
        for job in jobs:
            done = source.events("done", job.id)
            if len(done) > 1:
                self.duplicates.append(job.id)
            if not done:
                if job.fault == "cancel":
                    self.errors["cancelled"] += 1
                else:
                    self.lost.append(job.id)
                continue
            self._one(job, done[0].data, hashes, stored)

    def _one(
        self, job: Job, body: dict[str, Any], hashes: Mapping[str, list[str]], stored: Mapping[str, bytes]
    ) -> None:
        output = body.get("output") or {}
        code = output.get("error_code")
        if body.get("error") or code:
            if (
                code in CODES
                and str(body.get("error", "")).startswith(f"{code}: ")
                and isinstance(output["retryable"], bool)
            ):
                self.errors[code] += 1
                if job.valid:
                    self.told.append(f"{job.id} after {job.fault}: {str(body['error'])[:200]}")
            else:
                self.wrong.append(f"{job.id}: an error without a type: {str(body)[:300]}")
            return
        made = [pixels(_fetched(image, stored)) for image in output.get("images", ())]
        if job.valid and made == hashes[job.id]:
            self.right += 1
        else:
            self.wrong.append(f"{job.id}: {job.input} after {job.fault}: {output.get('warnings')}")

    def look_for_torn(self, folder: Path) -> None:
        """Find files under their final names that are not whole."""
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or ".incomplete" in path.name:
                continue
            try:
                if path.suffix == ".safetensors":
                    read_header(path)
                elif path.suffix == ".json" and "kept" in path.parts:
                    orjson.loads(path.read_bytes())
                elif path.suffix == ".png":
                    inspect(path.read_bytes())
            except (BrokenHeader, BrokenPicture, orjson.JSONDecodeError) as broken:
                self.torn.append(f"{path}: {broken}")


def _fetched(image: str, stored: Mapping[str, bytes]) -> str:
    if "://" not in image:
        return image
    key = unquote(urlsplit(image).path).removeprefix("/pics/")
    return base64.b64encode(stored[key]).decode()
