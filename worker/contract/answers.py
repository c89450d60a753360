"""Answers to jobs, as types. The service returns plain dictionaries of exactly these shapes."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict

from worker.contract.applied_values import (  # noqa: TC001 - pydantic reads the annotations
    Applied,
    AppliedLora,
    AppliedSize,
    AppliedUpscale,
)
from worker.contract.judged_answers import JudgedAnswer  # noqa: TC001 - pydantic reads the annotations


class DeviceInfo(TypedDict):
    """The device that the WebUI computes on, and the limit that follows from it."""

    name: Literal["cuda", "cpu"]
    gpu: str | None
    memory_bytes: int | None
    vram_strategy: Literal["full", "medium", "low"] | None
    max_pixels: int


class WorkerInfo(TypedDict):
    """The worker that answered."""

    version: str
    backend: Literal["a1111", "stand-in"]
    webui_version: NotRequired[str | None]
    device: NotRequired[DeviceInfo | None]
    id: NotRequired[str | None]


class ProblemAnswer(TypedDict):
    """One mistake in a job."""

    path: str
    message: str
    suggestion: NotRequired[str]


class ErrorAnswer(TypedDict):
    """The answer to a job that failed; `error` is a text because the platform requires one."""

    error: str
    error_code: str
    fault: Literal["client", "worker", "platform"]
    retryable: bool
    details: dict[str, Any]


class CachedAnswer(TypedDict):
    """The origin of pictures that come from the result cache."""

    key: str
    """Of the entry."""
    made_at: str
    """ISO 8601, UTC."""
    saved_ms: float
    """Generation that was not needed."""


class PartAnswer(TypedDict):
    """The outcome of one of several prompts, or of a plot's cell: its pictures' places in `images`, or its error."""

    path: str
    images: list[int]
    cell: NotRequired[dict[str, Any]]
    """Of a plot: the value on each axis."""
    applied: NotRequired[Applied]
    info: NotRequired[dict[str, Any]]
    """The WebUI's own `info` on these pictures, parsed."""
    parameters: NotRequired[dict[str, Any]]
    cached: NotRequired[CachedAnswer]
    error: NotRequired[ErrorAnswer]


class CheckAnswer(TypedDict):
    """Findings of the endpoint's image check, or of a judge of the job, in one picture, and the action taken."""

    path: NotRequired[str]
    """Of a job with several prompts or seeds: which."""
    seed: int | None
    action: Literal["flagged", "blurred", "refused", "accepted", "rejected"]
    label: str
    """Of the image check; or the judge's name."""
    score: float | None
    """Of the image check: 0 to 1."""


class PictureAnswer(TypedDict):
    """One picture, whatever the kind of job; null where a fact does not apply."""

    index: int
    """Its place in `images` and `keys`."""
    seed: int | None
    prompt: str | None
    """As it was drawn: wildcards filled in, with words of pools, presets and LoRAs; without the tags of `loras`."""
    loras: list[AppliedLora]
    checkpoint: str | None
    size: AppliedSize
    cell: NotRequired[dict[str, Any]]
    """Of a plot: the value on each axis, `x`, `y` and `z`."""
    key: NotRequired[str]
    """In the store, where it is in one."""
    metadata: NotRequired[str | dict[str, Any]]
    """All facts about it and a job that makes it again; see `output.metadata`. In a store: the URL of the file."""


class PreviewAnswer(TypedDict):
    """Small stand-ins for one picture; what `output.thumbnail` and `output.blurhash` asked for."""

    thumbnail: NotRequired[str]
    """A JPEG: base64 or a URL, as `images` are."""
    blurhash: NotRequired[str]


class JobAnswer(TypedDict):
    """The answer to a job that made pictures (txt2img, img2img, inpaint)."""

    images: list[str]
    """Base64, or URLs; see `output.delivery`."""
    keys: NotRequired[list[str]]
    """Of the pictures in the store, where they are in one."""
    pictures: list[PictureAnswer]
    """One per picture, in their order."""
    seeds: list[int]
    """One per picture: each with `seed` and `batch_size: 1` makes that picture again."""
    applied: Applied
    info: dict[str, Any]
    """The WebUI's own `info`, parsed."""
    parameters: dict[str, Any]
    """The request as it was sent to the WebUI, without pictures."""
    phase_ms: dict[str, float]
    """Milliseconds per phase of the job."""
    warnings: list[str]
    worker: WorkerInfo
    previews: NotRequired[list[PreviewAnswer]]
    """One per picture, in their order."""
    grid: NotRequired[str]
    """All pictures on one sheet: base64 or a URL, as `images` are; of a `plot`, or see `output.grid`."""
    record: NotRequired[str]
    """URL of the file that tells how the pictures were made; see `output.record`."""
    parts: NotRequired[list[PartAnswer]]
    """Of a job with several prompts or seeds, or of a plot: what became of each."""
    checks: NotRequired[list[CheckAnswer]]
    """Findings of the endpoint's image check, where it has one. Empty: none."""
    judged: NotRequired[list[JudgedAnswer]]
    """Of a job with `accept`: every picture that was made, in order."""
    accepted: NotRequired[int]
    """Of a job with `accept`: how many of them were accepted."""
    made: NotRequired[int]
    """Of a job with `accept`: how many there are."""
    average: NotRequired[dict[str, float]]
    """Of a job with `accept`: mean score of the accepted ones by judge."""
    streamed: NotRequired[int]
    """Of a job with `stream`: how many pictures were told on `/stream` before this answer."""
    cached: NotRequired[CachedAnswer]


