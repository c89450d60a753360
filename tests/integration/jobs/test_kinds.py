"""Every kind of job through the whole worker, on the stand-in."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from worker.common.clock import running
from worker.common.interruption import Interruption
from worker.contract.parse.job_parser import parse_job
from worker.errors import Cancelled
from worker.jobs.job_context import JobContext
from worker.jobs.plain_job import make_each
from worker.telemetry.phases import Phases

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


def test_a_long_picture_is_fine_within_the_operators_pixels_and_a_large_one_is_not(worker: Worker) -> None:
    job = {"prompt": "a", "steps": 1}
    answer = run(worker, **job, init_images=[picture(2304, 64)])
    assert size_of(answer["images"][0]) == (2304, 64)
    found = problem(run(worker, **job, init_images=[picture(2304, 2304)]))
    assert (found["path"], "at most 4194304 pixels" in found["message"]) == ("init_images[0]", True)


def test_img2img_rounds_an_odd_size_and_says_so(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(101, 67)]))
    assert size_of(answer["images"][0]) == (104, 64)
    assert any("104x64" in warning for warning in answer["warnings"])


def test_img2img_takes_one_side_and_keeps_the_shape(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(96, 64)], width=192))
    assert size_of(answer["images"][0]) == (192, 128)


@pytest.mark.parametrize("size", [(48, 32), (64, 64)])
def test_a_mask_of_another_size_is_scaled_to_its_picture_and_told(worker: Worker, size: tuple[int, int]) -> None:
    answer = run(worker, prompt="a cat", steps=2, init_images=[picture()], mask=picture(*size, "white"))
    told = f"mask: is {size[0]}x{size[1]} and was scaled to the picture's 96x64"
    assert (size_of(answer["images"][0]), told in answer["warnings"]) == ((96, 64), True)
    assert size_of(sent(worker, "img2img")[0]["mask"]) == (96, 64)


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
    Image.new("1", (30_000, 4_000)).save(out, "PNG")
    bomb = base64.b64encode(out.getvalue()).decode()
    assert "30000x4000" in problem(run(worker, **small(init_images=[bomb])))["message"]


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


def patch(width: int, height: int, colour: str = "white") -> str:
    """A black mask with a patch in its middle."""
    mask = Image.new("L", (width, height), 0)
    mask.paste(colour, (width // 3, height // 3, width // 2, height // 2))
    out = io.BytesIO()
    mask.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"width": 64, "height": 64}, (200, 120)),
        ({"width": 64, "height": 64, "inpaint_full_res": True, "resize_mode": 1}, (200, 120)),
        ({}, (200, 120)),
        ({"width": 64, "height": 64, "inpaint_full_res": False}, (64, 64)),
        ({"width": 64, "height": 64, "override_settings": {"overlay_inpaint": False}}, (64, 64)),
    ],
)
def test_what_is_made_anew_at_another_size_is_put_back_into_the_picture(
    worker: Worker, fields: dict[str, Any], size: tuple[int, int]
) -> None:
    answer = run(worker, **small(init_images=[picture(200, 120)], mask=patch(200, 120), **fields))
    assert (size_of(answer["images"][0]), answer["warnings"]) == (size, [])
    assert answer["applied"]["size"] == {"width": size[0], "height": size[1]}


def test_a_mask_over_a_picture_whose_latent_alone_is_stretched_is_refused(worker: Worker) -> None:
    job = small(init_images=[picture(200, 120)], mask=patch(200, 120), resize_mode=3, width=64, height=64)
    assert problem(run(worker, **job, inpaint_full_res=False))["path"] == "resize_mode"
    assert "images" in run(worker, **job)
    raw = {"init_images": job["init_images"], "mask": job["mask"], "resize_mode": 3, "width": 64, "height": 64}
    sent_raw = requests.post(f"{worker.url}/sdapi/v1/img2img", json={**raw, "inpaint_full_res": False}, timeout=10)
    assert sent_raw.json()["errors"] == "images do not match"


def test_an_odd_picture_keeps_its_size_when_a_part_of_it_is_put_back(worker: Worker) -> None:
    answer = run(worker, **small(init_images=[picture(101, 67)], mask=patch(101, 67)))
    assert (size_of(answer["images"][0]), answer["warnings"]) == ((101, 67), [])


def test_an_empty_mask_is_refused(worker: Worker) -> None:
    assert problem(run(worker, **small(init_images=[picture()], mask=picture(colour="black"))))["path"] == "mask"
    inverted = small(init_images=[picture()], mask=picture(colour="white"), inpainting_mask_invert=1)
    assert "white all over" in problem(run(worker, **inverted))["message"]


def test_a_grey_mask_counts_when_it_is_not_rounded(worker: Worker) -> None:
    job = small(init_images=[picture()], mask=patch(96, 64, "#646464"))
    assert problem(run(worker, **job))["path"] == "mask"
    assert "images" in run(worker, **job, mask_round=False)


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


def test_of_several_seeds_those_made_before_a_failure_are_not_lost(worker: Worker) -> None:
    worker.fault("error", after=1, error="ValueError", message="no luck")
    answer = worker.run(seed=[7, 8, 100])
    assert answer["seeds"] == [7]
    told = [(part["images"], part.get("error", {}).get("error_code")) for part in answer["parts"]]
    assert told == [([0], None), ([], "webui_error")]
    assert any("no luck" in warning for warning in answer["warnings"])


def test_a_job_that_its_client_ended_with_nothing_made_is_cancelled(worker: Worker) -> None:
    services = worker.host._parts.service._services  # type: ignore[union-attr]
    job: Any = parse_job({"prompt": "a cat", "steps": 2})
    ended = Interruption()
    ended.is_ended = True
    context = JobContext("ended", None, running() + 60, Phases(), lambda _: None, interruption=ended)

    async def make() -> None:
        async with services.delivery.stream(job, context) as stream:
            await make_each(job, context, services, stream)

    with pytest.raises(Cancelled):
        asyncio.run(make())
    assert worker.sent() == []


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


def test_an_api_call_to_upscale_gets_the_webuis_own_answer(worker: Worker) -> None:
    payload = {"image": picture(), "upscaler_1": "Lanczos", "upscaling_resize": 2}
    answer = run(worker, api={"method": "POST", "endpoint": "/sdapi/v1/extra-single-image"}, payload=payload)
    assert set(answer) == {"html_info", "image"}
    assert "Lanczos" in answer["html_info"]
    assert size_of(answer["image"]) == (192, 128)


def test_a_mistake_in_an_api_call_is_reported_in_its_payload(worker: Worker) -> None:
    payload = {"prompt": "a cat", "sampler_name": "Eulre"}
    answer = run(worker, api={"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, payload=payload)
    found = problem(answer)
    assert (found["path"], found["suggestion"]) == ("payload.sampler_name", "Euler")


# upscale, interrogate, notes


def test_upscale_by_a_factor(worker: Worker) -> None:
    answer = run(worker, type="upscale", image=picture(96, 64), upscaler="lanczos", scale=2)
    assert size_of(answer["images"][0]) == (192, 128)
    assert answer["applied"] == {"upscalers": ["Lanczos"], "size": {"width": 192, "height": 128}}
    assert answer["seeds"] == []


def test_upscale_to_a_size(worker: Worker) -> None:
    answer = run(worker, type="upscale", image=picture(96, 64), upscaler="Lanczos", width=256, height=128)
    assert size_of(answer["images"][0]) == (256, 128)


def test_upscale_by_a_factor_is_held_to_what_a_size_is_held_to(worker: Worker) -> None:
    found = problem(run(worker, type="upscale", image=picture(1536, 8), upscaler="Lanczos", scale=8))
    assert (found["path"], "12288x64" in found["message"]) == ("scale", True)


def test_upscale_without_a_name_takes_one_that_is_there(worker: Worker) -> None:
    assert run(worker, type="upscale", image=picture())["applied"]["upscalers"] == ["Lanczos"]


def test_an_unknown_upscaler_is_refused_with_the_one_that_was_meant(worker: Worker) -> None:
    found = problem(run(worker, type="upscale", image=picture(), upscaler="Lanzcos"))
    assert (found["path"], found["suggestion"]) == ("upscaler", "Lanczos")


def test_interrogation_without_weights_is_an_error_and_no_caption(worker: Worker) -> None:
    answer = run(worker, type="interrogate", image=picture())
    assert (answer["error_code"], answer["retryable"]) == ("model_not_found", False)


def test_a_pictures_notes_give_back_the_job_that_makes_it(worker: Worker) -> None:
    made = worker.run(
        prompt="a cat, (red:1.2)", negative_prompt="blurry", sampler_name="Euler a", cfg_scale=6.5, clip_skip=2
    )
    notes = run(worker, type="png_info", image=made["images"][0])
    assert notes["job"]["sampler_name"] == "Euler a"
    assert notes["parameters"]["Seed"] == "42"
    assert worker.run_job({"input": notes["job"]})["images"] == made["images"]


def png(width: int, height: int, *more: tuple[bytes, bytes]) -> str:
    """A PNG with only the beginning of its pixels and more chunks before them."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), *more, (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def test_the_notes_of_a_very_large_picture_are_read_without_its_pixels(worker: Worker) -> None:
    Image.MAX_IMAGE_PIXELS = 89_478_485  # Pillow's own, which decoding another picture lifts
    notes = run(worker, type="png_info", image=png(30_000, 30_000, (b"tEXt", b"Title\0A field")))
    assert (notes["size"]["width"], notes["items"]) == (30_000, {"Title": "A field"})


