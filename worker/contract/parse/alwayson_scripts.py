"""Units of extensions that clients send through `alwayson_scripts`, as the typed units that the contract has for them.

Nothing of a client's lists is passed on: the WebUI lays them over its defaults by position, cuts what is too long and
switches on what is missing. A script that has no typed unit is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown, word
from worker.contract.base.neutral import are_off, is_empty, is_off, says_nothing
from worker.contract.parse.selected_script import read_selected
from worker.contract.types.adetailer import SWITCHES
from worker.contract.types.fields import Flag
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.contract.parse.normalise import Normal
    from worker.contract.parse.unknown_fields import UnknownFields

_POSITIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tiled diffusion": (
        "tiled_diffusion",
        (
            "enabled", "method", "", "keep_input_size", "width", "height", "tile_width", "tile_height", "overlap",
            "batch_size", "upscaler", "scale", "noise_inversion", "noise_inversion_steps", "retouch",
            "renoise_strength", "renoise_kernel", "control_on_cpu",
        ),
    ),
    "tiled vae": (
        "tiled_vae",
        ("enabled", "encoder_tile", "decoder_tile", "vae_on_gpu", "fast_decoder", "fast_encoder", "color_fix"),
    ),
    "soft inpainting": (
        "soft_inpainting",
        (
            "enabled", "schedule_bias", "preservation_strength", "transition_contrast_boost", "mask_influence",
            "difference_threshold", "difference_contrast",
        ),
    ),
}  # fmt: skip
"""Script → our field, and the meaning of its arguments by position (empty: not taken)."""

_OWN_FIELDS = {
    "seed": "seed, subseed and their like",
    "sampler": "steps, sampler_name and scheduler",
    "extra options": "override_settings",
}
_ULTIMATE = "ultimate sd upscale"
_ULTIMATE_POSITIONS = (
    "", "tile_width", "tile_height", "mask_blur", "padding", "seam_width", "seam_denoise", "seam_padding", "upscaler",
    "", "redraw", "", "seam_mask_blur", "seam_fix", "target", "width", "height", "scale",
)  # fmt: skip
_ULTIMATE_TARGETS = (0, 1, 2)
"""The size of the img2img request, a size of its own, a factor."""
_ULTIMATE_WORDS: dict[str, tuple[str, ...]] = {
    "upscaler": ("None", "Lanczos", "Nearest"),
    "redraw": ("linear", "chess", "none"),
    "seam_fix": ("none", "band_pass", "half_tile", "half_tile_intersections"),
}
_ADETAILER_FLAGS = 2
SELECTABLE = frozenset(
    {
        "img2img alternative test",
        "loopback",
        "outpainting mk2",
        "poor man's outpainting",
        "prompt matrix",
        "prompts from file or textbox",
        "sd upscale",
        "ultimate sd upscale",
        "x/y/z plot",
    }
)
"""Scripts of the WebUI that a job chooses one of, instead of adding them to it."""
_KNOWN = ("controlnet", "adetailer", "refiner", "dynamic prompts", *_POSITIONS, *_OWN_FIELDS)


SCRIPT_FIELDS = frozenset({"alwayson_scripts", "script", "script_args", "script_name"})
"""Fields of a job that name scripts."""


def read_scripts(normal: Normal, unknown: UnknownFields) -> None:
    """Turn `alwayson_scripts`, and the script that the job selects, into typed fields.

    Args:
        normal: The job in one spelling.
        unknown: What becomes of arguments that nobody reads.
    """
    given = normal.fields.pop("alwayson_scripts", None)
    if isinstance(given, dict):
        for name, value in given.items():
            _read_one(normal, name, value)
    elif given is not None:
        normal.problems.append(Problem("alwayson_scripts", f"must be an object, not {shown(given)}"))
    read_selected(normal, _ultimate, unknown)


def _read_one(normal: Normal, name: str, value: object) -> None:
    """Read a script with something to do; pass over one that is off, whether it is known or not."""
    path, script = f"alwayson_scripts.{name}", word(name)
    args = value.get("args") if isinstance(value, dict) else None
    if is_empty(value) or (args is None and isinstance(value, dict) and set(value) == {"args"}):
        args = []
    if not isinstance(args, list):
        normal.problems.append(Problem(path, 'must be an object with a list: {"args": [...]}'))
    elif args and script in SELECTABLE:
        message = "is a selectable script; send script_name and script_args (or script) instead of alwayson_scripts"
        normal.problems.append(Problem(path, message))
    elif not (are_off(args) or all(is_empty(part) for part in args)):
        _read_active(normal, script, args, path)
    elif not _is_known(script) and script not in SELECTABLE:
        normal.warnings.append(f"{path} is ignored: it is switched off, and not a script that this worker offers")


def _read_active(normal: Normal, script: str, args: list[Any], path: str) -> None:
    readers: dict[str, Callable[[], None]] = {
        "controlnet": lambda: _controlnet(normal, args, f"{path}.args"),
        "adetailer": lambda: _adetailer(normal, args, f"{path}.args"),
        "refiner": lambda: _refiner(normal, args, f"{path}.args"),
    }
    if script in readers:
        readers[script]()
    elif script.startswith("dynamic prompts"):
        if args[0] is None or _is_on(normal, args[0], f"{path}.args[0]"):
            normal.put("wildcards", value=True, written=path)
    elif script in _POSITIONS:
        field, names = _POSITIONS[script]
        unit = {key: part for key, part in zip(names, args, strict=False) if key and part is not None}
        normal.written.update({f"{field}.{key}": f"{path}.args[{index}]" for index, key in enumerate(names) if key})
        if _is_on(normal, unit.pop("enabled", None), f"{path}.args[0]"):
            unit["enabled"] = True
            if field == "tiled_diffusion" and (len(args) < 3 or args[2] is not True):  # noqa: PLR2004 - its third switch
                unit = {key: part for key, part in unit.items() if key not in {"width", "height"}}
            normal.put(field, unit, path)
    elif script in _OWN_FIELDS:
        if not _says_nothing_new(script, args, normal.fields):
            normal.problems.append(Problem(path, f"is not taken; send {_OWN_FIELDS[script]}"))
    else:
        near = nearest(script, _KNOWN)
        normal.problems.append(Problem(path, "is not a script that this worker offers", near))


def _is_known(script: str) -> bool:
    return script in _KNOWN or script.startswith("dynamic prompts")


def _says_nothing_new(script: str, args: list[Any], fields: Mapping[str, Any]) -> bool:
    """Return whether the arguments of a script of the WebUI's own screen repeat the job's fields, or its defaults."""
    if script == "seed":
        first, *rest = args
        return first in (-1, "-1", fields.get("seed")) and all(says_nothing(part) or part == -1 for part in rest)
    if script == "sampler":
        names = ("steps", "sampler_name", "scheduler")
        said = zip(args, names, strict=False)
        return all(word(part) == "automatic" or part == fields.get(name) for part, name in said)
    return False


def _controlnet(normal: Normal, args: list[Any], path: str) -> None:
    units: list[Any] = []
    for index, unit in enumerate(args):
        if is_empty(unit) or is_off(unit) or _chooses_nothing(unit):
            continue
        normal.written[f"controlnet[{len(units)}]"] = f"{path}[{index}]"
        if isinstance(unit, dict) and "enabled" not in unit:
            normal.warnings.append(f"{path}[{index}] runs; ControlNet itself leaves out a unit without enabled: true")
        units.append(unit)
    if units:
        normal.put("controlnet", units, path)


def _chooses_nothing(unit: object) -> bool:
    """Return whether a unit of ControlNet is as its panel opens: no model, no preprocessor and no picture."""
    if not isinstance(unit, dict):
        return False
    chosen = all(word(unit.get(name, "none")) == "none" for name in ("module", "model"))
    return chosen and all(is_empty(unit.get(name)) for name in ("image", "input_image"))


def _is_on(normal: Normal, value: object, path: str) -> bool:
    """Return whether a script's switch is on; it is off where it is left out. What is no switch is a mistake."""
    try:
        return value is not None and Flag().read(value)
    except PydanticCustomError as error:
        normal.problems.append(Problem(path, error.message()))
        return False


