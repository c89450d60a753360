"""What A1111 logs as an exception and answers 200 to, read from its log."""

from __future__ import annotations

import pytest

from worker.errors import NanImage, OutOfMemory, WebUIFailed
from worker.recovery.failure_kinds import classify
from worker.webui.result.failures import Swallowed, swallowed, verdict

FRAMES = """Traceback (most recent call last):
  File "scripts/xyz_grid.py", line 728, in cell
    res = process_images(pc)
  File "modules/processing.py", line 847, in process_images
    res = process_images_inner(p)
"""
NO_ROOM = "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.25 GiB."
LOST = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA"
NANS = "modules.devices.NansException: A tensor with NaNs was produced in Unet."


def displayed(raised: str, task: str = "generating image for xyz plot") -> list[str]:
    return f"{task}: {raised.split(':', maxsplit=1)[0].rpartition('.')[2]}\n{FRAMES}{raised}".splitlines()


def reported(raised: str, head: str = "*** Error running postprocess_image: scripts/adetailer.py") -> list[str]:
    inside = "\n".join(f"    {line}" for line in f"{FRAMES}{raised}".splitlines())
    return f"{head}\n{inside}\n---".splitlines()


@pytest.mark.parametrize("logged", [displayed, reported])
def test_what_a_script_or_a_hook_swallowed_means_what_it_would_mean_in_an_error(logged: object) -> None:
    assert callable(logged)
    assert isinstance(verdict(logged(NO_ROOM)), OutOfMemory)
    assert isinstance(verdict(logged(NANS)), NanImage)
    lost = verdict(logged(LOST))
    assert isinstance(lost, WebUIFailed)
    assert classify(lost).breaks_process


def test_a_model_that_a_script_left_half_loaded_condemns_the_process() -> None:
    lines = ["Reusing loaded model A to load B", *displayed("KeyError: 'model.diffusion_model'")]
    half = verdict(lines)
    assert half is not None
    assert classify(half).breaks_process
    assert verdict([*lines, "Weights loaded in 0.3s (load weights from disk: 0.1s)."]) is None


def test_other_exceptions_are_left_to_the_check_of_the_picture() -> None:
    assert swallowed(reported("ValueError: no")) == [Swallowed("ValueError", "no")]
    assert verdict(reported("ValueError: no")) is None
    assert verdict(["2026-01-01 INFO [modules.shared_state] Starting job scripts_txt2img", "OutOfMemoryError"]) is None


def test_what_was_answered_with_an_error_is_not_told_twice_nor_of_the_next_request() -> None:
    failed = reported(LOST, head="*** API error: POST: http://127.0.0.1:3000/sdapi/v1/txt2img {}")
    for lines in (failed, failed[1:], failed[3:]):
        assert swallowed(lines) == []


def test_the_words_of_a_prompt_are_no_exception() -> None:
    said = "Warning: too many input tokens; some (9) have been truncated: CUDA error: device-side assert"
    assert verdict([said, "RuntimeError: CUDA error: said by somebody"]) is None