def test_notes_that_inflate_without_end_are_no_usable_picture(worker: Worker) -> None:
    bomb = (b"zTXt", b"Title\0\0" + zlib.compress(b"a" * 80_000_000))
    assert problem(run(worker, type="png_info", image=png(64, 64, bomb)))["path"] == "image"


def test_a_picture_without_notes_says_nothing(worker: Worker) -> None:
    notes = run(worker, type="png_info", image=picture())
    assert (notes["info"], notes["job"], notes["size"]) == ("", {}, {"width": 96, "height": 64})


# questions


@pytest.mark.parametrize(
    "what",
    [
        "samplers",
        "schedulers",
        "upscalers",
        "checkpoints",
        "loras",
        "vae",
        "embeddings",
        "styles",
        "scripts",
        "extensions",
        "memory",
    ],
)
def test_listings_tell_what_is_there_and_no_paths(worker: Worker, what: str) -> None:
    answer = run(worker, type=what)
    assert answer["type"] == what
    assert "/models/" not in str(answer["items"])


def test_health_names_the_model(worker: Worker) -> None:
    assert run(worker, action="health")["items"]["checkpoint"] == "Deliberate_v6"


def test_controlnet_that_is_not_installed_is_said(worker: Worker) -> None:
    assert "not installed" in problem(run(worker, type="controlnet"))["message"]


