from __future__ import annotations

import json
from typing import Any

import pytest

from worker.contract.accept import Accepted, accept
from worker.contract.compat.client_form import Cache
from worker.contract.types.job import Generation, Txt2Img
from worker.contract.types.kinds import Inpaint, Prefetch, Refresh, WebUIGet
from worker.errors import InvalidInput, Problem

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"
ANSWER: dict[str, Any] = {
    "images": ["abc"],
    "seeds": [1],
    "applied": {},
    "info": {"seed": 1},
    "parameters": {"prompt": "a"},
    "warnings": [],
}
BARE: dict[str, Any] = {
    "prompt": "a photograph of an astronaut riding a horse",
    "negative_prompt": "text, watermark, blurry, low quality",
    "steps": 25,
    "cfg_scale": 7,
    "width": 512,
    "height": 512,
    "sampler_name": "DPM++ 2M Karras",
}


def problem(raw: dict[str, Any]) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        accept(raw)
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


def call(endpoint: str, payload: Any = None, method: str = "POST") -> dict[str, Any]:
    return {"api": {"method": method, "endpoint": endpoint}, "payload": payload}


def accepted(raw: dict[str, Any], kind: type[Any]) -> Accepted:
    found = accept(raw)
    assert isinstance(found.job, kind)
    return found


def test_a_bare_body_gets_our_answer_which_has_the_webuis_fields() -> None:
    found = accepted(BARE, Txt2Img)
    assert found.job.plain_fields() == BARE
    assert found.answer(ANSWER) == ANSWER


def test_a_bare_body_gets_the_webuis_own_shape_when_it_asks() -> None:
    answer = accepted({**BARE, "compat": "a1111"}, Txt2Img).answer(ANSWER)
    assert set(answer) == {"images", "parameters", "info"}
    assert json.loads(answer["info"]) == {"seed": 1}


def test_models_by_address_get_the_state_of_the_cache() -> None:
    raw = {**BARE, "clip_skip": 2, "loras": [{"name": "x", "url": "https://example.com/x.safetensors", "scale": 0.8}]}
    answer = accepted(raw, Txt2Img).answer(ANSWER, cache=Cache(1, 2, 3_000_000))
    assert answer["cache_info"] == {"checkpoints_cached": 1, "loras_cached": 2, "total_cache_size_mb": 3.0}
    assert answer["images"] == ["abc"]


@pytest.mark.parametrize("endpoint", ["/sdapi/v1/txt2img", "sdapi/v1/txt2img", "txt2img"])
def test_an_api_call_is_the_same_job_and_is_answered_raw(endpoint: str) -> None:
    found = accepted(call(endpoint, BARE), Txt2Img)
    assert found.form.name == "api"
    assert found.job.plain_fields() == BARE
    assert json.loads(found.answer(ANSWER)["info"]) == {"seed": 1}


def test_an_api_call_takes_masks_and_floats() -> None:
    payload = {"prompt": "a", "init_images": [PICTURE], "mask": PICTURE, "denoising_strength": 0.5, "cfg_scale": 6.5}
    accepted(call("/sdapi/v1/img2img", payload), Inpaint)


def test_an_api_calls_mistakes_are_reported_in_the_payload() -> None:
    assert problem(call("/sdapi/v1/txt2img", {"prompt": "a", "steps": 0})).path == "payload.steps"
    wrong = {"init_images": [PICTURE], "prompt": "a", "denoising_strength": 5}
    assert problem(call("/sdapi/v1/img2img", wrong)).path == "payload.denoising_strength"


def test_an_api_calls_listing_is_read_as_it_is() -> None:
    found = accepted(call("/sdapi/v1/sd-models", method="GET"), WebUIGet)
    assert isinstance(found.job, WebUIGet)
    assert found.job.endpoint == "/sdapi/v1/sd-models"
    controlnet = accept(call("/controlnet/model_list", method="GET")).job
    assert isinstance(controlnet, WebUIGet)
    assert controlnet.endpoint == "/controlnet/model_list"


