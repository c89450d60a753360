"""One ControlNet unit: its fields, and the ways in which wrong ones are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError

if TYPE_CHECKING:
    from collections.abc import Mapping

RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
OLD_RESIZE_MODES = {
    "Inner Fit (Scale to Fit)": "Crop and Resize",
    "Scale to Fit (Inner Fit)": "Crop and Resize",
    "Outer Fit (Shrink to Fit)": "Resize and Fill",
    "Envelope (Outer Fit)": "Resize and Fill",
}
CONTROL_MODES = {
    "BALANCED": "Balanced",
    "PROMPT": "My prompt is more important",
    "CONTROL": "ControlNet is more important",
}
HIRES_OPTIONS = {"BOTH": "Both", "LOW_RES_ONLY": "Low res only", "HIGH_RES_ONLY": "High res only"}
OLD_NAMES = {"input_image": "image", "lowvram": "low_vram", "guidance": "guidance_end", "mask_image": "mask"}
NO_SLIDER = 0.5
"""The infotext's value for a control that a module does not have."""
TRUE = ("true", "1", "yes", "on")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit whose fields are valid."""

    enabled: bool
    module: str
    model: str
    weight: float
    image: str | None
    mask: str | None
    region: str | None
    resize_mode: str
    control_mode: str
    processor_res: Any
    threshold_a: Any
    threshold_b: Any
    guidance_start: float
    guidance_end: float
    pixel_perfect: bool
    save_detected_map: bool
    said_module: str

    def infotext(self) -> str:
        """Return the infotext's text about the unit, whether it works or not."""
        return (
            f"Module: {self.said_module}, Model: {self.model}, Weight: {self.weight}, Resize Mode: {self.resize_mode}, "
            f"Processor Res: {self.processor_res}, Threshold A: {self.threshold_a}, Threshold B: {self.threshold_b}, "
            f"Guidance Start: {self.guidance_start}, Guidance End: {self.guidance_end}, "
            f"Pixel Perfect: {self.pixel_perfect}, Control Mode: {self.control_mode}"
        )


def parse_unit(raw: Mapping[str, Any], names: Mapping[str, str], modules: Mapping[str, Mapping[str, Any]]) -> Unit:
    """The unit of a request's object; unknown fields are ignored.

    Raises WebUIError as the real one does: AssertionError for two names of one field, ValidationError for values.
    """
    fields = dict(raw)
    for old, new in OLD_NAMES.items():
        if old in fields:
            if new in fields:
                raise WebUIError("AssertionError", f"Conflict of field '{old}' and '{new}'")
            fields[new] = fields.pop(old)
    if fields.get("ipadapter_input"):
        raise WebUIError("UnpicklingError", "Weights only load failed. WeightsUnpickler error: Unsupported operand 0")
    problems: list[str] = []
    said = fields.get("module", "none")
    module = names.get(said) if isinstance(said, str) else None
    if module is None:
        problems.append(f"module\n  module({said}) not found in supported modules. (type=value_error)")
        module = "none"
    weight = _number(fields, "weight", 1.0, 2.0, problems)
    start = _number(fields, "guidance_start", 0.0, 1.0, problems)
    end = _number(fields, "guidance_end", 1.0, 1.0, problems)
    if start is None or end is None:
        pair = "'NoneType' and 'float'" if start is None else "'float' and 'NoneType'"
        problems.append(f"__root__\n  '>' not supported between instances of {pair} (type=type_error)")
    elif start > end:
        problems.append(f"__root__\n  guidance_start({start}) > guidance_end({end}) (type=value_error)")
    resize = _resize_mode(fields.get("resize_mode", "Crop and Resize"), problems)
    control = _choice(fields, "control_mode", "ControlMode", CONTROL_MODES, problems)
    _choice(fields, "hr_option", "HiResFixOption", HIRES_OPTIONS, problems)
    if problems:
        plural = "s" if len(problems) > 1 else ""
        message = f"{len(problems)} validation error{plural} for ControlNetUnit\n" + "\n".join(problems)
        raise WebUIError("ValidationError", message)
    image, mask = _pictures(fields.get("image"), fields.get("mask"))
    sliders = modules[module]["sliders"]
    shown = [
        _slider(fields.get(name, -1), sliders, place)
        for place, name in enumerate(("processor_res", "threshold_a", "threshold_b"))
    ]
    return Unit(
        enabled=_flag(fields.get("enabled", False)),
        module=module,
        model=str(fields.get("model") or "None"),
        weight=weight if weight is not None else 1.0,
        image=image,
        mask=mask,
        region=fields.get("effective_region_mask"),
        resize_mode=resize,
        control_mode=control,
        processor_res=shown[0],
        threshold_a=shown[1],
        threshold_b=shown[2],
        guidance_start=start or 0.0,
        guidance_end=end if end is not None else 1.0,
        pixel_perfect=_flag(fields.get("pixel_perfect", False)),
        save_detected_map=_flag(fields.get("save_detected_map", True)),
        said_module=str(said),
    )


def _number(fields: Mapping[str, Any], name: str, default: float, most: float, problems: list[str]) -> float | None:
    try:
        value = float(fields.get(name, default))
    except (TypeError, ValueError):
        problems.append(f"{name}\n  value is not a valid float (type=type_error.float)")
        return None
    if value > most:
        kind = f"type=value_error.number.not_le; limit_value={most}"
        problems.append(f"{name}\n  ensure this value is less than or equal to {most} ({kind})")
        return None
    if value < 0:
        kind = "type=value_error.number.not_ge; limit_value=0.0"
        problems.append(f"{name}\n  ensure this value is greater than or equal to 0.0 ({kind})")
        return None
    return value


def _choice(fields: Mapping[str, Any], name: str, kind: str, members: Mapping[str, str], problems: list[str]) -> str:
    value = fields.get(name, next(iter(members.values())))
    if value in members.values():
        return str(value)
    permitted = ", ".join(f"'{text}'" for text in members.values())
    values = ", ".join(f"<{kind}.{member}: '{text}'>" for member, text in members.items())
    told = f"(type=type_error.enum; enum_values=[{values}])"
    problems.append(f"{name}\n  value is not a valid enumeration member; permitted: {permitted} {told}")
    return ""


def _resize_mode(value: Any, problems: list[str]) -> str:
    if not isinstance(value, str):
        problems.append("resize_mode\n   (type=assertion_error)")
        return RESIZE_MODES[1]
    if value not in RESIZE_MODES and value not in OLD_RESIZE_MODES:
        problems.append(f"resize_mode\n  '{value}' is not a valid ResizeMode (type=value_error)")
    return OLD_RESIZE_MODES.get(value, value)


def _slider(value: Any, sliders: list[list[Any]], place: int) -> Any:
    """The value within the module's range, else its default: silently."""
    if place >= len(sliders):
        return NO_SLIDER
    _, default, low, high, _ = sliders[place]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    if not low <= number <= high:
        return default
    return int(number) if place == 0 else number


def _pictures(image: Any, mask: Any) -> tuple[str | None, str | None]:
    if isinstance(image, dict):
        return image.get("image"), image.get("mask", mask)
    if isinstance(image, list):
        return (image[0] if image else None), (image[1] if len(image) > 1 else mask)
    return image, mask


def _flag(value: Any) -> bool:
    return value.lower() in TRUE if isinstance(value, str) else bool(value)