def test_refresh_lists_what_is_there_now(worker: Worker) -> None:
    answer = run(worker, type="refresh", what=["checkpoints"])
    assert "Deliberate_v6" in answer["items"]["checkpoints"]


def test_an_api_calls_listing_is_the_webuis_own(worker: Worker) -> None:
    answer = run(worker, api={"method": "GET", "endpoint": "/sdapi/v1/sd-models"})
    assert answer == requests.get(f"{worker.url}/sdapi/v1/sd-models", timeout=10).json()


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(worker: Worker) -> None:
    answer = run(worker, type="validate", job=small(width=64, height=64, batch_size=2, sampler_name="euler"))
    assert answer["valid"] is True
    assert answer["requests"][0]["body"]["sampler_name"] == "Euler"
    assert answer["cost"] == {"pictures": 2, "steps": 4, "megapixel_steps": 0.016}
    assert worker.sent() == []


def test_a_dry_run_reports_the_mistakes_that_the_job_would(worker: Worker) -> None:
    found = problem(run(worker, type="validate", job=small(sampler_name="Eulre")))
    assert (found["path"], found["suggestion"]) == ("job.sampler_name", "Euler")


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({"type": "upscale", "image": picture(), "upscaler": "Lanzcos"}, "job.upscaler"),
        ({"type": "upscale", "image": "A" * 64}, "job.image"),
        ({"type": "interrogate", "image": "A" * 64}, "job.image"),
        ({"prompt": "a", "output": {"delivery": "s3"}}, "job.output.delivery"),
        ({"prompt": "__nobody__", "wildcards": True}, "job.prompt"),
        ({"compat": "diffusers", "prompt": "a", "num_inference_steps": 0}, "job.num_inference_steps"),
        ({"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": {"steps": 0}}, "job.payload.steps"),
        ({"prompt": "a", "preset": "nothing"}, "job.preset"),
        ({"prompt": "a", "checkpoint": "nobody_knows"}, "job.checkpoint"),
        ({"type": "validate", "job": {"prompt": "a", "sampler_name": "Eulre"}}, ""),
    ],
)
def test_a_dry_run_names_the_field_of_the_job_inside(worker: Worker, job: dict[str, Any], path: str) -> None:
    answer = run(worker, type="validate", job=job)
    assert [each["path"] for each in answer.get("details", {}).get("problems", ())] == ([path] if path else [])


