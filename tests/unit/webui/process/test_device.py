"""The device of the WebUI, by settings and machine."""

from __future__ import annotations

import pytest

from worker.errors import SettingsInvalid
from worker.settings import read_settings
from worker.telemetry.gpu import Gpu
from worker.webui.process.device import DEFAULT_PIXELS, MEGAPIXEL, Device, choose_device, fitting_pixels

GIB = 1 << 30


def _gpu(gib: float) -> Gpu:
    return Gpu("NVIDIA L4", int(gib * GIB), 0)


@pytest.mark.parametrize(
    ("variables", "gib", "name", "vram", "flags"),
    [
        ({}, None, "cpu", None, ("--use-cpu", "all", "--no-half")),
        ({}, 24, "cuda", "full", ()),
        ({}, 8, "cuda", "medium", ("--medvram",)),
        ({}, 4, "cuda", "low", ("--lowvram",)),
        ({"DEVICE": "CPU"}, 24, "cpu", None, ("--use-cpu", "all", "--no-half")),
        ({"DEVICE": "cuda"}, None, "cuda", "full", ()),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, None, "cuda", "full", ()),
        ({"VRAM_STRATEGY": "low"}, 80, "cuda", "low", ("--lowvram",)),
        ({"VRAM_STRATEGY": "full"}, 4, "cuda", "full", ()),
        ({"WEBUI_ARGS": "--use-cpu all"}, 24, "cpu", None, ()),
        ({"WEBUI_ARGS": "--medvram-sdxl"}, 8, "cuda", None, ()),
        ({"WEBUI_ARGS": "--no-half"}, None, "cpu", None, ("--use-cpu", "all")),
    ],
)
def test_the_device_follows_the_machine_unless_it_is_set(
    variables: dict[str, str], gib: float | None, name: str, vram: str | None, flags: tuple[str, ...]
) -> None:
    device = choose_device(read_settings(variables), [] if gib is None else [_gpu(gib)])
    assert (device.name, device.vram, device.flags) == (name, vram, flags)


def test_a_missing_gpu_is_said_unless_the_operator_chose_the_cpu() -> None:
    assert "no GPU here" in (choose_device(read_settings({}), []).warning or "")
    assert choose_device(read_settings({"DEVICE": "cpu"}), []).warning is None


def test_a_gpu_of_another_maker_is_left_to_the_webui() -> None:
    assert choose_device(read_settings({}), [], other_gpu=True) == Device("cuda", "full")


@pytest.mark.parametrize(
    ("device", "pixels"),
    [
        (None, DEFAULT_PIXELS),
        (Device("cuda", "full"), DEFAULT_PIXELS),
        (Device("cpu"), MEGAPIXEL),
        (Device("cuda", memory_bytes=8 * GIB), MEGAPIXEL),
        (Device("cuda", memory_bytes=20 * GIB), 4 * MEGAPIXEL),
        (Device("cuda", memory_bytes=140 * GIB), 16 * MEGAPIXEL),
    ],
)
def test_auto_pixels_follow_the_memory(device: Device | None, pixels: int) -> None:
    assert fitting_pixels(device) == pixels


def test_max_pixels_is_a_number_or_auto() -> None:
    assert read_settings({"MAX_PIXELS": "100000"}).batch_pixels == 100000
    with pytest.raises(AssertionError):
        _ = read_settings({"MAX_PIXELS": "AUTO"}).batch_pixels
    for wrong in ("0", "much", "4095"):
        with pytest.raises(SettingsInvalid, match="must be auto, or a whole number, at least 4096"):
            read_settings({"MAX_PIXELS": wrong})
