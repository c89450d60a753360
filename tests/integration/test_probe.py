"""What A1111 silently leaves out is seen without its log too: by tiny pictures with and without it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.integration.conftest import Worker
from tests.integration.test_elsewhere import host_of
from tests.support import models
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("elsewhere")
    models.lora(folder / "models" / "loras" / "other_shapes.safetensors", width=12)
    with running_standin(folder) as webui:
        host = host_of(webui, tmp_path_factory.mktemp("here"), DEFAULT_CHECKPOINT="Deliberate_v6")
        host.spawn()
        host.wait_ready()
        yield Worker(host)
        host.close()


@pytest.fixture(autouse=True)
def _quiet(worker: Worker) -> None:
    worker.reset()


def _picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 60, 20)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_lora_of_other_shapes_is_refused(worker: Worker) -> None:
    for job in ({"loras": ["other_shapes"]}, {"prompt": "a cat <lora:other_shapes:1>"}):
        answer = worker.run(**job)
        assert answer["error_code"] == "incompatible_model", answer
        assert "other_shapes" in answer["error"]


def test_a_lora_that_fits_is_looked_at_once(worker: Worker) -> None:
    first = worker.run(loras=["add_detail"])
    assert [lora["name"] for lora in first["applied"]["loras"]] == ["add_detail"]
    assert [body["prompt"] for body in worker.sent() if "house" in body["prompt"] and "add_detail" in body["prompt"]]
    worker.reset()
    assert worker.run(loras=["add_detail"])["images"] == first["images"]
    assert len(worker.sent()) == 1


def test_an_upscaler_without_weights_is_an_error_and_costs_no_second_run(worker: Worker) -> None:
    hires = {"scale": 2, "upscaler": "R-ESRGAN 4x+", "denoising_strength": 0.5}
    answer = worker.run(hires=hires)
    assert answer["error_code"] == "model_damaged", answer
    assert "R-ESRGAN 4x+" in answer["error"]
    assert len(worker.sent()) == 1
    upscaled = worker.run_job({"input": {"type": "upscale", "image": _picture(), "upscaler": "R-ESRGAN 4x+"}})
    assert upscaled["error_code"] == "model_damaged", upscaled


def test_a_client_may_take_what_came(worker: Worker) -> None:
    job = {"type": "upscale", "image": _picture(), "upscaler": "R-ESRGAN 4x+", "on_mismatch": "warn"}
    answer = worker.run_job({"input": job})
    assert len(answer["images"]) == 1
    assert any("only resized" in warning for warning in answer["warnings"])


def test_plain_resizes_are_what_they_say(worker: Worker) -> None:
    for upscaler in ("Lanczos", "Nearest"):
        assert "error" not in worker.run_job({"input": {"type": "upscale", "image": _picture(), "upscaler": upscaler}})


def test_face_restoration_that_cannot_be_proven_is_a_warning(worker: Worker) -> None:
    assert any("restore_faces" in warning for warning in worker.run(restore_faces=True)["warnings"])
