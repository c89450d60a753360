"""Models and values that made a picture, as types of the answer's `applied`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, Required, TypedDict


class AppliedLora(TypedDict):
    """A LoRA that was in effect."""

    name: str
    scale: float
    base_model: NotRequired[str | None]


class AppliedSize(TypedDict):
    """Measured on the pictures themselves, pixels."""

    width: int
    height: int


class AppliedRefiner(TypedDict, total=False):
    """A second checkpoint that took over."""

    checkpoint: str
    switch_at: float
    """Share of the steps; 0: it made the picture alone, and `checkpoint` names it."""


class AppliedHires(TypedDict, total=False):
    """The second pass; a value that is not there is that of the first pass."""

    upscaler: str
    scale: float
    width: int
    height: int
    steps: int
    denoising_strength: float
    checkpoint: str
    sampler: str
    scheduler: str
    prompt: str
    negative_prompt: str


class AppliedControlNet(TypedDict, total=False):
    """A ControlNet unit that ran."""

    module: str
    model: str
    weight: float
    guidance_start: float
    guidance_end: float
    control_mode: str


class AppliedADetailer(TypedDict, total=False):
    """A pass of ADetailer."""

    model: str
    confidence: float
    denoising_strength: float
    checkpoint: str
    sampler: str


class AppliedTiles(TypedDict):
    """Tiles that were redrawn, one by one or in batches, and blended."""

    count: int
    """0: the denoising strength left nothing to redraw."""
    size: int
    """Width and height of a tile, pixels."""
    overlap: int
    blend: Literal["cosine", "linear"]
    denoising_strength: float
    seeds: list[int]
    """One per tile, row by row."""


class Applied(TypedDict):
    """The facts of a picture, by the WebUI's answer and the pictures' bytes; null where neither says."""

    checkpoint: str | None
    checkpoint_hash: str | None
    vae: str | None
    loras: list[AppliedLora]
    sampler: str | None
    scheduler: str | None
    clip_skip: int | None
    size: AppliedSize | None
    refiner: NotRequired[AppliedRefiner | None]
    hires: NotRequired[AppliedHires | None]
    embeddings: NotRequired[list[str]]
    """Those that the prompts name and the WebUI has."""
    controlnet: NotRequired[list[AppliedControlNet]]
    adetailer: NotRequired[list[AppliedADetailer]]
    preset: NotRequired[dict[str, Any]]
    """Fields that presets added or changed."""
    tiles: NotRequired[AppliedTiles]


class AppliedUpscale(TypedDict, total=False):
    """The means by which a picture was made larger; with `tiles` also those of redrawing them, as in `Applied`."""

    upscalers: Required[list[str]]
    size: Required[AppliedSize]
    tiles: AppliedTiles
    checkpoint: str | None
    checkpoint_hash: str | None
    vae: str | None
    loras: list[AppliedLora]
    sampler: str | None
    scheduler: str | None
    clip_skip: int | None
    refiner: AppliedRefiner | None
    hires: AppliedHires | None
    embeddings: list[str]
    controlnet: list[AppliedControlNet]
    adetailer: list[AppliedADetailer]
