"""What is known of a job that went wrong, in a folder of its own: enough to say why, and to run it again."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any

import requests

from tests.chaos.referee import delivered
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.plan import Job
    from tests.support.jobsource import JobSource

NO_PROMPT = ("/sdapi/v1/extra-single-image", "/sdapi/v1/options")
"""Requests that do not say whose they are: those of a job's own time are taken."""


class Evidence:
    """Writes it down, below `folder`, while the pictures' store still answers.

    Args:
        records: Folder of the files with every request that the workers' WebUIs got, a line of JSON each.
    """

    def __init__(self, folder: Path, source: JobSource, records: Path) -> None:
        self._folder = folder
        self._source = source
        self._records = records

    def write(self, job: Job, whole: dict[str, object], references: list[list[str]]) -> None:
        """Write down one job.

        Args:
            job: As it was planned.
            whole: As the platform handed it out: a file for `worker run`.
            references: The right pictures, by the requests that make them.
        """
        place = self._folder / job.id
        place.mkdir(parents=True, exist_ok=True)
        _dump(place / "job.json", whole)
        asks = [{"path": ask.path, "body": ask.body, "begins_with": str(ask.start or "")} for ask in job.asks]
        _dump(place / "plan.json", {"kind": job.kind, "harm": job.harm, "worker": job.worker, "reference": asks})
        events = self._source.events(None, job.id)
        _dump(place / "requests.json", self._requests(job, [event.at for event in events]))
        lines = [f"{event.at:.3f} {event.kind} {_short(event.data)}" for event in events]
        for number, images in enumerate(references):
            for index, image in enumerate(images):
                lines += _picture(place, f"reference-{number}-{index}", image)
        for number, event in enumerate(event for event in events if event.kind == "done"):
            output = event.data.get("output") or {}
            _dump(place / f"answer-{number}.json", _short(event.data))
            for index, image in enumerate(delivered(output)):
                lines += _picture(place, f"made-{number}-{index}", image)
        (place / "story.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _requests(self, job: Job, times: list[float]) -> list[dict[str, Any]]:
        """Return the requests whose prompt names the job, or the one it comes with, and those of its time without."""
        since_boot = time.time() - time.monotonic()
        mine = re.compile(rf"({'|'.join(re.escape(name) for name in (job.id, job.after) if name)})\b")
        found = []
        for line in (line for file in sorted(self._records.glob("*.jsonl")) for line in file.read_text().splitlines()):
            entry = json.loads(line)
            in_time = times and min(times) <= entry["time"] - since_boot <= max(times)
            if mine.search(line) or (in_time and entry["method"] == "POST" and entry["path"] in NO_PROMPT):
                found.append(entry)
        return found


def _picture(place: Path, name: str, image: str) -> list[str]:
    """Write a picture; return what its own text says of it."""
    if "://" in image:
        answer = requests.get(image, timeout=30)
        if answer.status_code != 200:
            return [f"{name}: {image} answers {answer.status_code}"]
        content = answer.content
    else:
        content = base64.b64decode(image)
    (place / name).write_bytes(content)
    try:
        seen = inspect(content)
    except BrokenPicture as broken:
        return [f"{name}: broken: {broken}"]
    return [f"{name}: {seen}"]


def _short(value: Any) -> Any:
    """Return `value` with long texts, which are pictures, cut."""
    if isinstance(value, str) and len(value) > 1000:
        return f"{value[:40]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
