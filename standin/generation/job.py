"""The state of a generation: the request with its changes on the way, and the result."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from standin import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from standin.models.checkpoints import Checkpoint
    from standin.models.networks import Applied


@dataclass(slots=True)
class Processing:
    """The WebUI's `p`: the request, and its state on the way."""

    request: dict[str, Any]
    tab: str
    width: Any
    height: Any
    batch_size: int
    n_iter: int
    steps: int
    sampler_name: str
    scheduler: str | None
    prompt: Any
    negative_prompt: Any
    styles: list[str]
    override_settings: dict[str, Any]
    seed: Any = -1
    subseed: Any = -1
    do_not_save_grid: bool = True
    do_not_save_samples: bool = True
    restore_faces: bool | None = None
    face_model: str = "CodeFormer"
    tiling: bool = False
    init_images: list[Image.Image] = field(default_factory=list)
    mask: Image.Image | None = None
    script_args: list[Any] = field(default_factory=list)
    alwayson: dict[str, list[Any]] = field(default_factory=dict)
    extra_generation_params: dict[str, Any] = field(default_factory=dict)
    extra_look: dict[str, str] = field(default_factory=dict)
    """Changes that extensions make to the picture."""
    extra_images: list[Image.Image] = field(default_factory=list)
    """Pictures that extensions add behind the generated ones (control maps)."""
    sd_model_name: str | None = None
    sd_vae_name: str | None = None
    clip_skip: Any = 1
    refiner: Checkpoint | None = None
    all_prompts: list[str] = field(default_factory=list)
    all_negative_prompts: list[str] = field(default_factory=list)
    all_seeds: list[int] = field(default_factory=list)
    all_subseeds: list[int] = field(default_factory=list)
    loras: tuple[Applied, ...] = ()
    lora_hashes: dict[str, str] = field(default_factory=dict)
    start: Callable[[Processing], None] | None = None
    """Sets the next two for a fresh run: scripts run the same request several times."""
    prepare: Callable[[Processing], None] | None = None
    """The tab's work after the prompts are known and before the first step."""
    paint: Callable[[Processing, range], list[Image.Image]] | None = None
    """Makes the pictures of these indexes: one batch."""

    def value(self, name: str) -> Any:
        """A field of the request."""
        return self.request.get(name)

    def set(self, name: str, value: Any) -> None:
        """Changes a field of the request for this run; the echo in the answer stays as it was sent."""
        self.request = {**self.request, name: value}

    def copy(self) -> Processing:
        """A second run of the same request, sharing its dictionaries as the real program's copies do."""
        return copy.copy(self)

    def settings(self) -> dict[str, Any]:
        """The part of `info` that comes from the request and the model."""
        return {
            "subseed_strength": self.value("subseed_strength"),
            "width": self.width,
            "height": self.height,
            "sampler_name": self.sampler_name,
            "cfg_scale": self.value("cfg_scale"),
            "steps": self.steps,
            "batch_size": self.batch_size,
            "restore_faces": self.restore_faces,
            "face_restoration_model": self.face_model if self.restore_faces else None,
            "sd_model_name": self.sd_model_name,
            "sd_model_hash": None,
            "sd_vae_name": self.sd_vae_name,
            "sd_vae_hash": None,
            "seed_resize_from_w": self.value("seed_resize_from_w"),
            "seed_resize_from_h": self.value("seed_resize_from_h"),
            "denoising_strength": self.value("denoising_strength"),
        }


@dataclass(slots=True)
class Processed:
    """The result: pictures with their infotexts inside, and what `info` is made of."""

    images: list[Image.Image]
    infotexts: list[Any]
    seed: int
    subseed: int
    prompt: Any
    all_prompts: list[Any]
    all_negative_prompts: list[Any]
    all_seeds: list[int]
    all_subseeds: list[int]
    settings: dict[str, Any]
    extra_generation_params: dict[str, Any]
    styles: list[str]
    clip_skip: Any
    job_timestamp: str
    index_of_first_image: int = 0

    def info(self) -> str:
        """The `info` of the answer: a JSON text."""
        return json.dumps(
            {
                "prompt": self.all_prompts[0],
                "all_prompts": self.all_prompts,
                "negative_prompt": self.all_negative_prompts[0],
                "all_negative_prompts": self.all_negative_prompts,
                "seed": self.seed,
                "all_seeds": self.all_seeds,
                "subseed": self.subseed,
                "all_subseeds": self.all_subseeds,
                **self.settings,
                "extra_generation_params": self.extra_generation_params,
                "index_of_first_image": self.index_of_first_image,
                "infotexts": self.infotexts,
                "styles": self.styles,
                "job_timestamp": self.job_timestamp,
                "clip_skip": self.clip_skip,
                "is_using_inpainting_conditioning": False,
                "version": VERSION,
            },
            default=lambda _: None,
        )


def result(
    p: Processing,
    images: list[Image.Image],
    *,
    seed: Any = -1,
    info: Any = "",
    clip_skip: Any = 1,
    timestamp: str = "0",
    subseed: Any = None,
    infotexts: list[Any] | None = None,
    all_prompts: list[Any] | None = None,
    first: int = 0,
) -> Processed:
    """A result of `p` as it is now, with the real program's fillings for what was never set."""
    prompt = p.prompt[0] if isinstance(p.prompt, list) else p.prompt
    negative = p.negative_prompt[0] if isinstance(p.negative_prompt, list) else p.negative_prompt
    seed = -1 if seed is None else int(seed[0] if isinstance(seed, list) else seed)
    subseed = -1 if subseed is None else int(subseed)
    return Processed(
        images=images,
        infotexts=infotexts or [info] * len(images),
        seed=seed,
        subseed=subseed,
        prompt=prompt,
        all_prompts=all_prompts or p.all_prompts or [prompt],
        all_negative_prompts=p.all_negative_prompts or [negative],
        all_seeds=p.all_seeds or [seed],
        all_subseeds=p.all_subseeds or [subseed],
        settings=p.settings(),
        extra_generation_params=p.extra_generation_params,
        styles=p.styles,
        clip_skip=clip_skip,
        job_timestamp=timestamp,
        index_of_first_image=first,
    )
