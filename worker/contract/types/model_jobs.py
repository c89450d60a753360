"""Jobs about model files instead of pictures: what is there, fetch, remove."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from worker.contract.types.base_model import optional
from worker.contract.types.fields import Choice
from worker.contract.types.job import Job
from worker.contract.types.model_ref import ModelRef
from worker.settings import ModelKind  # noqa: TC001 - pydantic reads the annotations

MOST_MODELS = 50


class KindedRef(ModelRef):
    """A model with its kind, which may be left out where the catalog, an AIR or the volume tells it."""

    kind: ModelKind | None = Field(None, description="What it is.")


class ModelsList(Job):
    """List the models on the volume, and those that the catalog could fetch."""

    kind: ClassVar[str] = "models.list"

    type: Annotated[Literal["models.list"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    what: list[Annotated[ModelKind, Choice()]] | None = optional(
        "Default: all.", group="models", plain=False, max_length=8
    )


class ModelsPrefetch(Job):
    """Fetch models of any kind now, so that later jobs find them."""

    kind: ClassVar[str] = "models.prefetch"

    type: Annotated[Literal["models.prefetch"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    models: list[KindedRef] = Field(
        description="Names or objects with a kind.",
        json_schema_extra={"group": "models", "plain": False},
        min_length=1,
        max_length=MOST_MODELS,
    )


class ModelsRemove(Job):
    """Remove models from the volume, where the operator allows it."""

    kind: ClassVar[str] = "models.remove"

    type: Annotated[Literal["models.remove"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    models: list[KindedRef] = Field(
        description="Names or objects with a kind.",
        json_schema_extra={"group": "models", "plain": False},
        min_length=1,
        max_length=MOST_MODELS,
    )


ModelJob = ModelsList | ModelsPrefetch | ModelsRemove
