"""diffusers' names of arguments, translated when ``compat: "diffusers"`` is set (else they get suggestions)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPAT = "diffusers"

NAMES: dict[str, str] = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images_per_prompt": "batch_size",
    "image": "init_images",
    "mask_image": "mask",
    "strength": "denoising_strength",
    "generator": "seed",
    "padding_mask_crop": "inpaint_full_res_padding",
}
"""Argument of a diffusers pipeline → our field."""

_CLIP_LAYERS = 12
_IGNORED = frozenset({"output_type", "return_dict", "num_inference_steps_scheduler"})


def matches(raw: Mapping[str, Any]) -> bool:
    """Whether `raw` says that it has this form."""
    return raw.get("compat") == COMPAT


def to_job(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return `raw` in our names, and our field → the argument it came from.

    `clip_skip` counts from the last layer there (0: none skipped) and from one here. Inpainting works on the whole
    picture there unless `padding_mask_crop` is given.

    Raises:
        InvalidInput: an argument and our field for it, both given.
    """
    fields: dict[str, Any] = {}
    written: dict[str, str] = {}
    for name, value in raw.items():
        if name == "compat" or name in _IGNORED:
            continue
        ours = NAMES.get(name, name)
        if ours in fields:
            raise InvalidInput.at(name, f"says the same as {written.get(ours, ours)}; send one of them")
        if ours != name:
            written[ours] = name
        fields[ours] = value
    if "init_images" in fields and isinstance(fields["init_images"], str):
        fields["init_images"] = [fields["init_images"]]
        written["init_images[0]"] = written.get("init_images", "init_images")
    skipped = fields.get("clip_skip")
    if type(skipped) is int:
        if not 0 <= skipped < _CLIP_LAYERS:
            raise InvalidInput.at("clip_skip", f"must be 0 to {_CLIP_LAYERS - 1}, not {skipped}")
        fields["clip_skip"] = skipped + 1
    if fields.get("mask") and fields.get("inpaint_full_res") is None:
        fields["inpaint_full_res"] = fields.get("inpaint_full_res_padding") is not None
    return fields, written
