"""What belongs to one client alone: its options, its progress, its interrupts."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.served import decoded, warnings_of

if TYPE_CHECKING:
    import requests

    from tests.support.served import Served

SMALL: dict[str, Any] = {"prompt": "a cat", "width": 64, "height": 64, "steps": 4, "seed": 42}
OTHER = "Other_v1.safetensors"


def named(user: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Basic {base64.b64encode(f'{user}:any'.encode()).decode()}"}}


def test_remembered_options_go_with_the_clients_jobs_and_nowhere_else(served: Served) -> None:
    me, other = named("remembers"), named("other")
    own = served.options()
    posted = served.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337}, **me)
    assert (posted.status_code, posted.json(), warnings_of(posted)) == (200, None, [])
    assert served.get("/sdapi/v1/options", **me).json()["eta_noise_seed_delta"] == 31337
    assert served.get("/sdapi/v1/options", **other).json()["eta_noise_seed_delta"] == own["eta_noise_seed_delta"]
    served.post("/sdapi/v1/txt2img", SMALL, **me)
    mine = served.sent()[-1]["override_settings"]
    served.post("/sdapi/v1/txt2img", SMALL, **other)
    theirs = served.sent()[-1].get("override_settings", {})
    assert (mine["CLIP_stop_at_last_layers"], mine["eta_noise_seed_delta"]) == (2, 31337)
    assert "eta_noise_seed_delta" not in theirs
    assert served.options() == own


def test_what_a_job_says_itself_counts_before_what_is_remembered(served: Served) -> None:
    me = named("says")
    served.post("/sdapi/v1/options", {"sd_model_checkpoint": OTHER, "CLIP_stop_at_last_layers": 2}, **me)
    said = {"override_settings": {"sd_model_checkpoint": "Deliberate_v6", "CLIP_stop_at_last_layers": 1}}
    answer = served.post("/sdapi/v1/txt2img", {**SMALL, **said}, **me).json()
    assert "Model: Deliberate_v6" in answer["info"]
    empty = {"override_settings": {"sd_model_checkpoint": ""}}
    answer = served.post("/sdapi/v1/txt2img", {**SMALL, **empty}, **me).json()
    assert "Model: Other_v1" in answer["info"]


def test_an_option_set_back_is_forgotten(served: Served) -> None:
    me = named("forgets")
    own = served.get("/sdapi/v1/options", **me).json()
    served.post("/sdapi/v1/options", {"sd_model_checkpoint": OTHER}, **me)
    served.post("/sdapi/v1/options", {"sd_model_checkpoint": own["sd_model_checkpoint"]}, **me)
    assert served.get("/sdapi/v1/options", **me).json() == own


def test_options_that_a_job_may_not_override_are_a_warning(served: Served) -> None:
    me = named("warned")
    posted = served.post(
        "/sdapi/v1/options", {"samples_save": True, "outdir_samples": "/", "sd_vae": "Automatic"}, **me
    )
    assert posted.status_code == 200
    (warning,) = warnings_of(posted)
    assert "samples_save" in warning
    assert "outdir_samples" in warning
    assert served.get("/sdapi/v1/options", **me).json()["samples_save"] is False


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"sd_model_checkpoint": "Deliberat_v6"}, "sd_model_checkpoint"),
        ({"sd_vae": "nowhere.pt"}, "sd_vae"),
        ({"CLIP_stop_at_last_layers": 99}, "CLIP_stop_at_last_layers"),
        ({"randn_source": "TPU"}, "randn_source"),
        ({"samples_format": "tiff"}, "samples_format"),
    ],
)
def test_a_value_that_no_job_could_have_is_refused_at_once(served: Served, options: dict[str, Any], place: str) -> None:
    me = named(f"mistaken-{place}")
    before = served.get("/sdapi/v1/options", **me).json()
    refused = served.post("/sdapi/v1/options", options, **me)
    assert 400 <= refused.status_code < 500
    assert place in refused.json()["detail"]
    assert served.get("/sdapi/v1/options", **me).json() == before


def test_the_picture_format_is_an_option_like_any_other(served: Served) -> None:
    me = named("jpeg")
    served.post("/sdapi/v1/options", {"samples_format": "jpg"}, **me)
    image = served.post("/sdapi/v1/txt2img", SMALL, **me).json()["images"][0]
    assert base64.b64decode(image).startswith(b"\xff\xd8\xff")
    png = served.post("/sdapi/v1/txt2img", SMALL, **named("png")).json()["images"][0]
    assert decoded(png).format == "PNG"


def test_progress_previews_and_interrupts_are_the_callers_own(served: Served) -> None:
    me, other = named("draws"), named("watches")
    served.get("/sdapi/v1/progress", **me)  # asks for the unfinished picture, so that its jobs make one
    answers: list[requests.Response] = []
    body = {**SMALL, "steps": 150, "n_iter": 2}
    drawing = threading.Thread(target=lambda: answers.append(served.post("/sdapi/v1/txt2img", body, **me)))
    drawing.start()
    running = served.wait_until(lambda told: bool(told["current_image"]), **me)
    assert running["state"]["job_count"] == 2
    assert running["state"]["job"].startswith("Batch ")
    assert base64.b64decode(running["current_image"], validate=True)[:2] == b"\xff\xd8"
    skipped = served.get("/sdapi/v1/progress", params={"skip_current_image": "true"}, **me).json()
    assert skipped["current_image"] is None
    idle = served.get("/sdapi/v1/progress", **other).json()
    assert (idle["progress"], idle["state"]["job_count"]) == (0, 0)
    served.post("/sdapi/v1/interrupt", **other)
    served.post("/sdapi/v1/skip", **other)
    assert served.get("/sdapi/v1/progress", **me).json()["state"]["job_count"] == 2
    served.post("/sdapi/v1/interrupt", **me)
    drawing.join(30)
    assert answers[0].status_code == 200
    assert served.get("/sdapi/v1/progress", **me).json()["progress"] == 0
    served.wait_idle()


def test_a_listing_does_not_wait_behind_pictures(served: Served) -> None:
    drawers = [named(f"busy-{number}") for number in range(4)]
    body = {**SMALL, "steps": 150, "n_iter": 8}
    threads = [
        threading.Thread(target=served.post, args=("/sdapi/v1/txt2img", body), kwargs=drawer) for drawer in drawers
    ]
    for thread in threads:
        thread.start()
    for drawer in drawers:  # also those whose job still waits for its turn
        told = served.wait_until(lambda told: told["state"]["job_count"] == 8, **drawer)
        assert told["progress"] > 0
        assert told["state"]["job"]
    assert served.get("/sdapi/v1/sd-models", **named("asks")).status_code == 200
    assert all(served.get("/sdapi/v1/progress", **drawer).json()["progress"] for drawer in drawers)
    for drawer in drawers:
        served.post("/sdapi/v1/interrupt", **drawer)
    for thread in threads:
        thread.join(30)
    served.wait_idle()
