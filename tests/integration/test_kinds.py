"""Every kind of job through the whole worker, on the stand-in."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

if TYPE_CHECKING:
    from tests.integration.conftest import Worker


def picture(width: int = 96, height: int = 64, colour: str = "gray") -> str:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def size_of(image: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        width, height = opened.size
        return width, height


def sent(worker: Worker, path: str) -> list[dict[str, Any]]:
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    return [entry["json"] for entry in entries if entry["path"] == f"/sdapi/v1/{path}"]


def run(worker: Worker, **fields: Any) -> dict[str, Any]:
    return worker.run_job({"input": fields})


def small(**fields: Any) -> dict[str, Any]:
    return {"prompt": "a cat", "steps": 2, "seed": 42, **fields}


def problem(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["error_code"] == "invalid_input", answer
    (only,) = answer["details"]["problems"]
    return dict(only)


# img2img


def test_img2img_keeps_the_pictures_own_size(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(96, 64)]))
    assert size_of(answer["images"][0]) == (96, 64)
    assert answer["applied"]["size"] == {"width": 96, "height": 64}
    assert answer["parameters"]["init_images"] == [
        f"<picture, {len(sent(worker, 'img2img')[0]['init_images'][0])} characters>"
    ]


def test_img2img_rounds_an_odd_size_and_says_so(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(101, 67)]))
    assert size_of(answer["images"][0]) == (104, 64)
    assert any("104x64" in warning for warning in answer["warnings"])


def test_img2img_takes_one_side_and_keeps_the_shape(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(96, 64)], width=192))
    assert size_of(answer["images"][0]) == (192, 128)


def test_several_start_pictures_make_a_picture_each_with_seeds_counting_on(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(colour="red"), picture(colour="blue")]))
    assert answer["seeds"] == [42, 43]
    assert [part["path"] for part in answer["parts"]] == ["init_images[0]", "init_images[1]"]


@pytest.mark.parametrize(
    "bad",
    [
        base64.b64encode(b"this is no picture at all, only text").decode(),
        picture()[:-40],
        "data:text/html;base64," + base64.b64encode(b"<html>" * 20).decode(),
    ],
)
def test_what_is_no_picture_is_refused_by_name(worker: Worker, bad: str) -> None:
    assert problem(run(worker, **small(init_images=[bad])))["path"] == "init_images[0]"
    assert sent(worker, "img2img") == []


def test_a_bomb_is_refused(worker: Worker) -> None:
    out = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(out, "PNG")
    bomb = base64.b64encode(out.getvalue()).decode()
    assert "30000x30000" in problem(run(worker, **small(init_images=[bomb])))["message"]


def test_a_picture_on_a_private_address_is_not_fetched(worker: Worker) -> None:
    found = problem(run(worker, **small(init_images=["http://169.254.169.254/latest/meta-data"])))
    assert found["path"] == "init_images[0]"
    assert "public" in found["message"]


def test_a_stored_picture_needs_a_store(worker: Worker) -> None:
    assert "store" in problem(run(worker, **small(init_images=["key:job/0-1.png"])))["message"]


# inpaint


def test_inpaint_sends_a_fitted_mask_and_keeps_the_size(worker: Worker) -> None:
    mask = Image.new("L", (48, 32), 0)
    mask.paste(255, (10, 10, 30, 30))
    out = io.BytesIO()
    mask.save(out, "PNG")
    answer = run(
        worker, **small(init_images=[picture(96, 64)], mask=base64.b64encode(out.getvalue()).decode(), mask_blur=2)
    )
    assert size_of(answer["images"][0]) == (96, 64)
    body = sent(worker, "img2img")[0]
    assert size_of(body["mask"]) == (96, 64)
    assert body["mask_blur"] == 2
    assert "inpaint_full_res" not in body


def test_an_empty_mask_is_refused(worker: Worker) -> None:
    assert problem(run(worker, **small(init_images=[picture()], mask=picture(colour="black"))))["path"] == "mask"


def test_outpainting_grows_the_picture(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(96, 64)], outpaint={"left": 32, "top": 64}))
    assert size_of(answer["images"][0]) == (128, 128)
    assert sent(worker, "img2img")[0]["inpaint_full_res"] is False


# several in one job


def test_several_prompts_answer_with_what_became_of_each(worker: Worker) -> None:
    answer = run(
        worker,
        steps=2,
        width=64,
        height=64,
        seed=1,
        prompts=["a cat", {"prompt": "a dog", "sampler_name": "Eulre"}, "a cow"],
    )
    assert len(answer["images"]) == 2
    assert [part["images"] for part in answer["parts"]] == [[0], [], [1]]
    error = answer["parts"][1]["error"]
    assert error["details"]["problems"][0]["path"] == "prompts[1].sampler_name"
    assert any("prompts[1] failed" in warning for warning in answer["warnings"])


def test_prompts_that_all_fail_are_an_error(worker: Worker) -> None:
    assert run(worker, steps=2, prompts=["<lora:nope:1>", "<lora:nada:1>"])["error_code"] == "invalid_input"


def test_each_seed_of_a_list_makes_the_picture_that_it_makes_alone(worker: Worker) -> None:
    answer = worker.run(seed=[7, 100])
    assert answer["seeds"] == [7, 100]
    assert answer["images"] == [worker.run(seed=7)["images"][0], worker.run(seed=100)["images"][0]]


def test_wildcards_vary_the_pictures(worker: Worker) -> None:
    answer = worker.run(prompt="a {red|green|blue|black} cat", wildcards=True, batch_size=4)
    assert len(answer["images"]) == 4
    prompts = {body["prompt"] for body in worker.sent()}
    assert len(prompts) > 1
    assert all("{" not in prompt for prompt in prompts)


# forms


def test_an_api_call_gets_the_webuis_own_answer(worker: Worker) -> None:
    payload = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}
    answer = run(worker, api={"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, payload=payload)
    assert set(answer) == {"images", "parameters", "info"}
    assert isinstance(answer["info"], str)


def test_a_mistake_in_an_api_call_is_reported_in_its_payload(worker: Worker) -> None:
    payload = {"prompt": "a cat", "sampler_name": "Eulre"}
    answer = run(worker, api={"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, payload=payload)
    found = problem(answer)
    assert (found["path"], found["suggestion"]) == ("payload.sampler_name", "Euler")