def _adetailer(normal: Normal, args: list[Any], path: str) -> None:
    """Read ADetailer's arguments: its switch, whether img2img is skipped, then a unit per pass."""
    switches = 0
    while switches < min(_ADETAILER_FLAGS, len(args)) and _is_switch(args[switches]):
        switches += 1
    if switches == _ADETAILER_FLAGS and _is_on(normal, args[1], f"{path}[1]"):
        if "init_images" in normal.fields:
            message = "skip_img2img is not offered; use denoising_strength 0.01 or so"
            normal.problems.append(Problem(f"{path}[1]", message))
        else:
            normal.warnings.append(f"{path}[1] has no effect: skip_img2img needs a picture to start from")
    units: list[Any] = []
    for index, unit in enumerate(args[switches:], switches):
        if is_empty(unit) or (isinstance(unit, dict) and word(unit.get("ad_model")) == "none"):
            continue
        normal.written[f"adetailer[{len(units)}]"] = f"{path}[{index}]"
        units.append(_as_switched(normal, unit, f"{path}[{index}]") if isinstance(unit, dict) else unit)
    if units:
        normal.put("adetailer", units, path)


def _as_switched(normal: Normal, unit: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return ADetailer's unit without the values that the extension ignores, as their switch is not sent."""
    idle = {
        f"ad_{name}": f"ad_{switch}"
        for switch, names in SWITCHES.items()
        if f"ad_{switch}" not in unit
        for name in names
        if not is_empty(unit.get(f"ad_{name}"))
    }
    normal.warnings.extend(f"{path}.{name} has no effect without {switch}: true" for name, switch in idle.items())
    return {name: value for name, value in unit.items() if name not in idle}


def _is_switch(value: object) -> bool:
    return isinstance(value, bool) or word(value) in {"true", "false"}


def _refiner(normal: Normal, args: list[Any], path: str) -> None:
    enabled, checkpoint, switch_at = [*args, None, None, None][:3]
    if _is_on(normal, enabled, f"{path}[0]"):
        for index, (target, value) in enumerate(
            (("refiner_checkpoint", checkpoint), ("refiner_switch_at", switch_at)), 1
        ):
            if value is not None:
                normal.put(target, value, f"{path}[{index}]")


def _ultimate(normal: Normal, args: object) -> None:
    args = [] if args is None else args
    if not isinstance(args, list) or len(args) > len(_ULTIMATE_POSITIONS):
        normal.problems.append(Problem("script_args", f"must be a list of {len(_ULTIMATE_POSITIONS)} for {_ULTIMATE}"))
        return
    unit: dict[str, Any] = {}
    for index, (key, value) in enumerate(zip(_ULTIMATE_POSITIONS, args, strict=False)):
        if not key or value is None:
            continue
        words = _ULTIMATE_WORDS.get(key)
        if words and type(value) is int:
            if not 0 <= value < len(words):
                message = f"is a number that differs between workers; send ultimate_upscale.{key} by name"
                normal.problems.append(Problem(f"script_args[{index}]", message))
                continue
            value = words[value]  # noqa: PLW2901 - the word for the number
        normal.written[f"ultimate_upscale.{key}"] = f"script_args[{index}]"
        unit[key] = value
    target = unit.pop("target", 0)
    if target not in _ULTIMATE_TARGETS:
        normal.problems.append(Problem("script_args[14]", f"must be 0, 1 or 2, not {shown(target)}"))
    if target == 0:
        unit.update({key: normal.fields[key] for key in ("width", "height") if key in normal.fields})
    dropped = {"scale"} if target in (0, 1) else {"width", "height"}
    normal.put("ultimate_upscale", {key: part for key, part in unit.items() if key not in dropped}, "script_args")
