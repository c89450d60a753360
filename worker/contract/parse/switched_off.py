"""Removal of units that are switched off: their fields leave the job unchecked, whatever models they name.

Clients keep the settings of a part of their screen while that part is off, and the WebUI reads none of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import PydanticCustomError

from worker.contract.base.json_guard import word
from worker.contract.base.neutral import is_off
from worker.contract.types.fields import Flag, Whole
from worker.contract.types.kinds import KINDS, Img2Img, Inpaint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.contract.parse.normalise import Normal

_OBJECTS = ("tiled_diffusion", "tiled_vae", "soft_inpainting", "ultimate_upscale")
_UNITS = ("controlnet", "adetailer")
_IDLE_HIRES: dict[str, tuple[object, ...]] = {
    "hr_scale": (0, 1, 2),
    "hr_resize_x": (0,),
    "hr_resize_y": (0,),
    "hr_upscaler": ("Latent", "None"),
    "hr_second_pass_steps": (0,),
}
_IDLE_MASK: dict[str, tuple[object, ...]] = {
    "mask_blur": (0, 4),
    "mask_blur_x": (0, 4),
    "mask_blur_y": (0, 4),
    "mask_round": (True,),
    "inpainting_fill": (0, 1),
    "inpaint_full_res": (True, False, 0, 1),
    "inpaint_full_res_padding": (0, 32),
    "inpainting_mask_invert": (0,),
}
IDLE_START: dict[str, tuple[object, ...]] = {
    "resize_mode": (0,),
    "image_cfg_scale": (0, 1.5),
    "initial_noise_multiplier": (0, 1),
}
"""Settings of a start picture → the values that the WebUI's API and its screen give them unasked."""
HIRES = "enable_hr"


_NEVER_SWITCHES = frozenset({"alwayson_scripts", "override_settings", "script_args", "script_name", "sampler_index"})
"""Names that no kind of job has a field of, and that say nothing where they are false."""


def without_false(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` without those that are false although they are no switches: such a part is not wanted."""
    return {name: value for name, value in fields.items() if value is not False or name not in _no_switches()}


@cache
def _no_switches() -> frozenset[str]:
    """Return the names of which false is no value in any kind of job."""
    fields = [(name, field) for model in KINDS.values() for name, field in model.model_fields.items()]
    switches = {name for name, field in fields if _is_switch(field.annotation, field.metadata)}
    return _NEVER_SWITCHES | {name for name, _ in fields} - switches


def _is_switch(annotation: Any, metadata: Iterable[Any] = ()) -> bool:
    """Return whether an annotation takes false for a value."""
    return annotation is bool or any(
        isinstance(part, Flag) or part == Whole(0, 1) or _is_switch(part) for part in (*metadata, *get_args(annotation))
    )


def leave_out(normal: Normal, kind: str) -> None:
    """Take what is off out of the fields of a job of this kind, and warn of what looks like a wish."""
    _units(normal)
    for name in _OBJECTS:
        if name in normal.fields and is_off(normal.fields[name]):
            del normal.fields[name]
    _hires(normal, kind)
    model = KINDS[kind]
    if issubclass(model, Img2Img):
        if model is not Inpaint:
            _settings(normal, _IDLE_MASK, "without a mask")
    elif kind == "txt2img":
        for name, idle in {**_IDLE_MASK, **IDLE_START}.items():
            if name in normal.fields and _is_one_of(normal.fields[name], idle):
                del normal.fields[name]


def _units(normal: Normal) -> None:
    """Leave no more of a unit that is off than its place in the list."""
    for name in _UNITS:
        units = normal.fields.get(name)
        if not isinstance(units, list):
            continue
        kept = [{"enabled": False} if _is_idle(unit) else unit for unit in units]
        if all(unit == {"enabled": False} for unit in kept):
            del normal.fields[name]
        else:
            normal.fields[name] = kept


def _is_idle(unit: Any) -> bool:
    return is_off(unit) or (isinstance(unit, dict) and word(unit.get("ad_model")) == "none")


def _hires(normal: Normal, kind: str) -> None:
    fields = normal.fields
    if _is_on(fields.get(HIRES)):
        return
    said = HIRES in fields
    names = [name for name in fields if name.startswith("hr_") and name in KINDS["txt2img"].model_fields]
    wished = sorted(name for name in names if not _is_one_of(fields[name], _IDLE_HIRES.get(name, ())))
    if said:
        fields.pop("hires", None)
    if wished and not said and kind == "txt2img":
        verb = "has" if len(wished) == 1 else "have"
        normal.warnings.append(f"{', '.join(wished)} {verb} no effect without {HIRES}: true")
    for name in names:
        del fields[name]
    if issubclass(KINDS[kind], Img2Img):
        fields.pop(HIRES, None)  # of a body that was written for both; there is no hires fix anyway


def _is_on(value: object) -> bool:
    """Return whether a switch is on; what is no switch counts as on, so that it is told."""
    try:
        return value is not None and Flag().read(value)
    except PydanticCustomError:
        return True


def _settings(normal: Normal, idle: Mapping[str, tuple[object, ...]], why: str) -> None:
    names = [name for name in idle if name in normal.fields]
    wished = [name for name in names if not _is_one_of(normal.fields[name], idle[name])]
    for name in names:
        del normal.fields[name]
    if wished:
        verb = "has" if len(wished) == 1 else "have"
        normal.warnings.append(f"{', '.join(wished)} {verb} no effect {why}")


def _is_one_of(value: object, idle: tuple[object, ...]) -> bool:
    return type(value) in {bool, int, float, str} and value in idle
