"""What a job answers with, as types. The service returns plain dictionaries of exactly these shapes."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict


class AppliedLora(TypedDict):
    """A LoRA that was in effect."""

    name: str
    scale: float
    base_model: NotRequired[str | None]


class AppliedSize(TypedDict):
    """Measured on the pictures themselves, pixels."""

    width: int
    height: int


class Applied(TypedDict):
    """What the WebUI really used, by its own answer and by the pictures' bytes; null where it does not say."""

    checkpoint: str | None
    checkpoint_hash: str | None
    vae: str | None
    loras: list[AppliedLora]
    sampler: str | None
    scheduler: str | None
    clip_skip: int | None
    size: AppliedSize | None


class WorkerInfo(TypedDict):
    """Who answered."""

    version: str
    backend: Literal["a1111", "stand-in"]
    webui_version: NotRequired[str | None]
    id: NotRequired[str | None]


class JobAnswer(TypedDict):
    """The answer to a job that made pictures."""

    images: list[str]
    """Base64, or URLs; see `output.delivery`."""
    seeds: list[int]
    """One per picture: each with `seed` and `batch_size: 1` makes that picture again."""
    applied: Applied
    info: dict[str, Any]
    """The WebUI's own `info`, parsed."""
    parameters: dict[str, Any]
    """The request as it was sent to the WebUI."""
    phase_ms: dict[str, float]
    """Milliseconds per phase of the job."""
    warnings: list[str]
    worker: WorkerInfo
    grid: NotRequired[str]
    """The grid, where one was made; never among `images`."""


class ProblemAnswer(TypedDict):
    """One mistake in a job."""

    path: str
    message: str
    suggestion: NotRequired[str]


class ErrorDetails(TypedDict, total=False):
    """More about an error."""

    hint: str
    problems: list[ProblemAnswer]


class ErrorAnswer(TypedDict):
    """The answer to a job that failed; `error` is a text because the platform requires one."""

    error: str
    error_code: str
    fault: Literal["client", "worker", "platform"]
    retryable: bool
    details: dict[str, Any]
