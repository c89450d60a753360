"""ADetailer's passes, by allow-list: find, mask, inpaint."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import model_validator

from worker.contract.base.json_guard import shown, word
from worker.contract.base.neutral import is_off
from worker.contract.types.base_model import Name, Prompt, Ratio, StrictModel, Switch, optional
from worker.contract.types.fields import Choice, Number, Whole, mistake
from worker.contract.types.model_ref import ModelRef  # noqa: TC001 - pydantic reads the annotations


class ADetailerUnit(StrictModel):
    """One pass of ADetailer: find, mask, inpaint. Fields may also be written with the extension's `ad_` before them."""

    enabled: Switch | None = optional("Default true.", group="adetailer")
    model: Name | None = optional("Detector (`face_yolov8n.pt`, `mediapipe_face_full` …).", group="adetailer")
    prompt: Prompt | None = optional("Empty: the job's; [PROMPT], [SEP], [SKIP] are understood.", group="adetailer")
    negative_prompt: Prompt | None = optional("Empty: the job's.", group="adetailer")
    confidence: Ratio | None = optional("Least confidence of a detection; default 0.3.", group="adetailer")
    mask_filter_method: Annotated[Literal["Area", "Confidence"], Choice()] | None = optional(
        "What mask_k counts by.", group="adetailer"
    )
    mask_k: Annotated[int, Whole(0, 100)] | None = optional("At most that many detections; 0: all.", group="adetailer")
    mask_min_ratio: Ratio | None = optional("Least share of the picture.", group="adetailer")
    mask_max_ratio: Ratio | None = optional("Largest share of the picture.", group="adetailer")
    dilate_erode: Annotated[int, Whole(-128, 128)] | None = optional("Grow the mask, pixels.", group="adetailer")
    x_offset: Annotated[int, Whole(-200, 200)] | None = optional("Move the mask, pixels.", group="adetailer")
    y_offset: Annotated[int, Whole(-200, 200)] | None = optional("Move the mask, pixels.", group="adetailer")
    mask_merge_invert: Annotated[Literal["None", "Merge", "Merge and Invert"], Choice()] | None = optional(
        "What is done with several masks.", group="adetailer"
    )
    mask_blur: Annotated[int, Whole(0, 64)] | None = optional("Pixels.", group="adetailer")
    denoising_strength: Ratio | None = optional("Default 0.4.", group="adetailer")
    inpaint_only_masked: Switch | None = optional("Default true.", group="adetailer")
    inpaint_only_masked_padding: Annotated[int, Whole(0, 256)] | None = optional("Pixels.", group="adetailer")
    inpaint_width: Annotated[int, Whole(64, 2048, 8)] | None = optional("Own size.", group="adetailer")
    inpaint_height: Annotated[int, Whole(64, 2048, 8)] | None = optional("Own size.", group="adetailer")
    steps: Annotated[int, Whole(1, 150)] | None = optional("Own steps.", group="adetailer")
    cfg_scale: Annotated[float, Number(0, 30)] | None = optional("Own CFG scale.", group="adetailer")
    sampler: Name | None = optional("Own sampler.", group="adetailer")
    scheduler: Name | None = optional("Own noise schedule.", group="adetailer")
    noise_multiplier: Annotated[float, Number(0.5, 1.5)] | None = optional("Own noise multiplier.", group="adetailer")
    clip_skip: Annotated[int, Whole(1, 12)] | None = optional("Own clip skip.", group="adetailer")
    checkpoint: ModelRef | None = optional("Own checkpoint.", group="adetailer", plain=False)
    vae: ModelRef | None = optional("Own VAE.", group="adetailer", plain=False)
    restore_face: Switch | None = optional("Run the face restorer.", group="adetailer")
    controlnet_model: Name | None = optional("ControlNet inside the pass, or Passthrough.", group="adetailer")
    controlnet_module: Name | None = optional("Its preprocessor.", group="adetailer")
    controlnet_weight: Ratio | None = optional("Its strength.", group="adetailer")
    controlnet_guidance_start: Ratio | None = optional("Share of the steps.", group="adetailer")
    controlnet_guidance_end: Ratio | None = optional("Share of the steps.", group="adetailer")

    @model_validator(mode="before")
    @classmethod
    def _own_names(cls, value: Any) -> Any:
        if isinstance(value, (str, bool)):
            is_name = isinstance(value, str) and len(value) <= _LONGEST_NAME
            named = {"ad_model": value if is_name else "face_yolov8n.pt"}
            raise mistake(f"must be an object, not {shown(value)}", json.dumps(named))
        if not isinstance(value, dict):
            return value
        unit: dict[str, Any] = {}
        for key, part in value.items():
            name = own_name(key)
            if part is None or key in _SCREEN_ONLY or word(part) in _AS_UNSET.get(name, ()):
                continue
            if key.removeprefix("ad_") == "conf" and type(part) in {int, float} and part > 1:
                part = part / 100  # noqa: PLW2901 - what was percent
            if unit.get(name, part) != part:
                raise mistake(f"has {name} twice, under two names")
            unit[name] = part
        for switch, names in SWITCHES.items():
            if is_off(unit.pop(switch, True)):
                for name in names:
                    unit.pop(name, None)
        return unit

    @property
    def is_on(self) -> bool:
        """True for a pass that runs."""
        return self.enabled is not False and self.model not in {None, "None"}


_LONGEST_NAME = 60
OLD_NAMES = {
    "tab_enable": "enabled",
    "conf": "confidence",
    "mask_k_largest": "mask_k",
    "inpaint_full_res": "inpaint_only_masked",
    "inpaint_full_res_padding": "inpaint_only_masked_padding",
}
"""Names of older versions of the extension → today's. `conf` was percent."""


def own_name(key: str) -> str:
    """Return our name of a pass's field by the client's: the extension's `ad_` and its older names go."""
    bare = key.removeprefix("ad_")
    return OLD_NAMES.get(bare, bare)


_AS_UNSET = {
    "checkpoint": frozenset({"use same checkpoint", "none"}),
    "vae": frozenset({"use same vae", "none"}),
    "sampler": frozenset({"use same sampler"}),
    "scheduler": frozenset({"use same scheduler"}),
    "controlnet_model": frozenset({"none"}),
    "controlnet_module": frozenset({"none"}),
}
"""Words of the extension's menus for the job's own choice."""
SWITCHES = {
    "use_inpaint_width_height": ("inpaint_width", "inpaint_height"),
    "use_steps": ("steps",),
    "use_cfg_scale": ("cfg_scale",),
    "use_checkpoint": ("checkpoint",),
    "use_vae": ("vae",),
    "use_sampler": ("sampler", "scheduler"),
    "use_noise_multiplier": ("noise_multiplier",),
    "use_clip_skip": ("clip_skip",),
}
"""The extension's switches: here a value that is given is used, and one whose switch is off is left out."""
_SCREEN_ONLY = frozenset({"is_api", "ad_model_classes", "ad_api_only"})
