"""Request bodies: fields, types and defaults, coerced and complained about as the WebUI's pydantic 1 does."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from standin.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
REQUIRED = object()
"""The default of a field that has none."""

GENERATION: dict[str, tuple[str, Any]] = {
    "prompt": ("str", ""),
    "negative_prompt": ("str", ""),
    "styles": ("list[str]", None),
    "seed": ("int", -1),
    "subseed": ("int", -1),
    "subseed_strength": ("float", 0),
    "seed_resize_from_h": ("int", -1),
    "seed_resize_from_w": ("int", -1),
    "sampler_name": ("str", None),
    "scheduler": ("str", None),
    "batch_size": ("int", 1),
    "n_iter": ("int", 1),
    "steps": ("int", 50),
    "cfg_scale": ("float", 7.0),
    "width": ("int", 512),
    "height": ("int", 512),
    "restore_faces": ("bool", None),
    "tiling": ("bool", None),
    "do_not_save_samples": ("bool", False),
    "do_not_save_grid": ("bool", False),
    "eta": ("float", None),
    "denoising_strength": ("float", None),
    "s_min_uncond": ("float", None),
    "s_churn": ("float", None),
    "s_tmax": ("float", None),
    "s_tmin": ("float", None),
    "s_noise": ("float", None),
    "override_settings": ("dict", None),
    "override_settings_restore_afterwards": ("bool", True),
    "refiner_checkpoint": ("str", None),
    "refiner_switch_at": ("float", None),
    "disable_extra_networks": ("bool", False),
    "firstpass_image": ("str", None),
    "comments": ("dict", None),
}
NEVER_NULL = frozenset(
    {
        "alwayson_scripts",
        "denoising_strength",
        "include_init_images",
        "sampler_index",
        "save_images",
        "script_args",
        "send_images",
    }
)
"""Fields that the API adds to those of a picture, and so takes no null for unless that is their default."""
AT_THE_END: dict[str, tuple[str, Any]] = {
    "script_name": ("str", None),
    "script_args": ("list", []),
    "send_images": ("bool", True),
    "save_images": ("bool", False),
    "alwayson_scripts": ("dict", {}),
    "infotext": ("str", None),
}
TXT2IMG: dict[str, tuple[str, Any]] = {
    **GENERATION,
    "enable_hr": ("bool", False),
    "firstphase_width": ("int", 0),
    "firstphase_height": ("int", 0),
    "hr_scale": ("float", 2.0),
    "hr_upscaler": ("str", None),
    "hr_second_pass_steps": ("int", 0),
    "hr_resize_x": ("int", 0),
    "hr_resize_y": ("int", 0),
    "hr_checkpoint_name": ("str", None),
    "hr_sampler_name": ("str", None),
    "hr_scheduler": ("str", None),
    "hr_prompt": ("str", ""),
    "hr_negative_prompt": ("str", ""),
    "force_task_id": ("str", None),
    "sampler_index": ("str", "Euler"),
    **AT_THE_END,
}
IMG2IMG: dict[str, tuple[str, Any]] = {
    **GENERATION,
    "denoising_strength": ("float", 0.75),
    "init_images": ("list", None),
    "resize_mode": ("int", 0),
    "image_cfg_scale": ("float", None),
    "mask": ("str", None),
    "mask_blur_x": ("int", 4),
    "mask_blur_y": ("int", 4),
    "mask_blur": ("int", None),
    "mask_round": ("bool", True),
    "inpainting_fill": ("int", 0),
    "inpaint_full_res": ("bool", True),
    "inpaint_full_res_padding": ("int", 0),
    "inpainting_mask_invert": ("int", 0),
    "initial_noise_multiplier": ("float", None),
    "latent_mask": ("str", None),
    "force_task_id": ("str", None),
    "sampler_index": ("str", "Euler"),
    "include_init_images": ("bool", False),
    **AT_THE_END,
}


_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "dict": {"type": "object"},
    "list": {"type": "array", "items": {}},
    "list[str]": {"type": "array", "items": {"type": "string"}},
}


def schema(fields: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """The JSON Schema of a body, as `GET /openapi.json` has it."""
    properties = {
        name: {**_TYPES[kind], **({"default": default} if default is not None and default is not REQUIRED else {})}
        for name, (kind, default) in fields.items()
    }
    return {"type": "object", "properties": properties}


def read_json(body: bytes) -> Any:
    """The parsed body; raises InvalidRequest with FastAPI's words for an empty or broken one."""
    if not body:
        raise InvalidRequest([{"loc": ["body"], "msg": "field required", "type": "value_error.missing"}])
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        context = {"msg": error.msg, "doc": error.doc, "pos": error.pos, "lineno": error.lineno, "colno": error.colno}
        problem = {"loc": ["body", error.pos], "msg": str(error), "type": "value_error.jsondecode", "ctx": context}
        raise InvalidRequest([problem]) from None
    except UnicodeDecodeError:
        raise InvalidRequest(
            [{"loc": ["body"], "msg": "There was an error parsing the body", "type": "value_error"}]
        ) from None


