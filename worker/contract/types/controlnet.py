"""ControlNet's units, by allow-list: what is not a field here never reaches the extension.

A unit takes the extension's own names, its old ones and a few short ones. A unit that is listed is on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from worker.contract.types.base_model import Name, Ratio, StrictModel, Switch, optional
from worker.contract.types.fields import Choice, Number, Whole, mistake
from worker.contract.types.picture_ref import Picture  # noqa: TC001 - pydantic reads the annotations

OLD_NAMES = {
    "input_image": "image",
    "mask_image": "mask",
    "lowvram": "low_vram",
    "guidance": "guidance_end",
    "preprocessor": "module",
    "control_model": "model",
    "conditioning_scale": "weight",
}
_SCREEN_ONLY = frozenset(
    {
        "input_mode",
        "batch_images",
        "batch_image_dir",
        "batch_image_files",
        "batch_input_gallery",
        "batch_keyframe_idx",
        "batch_mask_dir",
        "batch_mask_gallery",
        "batch_modifiers",
        "animatediff_batch",
        "output_dir",
        "loopback",
        "is_ui",
        "use_preview_as_input",
        "generated_image",
        "mask_image_fg",
        "guess_mode",
        "guessmode",
        "multi_inputs_gallery",
        "hr_option_ui",
        "image_fg",
        "save_detected_map",
    }
)
"""Fields of ControlNet's screen, which its exported requests are full of; they mean nothing here."""


class ControlNetUnit(StrictModel):
    """One ControlNet."""

    enabled: Switch | None = optional("Default true.", group="controlnet")
    module: Name | None = optional(
        "Preprocessor (`canny`, `depth_midas`, `openpose` …); default none.", group="controlnet"
    )
    model: Name | None = optional("ControlNet model by name.", group="controlnet")
    image: Picture | None = optional(
        "What controls; img2img: default the picture itself.", group="controlnet", plain=False
    )
    mask: Picture | None = optional("White: where it acts.", group="controlnet", plain=False)
    weight: Annotated[float, Number(0, 2)] | None = optional("Strength; default 1.", group="controlnet")
    guidance_start: Ratio | None = optional("Share of the steps from which it acts.", group="controlnet")
    guidance_end: Ratio | None = optional("Share of the steps up to which it acts.", group="controlnet")
    resize_mode: (
        Annotated[
            Literal["Just Resize", "Crop and Resize", "Resize and Fill"],
            Choice(
                {
                    "0": "just resize",
                    "1": "crop and resize",
                    "2": "resize and fill",
                    "scale to fit (inner fit)": "crop and resize",
                    "inner fit (scale to fit)": "crop and resize",
                    "envelope (outer fit)": "resize and fill",
                    "outer fit (shrink to fit)": "resize and fill",
                    "resize": "just resize",
                    "crop": "crop and resize",
                    "fill": "resize and fill",
                }
            ),
        ]
        | None
    ) = optional("How the control picture meets the size; default Crop and Resize.", group="controlnet")
    control_mode: (
        Annotated[
            Literal["Balanced", "My prompt is more important", "ControlNet is more important"],
            Choice(
                {
                    "0": "balanced",
                    "1": "my prompt is more important",
                    "2": "controlnet is more important",
                    "prompt": "my prompt is more important",
                    "controlnet": "controlnet is more important",
                    "control": "controlnet is more important",
                }
            ),
        ]
        | None
    ) = optional("What wins; default Balanced.", group="controlnet")
    pixel_perfect: Switch | None = optional("Let the extension choose processor_res.", group="controlnet")
    processor_res: Annotated[int, Whole(-1, 2048)] | None = optional(
        "Size of the preprocessor; -1: its own.", group="controlnet"
    )
    threshold_a: Annotated[float, Number(-1, 10_000)] | None = optional(
        "First number of the preprocessor.", group="controlnet"
    )
    threshold_b: Annotated[float, Number(-1, 10_000)] | None = optional(
        "Second number of the preprocessor.", group="controlnet"
    )
    low_vram: Switch | None = optional("Less memory, slower.", group="controlnet")
    hr_option: Annotated[Literal["Both", "Low res only", "High res only"], Choice()] | None = optional(
        "Passes of hires fix in which it acts.", group="controlnet"
    )
    advanced_weighting: list[Annotated[float, Number(-10, 10)]] | None = optional(
        "A weight per layer.", group="controlnet", max_length=32
    )
    effective_region_mask: Picture | None = optional(
        "White: where the result is used.", group="controlnet", plain=False
    )
    inpaint_crop_input_image: Switch | None = optional("Crop to the mask.", group="controlnet")
    union_control_type: Name | None = optional("Of a union model: OpenPose, Depth, …", group="controlnet")
    pulid_mode: Annotated[Literal["Fidelity", "Extremely style"], Choice()] | None = optional(
        "Of PuLID.", group="controlnet"
    )

    @model_validator(mode="before")
    @classmethod
    def _own_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        unit = {
            key: part
            for key, part in value.items()
            if part is not None and key not in _SCREEN_ONLY and not (part == 1 and key == "downsample")
        }
        unit = _renamed(unit)
        if isinstance(unit.get("image"), dict):
            picture = unit.pop("image")
            unit["image"] = picture.get("image")
            if picture.get("mask") and unit.setdefault("mask", picture["mask"]) != picture["mask"]:
                raise mistake("has mask twice, beside image and in it")
        if unit.get("module") == "None":  # as the extension's screen has it; its API knows the small word alone
            unit["module"] = "none"
        for name in ("resize_mode", "control_mode"):
            if type(unit.get(name)) in {int, float}:
                unit[name] = f"{unit[name]:g}"
        return {key: part for key, part in unit.items() if part is not None}

    @model_validator(mode="after")
    def _in_order(self) -> ControlNetUnit:
        start, end = self.guidance_start or 0.0, 1.0 if self.guidance_end is None else self.guidance_end
        if start > end:
            raise mistake(f"guidance_start ({start:g}) must not be after guidance_end ({end:g})")
        return self

    @property
    def is_on(self) -> bool:
        """True for a unit that runs."""
        return self.enabled is not False


def own_name(key: str) -> str:
    """Return our name of a unit's field by the client's."""
    return OLD_NAMES.get(key, key)


def _renamed(unit: dict[str, Any]) -> dict[str, Any]:
    """Return `unit` with old names replaced; an old and a new name at once are a mistake."""
    renamed: dict[str, Any] = {}
    for key, part in unit.items():
        name = own_name(key)
        if name in renamed:
            raise mistake(f"has {name} twice, under two names")
        renamed[name] = part
    return renamed
