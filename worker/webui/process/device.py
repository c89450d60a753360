"""The device that the WebUI computes on, and how sparing it is with the GPU's memory; pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.settings import Settings
    from worker.telemetry.gpu import Gpu

DeviceName = Literal["cuda", "cpu"]
VramStrategy = Literal["full", "medium", "low"]

CPU_FLAGS = ("--use-cpu", "all", "--no-half")
VRAM_FLAGS: dict[VramStrategy, tuple[str, ...]] = {"full": (), "medium": ("--medvram",), "low": ("--lowvram",)}
"""A1111's words: medium keeps one of the model's three parts on the GPU at a time, low moves the UNet in pieces."""
_VRAM_WORDS = frozenset({"--medvram", "--medvram-sdxl", "--lowvram"})
GIB = 1 << 30
LEAST_FULL_GIB, LEAST_MEDIUM_GIB = 10.0, 5.0
"""Estimates, not measured: SDXL in half precision with its VAE in full takes some 9 GiB for a megapixel, SD 1.5 some 5.

A1111's own word on SDXL with ``--medvram`` (pull request 11757): a megapixel takes 12 GB if they are there, else 8.
"""
MEGAPIXEL = 1 << 20
DEFAULT_PIXELS = 4 * MEGAPIXEL
_MODEL_GIB, _MEGAPIXEL_GIB = 8.0, 3.0
"""Estimates likewise: memory for an SDXL model, and for each megapixel of a batch beside it."""
_MOST_MEGAPIXELS = 16.0


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a WebUI.

    Attributes:
        name: ``cuda`` or ``cpu``.
        vram: How sparing it is with the GPU's memory; None on a CPU, and where the operator's own arguments say.
        gpu: The GPU's model.
        memory_bytes: The GPU's memory.
        flags: For the WebUI's command line.
        warning: A sentence for the log.
    """

    name: DeviceName
    vram: VramStrategy | None = None
    gpu: str | None = None
    memory_bytes: int | None = None
    flags: tuple[str, ...] = ()
    warning: str | None = None

    def told(self, max_pixels: int) -> dict[str, Any]:
        """Return the device as answers tell it."""
        return {
            "name": self.name,
            "gpu": self.gpu,
            "memory_bytes": self.memory_bytes,
            "vram_strategy": self.vram,
            "max_pixels": max_pixels,
        }


def choose_device(settings: Settings, gpus: Sequence[Gpu], *, other_gpu: bool = False) -> Device:
    """Return the device for a WebUI that is started here.

    Args:
        settings: DEVICE, VRAM_STRATEGY and WEBUI_ARGS; what the last says counts.
        gpus: NVIDIA's, as seen from here.
        other_gpu: There is a GPU of another maker, whose figures are unknown.
    """
    own = shlex.split(settings.webui_args)
    first = gpus[0] if gpus else None
    if "--use-cpu" in own:
        return Device("cpu")
    absent = first is None and not other_gpu and not settings.gpu_promised
    if settings.device == "cpu" or (settings.device == "auto" and absent):
        flags = tuple(flag for flag in CPU_FLAGS if flag not in own)
        why = "there is no GPU here" if settings.device == "auto" else None
        return Device("cpu", flags=flags, warning=f"{why}: pictures are made on the CPU, in minutes" if why else None)
    memory = first.memory_total if first is not None else None
    vram = settings.vram_strategy if settings.vram_strategy != "auto" else _fitting(memory)
    if _VRAM_WORDS.intersection(own):
        return Device("cuda", None, first.name if first else None, memory)
    return Device("cuda", vram, first.name if first else None, memory, VRAM_FLAGS[vram])


def fitting_pixels(device: Device | None) -> int:
    """Return the pixels of a GPU batch that a device has room for: MAX_PIXELS=auto.

    Args:
        device: None: nobody knows what the WebUI computes on.
    """
    if device is None or (device.name == "cuda" and device.memory_bytes is None):
        return DEFAULT_PIXELS
    if device.name == "cpu" or device.memory_bytes is None:
        return MEGAPIXEL
    room = (device.memory_bytes / GIB - _MODEL_GIB) / _MEGAPIXEL_GIB
    return int(min(max(room, 1.0), _MOST_MEGAPIXELS) * MEGAPIXEL)


def _fitting(memory: int | None) -> VramStrategy:
    if memory is None or memory >= LEAST_FULL_GIB * GIB:
        return "full"
    return "medium" if memory >= LEAST_MEDIUM_GIB * GIB else "low"
