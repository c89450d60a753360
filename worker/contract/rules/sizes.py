"""Sizes in pixels that a job means, and the splitting of a batch that is too large for the GPU."""

from __future__ import annotations

from dataclasses import dataclass

LATENT = 8
"""Pixels per side of one latent cell: sizes are multiples of it."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def split(width: int, height: int, batch_size: int, n_iter: int, max_pixels: int) -> tuple[int, int]:
    """Return `(batch_size, n_iter)` with the same product and at most `max_pixels` in one batch.

    Picture i keeps its seed, because seeds count over batch_size x n_iter. The new batch is the largest divisor of the
    number of pictures that fits; a single picture that does not fit is left as a batch of one.
    """
    if width * height * batch_size <= max_pixels:
        return batch_size, n_iter
    pictures = batch_size * n_iter
    fitting = max(1, max_pixels // (width * height))
    batch = max(size for size in range(1, min(fitting, pictures) + 1) if pictures % size == 0)
    return batch, pictures // batch


@dataclass(frozen=True, slots=True)
class HiresSize:
    """Sizes of hires fix: of its work (`work`) and of its result (`final`, cropped when both sides were given)."""

    work: Size
    final: Size


def hires_size(first: Size, *, scale: float | None, resize_x: int | None, resize_y: int | None) -> HiresSize:
    """Return the sizes of the second pass, by the WebUI's arithmetic (processing.py, calculate_target_resolution).

    Args:
        first: Size of the first pass.
        scale: `hr_scale`, default 2; counts only where neither side is given.
        resize_x: `hr_resize_x`, 0 or None: not given.
        resize_y: `hr_resize_y`, 0 or None: not given.
    """
    crop_x = crop_y = 0
    if not resize_x and not resize_y:
        factor = 2.0 if scale is None else scale
        width, height = int(first.width * factor), int(first.height * factor)
    elif not resize_y:
        width, height = int(resize_x or 0), int(resize_x or 0) * first.height // first.width
    elif not resize_x:
        width, height = resize_y * first.width // first.height, resize_y
    elif first.width / first.height < resize_x / resize_y:
        width, height = resize_x, resize_x * first.height // first.width
        crop_y = (height - resize_y) // LATENT
    else:
        width, height = resize_y * first.width // first.height, resize_y
        crop_x = (width - resize_x) // LATENT
    work = Size(width // LATENT * LATENT, height // LATENT * LATENT)
    return HiresSize(work, Size(work.width - crop_x * LATENT, work.height - crop_y * LATENT))
