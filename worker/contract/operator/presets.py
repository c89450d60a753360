"""Presets: named sets of fields, words and LoRAs that an operator offers, from YAML. Pure.

A preset gives defaults for fields that the client leaves out, forces fields that the client may not choose, and caps
numbers. One with words or LoRAs adds them to the client's own::

    draft:
      about: Fast and rough.
      role: quality
      defaults: {steps: 12, sampler_name: DPM++ 2M Karras}
      forced: {output: {format: jpeg}}
      limits: {steps: 20}
    luca:
      about: The red-haired boy of the summer series.
      role: character
      base_model: SDXL
      prompt: {before: "luca, a boy with red hair"}
      negative: {add: "beard"}
      loras: [{name: luca, scale: 0.85}]
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.common.yaml_text import load_yaml
from worker.contract.types.kinds import Role
from worker.contract.types.model_ref import LoraRef


class PresetsInvalid(ValueError):
    """The YAML is not a set of presets; the message names the preset and what is wrong."""


class _PresetPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _nothing_is_empty(value: Any) -> Any:
    """Return an empty mapping for a key without a value, as YAML leaves it."""
    return {} if value is None else value


def _checked_lora(value: Any) -> Any:
    """Return a LoRA as it is written, so that a job's own reading of it is the only one."""
    LoraRef.model_validate(value)
    return value


Fields = Annotated[dict[str, Any], BeforeValidator(_nothing_is_empty)]
Limits = Annotated[dict[str, Annotated[float, Field(strict=True)]], BeforeValidator(_nothing_is_empty)]
Lora = Annotated[str | dict[str, Any], BeforeValidator(_checked_lora)]


class PresetPrompt(_PresetPart):
    """Words around the client's prompt."""

    before: str = ""
    after: str = ""

    @property
    def is_set(self) -> bool:
        """True where there are any."""
        return bool(self.before or self.after)


class PresetNegative(_PresetPart):
    """Words behind the client's negative prompt."""

    add: str = ""


class Consistency(_PresetPart):
    """The likeness to its references that a face has to have.

    Attributes:
        threshold: Least similarity, 0 to 1.
        against: The mean of the references, or the one that resembles it most.
    """

    threshold: float | None = Field(None, ge=0, le=1)
    against: Literal["mean", "best"] | None = None


class Preset(_PresetPart):
    """One preset.

    Attributes:
        name: By which jobs call it.
        role: What it describes; presets of different roles add up.
        about: For people.
        base_model: The only base model of checkpoints that it works with.
        prompt: Words around the client's prompt.
        negative: Words behind the client's negative prompt.
        loras: Added to the client's, in the form in which jobs name LoRAs.
        references: Pictures of a character's face, as paths below MODELS_DIR or keys in the store.
        consistency: How closely pictures have to resemble them.
        defaults: Values for fields that the client leaves out.
        forced: Values that the client may not choose.
        limits: The largest number by field.
    """

    name: str
    role: Role | None = None
    about: str = ""
    base_model: str | None = None
    prompt: PresetPrompt = PresetPrompt()
    negative: PresetNegative = PresetNegative()
    loras: tuple[Lora, ...] = ()
    references: tuple[str, ...] = ()
    consistency: Consistency | None = None
    defaults: Fields = Field(default_factory=dict)
    forced: Fields = Field(default_factory=dict)
    limits: Limits = Field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the preset as listings show it: only what it sets."""
        return self.model_dump(mode="json", exclude_defaults=True)


def read_presets(text: str) -> dict[str, Preset]:
    """Return the presets in a YAML text.

    Raises:
        PresetsInvalid: not YAML, or not of this shape.
    """
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise PresetsInvalid(f"not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PresetsInvalid("must be a mapping of names to presets")
    return {str(name): _read_one(str(name), body) for name, body in content.items()}


def _read_one(name: str, body: object) -> Preset:
    if not isinstance(body, dict):
        raise PresetsInvalid(f"{name}: must be a mapping")
    try:
        return Preset.model_validate({**{str(key): value for key, value in body.items()}, "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            keys = ", ".join(sorted(Preset.model_fields.keys() - {"name"}))
            raise PresetsInvalid(f"{name}: unknown key {where!r}; there are {keys}") from None
        raise PresetsInvalid(f"{name}: {where}: {first['msg']}") from None
