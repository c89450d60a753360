"""Control maps: what ControlNet's preprocessors make of a picture, roughly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable


def preprocess(module: str, image: Image.Image) -> Image.Image:
    """A control map that looks like what the module finds: the picture itself, a filtered one, or its edges."""
    rgb = image.convert("RGB")
    for starts, draw in _MAPS.items():
        if module.startswith(starts):
            return draw(rgb)
    edges = rgb.convert("L").filter(ImageFilter.FIND_EDGES)
    return edges.point(lambda value: 255 if value > 24 else 0).convert("RGB")  # noqa: PLR2004 # a faint edge


def _depth(rgb: Image.Image) -> Image.Image:
    return ImageOps.autocontrast(rgb.convert("L").filter(ImageFilter.GaussianBlur(4))).convert("RGB")


def _threshold(rgb: Image.Image) -> Image.Image:
    return rgb.convert("L").point(lambda value: 255 if value > 127 else 0).convert("RGB")  # noqa: PLR2004 # half of a byte


_MAPS: dict[tuple[str, ...], Callable[[Image.Image], Image.Image]] = {
    ("none", "inpaint", "tile", "reference", "ip-", "revision", "clip_vision"): lambda rgb: rgb,
    ("invert",): ImageOps.invert,
    ("depth",): _depth,
    ("normal", "seg", "oneformer", "anime", "color"): lambda rgb: ImageOps.posterize(rgb, 2),
    ("blur",): lambda rgb: rgb.filter(ImageFilter.GaussianBlur(9)),
    ("threshold",): _threshold,
    ("shuffle",): lambda rgb: ImageChops.offset(rgb, rgb.width // 3, rgb.height // 3),
}
