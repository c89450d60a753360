"""An endpoint's words about a job, as types. Pure but for `Answer.save`."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OVER = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
QUEUED = "IN_QUEUE"
_SIGNATURES = ((b"\x89PNG", 0, "png"), (b"\xff\xd8\xff", 0, "jpg"), (b"WEBP", 8, "webp"), (b"ftypavif", 4, "avif"))
DOWNLOAD_S = 60.0


class EndpointError(Exception):
    """The endpoint itself refused or could not be reached.

    Attributes:
        status: HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class JobFailed(Exception):
    """The job was answered with an error.

    Attributes:
        code: What happened: ``invalid_input``, ``out_of_memory``, …; empty where the platform itself failed it.
        fault: ``client``, ``worker`` or ``platform``.
        retryable: Whether the same job may succeed later.
        details: More about it; for ``invalid_input`` every problem with its path.
    """

    def __init__(self, message: str, output: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = str(output.get("error_code", ""))
        self.fault = str(output.get("fault", "platform"))
        self.retryable = bool(output.get("retryable", False))
        self.details: Mapping[str, Any] = output.get("details") or {}


class JobCancelled(Exception):
    """The job was cancelled."""


class JobTimedOut(Exception):
    """The platform gave the job up, or it was not over within the client's own time.

    Attributes:
        job_id: The job's; after the client's own time it goes on.
    """

    def __init__(self, message: str, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


@dataclass(frozen=True, slots=True)
class JobState:
    """A job at one moment.

    Attributes:
        id: The job's.
        status: ``IN_QUEUE``, ``IN_PROGRESS``, ``COMPLETED``, ``FAILED``, ``CANCELLED`` or ``TIMED_OUT``.
        progress: ``stage``, ``percent``, ``step``, ``steps``, ``eta_s`` of a running job, where known.
        output: Of a job that is over.
        error: Of one that failed.
        queued_ms: How long it waited.
        ran_ms: How long it ran.
        waits_for: Of a job that stays in the queue, why no worker takes it, where the endpoint's health tells.
    """

    id: str
    status: str
    progress: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str | None = None
    queued_ms: int | None = None
    ran_ms: int | None = None
    waits_for: str | None = None

    @property
    def over(self) -> bool:
        """True once nothing more will happen to the job."""
        return self.status in OVER

    def answer(self) -> Answer:
        """Return the answer of a job that is over.

        Raises:
            JobFailed, JobCancelled, JobTimedOut: it has none.
        """
        output = self.output if isinstance(self.output, dict) else {"items": self.output}
        if self.status == "CANCELLED":
            raise JobCancelled(f"job {self.id} was cancelled")
        if self.status == "TIMED_OUT":
            raise JobTimedOut(f"job {self.id} was given up by the platform", self.id)
        if self.status == "FAILED" or output.get("error") is not None:
            raise JobFailed(str(output.get("error") or self.error or "the job failed"), output)
        if self.output is None:
            raise JobFailed(
                "the job is done, but the platform has no output of it: too large for it, or kept no longer", {}
            )
        return Answer(output)


def read_state(told: Mapping[str, Any]) -> JobState:
    """Return what an endpoint says of a job (``/run``, ``/status``, ``/stream``, webhooks)."""
    status = str(told.get("status", "FAILED" if "error" in told else "IN_QUEUE"))
    output = told.get("output")
    running = status not in OVER
    error = told.get("error")
    return JobState(
        id=str(told.get("id", "")),
        status=status,
        progress=output if running and isinstance(output, dict) else {},
        output=None if running else output,
        error=None if error is None else str(error),
        queued_ms=told.get("delayTime"),
        ran_ms=told.get("executionTime"),
    )


@dataclass(frozen=True, slots=True)
class ResultPicture:
    """One picture of a job with `stream`, told before the job was over.

    Attributes:
        index: Its place in the answer's `images`; -1 of a prompt that failed.
        seed: Its own, None where there is none.
        image: base64 or a URL; None where the answer carries none, or where there is an `error`.
        told: All that was said of it.
    """

    index: int
    seed: int | None
    image: str | None = field(repr=False)
    told: Mapping[str, Any] = field(repr=False)

    @property
    def error(self) -> JobFailed | None:
        """The error that kept the picture from being made or streamed."""
        error = self.told.get("error")
        return JobFailed(str(error.get("error", "")), error) if isinstance(error, dict) else None

    def data(self, fetch: Callable[[str], bytes] | None = None) -> bytes:
        """Return its bytes, downloaded where it is a URL.

        Raises:
            JobFailed: there is no picture; says why.
            requests.RequestException: its URL can't be read.
        """
        if self.error is not None:
            raise self.error
        if self.image is None:
            raise JobFailed("the answer carries no pictures", {})
        return _bytes(self.image, fetch or _download)

    def save(self, folder: str | Path, *, name: str = "{number:03}-{seed}", fetch: Any = None) -> Path:
        """Write it into `folder` under the name that `Answer.save` gives it, and return its path."""
        data = self.data(fetch)
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        seed = "x" if self.seed is None else self.seed
        path = target / f"{name.format(number=self.index + 1, seed=seed)}.{_ending(data)}"
        path.write_bytes(data)
        return path


def read_picture(told: object) -> ResultPicture | None:
    """Return the picture that an entry of `/stream` tells of, None where it tells something else."""
    if not isinstance(told, dict) or not ("index" in told or isinstance(told.get("error"), dict)):
        return None
    return ResultPicture(int(told.get("index", -1)), told.get("seed"), told.get("image"), told)


class Answer(dict[str, Any]):
    """A job's output, as the worker wrote it, with handles on what is used most."""

    @property
    def images(self) -> list[str]:
        """Pictures as base64 or URLs."""
        return list(self.get("images") or ())

    @property
    def seeds(self) -> list[int]:
        """The seed of each picture."""
        return list(self.get("seeds") or ())

    @property
    def warnings(self) -> list[str]:
        """Warnings for the client."""
        return list(self.get("warnings") or ())

    def pictures(self, fetch: Callable[[str], bytes] | None = None) -> list[bytes]:
        """Return the pictures' bytes, those given as URLs downloaded.

        Raises:
            requests.RequestException: a URL can't be read.
        """
        read = fetch or _download
        return [_bytes(image, read) for image in self.images]

    def save(self, folder: str | Path, *, name: str = "{number:03}-{seed}", fetch: Any = None) -> list[Path]:
        """Write the pictures into `folder` and return their paths.

        Args:
            folder: Made where it is not there.
            name: Of a file without its ending; ``{number}`` counts from 1, ``{seed}`` is the picture's.
            fetch: Returns the bytes behind a URL; default: a plain download.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        paths = []
        for index, data in enumerate(self.pictures(fetch)):
            seed = self.seeds[index] if index < len(self.seeds) else "x"
            path = target / f"{name.format(number=index + 1, seed=seed)}.{_ending(data)}"
            path.write_bytes(data)
            paths.append(path)
        return paths


def _bytes(image: str, fetch: Callable[[str], bytes]) -> bytes:
    return fetch(image) if "://" in image[:16] else _decoded(image)


def _decoded(image: str) -> bytes:
    return base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image)


def _download(url: str) -> bytes:
    answer = requests.get(url, timeout=DOWNLOAD_S)
    answer.raise_for_status()
    return answer.content


def _ending(data: bytes) -> str:
    return next((ending for sign, at, ending in _SIGNATURES if data[at : at + len(sign)] == sign), "bin")