def test_an_api_call_may_refresh_and_download() -> None:
    refresh = accepted(call("/sdapi/v1/refresh-loras"), Refresh).job
    assert isinstance(refresh, Refresh)
    assert refresh.what == ["loras"]
    payload = {
        "source_url": "https://civitai.com/api/download/models/1",
        "download_path": "/workspace/models/Lora/x.safetensors",
    }
    download = accepted(call("v1/download", payload), Prefetch).job
    assert isinstance(download, Prefetch)
    assert download.loras is not None
    assert (download.loras[0].name, download.loras[0].url) == ("x.safetensors", payload["source_url"])


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (call("/sdapi/v1/server-kill"), "api.endpoint"),
        (call("/sdapi/v1/options", {"sd_vae": "x"}), "api.endpoint"),
        (call("/v1/sync", {"repo_id": "x"}), "api.endpoint"),
        (call("/sdapi/v1/txt2img", {}, "GET"), "api.method"),
        (call("/sdapi/v1/samplers", {}, "POST"), "api.method"),
        (call("/sdapi/v1/txt2img", []), "payload"),
        ({"api": "txt2img"}, "api"),
        ({"api": {}}, "api.endpoint"),
        ({**call("/sdapi/v1/txt2img", {"prompt": "a"}), "prompt": "a"}, "prompt"),
        (call("v1/download", {"source_url": "https://a/b", "download_path": "/etc/cron.d/x"}), "payload.download_path"),
    ],
)
def test_what_an_api_call_may_not_do_is_refused(raw: dict[str, Any], path: str) -> None:
    assert problem(raw).path == path


def test_a_misspelt_endpoint_gets_its_name() -> None:
    assert problem(call("/sdapi/v1/txt2imgg", {})).suggestion == "/sdapi/v1/txt2img"


def test_diffusers_names_are_translated_when_asked() -> None:
    raw = {"compat": "diffusers", "prompt": "a", "num_inference_steps": 20, "guidance_scale": 7.5, "clip_skip": 1}
    job = accepted(raw, Txt2Img).job
    assert isinstance(job, Generation)
    assert (job.steps, job.cfg_scale, job.clip_skip) == (20, 7.5, 2)


def test_diffusers_mistakes_are_reported_under_their_names() -> None:
    assert problem({"compat": "diffusers", "prompt": "a", "num_inference_steps": 0}).path == "num_inference_steps"
    assert problem({"compat": "diffusers", "prompt": "a", "image": "x.png"}).path == "image"


def test_an_unknown_form_is_refused() -> None:
    assert problem({**BARE, "compat": "comfyui"}).path == "compat"


def test_an_error_looks_the_same_to_all_clients() -> None:
    error = {"error": "invalid_input: x", "error_code": "invalid_input"}
    assert accept({**BARE, "compat": "a1111"}).answer(error) == error


def test_the_operator_may_have_every_bare_body_answered_in_the_webuis_own_shape() -> None:
    answer = {"images": ["x"], "parameters": {}, "info": {"seed": 1}, "seeds": [1]}
    bare = accept({"prompt": "a cat", "steps": 3}, bare_form="a1111")
    assert bare.answer(answer) == {"images": ["x"], "parameters": {}, "info": '{"seed": 1}'}
    assert accept({"prompt": "a cat", "clip_skip": 2}, bare_form="a1111").answer(answer) == answer


def test_img2img_of_the_api_form_needs_a_picture_to_start_from() -> None:
    assert problem(call("/sdapi/v1/img2img", {"prompt": "a"})).path == "payload.init_images"
    found = accepted(call("/sdapi/v1/img2img", {"prompt": "a", "init_images": [PICTURE], "mask": PICTURE}), Inpaint)
    assert found.form.name == "api"


def test_a_payload_does_not_choose_the_kind_of_job() -> None:
    raw = call("/sdapi/v1/txt2img", {"prompt": "a", "type": "samplers"})
    assert (
        "type is ignored: is not a field of the WebUI's API; the endpoint says what is done"
        in accepted(raw, Txt2Img).job.warnings
    )
    with pytest.raises(InvalidInput) as caught:
        accept(raw, unknown_fields="refuse")
    assert [found.path for found in caught.value.problems] == ["payload.type"]


def test_nulls_of_a_pipelines_arguments_say_nothing() -> None:
    plain = accept({"compat": "diffusers", "prompt": "a", "mask_image": None, "padding_mask_crop": None})
    assert plain.job.plain_fields() == {"prompt": "a"}
    masked = {"compat": "diffusers", "prompt": "a", "image": PICTURE, "mask_image": PICTURE, "padding_mask_crop": None}
    assert accept(masked).job.plain_fields()["inpaint_full_res"] is False


@pytest.mark.parametrize("skipped", [-1, 12])
def test_a_pipelines_clip_skip_is_refused_in_its_own_numbers(skipped: int) -> None:
    assert problem({"compat": "diffusers", "prompt": "a", "clip_skip": skipped}) == Problem(
        "clip_skip", f"must be 0 to 11, not {skipped}"
    )