def validate(body: Any, fields: Mapping[str, tuple[str, Any]], *, nullable: bool = True) -> dict[str, Any]:
    """Every field with its value or default; unknown fields are ignored.

    Raises InvalidRequest with all problems in the order of the fields. `nullable`: null is accepted by most.
    """
    if not isinstance(body, dict):
        raise InvalidRequest([problem(["body"], "value is not a valid dict", "type_error.dict")])
    values: dict[str, Any] = {}
    problems: list[dict[str, Any]] = []
    for name, (kind, default) in fields.items():
        if name not in body:
            if default is REQUIRED:
                problems.append(problem(["body", name], "field required", "value_error.missing"))
            values[name] = default.copy() if isinstance(default, list | dict) else default
        elif body[name] is None:
            values[name] = None
            if not nullable or (name in NEVER_NULL and default is not None):
                problems.append(problem(["body", name], "none is not an allowed value", "type_error.none.not_allowed"))
        else:
            values[name] = _coerce(body[name], kind, ["body", name], problems)
    if problems:
        raise InvalidRequest(problems)
    return values


def problem(location: list[Any], message: str, kind: str) -> dict[str, Any]:
    """One entry of a 422 answer."""
    return {"loc": location, "msg": message, "type": kind}


def _coerce(value: Any, kind: str, location: list[Any], problems: list[dict[str, Any]]) -> Any:
    if kind == "list[str]":
        if not isinstance(value, list):
            problems.append(problem(location, "value is not a valid list", "type_error.list"))
            return value
        return [_coerce(item, "str", [*location, index], problems) for index, item in enumerate(value)]
    coerced, message, code = _COERCIONS[kind](value)
    if message:
        problems.append(problem(location, message, code))
    return coerced


def _as_str(value: Any) -> tuple[Any, str, str]:
    if isinstance(value, str):
        return value, "", ""
    if isinstance(value, int | float):
        return str(value), "", ""
    return value, "str type expected", "type_error.str"


def _as_int(value: Any) -> tuple[Any, str, str]:
    try:
        if isinstance(value, int | float | str):
            return int(value), "", ""
    except (ValueError, OverflowError):
        pass
    return value, "value is not a valid integer", "type_error.integer"


def _as_float(value: Any) -> tuple[Any, str, str]:
    try:
        if isinstance(value, int | float | str):
            number = float(value)
            return number, *(("", "") if math.isfinite(number) else ("value is not a valid float", "type_error.float"))
    except (ValueError, OverflowError):
        pass
    return value, "value is not a valid float", "type_error.float"


def _as_bool(value: Any) -> tuple[Any, str, str]:
    word = str(value).lower() if isinstance(value, bool | int | float | str) else ""
    if word in TRUE or word == "1.0":
        return True, "", ""
    if word in FALSE or word == "0.0":
        return False, "", ""
    return value, "value could not be parsed to a boolean", "type_error.bool"


def _as_list(value: Any) -> tuple[Any, str, str]:
    return value, *(("", "") if isinstance(value, list) else ("value is not a valid list", "type_error.list"))


def _as_dict(value: Any) -> tuple[Any, str, str]:
    return value, *(("", "") if isinstance(value, dict) else ("value is not a valid dict", "type_error.dict"))


_COERCIONS = {"str": _as_str, "int": _as_int, "float": _as_float, "bool": _as_bool, "list": _as_list, "dict": _as_dict}