def test_a_dry_run_tells_what_is_sent_for_an_errand_and_fetched_by_a_prefetch(worker: Worker) -> None:
    upscale = run(worker, type="validate", job={"type": "upscale", "image": picture(), "upscaler": "lanczos"})
    assert upscale["requests"] == [{"path": "/sdapi/v1/extra-single-image", "body": {"upscaler_1": "Lanczos"}}]
    fetched = run(worker, type="validate", job={"type": "prefetch", "loras": ["Detail Tweaker XL", "add_detail"]})
    assert [each["path"] for each in fetched["fetch"]] == ["loras[0]"]
    unknown = run(worker, type="validate", job={"type": "prefetch", "checkpoint": "nobody_knows"})
    assert unknown["error_code"] == "model_not_found"


def test_validate_tells_models_that_are_there_from_those_that_would_be_fetched(worker: Worker) -> None:
    there = run(worker, type="validate", job=small(prompt="a <lora:add_detail:1>", checkpoint="Other_v1"))
    assert there["fetch"] == []
    assert len(there["requests"]) == 1
    both = small(checkpoint="Other_v1", loras=["Detail Tweaker XL"])
    missing = run(worker, type="validate", job=both)
    assert [(each["path"], each["ref"]) for each in missing["fetch"]] == [("loras[0]", "Detail Tweaker XL")]


def test_models_that_are_there_need_no_fetching(worker: Worker) -> None:
    answer = run(worker, type="prefetch", checkpoint="Other_v1")
    assert [(model["name"], model["fetched"]) for model in answer["items"]["models"]] == [("Other_v1", False)]


# what comes along with the pictures


def test_previews_and_another_format_come_as_asked(worker: Worker) -> None:
    answer = run(worker, **small(batch_size=2, output={"format": "webp", "thumbnail": 32, "blurhash": True}))
    assert [base64.b64decode(image)[8:12] for image in answer["images"]] == [b"WEBP"] * 2
    assert [size_of(one["thumbnail"]) for one in answer["previews"]] == [(32, 32)] * 2
    assert all(len(one["blurhash"]) == 28 for one in answer["previews"])


def test_an_embedding_for_another_model_and_a_long_prompt_are_pointed_out(worker: Worker) -> None:
    warnings = worker.run(prompt="a cat, xlemb, " + "fluffy " * 80)["warnings"]
    assert any("embedding 'xlemb'" in warning for warning in warnings), warnings
    assert any("tokens" in warning for warning in warnings)


def test_a_listing_of_an_extension_that_is_not_there_is_a_mistake_in_the_clients_own_words(worker: Worker) -> None:
    answer = worker.run_job({"input": {"api": {"method": "GET", "endpoint": "/controlnet/model_list"}}})
    assert [problem["path"] for problem in answer["details"]["problems"]] == ["api.endpoint"]


def test_parameters_too_long_for_a_jpeg_are_left_out_and_that_is_said(worker: Worker) -> None:
    long = {"prompt": "ü" * 18_000, "negative_prompt": "ü" * 18_000}
    answer = run(worker, **small(**long, output={"format": "jpeg"}))
    assert any("too long for a JPEG" in warning for warning in answer["warnings"])
    kept = run(worker, **small(**long, output={"format": "webp"}))
    assert not any("too long for a JPEG" in warning for warning in kept["warnings"])


@pytest.mark.parametrize(
    "job", [{"type": "samplers"}, {"type": "health"}, {"type": "validate", "job": {"prompt": "a"}}]
)
def test_every_answer_names_the_webuis_version_and_device(worker: Worker, job: dict[str, Any]) -> None:
    told = worker.run_job({"input": job})["worker"]
    assert told == worker.run()["worker"]
    assert told["webui_version"].startswith("v1.10")
    assert (told["device"]["name"], told["device"]["max_pixels"]) == ("cpu", 4 * 1024 * 1024)


def test_upscalers_are_listed_with_whether_they_can_be_used(worker: Worker) -> None:
    rows = worker.run_job({"input": {"type": "upscalers"}})["items"]
    assert all("installed" in row for row in rows)
