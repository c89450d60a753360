"""Tiles: a large picture redrawn piece by piece, and the fields that an upscale job needs for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from worker.contract.types.base_model import Name, Prompt, Ratio, StrictModel, optional
from worker.contract.types.controlnet import ControlNetUnit  # noqa: TC001 - pydantic reads the annotations
from worker.contract.types.fields import Choice, Number, Whole, mistake
from worker.contract.types.job import Refiner, Seed  # noqa: TC001 - as above
from worker.contract.types.model_ref import LoraRef, ModelRef  # noqa: TC001 - as above

DEFAULT_TILE = 512
DEFAULT_OVERLAP = 64
DEFAULT_TILE_STRENGTH = 0.35


class Tiles(StrictModel):
    """A picture cut into overlapping tiles, each redrawn by img2img, blended into one picture again."""

    size: Annotated[int, Whole(64, 2048, 8)] | None = optional(
        f"Width and height of a tile, pixels; default {DEFAULT_TILE}.", group="tiles"
    )
    overlap: Annotated[int, Whole(8, 1016)] | None = optional(
        f"Pixels shared by neighbours, less than half of `size`; default {DEFAULT_OVERLAP}, at most a quarter of it.",
        group="tiles",
    )
    blend: Annotated[Literal["cosine", "linear"], Choice()] | None = optional(
        "Curve of the transition; default cosine.", group="tiles"
    )
    denoising_strength: Ratio | None = optional(
        f"How much a tile may change; default the job's, else {DEFAULT_TILE_STRENGTH}. 0 leaves the picture as it is.",
        group="tiles",
    )
    batch_size: Annotated[int, Whole(1, 16)] | None = optional(
        "Tiles redrawn at once, at most; default 4.", group="tiles"
    )
    refiner: Refiner | None = optional("Second model for the last steps of each tile.", group="tiles")
    controlnet: list[ControlNetUnit] | None = optional(
        "ControlNet units of each tile; their picture is the tile itself.", group="tiles", max_length=10
    )

    @model_validator(mode="before")
    @classmethod
    def _one_unit_without_a_list(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("controlnet"), dict):
            return {**value, "controlnet": [value["controlnet"]]}
        return value

    @model_validator(mode="after")
    def _overlap_is_less_than_half(self) -> Tiles:
        if 2 * self.pixels_of_overlap >= self.side:
            raise mistake(f"overlap must be less than half of size ({self.side}), not {self.pixels_of_overlap}")
        return self

    @property
    def side(self) -> int:
        """Width and height of a tile, pixels."""
        return self.size or DEFAULT_TILE

    @property
    def pixels_of_overlap(self) -> int:
        """Pixels shared by neighbouring tiles, at least."""
        return self.overlap or max(8, min(DEFAULT_OVERLAP, self.side // 4))


class TilePrompt(StrictModel):
    """The fields that tell how the tiles of an upscale job are redrawn."""

    prompt: Prompt | None = optional("With `tiles`: what the picture shows; default: its own notes.", plain=False)
    negative_prompt: Prompt | None = optional("With `tiles`: what to keep out; default likewise.", plain=False)
    seed: Seed | None = optional("With `tiles`: of the first tile, the next ones count up; -1: random.", plain=False)
    steps: Annotated[int, Whole(1, 150)] | None = optional("With `tiles`: sampling steps.", plain=False)
    cfg_scale: Annotated[float, Number(1, 30)] | None = optional("With `tiles`: how closely to follow.", plain=False)
    sampler_name: Name | None = optional("With `tiles`: sampler.", plain=False)
    scheduler: Name | None = optional("With `tiles`: noise schedule.", plain=False)
    styles: list[Name] | None = optional("With `tiles`: prompt styles.", group="details", plain=False, max_length=50)
    checkpoint: ModelRef | None = optional("With `tiles`: model; default: the picture's.", group="models", plain=False)
    vae: ModelRef | None = optional("With `tiles`: VAE.", group="models", plain=False)
    loras: list[LoraRef] | None = optional("With `tiles`: LoRAs.", group="models", plain=False, max_length=50)
    embeddings: list[ModelRef] | None = optional(
        "With `tiles`: embeddings.", group="models", plain=False, max_length=50
    )
    clip_skip: Annotated[int, Whole(1, 12)] | None = optional(
        "With `tiles`: layers of CLIP.", group="models", plain=False
    )
    override_settings: dict[str, Any] | None = optional(
        "With `tiles`: options of the WebUI for this job alone.", group="details", plain=False
    )


TILE_FIELDS: tuple[str, ...] = tuple(TilePrompt.model_fields)
"""Fields of an upscale job that have no effect without `tiles`."""
