"""Workflows: several stages in one job, each an ordinary job that begins with the pictures of an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from worker.contract.types.base_model import Name, StrictModel, Switch, optional
from worker.contract.types.fields import Choice, Number, Whole
from worker.contract.types.job import LARGEST_SEED, Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_STAGES = 16
MOST_CONTINUED = 1000
_DEFAULTS = "Every other field is a default of each stage that has it."
_OWN = "Every other field is one of the stage's own kind of job."


StageKind = Annotated[Literal["txt2img", "img2img", "inpaint", "upscale", "judge"], Choice({"extras": "upscale"})]


class StageFields(StrictModel):
    """One stage of a workflow: an ordinary job, and its place among the stages."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"description": _OWN})

    name: Name | None = optional("Its name; default: the kind of job and its place.", group="workflow", plain=False)
    type: StageKind | None = optional(
        "The kind of job; `judge` lets only those pictures on that its judges accept.", group="workflow", plain=False
    )
    begins_with: Name | None = Field(
        None,
        alias="from",
        description="The earlier stage whose pictures it begins with; default: the stage before.",
        json_schema_extra={"group": "workflow", "plain": False},
    )
    enabled: Switch | None = optional("false: the stage is skipped, its pictures pass unchanged.", group="workflow")
    seed_offset: Annotated[int, Whole(0, LARGEST_SEED)] | None = optional(
        "Added to each picture's seed.", group="workflow"
    )
    scale: Annotated[float, Number(0.1, 8)] | None = optional(
        "Size of an img2img or upscale stage, as a multiple of its picture's.", group="workflow"
    )
    keep: Annotated[Literal["accepted", "all"], Choice()] | None = optional(
        "Of a judge stage: the pictures that go on; default: those that are accepted.", group="workflow", plain=False
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that has been read.

    Attributes:
        name: Unique in its workflow.
        place: Where the client wrote it: ``stages[1]``, or ``stages.final`` in a named workflow.
        job: The job of one of its pictures; it begins with `start_reference` where there is a source.
        source: The stage whose pictures it begins with; None: it needs none, or brings its own.
        enabled: Whether it is run.
        seed_offset: Added to the seed that a picture has in the workflow.
        scale: Of an img2img stage's size, as a multiple of its picture's.
        keep: Of a judge stage: whether all pictures go on, or those that are accepted.
        own: The fields that the stage gives itself, rather than the workflow.
    """

    name: str
    place: str
    job: Job
    source: str | None
    enabled: bool = True
    seed_offset: int = 0
    scale: float | None = None
    keep: Literal["accepted", "all"] = "accepted"
    own: frozenset[str] = frozenset()


class _Staged(Job):
    """Fields that workflows and their continuations have in common."""

    model_config = ConfigDict(json_schema_extra={"description": _DEFAULTS, "additionalProperties": True})

    workflow: Name | None = optional("A workflow of this endpoint, by name.", group="workflow", plain=False)
    stages: Annotated[list[StageFields], Field(max_length=MOST_STAGES)] | dict[str, StageFields] | None = optional(
        "The stages in their order; with `workflow`: changes to its stages, by name.", group="workflow", plain=False
    )
    stream: Switch | None = optional("Each picture of each stage is told on `/stream`.", group="workflow", plain=False)

    __slots__ = ("_definition", "_plan")

    @property
    def is_planned(self) -> bool:
        """True where the stages have been read."""
        return hasattr(self, "_plan")

    @property
    def plan(self) -> tuple[Stage, ...]:
        """The stages as they were read by `worker.contract.parse.workflow_parser`."""
        plan: tuple[Stage, ...] = object.__getattribute__(self, "_plan")
        return plan

    @property
    def definition(self) -> Mapping[str, Any]:
        """The stages as they were written, and the defaults of their fields."""
        definition: Mapping[str, Any] = object.__getattribute__(self, "_definition")
        return definition

    def planned(self, stages: Sequence[Stage], definition: Mapping[str, Any]) -> None:
        """Keep the stages that were read, and as they were written."""
        object.__setattr__(self, "_plan", tuple(stages))
        object.__setattr__(self, "_definition", definition)

    def stage(self, name: str) -> Stage:
        """Return the stage of that name."""
        return next(stage for stage in self.plan if stage.name == name)


class Workflow(_Staged):
    """Several stages in one job; pictures travel between them inside the worker."""

    kind: ClassVar[str] = "workflow"

    type: Annotated[Literal["workflow"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    until: Name | None = optional(
        "The last stage to be run; `continue` runs the others.", group="workflow", plain=False
    )


class Continue(_Staged):
    """The stages of a workflow that are left, for stored pictures that somebody has chosen."""

    kind: ClassVar[str] = "continue"

    type: Annotated[Literal["continue"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    job: Name | None = optional("The id of the job that made the pictures.", group="workflow", plain=False)
    keep: list[Annotated[int, Whole(0, 100_000)]] | None = optional(
        "Which of its pictures, by their places in its answer; default: all.",
        group="workflow",
        plain=False,
        min_length=1,
        max_length=MOST_CONTINUED,
    )
    keys: list[Annotated[str, Field(min_length=1, max_length=1024)]] | None = optional(
        "Or pictures by their keys in the store.",
        group="workflow",
        plain=False,
        min_length=1,
        max_length=MOST_CONTINUED,
    )
    after: Name | None = optional(
        "The stage that made the pictures; default: what the store says.", group="workflow", plain=False
    )
    again: Switch | None = optional(
        "Make pictures anew whose last stage is in the store.", group="workflow", plain=False
    )


def start_reference(source: str) -> str:
    """Return the text that stands, in the job of a stage, for the picture of the stage `source`."""
    return f"key:stages/{source}"
