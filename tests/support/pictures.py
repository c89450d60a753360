"""Pictures for tests, drawn by Pillow."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def noise(width: int, height: int, *, seed: int = 1, mode: str = "RGB") -> Image.Image:
    """Return pixels that don't compress: as large a file as a picture of this size can be."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (width, height), random.Random(seed).randbytes(width * height * channels))


def smooth(width: int, height: int, *, mode: str = "RGB") -> Image.Image:
    """Return a gradient, about as compressible as a generated picture is not."""
    grey = Image.linear_gradient("L").resize((width, height))
    return Image.merge(mode, [grey.rotate(90 * turn).resize((width, height)) for turn in range(len(mode))])


def file(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002 - Pillow's name for it
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png(width: int = 64, height: int = 64, *, infotext: str | None = None, seed: int = 1) -> bytes:
    """Return a PNG as A1111 writes it: the infotext in a text chunk `parameters`."""
    chunks = PngInfo()
    if infotext is not None:
        chunks.add_text("parameters", infotext)
    return file(noise(width, height, seed=seed), pnginfo=chunks)


def pixels(data: bytes, mode: str = "RGB") -> bytes:
    with Image.open(BytesIO(data)) as image:
        raw: bytes = image.convert(mode).tobytes()
        return raw
