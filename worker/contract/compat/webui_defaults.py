"""Fields of the bodies of A1111's API by what A1111 does with them, where a job of ours is read otherwise. Pure.

A1111 has a default for every field of its own, and rounds or passes over what a job of ours would be refused for. On
its paths a body makes the picture that A1111 makes of it; what became another value is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.contract.base.json_guard import shown, word
from worker.contract.base.neutral import is_empty
from worker.contract.compat.webui_types import TypedBody
from worker.contract.rules.sizes import LATENT
from worker.contract.types.kinds import MOST_PICTURES

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_SAMPLER = "DPM++ 2M"
"""The first sampler of A1111 v1.10.1: what draws where `sampler_index` is an empty text, whose default is Euler."""
_SIDE = 512
_SIDES = ("width", "height", "hr_resize_x", "hr_resize_y")
_SMALLEST_SIDE = 64
_CLIP_SKIP = "CLIP_stop_at_last_layers"
_MOST_LAYERS = 12
_OF_ANOTHER_SIZE = ("outpaint", "tiles")
"""Fields of ours with which the picture's own size counts."""
_UPSCALING: dict[str, Any] = {"upscaler_1": "None", "resize_mode": 0}
_UPSCALING_TO_SIZE = {"upscaling_resize_w": _SIDE, "upscaling_resize_h": _SIDE}


def drawing(body: Mapping[str, Any], *, from_picture: bool) -> TypedBody:
    """Return the body of txt2img or, `from_picture`, img2img with what A1111 draws by."""
    fields = {"prompt": "", **body}
    if from_picture and not any(body.get(name) for name in _OF_ANOTHER_SIZE):  # its own size does not count there
        fields |= {name: _SIDE for name in ("width", "height") if is_empty(body.get(name))}
    fields, told = _without_clip_skip(fields)
    changes = {**_whole_cells(fields), **_inversion(fields), **_sampler(fields), **_refiner(fields)}
    told += [f"{name}: {shown(fields.get(name))} is read as {shown(value)}" for name, value in changes.items()]
    return TypedBody({**fields, **changes, **_starts(fields)}, told)


def upscaling(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of extra-single-image with A1111's defaults, which make no picture larger unasked."""
    fields = {**body, **{name: value for name, value in _UPSCALING.items() if is_empty(body.get(name))}}
    if fields["resize_mode"] == 1 or any(not is_empty(body.get(name)) for name in _UPSCALING_TO_SIZE):
        fields |= {name: value for name, value in _UPSCALING_TO_SIZE.items() if is_empty(body.get(name))}
    return fields


def _without_clip_skip(body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Take out a `clip_skip` that can't be meant: A1111 has only the option, and programs send 0 for none."""
    given, options = body.get("clip_skip"), body.get("override_settings")
    if is_empty(given):
        return body, []
    option = options.get(_CLIP_SKIP) if isinstance(options, dict) else None
    number = int(given) if isinstance(given, str) and given.strip().isdecimal() else given
    if is_empty(option) and type(number) is int and 1 <= number <= _MOST_LAYERS:
        return body, []
    left = {name: value for name, value in body.items() if name != "clip_skip"}
    is_told = number != 0 and str(number) != str(option)
    return left, [f"clip_skip is ignored: the WebUI reads override_settings.{_CLIP_SKIP} alone"] if is_told else []


def _whole_cells(body: Mapping[str, Any]) -> dict[str, Any]:
    """Cut sides down to whole cells of the latent picture, of which A1111 makes no parts."""
    sides = {name: body.get(name) for name in _SIDES}
    whole = {name: side for name, side in sides.items() if type(side) is int and side > _SMALLEST_SIDE}
    return {name: side // LATENT * LATENT for name, side in whole.items() if side % LATENT}


def _inversion(body: Mapping[str, Any]) -> dict[str, Any]:
    """Read a number for a switch: whatever is not 0 turns it on."""
    given = body.get("inpainting_mask_invert")
    return {"inpainting_mask_invert": 1} if type(given) is int and given not in (0, 1) else {}


def _sampler(body: Mapping[str, Any]) -> dict[str, Any]:
    is_emptied = isinstance(body.get("sampler_index"), str) and is_empty(body["sampler_index"])
    return {"sampler_index": FIRST_SAMPLER} if is_emptied and is_empty(body.get("sampler_name")) else {}


def _refiner(body: Mapping[str, Any]) -> dict[str, Any]:
    """Have a refiner draw alone that has no step to begin at."""
    checkpoint = body.get("refiner_checkpoint")
    has_one = isinstance(checkpoint, str) and not is_empty(checkpoint) and word(checkpoint) != "none"
    return {"refiner_switch_at": 0} if has_one and is_empty(body.get("refiner_switch_at")) else {}


def _starts(body: Mapping[str, Any]) -> dict[str, Any]:
    """Have the start pictures of a batch make one picture each in every batch; a larger batch becomes as small."""
    starts, batch = body.get("init_images"), body.get("batch_size")
    if not isinstance(starts, list) or type(batch) is not int or not 2 <= len(starts) <= batch:  # noqa: PLR2004 - several
        return {}
    batches = body.get("n_iter")
    if type(batches) is not int or batches < 1:
        return {"batch_size": 1}
    return {"init_images": starts * min(batches, MOST_PICTURES + 1), "batch_size": 1, "n_iter": 1}
