"""What A1111 silently leaves out is seen without its log too: by tiny pictures with and without it."""

from __future__ import annotations

import base64
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image, PngImagePlugin

from tests.integration.conftest import Worker
from tests.integration.webui.test_elsewhere import host_of
from tests.support import models
from tests.support.loopback_http import Reply, Request, serve
from tests.support.pictures import smooth
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def upscalers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of upscalers of a WebUI elsewhere, one of them damaged."""
    folder = tmp_path_factory.mktemp("upscalers")
    for name in ("4x_sharp", "4x_other", "RealESRGAN_x4plus_anime_6B"):
        (folder / f"{name}.pth").write_bytes(b"weights")
    (folder / "4x_damaged.pth").touch()
    return folder


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, upscalers: Path) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("elsewhere")
    models.lora(folder / "models" / "loras" / "other_shapes.safetensors", width=12)
    with running_standin(folder, args=_upscaler_flags(upscalers)) as webui:
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


def _upscaler_flags(folder: Path) -> list[str]:
    return ["--esrgan-models-path", str(folder), "--realesrgan-models-path", str(folder)]


def _upscales(worker: Worker) -> list[dict[str, Any]]:
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    return [entry for entry in entries if entry["path"].endswith("extra-single-image")]


def _one_for_all(text: str) -> str:
    """The same picture file with its texts, and pixels that depend on nothing but its size."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        noted = PngImagePlugin.PngInfo()
        for key, value in picture.info.items():
            noted.add_text(key, value)
        file = io.BytesIO()
        smooth(*picture.size).save(file, "PNG", pnginfo=noted)
    return base64.b64encode(file.getvalue()).decode()


@contextmanager
def all_the_same(webui: str) -> Iterator[str]:
    """The URL of a server that answers as `webui` does, but for the pixels of its pictures."""

    def script(request: Request) -> Reply:
        answer = requests.request(
            request.method, f"{webui}{request.path}", params=request.query, data=request.body, timeout=10
        )
        content = answer.content
        if request.path.endswith("txt2img") and answer.ok:
            told = answer.json()
            content = json.dumps({**told, "images": [_one_for_all(image) for image in told["images"]]}).encode()
        return Reply(answer.status_code, content, {"Content-Type": answer.headers["Content-Type"]})

    with serve(script) as server:
        yield server.url


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


def test_an_upscaler_with_its_weights_is_looked_at_once(worker: Worker) -> None:
    job = {"type": "upscale", "image": _picture(), "upscaler": "4x_sharp"}
    first = worker.run_job({"input": job})
    assert first["applied"]["upscalers"] == ["4x_sharp"], first
    asked = len(_upscales(worker))
    assert asked > 1
    assert worker.run_job({"input": job})["images"] == first["images"]
    assert len(_upscales(worker)) == asked + 1


def test_an_upscaler_whose_damaged_file_is_mended_works(worker: Worker, upscalers: Path) -> None:
    file = upscalers / "4x_damaged.pth"
    jobs = [{"type": "upscale", "image": _picture(), "upscaler": "4x_damaged", "scale": scale} for scale in (2, 2, 3)]
    assert {worker.run_job({"input": job}).get("error_code") for job in jobs} == {"model_damaged"}
    file.write_bytes(b"weights")
    assert worker.run_job({"input": jobs[0]})["applied"]["upscalers"] == ["4x_damaged"]


def test_an_upscaler_by_its_own_name_works_where_its_file_is(worker: Worker) -> None:
    job = {"type": "upscale", "image": _picture(), "upscaler": "R-ESRGAN 4x+ Anime6B"}
    assert worker.run_job({"input": job})["applied"]["upscalers"] == ["R-ESRGAN 4x+ Anime6B"]


def test_the_look_at_an_upscaler_is_repeated_when_its_answer_is_lost(worker: Worker) -> None:
    worker.fault("cut-body", path="extra-single-image", after=1)
    job = {"type": "upscale", "image": _picture(), "upscaler": "4x_other"}
    assert worker.run_job({"input": job})["applied"]["upscalers"] == ["4x_other"]


def test_a_lora_is_not_judged_by_a_webui_whose_pictures_are_all_the_same(tmp_path: Path) -> None:
    with running_standin(tmp_path / "there") as webui, all_the_same(webui.url) as url:
        host = host_of(webui, tmp_path, WEBUI_URL=url, DEFAULT_CHECKPOINT="Deliberate_v6")
        host.spawn()
        host.wait_ready()
        answer = Worker(host).run(loras=["add_detail"])
        host.close()
    assert [lora["name"] for lora in answer["applied"]["loras"]] == ["add_detail"]
