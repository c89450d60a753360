"""Answers of workflows and their continuations, as types; see `worker.contract.answers`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict

from worker.contract.answers import (  # noqa: TC001 - pydantic reads the annotations
    CachedAnswer,
    CheckAnswer,
    ErrorAnswer,
    PartAnswer,
    PictureAnswer,
    PreviewAnswer,
    WorkerInfo,
)
from worker.contract.applied_values import Applied, AppliedUpscale  # noqa: TC001 - pydantic reads the annotations


class StageAnswer(TypedDict):
    """The results of one stage of a workflow."""

    name: str
    type: str
    seeds: NotRequired[list[int]]
    seed_offset: NotRequired[int]
    """Added to the seed of the job in this stage; left out where it is 0."""
    applied: NotRequired[Applied | AppliedUpscale]
    phase_ms: NotRequired[dict[str, float]]
    images: NotRequired[list[str]]
    """Of the stages in `output.intermediates`; the last stage's are those of the answer."""
    keys: NotRequired[list[str]]
    cached: NotRequired[CachedAnswer]
    skipped: NotRequired[bool]
    """true: it was switched off, or comes after `until`."""


class WorkflowAnswer(TypedDict):
    """The answer to `workflow`: the last stage's, and what became of each stage."""

    images: list[str]
    keys: NotRequired[list[str]]
    seeds: list[int]
    applied: Applied | AppliedUpscale
    info: dict[str, Any]
    parameters: dict[str, Any]
    pictures: list[PictureAnswer]
    stages: list[StageAnswer]
    parts: NotRequired[list[PartAnswer]]
    """Of several pictures: what the last stage made of each."""
    checks: NotRequired[list[CheckAnswer]]
    previews: NotRequired[list[PreviewAnswer]]
    grid: NotRequired[str]
    record: NotRequired[str]
    streamed: NotRequired[int]
    cached: NotRequired[CachedAnswer]
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


class ContinuedAnswer(TypedDict):
    """The outcome for one chosen picture."""

    key: str
    """Of the picture that was chosen."""
    status: Literal["made", "skipped", "failed"]
    """skipped: its last stage is in the store already."""
    images: NotRequired[list[str]]
    keys: NotRequired[list[str]]
    seeds: NotRequired[list[int]]
    pictures: NotRequired[list[PictureAnswer]]
    applied: NotRequired[Applied | AppliedUpscale]
    stages: NotRequired[list[StageAnswer]]
    previews: NotRequired[list[PreviewAnswer]]
    checks: NotRequired[list[CheckAnswer]]
    cached: NotRequired[CachedAnswer]
    error: NotRequired[ErrorAnswer]


class ContinueAnswer(TypedDict):
    """The answer to `continue`."""

    images: list[str]
    """Of the pictures that were made now."""
    seeds: list[int]
    parts: list[ContinuedAnswer]
    phase_ms: dict[str, float]
    warnings: list[str]
    worker: WorkerInfo


WORKFLOW_ANSWERS: tuple[type[Any], ...] = (WorkflowAnswer, ContinueAnswer)
