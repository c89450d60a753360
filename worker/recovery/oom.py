"""Back-off for requests that do not fit into the GPU's memory, and the limits learnt from them.

A job that is out of memory is made again with the same seeds in smaller batches (picture i keeps seed + i, whatever the
batches are), at last with the options that save memory and can be set for one job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.webui.request.body import Request

FRUGAL: Mapping[str, Any] = {"batch_cond_uncond": False}
"""Prompt and negative prompt one after the other: half the memory of the UNet's activations, the same picture up to
rounding. The other options that save memory either need a restart or change the picture visibly (TAESD, FP8, merged
tokens)."""
UPCAST: Mapping[str, Any] = {"upcast_attn": True, "auto_vae_precision": True, "sd_vae_decode_method": "Full"}
"""Against NaNs: attention in 32 bit, and the VAE as well when it makes NaNs (the WebUI is started with
``--no-half-vae``; this holds for one that was not)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The inputs that decide how much memory a request needs: model and size of the pictures."""

    checkpoint: str
    width: int
    height: int


def shape(request: Request) -> Shape:
    """Return the shape of `request`; its final size, where that is known."""
    size = request.expect.size
    if size is not None:
        return Shape(request.expect.checkpoint.name, size.width, size.height)
    body = request.body
    return Shape(request.expect.checkpoint.name, int(body.get("width", 512)), int(body.get("height", 512)))


def batch(request: Request) -> int:
    """Return how many pictures are made at once."""
    return int(request.body.get("batch_size", 1))


def is_divisible(request: Request) -> bool:
    """Return whether the pictures of a batch can be made one after the other; not where each has its own start."""
    return len(request.body.get("init_images") or ()) < 2  # noqa: PLR2004 - several


def with_batch(request: Request, size: int) -> Request:
    """Return the request with at most `size` pictures at once and the same pictures in all."""
    if not is_divisible(request):
        return request
    count = batch(request) * int(request.body.get("n_iter", 1))
    fitting = max(number for number in range(1, max(1, min(size, count)) + 1) if count % number == 0)
    if fitting == batch(request):
        return request
    return replace(request, body={**request.body, "batch_size": fitting, "n_iter": count // fitting})


def with_options(request: Request, options: Mapping[str, Any]) -> Request:
    """Return the request with these options set for it alone."""
    overrides = {**(request.body.get("override_settings") or {}), **options}
    return replace(request, body={**request.body, "override_settings": overrides})


def is_set(request: Request, options: Mapping[str, Any]) -> bool:
    """Return whether the request sets all of `options` already."""
    overrides = request.body.get("override_settings") or {}
    return all(name in overrides and overrides[name] == value for name, value in options.items())


def smaller(request: Request) -> Request | None:
    """Return the next request to try after `request` was out of memory, None when there is none."""
    if not is_divisible(request):
        return None
    if batch(request) > 1:
        return with_batch(request, batch(request) // 2)
    return None if is_set(request, FRUGAL) else with_options(request, FRUGAL)


class LearnedLimits:
    """The limits of this machine as seen so far, by model and size."""

    def __init__(self) -> None:
        self._too_many: dict[Shape, int] = {}
        self._frugal: set[Shape] = set()
        self._largest: dict[str, tuple[int, Shape]] = {}
        self._upcast: set[str] = set()

    def too_large(self, request: Request) -> None:
        """Remember that `request` was out of memory."""
        key = shape(request)
        if batch(request) > 1:
            self._too_many[key] = min(batch(request), self._too_many.get(key, batch(request)))
        else:
            self._frugal.add(key)

    def made(self, request: Request, *, after_nan: bool = False) -> None:
        """Remember that `request` fitted, and, after NaNs, the options that it needed."""
        key = shape(request)
        pixels = key.width * key.height
        if pixels > self._largest.get(key.checkpoint, (0, key))[0]:
            self._largest[key.checkpoint] = (pixels, key)
        if after_nan and is_set(request, UPCAST):
            self._upcast.add(key.checkpoint)

    def plan(self, request: Request) -> Request:
        """Return `request` within the limits of this machine."""
        if not (self._too_many or self._frugal or self._upcast):
            return request
        key = shape(request)
        too_many = self._too_many.get(key)
        if too_many is not None:
            request = with_batch(request, too_many - 1)
        if key in self._frugal:
            request = with_options(request, FRUGAL)
        if key.checkpoint in self._upcast:
            request = with_options(request, UPCAST)
        return request

    def fitting(self, request: Request) -> Mapping[str, Any]:
        """Return what would fit in place of `request`, as far as that is known."""
        key = shape(request)
        known = self._largest.get(key.checkpoint)
        half = {"width": _eight(key.width * 0.7), "height": _eight(key.height * 0.7)}
        seen = {"width": known[1].width, "height": known[1].height} if known is not None else None
        return {"batch_size": 1, "size": seen or half, "seen_to_fit": seen is not None}


def _eight(side: float) -> int:
    return max(64, int(side) // 8 * 8)
