"""Options and axes that name or size something: checked against what the WebUI has and what the operator allows."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.integration.conftest import Worker
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that makes at most 128x128 pixels in a batch and has CodeFormer's weights."""
    folder = tmp_path_factory.mktemp("bounded")
    weights: Path = folder / "webui/models/Codeformer/codeformer-v0.1.0.pth"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    with running_host(folder, {"MAX_PIXELS": str(128 * 128)}) as host:
        yield Worker(host)


@pytest.fixture(autouse=True)
def _nothing_sent(bounded: Worker) -> None:
    bounded.reset()


def plot(field: str, *values: Any, **job: Any) -> dict[str, Any]:
    return {**job, "plot": {"x": {"field": field, "values": list(values)}}}


def wrong(answer: dict[str, Any]) -> dict[str, str]:
    assert answer.get("error_code") == "invalid_input", answer
    return {problem["path"]: problem["message"] for problem in answer["details"]["problems"]}


OPTIONS = {
    "upscaler_for_img2img": "Lanczoz",
    "sd_hypernetwork": "nobody has it",
    "face_restoration_model": "GFPGAM",
    "sd_vae_decode_method": "TAESD",
    "sd_vae_encode_method": "TAESD",
    "img2img_background_color": "no colour",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_the_webui_would_ignore_is_refused(bounded: Worker, option: str) -> None:
    assert list(wrong(bounded.run(override_settings={option: OPTIONS[option]}))) == [f"override_settings.{option}"]
    assert bounded.sent() == []


def test_options_are_sent_as_the_webui_spells_them(bounded: Worker) -> None:
    given = {"upscaler_for_img2img": "lanczos", "sd_hypernetwork": "none", "face_restoration_model": "codeformer"}
    bounded.run(override_settings=given, restore_faces=True)
    sent = bounded.sent()[-1]["override_settings"]
    assert [sent[option] for option in given] == ["Lanczos", "None", "CodeFormer"]


def start_picture(bounded: Worker) -> tuple[dict[str, Any], tuple[int, ...]]:
    entries = requests.get(f"{bounded.url}/standin/requests", timeout=10).json()
    body = [entry["json"] for entry in entries if entry["path"] == "/sdapi/v1/img2img"][-1]
    with Image.open(io.BytesIO(base64.b64decode(body["init_images"][0]))) as image:
        colour = image.convert("RGB").getpixel((0, 0))
    assert isinstance(colour, tuple)
    return body, colour


def test_options_for_start_pictures_have_their_effect(bounded: Worker) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(out, "PNG")
    picture = base64.b64encode(out.getvalue()).decode()
    options = {"img2img_background_color": "#ff0000", "initial_noise_multiplier": 1.2}
    assert "images" in bounded.run(init_images=[picture], override_settings=options)
    body, colour = start_picture(bounded)
    assert colour == (255, 0, 0)
    assert body["initial_noise_multiplier"] == 1.2
    bounded.run(init_images=[picture])
    assert start_picture(bounded)[1] == (255, 255, 255)


@pytest.mark.parametrize(
    "job",
    [
        plot("width", 64, 136, height=128),
        plot("hires.scale", 2, 2.2, hires={"enabled": True, "denoising_strength": 0.5}),
        plot("width", 64, 136, height=128, init_images=["…"]),
    ],
)
def test_a_plotted_size_keeps_to_the_operators_pixels(bounded: Worker, job: dict[str, Any]) -> None:
    if "init_images" in job:
        out = io.BytesIO()
        Image.new("RGB", (64, 64)).save(out, "PNG")
        job = {**job, "init_images": [base64.b64encode(out.getvalue()).decode()]}
    (message,) = wrong(bounded.run(**job)).values()
    assert "at most 16384 pixels" in message


def test_a_plotted_size_that_fits_is_made_and_splits_the_batch(bounded: Worker) -> None:
    assert "images" in bounded.run(**plot("width", 64, 128, height=128, batch_size=2))
    sent = [(body["batch_size"], body["n_iter"]) for body in bounded.sent()]
    assert sent == [(2, 1), (1, 2)]


def test_faces_are_not_plotted_without_weights(bounded: Worker) -> None:
    faces = {"x": {"field": "restore_faces", "values": [False, True]}}
    assert len(bounded.run(plot=faces)["images"]) == 2
    answer = bounded.run(plot=faces, override_settings={"face_restoration_model": "GFPGAN"})
    assert list(wrong(answer)) == ["plot.x.values[1]"]


def test_an_option_that_changes_the_model_for_later_jobs_is_no_axis(bounded: Worker) -> None:
    (message,) = wrong(bounded.run(**plot("override_settings.fp8_storage", "Disable", "Enable"))).values()
    assert "may" in message
