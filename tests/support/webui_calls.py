"""The calls of `webuiapi` that a person makes, and what each shows: to compare two servers of A1111's API."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import webuiapi  # type: ignore[import-untyped]  # the package has no types

from tests.support.served import picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "seed": 42}
DETECTOR = "face_yolov8n.pt"


def forget_scripts() -> None:
    """Empty what the package keeps from call to call: scripts of one server would be sent to the next."""
    for call in (webuiapi.WebUIApi.txt2img, webuiapi.WebUIApi.img2img):
        for default in call.__defaults__ or ():
            if isinstance(default, dict):
                default.clear()


def pixels(image: Image) -> tuple[tuple[int, int], str]:
    """A picture's size, and its pixels as a hash."""
    return image.size, hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def _txt2img(api: Any, **more: Any) -> Any:
    result = api.txt2img(prompt="a cat", **{**SMALL, **more})
    return pixels(result.image), result.info["all_seeds"]


def _hires(api: Any) -> Any:
    upscaler = webuiapi.HiResUpscaler.Latent
    return _txt2img(api, enable_hr=True, hr_scale=2, hr_upscaler=upscaler, denoising_strength=0.5)


def _img2img(api: Any, **more: Any) -> Any:
    return pixels(api.img2img(images=[picture()], prompt="a dog", denoising_strength=0.5, **SMALL, **more).image)


def _masked(api: Any) -> Any:
    return _img2img(api, mask_image=picture(colour="black"), inpainting_fill=1, mask_blur=4)


def _controlnet(api: Any) -> Any:
    (model,) = api.controlnet_model_list()
    return _txt2img(api, controlnet_units=[webuiapi.ControlNetUnit(image=picture(), module="canny", model=model)])


def _adetailer(api: Any) -> Any:
    # Not the package's own unit: the extension drops one with a field that it no longer has, without a word.
    return _txt2img(api, alwayson_scripts={"ADetailer": {"args": [True, {"ad_model": DETECTOR}]}})


def _notes(api: Any) -> Any:
    return api.png_info(api.txt2img(prompt="a cat", **SMALL).image).info


def _upscaled(api: Any) -> Any:
    return pixels(api.extra_single_image(image=picture(), upscaler_1="Lanczos", upscaling_resize=2).image)


def _several(api: Any) -> Any:
    return [pixels(image) for image in api.txt2img(prompt="a cat", n_iter=2, batch_size=2, **SMALL).images]


def _options(api: Any) -> Any:
    return sorted(api.get_options())


CALLS: dict[str, Callable[[Any], Any]] = {
    "txt2img": _txt2img,
    "hires": _hires,
    "img2img": _img2img,
    "mask": _masked,
    "controlnet": _controlnet,
    "adetailer": _adetailer,
    "png_info": _notes,
    "extra_single_image": _upscaled,
    "several": _several,
    "options": _options,
}
"""Name → a call whose outcome is the same wherever it is made."""
