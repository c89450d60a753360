"""Ultimate SD upscale (2024-03-08): a selectable script of img2img."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from PIL import Image

from standin.errors import WebUIError, type_error
from standin.generation import processing
from standin.generation.img2img import flatten
from standin.generation.job import result
from standin.models.upscalers import resize
from standin.scripts.extension import Extension
from standin.scripts.missing_arguments import by_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from standin.generation.job import Processed, Processing
    from standin.webui import WebUI

PARAMETERS = (
    *("_", "tile_width", "tile_height", "mask_blur", "padding", "seams_fix_width", "seams_fix_denoise"),
    *("seams_fix_padding", "upscaler_index", "save_upscaled_image", "redraw_mode", "save_seams_fix_image"),
    *("seams_fix_mask_blur", "seams_fix_type", "target_size_type", "custom_width", "custom_height", "custom_scale"),
)
STEP = 64
CUSTOM_SIZE, SCALE = 1, 2
NO_REDRAW = 2
REDRAW_MODES, SEAM_MODES = (0, 1, 2), (0, 1, 2, 3)
BAND, CROSSINGS = 1, 3


class UltimateUpscale(Extension):
    """The extension; it has no paths and no options of its own."""

    name, folder, version = "ultimate sd upscale", "ultimate-upscale-for-automatic1111", "2024-03-08"

    def runs(self) -> dict[str, Callable[[WebUI, Processing, list[Any]], Processed]]:
        """The script."""
        return {self.name: upscale}


def upscale(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """Enlarges the picture and draws it again in tiles; with seam fix the picture before it comes first.

    Raises WebUIError as the real one does: names instead of numbers, indexes out of range, tiles without a size.
    """
    given = by_name(PARAMETERS, arguments)
    seed = processing.fixed_seed(p.seed)
    p.seed, p.subseed = seed, processing.fixed_seed(p.subseed)
    p.do_not_save_grid = p.do_not_save_samples = True
    p.n_iter = p.batch_size = 1
    start = flatten(p.init_images[0], webui.options.get("img2img_background_color"))
    if given["target_size_type"] == CUSTOM_SIZE:
        p.width, p.height = given["custom_width"], given["custom_height"]
    elif given["target_size_type"] == SCALE:
        p.width = math.ceil(start.width * given["custom_scale"] / STEP) * STEP
        p.height = math.ceil(start.height * given["custom_scale"] / STEP) * STEP
    upscaler = _upscaler(webui, given["upscaler_index"])
    tile = (given["tile_width"] or given["tile_height"], given["tile_height"] or given["tile_width"])
    if not tile[0]:
        raise WebUIError("ZeroDivisionError", "division by zero")
    size = (p.width, p.height)
    larger = start.resize(size) if upscaler == "None" else resize(start, *size, upscaler)
    for mode, allowed, kind in (
        ("redraw_mode", REDRAW_MODES, "USDUMode"),
        ("seams_fix_type", SEAM_MODES, "USDUSFMode"),
    ):
        if given[mode] not in allowed:
            raise WebUIError("ValueError", f"{given[mode]!r} is not a valid {kind}")
    p.extra_generation_params.update(
        {
            "Ultimate SD upscale upscaler": upscaler,
            "Ultimate SD upscale tile_width": tile[0],
            "Ultimate SD upscale tile_height": tile[1],
            "Ultimate SD upscale mask_blur": given["mask_blur"],
            "Ultimate SD upscale padding": given["padding"],
        }
    )
    timestamp, skip = webui.state.job_timestamp, webui.options.get("CLIP_stop_at_last_layers")
    picture, text = larger, ""
    if given["redraw_mode"] != NO_REDRAW:
        picture, text = _redraw(webui, p, larger, given["mask_blur"], given["padding"])
    pictures = [picture]
    seam = given["seams_fix_type"]
    if seam:
        p.set("denoising_strength", given["seams_fix_denoise"])
        blur = given["mask_blur"] if seam == BAND else given["seams_fix_mask_blur"]
        padding = 0 if seam == CROSSINGS else given["seams_fix_padding"]
        fixed, text = _redraw(webui, p, picture, blur, padding)
        pictures.append(fixed)
    p.width, p.height = size
    return result(p, pictures, seed=seed, info=text, timestamp=timestamp, clip_skip=skip)


def _redraw(webui: WebUI, p: Processing, picture: Image.Image, blur: int, padding: int) -> tuple[Image.Image, str]:
    p.init_images = [picture]
    p.mask = Image.new("L", picture.size, 255)
    p.set("inpaint_full_res", value=True)
    p.set("inpaint_full_res_padding", padding)
    p.set("inpainting_fill", 1)
    p.set("mask_blur", blur)
    done = processing.run(webui, p)
    return done.images[0], str(done.infotexts[0])


def _upscaler(webui: WebUI, index: Any) -> str:
    if not isinstance(index, int):
        raise type_error(f"list indices must be integers or slices, not {type(index).__name__}")
    if not -len(webui.upscalers) <= index < len(webui.upscalers):
        raise WebUIError("IndexError", "list index out of range")
    return webui.upscalers[index].name
