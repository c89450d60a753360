from __future__ import annotations

import pytest

from worker.errors import ModelDamaged, WrongResult
from worker.webui.outcome import conclude, read_log


def test_layers_that_a_lora_could_not_be_applied_to_are_counted_by_lora() -> None:
    debug = "2026-11-21 08:22:31 DEBUG"
    log = read_log(
        [
            f"{debug} [root] Network my lora v2 layer diffusion_model_x: The size of tensor a (768) must match",
            f"{debug} [root] Network my lora v2 layer diffusion_model_y: couldn't find supported operation",
            f"{debug} [PIL.Image] Importing WebPImagePlugin",
        ]
    )
    assert log.unfit == {"my lora v2": 2}
    assert log.complaints == ()


def test_a_report_of_several_lines_is_one_complaint() -> None:
    log = read_log(
        [
            "*** Error verifying pickled file from /models/esrgan/x.pth",
            "*** The file may be malicious, so the program is not going to read it.",
            "    Traceback (most recent call last):",
            "---",
            "*** Unable to load ESRGAN model /models/esrgan/x.pth",
        ]
    )
    assert log.complaints == (
        "Error verifying pickled file from /models/esrgan/x.pth",
        "Unable to load ESRGAN model /models/esrgan/x.pth",
    )


def test_what_the_webui_swallows_is_found_in_its_log() -> None:
    for line in (
        "Lora not found: nope",
        "*** Error running process: /webui/extensions/x/scripts/x.py",
        "*** Failed loading LDSR model None",
        "[A2026-11-21 08:40:03 WARNING [modules.face_restoration_utils] Unable to load face-restoration model",
        "Couldn't find VAE named nope.safetensors; using None instead",
        "loading network /loras/x.safetensors: SafetensorError",
    ):
        assert len(read_log([line]).complaints) == 1, line


def test_ordinary_lines_are_no_complaints() -> None:
    for line in (
        'WARNING:root:Sampler Scheduler autocorrection: "Euler" -> "Euler", "None" -> "Automatic"',
        "2026-11-21 08:39:56 INFO [modules.shared_state] Starting job scripts_txt2img",
        "Loading VAE weights specified in settings: /vae/x.safetensors",
        'INFO:     127.0.0.1:33266 - "GET /sdapi/v1/progress HTTP/1.1" 200 OK',
        "tiled upscale: 100%|██████████| 1/1 [00:01<00:00,  1.93s/it]",
    ):
        assert read_log([line]).complaints == (), line


@pytest.mark.parametrize(
    "line",
    [
        "*** Error verifying pickled file from /models/esrgan/x.pth",
        "*** Unable to load ESRGAN model /models/esrgan/x.pth",
        "*** Failed loading LDSR model None",
        "2026-11-21 08:40:03 WARNING [modules.face_restoration_utils] Unable to load face-restoration model",
    ],
)
def test_weights_that_can_not_be_loaded_are_no_reason_for_a_second_run(line: str) -> None:
    assert isinstance(conclude([], read_log([line]).complaints), ModelDamaged)


def test_any_other_complaint_is_a_wrong_result() -> None:
    line = "*** Error running process: /webui/extensions/x/scripts/x.py"
    assert isinstance(conclude([], read_log([line]).complaints), WrongResult)
    assert conclude([], ()) is None
