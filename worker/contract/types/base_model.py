"""Base of the job's types: a closed, immutable model, and its optional fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from worker.contract.types.fields import Flag, Number, Text

LONGEST_PROMPT = 20_000

Prompt = Annotated[str, Text(LONGEST_PROMPT, empty=True)]
Name = Annotated[str, Text(200)]
Ratio = Annotated[float, Number(0, 1)]
Switch = Annotated[bool, Flag()]


class StrictModel(BaseModel):
    """A model of a part of a job: immutable, and closed against unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def optional(about: str, *, group: str = "picture", plain: bool = True, **more: Any) -> Any:
    """Return an optional field.

    Args:
        about: Its line in the docs.
        group: The table it stands in.
        plain: It travels to the WebUI as it is, under its own name.
        more: What pydantic's `Field` takes, `max_length` for example.
    """
    return Field(None, description=about, json_schema_extra={"group": group, "plain": plain}, **more)
