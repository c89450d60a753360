"""Interrupt and skip as A1111 has them: 200 with what was made by then, for the caller's own job alone."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.rig import pixels
from tests.support.served import base64_png, decoded, warnings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from tests.support.served import Served

LONG = {"prompt": "a dog", "width": 64, "height": 64, "steps": 100, "seed": 7}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def named(user: str) -> dict[str, Any]:
    token = base64.b64encode(f"{user}:any".encode()).decode()
    return {"headers": {"Authorization": f"Basic {token}"}}


def drawing(served: Served, pool: ThreadPoolExecutor, me: dict[str, Any], **fields: Any) -> Future[requests.Response]:
    """A job of this client's that is being drawn."""
    drawn = pool.submit(served.post, "/sdapi/v1/txt2img", {**LONG, **fields}, **me)
    served.wait_until(lambda told: told["state"]["sampling_step"] > 2, **me)
    return drawn


def whole(served: Served, **fields: Any) -> list[str]:
    """The pictures that the WebUI itself makes of the same body."""
    answer = requests.post(f"{served.webui}/sdapi/v1/txt2img", json={**LONG, **fields}, timeout=60).json()
    return [pixels(image) for image in answer["images"]]


def test_an_interrupted_job_answers_with_its_unfinished_picture(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("interrupts")
    drawn = drawing(served, pool, me)
    assert served.post("/sdapi/v1/interrupt", **me).json() == {}
    answer = drawn.result(30)
    assert answer.status_code == 200
    (image,) = answer.json()["images"]
    assert decoded(image).size == (64, 64)
    assert pixels(image) not in whole(served)
    assert json.loads(answer.json()["info"])["infotexts"][0].startswith("a dog\nSteps: 100")
    assert warnings_of(answer)[0].startswith("ended early by the client: 1 of 1 pictures")
    idle = served.get("/sdapi/v1/progress", **me).json()
    assert (idle["progress"], idle["state"]["job_count"]) == (0, 0)
    served.wait_idle()


def test_batches_that_were_not_begun_by_then_are_not_made(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("stops-batches")
    drawn = drawing(served, pool, me, n_iter=3)
    served.post("/sdapi/v1/interrupt", **me)
    answer = drawn.result(30)
    assert (answer.status_code, len(answer.json()["images"])) == (200, 1)
    served.wait_idle()


def test_skip_goes_on_to_the_next_batch(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("skips")
    drawn = drawing(served, pool, me, n_iter=2)
    assert served.post("/sdapi/v1/skip", **me).json() is None
    answer = drawn.result(30)
    assert answer.status_code == 200
    first, second = (pixels(image) for image in answer.json()["images"])
    unskipped = whole(served, n_iter=2)
    assert first != unskipped[0]
    assert second == unskipped[1]
    assert warnings_of(answer)[0].startswith("ended early by the client: 2 of 2 pictures")
    served.wait_idle()


def test_the_last_batch_skipped_is_the_end(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("skips-the-last")
    drawn = drawing(served, pool, me)
    served.post("/sdapi/v1/skip", **me)
    answer = drawn.result(30)
    assert (answer.status_code, len(answer.json()["images"])) == (200, 1)
    served.wait_idle()


def test_a_job_that_waits_is_interrupted_without_a_picture_and_not_skipped(
    served: Served, pool: ThreadPoolExecutor
) -> None:
    first, second = named("draws-first"), named("waits")
    drawn = drawing(served, pool, first, n_iter=2)
    waits = pool.submit(served.post, "/sdapi/v1/txt2img", {**LONG, "steps": 4}, **second)
    served.wait_until(lambda told: told["state"]["job_count"] == 1, **second)
    served.post("/sdapi/v1/skip", **second)
    assert served.get("/sdapi/v1/progress", **second).json()["state"]["job_count"] == 1
    served.post("/sdapi/v1/interrupt", **second)
    answer = waits.result(30)
    assert (answer.status_code, answer.json()["images"]) == (200, [])
    info = json.loads(answer.json()["info"])
    assert (info["seed"], info["all_seeds"], info["infotexts"], info["width"]) == (7, [], [], 64)
    assert "no picture was made" in warnings_of(answer)[0]
    assert not drawn.done()
    served.post("/sdapi/v1/interrupt", **first)
    drawn.result(30)
    served.wait_idle()


def test_hires_and_detail_passes_end_early_too(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("stops-hires")
    detailer = {"ADetailer": {"args": [True, {"ad_model": "face_yolov8n.pt"}]}}
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    drawn = drawing(served, pool, me, **hires, alwayson_scripts=detailer)
    served.post("/sdapi/v1/interrupt", **me)
    answer = drawn.result(30)
    assert (answer.status_code, len(answer.json()["images"])) == (200, 1)
    served.wait_idle()


def test_the_next_job_is_whole(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("draws-again")
    drawn = drawing(served, pool, me)
    served.post("/sdapi/v1/interrupt", **me)
    after = served.post("/sdapi/v1/txt2img", {**LONG, "steps": 4}, **named("comes-next"))
    drawn.result(30)
    assert [pixels(image) for image in after.json()["images"]] == whole(served, steps=4)
    assert warnings_of(after) == []


def drawing_the_second(
    served: Served, pool: ThreadPoolExecutor, me: dict[str, Any], **fields: Any
) -> Future[requests.Response]:
    """An img2img job of this client's whose second picture is being drawn."""
    slow = {"fault": "slow-step", "count": 2, "seconds": 0.1}
    requests.post(f"{served.webui}/standin/faults", json=slow, timeout=10).raise_for_status()
    start = {"init_images": [base64_png()], "denoising_strength": 1}
    before = len(served.sent("img2img"))
    drawn = pool.submit(served.post, "/sdapi/v1/img2img", {**LONG, "steps": 20, **start, **fields}, **me)
    served.wait_until(lambda _: len(served.sent("img2img")) == before + 2, **me)
    served.wait_until(lambda told: 2 < told["state"]["sampling_step"] < 15, **me)
    return drawn


def test_loops_end_early_with_the_pictures_of_those_that_were_made(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("stops-loops")
    drawn = drawing_the_second(served, pool, me, script_name="Loopback", script_args=[4, 1, "Linear", "None"])
    served.post("/sdapi/v1/interrupt", **me)
    answer = drawn.result(30)
    assert answer.status_code == 200
    assert len(answer.json()["images"]) == 2
    assert any("ended early by the client" in warning for warning in warnings_of(answer))
    served.wait_idle()


def test_a_plot_ends_early_with_the_cells_that_were_made(served: Served, pool: ThreadPoolExecutor) -> None:
    me = named("stops-a-plot")
    axes = ["Seed", "7,8,9", "", "Nothing", "", "", "Nothing", "", ""]
    rest = [True, False, False, False, False, False, False, 0]
    drawn = drawing_the_second(served, pool, me, script_name="X/Y/Z plot", script_args=[*axes, *rest])
    served.post("/sdapi/v1/interrupt", **me)
    answer = drawn.result(30)
    assert answer.status_code == 200
    assert len(answer.json()["images"]) == 1 + 2, "the sheet, the first cell and the unfinished one"
    assert any("ended early by the client" in warning for warning in warnings_of(answer))
    served.wait_idle()


def test_a_job_of_several_requests_that_waits_for_the_next_ends_with_the_pictures_before(
    served: Served, pool: ThreadPoolExecutor
) -> None:
    me, other = named("has-one-picture"), named("comes-between")
    lines = {"script_name": "Prompts from file or textbox", "script_args": [False, False, "start", "a cat\na dog"]}
    drawn = drawing(served, pool, me, prompt="", **lines)
    between = pool.submit(served.post, "/sdapi/v1/txt2img", LONG, **other)
    served.wait_until(lambda told: told["state"]["sampling_step"] > 2, **other)
    served.post("/sdapi/v1/interrupt", **me)
    answer = drawn.result(30)
    assert (answer.status_code, len(answer.json()["images"])) == (200, 1)
    assert pixels(answer.json()["images"][0]) == whole(served, prompt="a cat")[0]
    assert any("ended early by the client" in warning for warning in warnings_of(answer))
    assert between.result(30).status_code == 200
    served.wait_idle()
