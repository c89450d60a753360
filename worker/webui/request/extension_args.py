"""Typed units of extensions as the WebUI's `alwayson_scripts`: full lists, nothing of a client's own. Pure.

A1111 lays `args` over a script's defaults by position, cuts what is too long and leaves switched on what is missing;
so every list here is as long as it has to be (measured on ControlNet 1.1.455, ADetailer 25.3, Tiled Diffusion 2024-08).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.adetailer import ADetailerUnit
    from worker.contract.types.controlnet import ControlNetUnit
    from worker.contract.types.extensions import SoftInpainting, TiledDiffusion, TiledVae, UltimateUpscale

_USED_BY_SWITCH = {
    "ad_inpaint_width": "ad_use_inpaint_width_height",
    "ad_inpaint_height": "ad_use_inpaint_width_height",
    "ad_steps": "ad_use_steps",
    "ad_cfg_scale": "ad_use_cfg_scale",
    "ad_checkpoint": "ad_use_checkpoint",
    "ad_vae": "ad_use_vae",
    "ad_sampler": "ad_use_sampler",
    "ad_noise_multiplier": "ad_use_noise_multiplier",
    "ad_clip_skip": "ad_use_clip_skip",
}
_REDRAW = {"linear": 0, "chess": 1, "none": 2}
_SEAM = {"none": 0, "band_pass": 1, "half_tile": 2, "half_tile_intersections": 3}
_TARGET_SIZE, _TARGET_SCALE = 1, 2


def controlnet(
    units: Sequence[ControlNetUnit], models: Mapping[int, str], pictures: Mapping[str, str]
) -> dict[str, Any]:
    """Return ControlNet's entry.

    Args:
        units: Those that are on, in order.
        models: Index of a unit → its model as ControlNet lists it.
        pictures: ``<index>.image``, ``<index>.mask``, ``<index>.effective_region_mask`` → base64 of a clean PNG.
    """
    args = []
    for index, unit in enumerate(units):
        given = {name: value for name, value in unit.model_dump(exclude_unset=True).items() if value is not None}
        for name in ("image", "mask", "effective_region_mask"):
            given.pop(name, None)
            if f"{index}.{name}" in pictures:
                given[name] = pictures[f"{index}.{name}"]
        # The map is the only sign in an answer that a unit ran.
        given |= {"enabled": True, "save_detected_map": True, "model": models.get(index, "None")}
        args.append(given)
    return {"controlnet": {"args": args}}


def adetailer(
    units: Sequence[ADetailerUnit], checkpoints: Mapping[int, str], vaes: Mapping[int, str]
) -> dict[str, Any]:
    """Return ADetailer's entry: both switches, every pass, and an empty pass, for the default one is switched on.

    Args:
        units: Those that are on, in order.
        checkpoints: Index of a pass → checkpoint title.
        vaes: Index of a pass → VAE name.
    """
    args: list[Any] = [True, False]
    for index, unit in enumerate(units):
        values = unit.model_dump(exclude_unset=True, exclude={"enabled", "checkpoint", "vae"})
        given = {f"ad_{name}": value for name, value in values.items() if value is not None}
        if index in checkpoints:
            given["ad_checkpoint"] = checkpoints[index]
        if index in vaes:
            given["ad_vae"] = vaes[index]
        given.update({switch: True for name, switch in _USED_BY_SWITCH.items() if name in given})
        args.append(given)
    return {"ADetailer": {"args": [*args, {"ad_model": "None"}]}}


def tiled_diffusion(unit: TiledDiffusion, *, upscaler: str | None) -> dict[str, Any]:
    """Return Tiled Diffusion's entry: the first 18 of its arguments."""
    own_size = unit.width is not None or unit.height is not None
    return {
        "Tiled Diffusion": {
            "args": [
                True,
                unit.method or "MultiDiffusion",
                own_size,
                _or(unit.keep_input_size, other=True),
                unit.width or 1024,
                unit.height or 1024,
                unit.tile_width or 96,
                unit.tile_height or 96,
                _or(unit.overlap, 48),
                unit.batch_size or 4,
                upscaler or "None",
                unit.scale or 2.0,
                bool(unit.noise_inversion),
                unit.noise_inversion_steps or 10,
                unit.retouch or 1,
                _or(unit.renoise_strength, 1),
                unit.renoise_kernel or 64,
                bool(unit.control_on_cpu),
            ]
        }
    }


def tiled_vae(unit: TiledVae) -> dict[str, Any]:
    """Return Tiled VAE's entry."""
    return {
        "Tiled VAE": {
            "args": [
                True,
                unit.encoder_tile or 1024,
                unit.decoder_tile or 96,
                _or(unit.vae_on_gpu, other=True),
                _or(unit.fast_decoder, other=True),
                _or(unit.fast_encoder, other=True),
                bool(unit.color_fix),
            ]
        }
    }


def soft_inpainting(unit: SoftInpainting) -> dict[str, Any]:
    """Return soft inpainting's entry."""
    return {
        "soft inpainting": {
            "args": [
                True,
                _or(unit.schedule_bias, 1),
                _or(unit.preservation_strength, 0.5),
                _or(unit.transition_contrast_boost, 4),
                _or(unit.mask_influence, 0),
                _or(unit.difference_threshold, 0.5),
                _or(unit.difference_contrast, 2),
            ]
        }
    }


def ultimate_upscale(unit: UltimateUpscale, *, upscaler: int) -> dict[str, Any]:
    """Return `script_name` and the 18 `script_args` of Ultimate SD upscale; it never saves files by itself.

    Args:
        unit: The client's wishes.
        upscaler: Index of the upscaler in the WebUI's list, which is what the script takes.
    """
    sized = unit.width is not None and unit.height is not None
    return {
        "script_name": "ultimate sd upscale",
        "script_args": [
            None,
            unit.tile_width or 512,
            unit.tile_height or 0,
            _or(unit.mask_blur, 8),
            _or(unit.padding, 32),
            _or(unit.seam_width, 64),
            _or(unit.seam_denoise, 0.35),
            _or(unit.seam_padding, 16),
            upscaler,
            False,
            _REDRAW[unit.redraw or "linear"],
            False,
            _or(unit.seam_mask_blur, 4),
            _SEAM[unit.seam_fix or "none"],
            _TARGET_SIZE if sized else _TARGET_SCALE,
            unit.width or 2048,
            unit.height or 2048,
            unit.scale or 2.0,
        ],
    }


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value