class JudgeAnswer(TypedDict):
    """The answer to `judge`."""

    judged: list[JudgedAnswer]
    """One per picture, in their order."""
    accepted: int
    average: dict[str, float]
    """Mean score of the accepted ones by judge."""
    judges: dict[str, str]
    """Version of each judge; scores of different ones can't be compared."""
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class StreamedPiece(TypedDict):
    """A piece of a job's `/stream`: one picture, or the reason why there is none."""

    index: NotRequired[int]
    """Its place in the answer's `images`; of a prompt that failed there is none."""
    seed: NotRequired[int]
    path: NotRequired[str]
    """Of a job with several prompts or seeds: which."""
    stage: NotRequired[str]
    """Of a workflow: which stage made it."""
    image: NotRequired[str]
    """Base64 or a URL."""
    key: NotRequired[str]
    format: NotRequired[Literal["png", "jpeg", "webp", "avif"]]
    width: NotRequired[int]
    height: NotRequired[int]
    warnings: NotRequired[list[str]]
    error: NotRequired[ErrorAnswer]


class UpscaleAnswer(TypedDict):
    """The answer to `upscale`."""

    images: list[str]
    keys: NotRequired[list[str]]
    pictures: list[PictureAnswer]
    seeds: list[int]
    """With `tiles`: the seed of the first; else empty, for nothing was drawn."""
    applied: AppliedUpscale
    info: dict[str, Any]
    """The WebUI's words, `html_info`."""
    parameters: dict[str, Any]
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo
    previews: NotRequired[list[PreviewAnswer]]
    record: NotRequired[str]
    checks: NotRequired[list[CheckAnswer]]
    cached: NotRequired[CachedAnswer]


class InterrogateAnswer(TypedDict):
    """The answer to `interrogate`."""

    caption: str
    model: Literal["clip", "deepdanbooru"]
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class ControlMapsAnswer(TypedDict):
    """The answer to `control_maps`."""

    images: list[str]
    """A map of each picture, base64 of a PNG."""
    info: str
    poses: NotRequired[list[Any]]
    """Of preprocessors that find poses: the points."""
    tensor: NotRequired[Any]
    """Of preprocessors that make no picture."""
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class PngInfoAnswer(TypedDict):
    """The answer to `png_info`."""

    info: str
    """The generation parameters as the file has them; empty when it has none."""
    items: dict[str, Any]
    """Other notes of the file."""
    parameters: dict[str, Any]
    """The generation parameters, parsed."""
    job: dict[str, Any]
    """A job that makes the picture again, as far as the file tells."""
    lost: list[str]
    """Names in the file's parameters that `job` does not carry, and fields that have to be added."""
    program: NotRequired[str]
    """The program that wrote the notes, if it is not the WebUI."""
    size: AppliedSize
    format: str
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class ListingAnswer(TypedDict):
    """The answer to a listing."""

    type: str
    items: list[Any] | dict[str, Any]
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class RefreshAnswer(TypedDict):
    """The answer to `refresh` and `prefetch`: what is there now."""

    type: str
    items: dict[str, Any]
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class ValidateAnswer(TypedDict):
    """The answer to `validate`: nothing was generated or fetched."""

    valid: bool
    type: str
    requests: list[dict[str, Any]]
    """The requests that would be sent to the WebUI, without pictures."""
    fetch: list[dict[str, Any]]
    """Models that would be fetched first."""
    cost: dict[str, Any]
    """Pictures, sampling steps, and megapixel steps (steps x width x height / 1,000,000)."""
    warnings: list[str]
    phase_ms: dict[str, float]
    worker: WorkerInfo


ANSWERS: tuple[type[Any], ...] = (
    JobAnswer,
    UpscaleAnswer,
    InterrogateAnswer,
    ControlMapsAnswer,
    PngInfoAnswer,
    JudgeAnswer,
    ListingAnswer,
    RefreshAnswer,
    ValidateAnswer,
    StreamedPiece,
    ErrorAnswer,
)
