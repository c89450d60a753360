"""OpenAI's own client package against the worker's ``/v1``."""

from __future__ import annotations

import base64
import io
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
import requests
from PIL import Image, ImageDraw

from worker.images.inspect import decode_base64, inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.documents.clients import Served

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
SMALL: dict[str, Any] = {"size": "64x64", "extra_body": {"steps": 2, "seed": 7}}
LONG: dict[str, Any] = {"size": "64x64", "extra_body": {"steps": 150}}


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    served.reset()
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key) as made:
        yield made


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def photo(color: str = "red", size: tuple[int, int] = (64, 64)) -> bytes:
    return png(Image.new("RGB", size, color))


def mask_with_a_hole() -> bytes:
    """Opaque but for a transparent square at the top left."""
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    ImageDraw.Draw(mask).rectangle((0, 0, 31, 31), fill=(0, 0, 0, 0))
    return png(mask)


def size_of(image: str | None) -> tuple[str, int, int]:
    picture = inspect(decode_base64(image or ""))
    return picture.format, picture.width, picture.height


def test_a_prompt_becomes_pictures_with_their_seeds(client: openai.OpenAI, served: Served) -> None:
    answer = client.images.generate(prompt="a cat", n=2, size="128x64", extra_body={"steps": 2, "seed": 7})
    assert [size_of(image.b64_json) for image in answer.data or ()] == [("png", 128, 64)] * 2
    assert [image.seed for image in answer.data or ()] == [7, 8]  # type: ignore[attr-defined]  # an addition of ours
    assert (answer.size, answer.output_format, answer.background) == ("128x64", "png", "opaque")
    assert abs(answer.created - time.time()) < 60
    assert served.sent(TXT2IMG)[0]["seed"] == 7


def test_extra_fields_are_those_of_a_job_flat_and_nested(client: openai.OpenAI, served: Served) -> None:
    extra = {"num_inference_steps": 3, "negative_prompt": "dogs", "sampler_name": "Euler", "output": {"thumbnail": 32}}
    client.images.generate(prompt="a cat", size="64x64", extra_body=extra)
    client.images.generate(prompt="a cat", size="64x64", extra_body={"extra_body": extra})
    for sent in served.sent(TXT2IMG):
        assert (sent["steps"], sent["negative_prompt"], sent["sampler_name"]) == (3, "dogs", "Euler")


@pytest.mark.parametrize(("output_format", "expected"), [("jpeg", "jpeg"), ("webp", "webp"), ("png", "png")])
def test_pictures_come_in_the_format_that_was_asked_for(
    client: openai.OpenAI, output_format: Any, expected: str
) -> None:
    answer = client.images.generate(prompt="a cat", output_format=output_format, **SMALL)
    assert size_of((answer.data or [])[0].b64_json)[0] == expected
    assert answer.output_format == expected


def test_the_model_is_a_checkpoint_or_a_preset(client: openai.OpenAI, served: Served) -> None:
    names = [model.id for model in client.models.list()]
    assert {"dall-e-3", "quality-high"} < set(names)
    assert client.models.retrieve(names[-1]).id == names[-1]
    answer = client.images.generate(prompt="a cat", model="dall-e-3")
    assert size_of((answer.data or [])[0].b64_json) == ("png", 128, 64)
    answer = client.images.generate(prompt="a cat", model=names[-1], quality="high", size="64x64")
    assert answer.applied["checkpoint"]  # type: ignore[attr-defined]  # an addition of ours
    assert [sent["steps"] for sent in served.sent(TXT2IMG)] == [3, 7]


def test_an_edit_starts_from_the_picture(client: openai.OpenAI, served: Served) -> None:
    answer = client.images.edit(
        image=("photo.png", photo()), prompt="a cat", n=2, input_fidelity="high", extra_body={"steps": 2, "seed": 7}
    )
    assert [size_of(image.b64_json) for image in answer.data or ()] == [("png", 64, 64)] * 2
    sent = served.sent(IMG2IMG)[0]
    assert (sent["seed"], sent["steps"], sent["batch_size"], sent["denoising_strength"]) == (7, 2, 2, 0.5)


def test_a_masks_transparent_part_is_made_anew(client: openai.OpenAI, served: Served) -> None:
    client.images.edit(
        image=("photo.png", photo()), mask=("mask.png", mask_with_a_hole()), prompt="a cat", extra_body={"steps": 2}
    )
    sent = served.sent(IMG2IMG)[0]
    mask = Image.open(io.BytesIO(base64.b64decode(sent["mask"]))).convert("L")
    assert (mask.getpixel((5, 5)), mask.getpixel((60, 60))) == (255, 0)
    assert sent["inpainting_fill"] == 1
    assert not sent.get("inpainting_mask_invert")


@pytest.mark.parametrize("mask", [photo("white"), png(Image.new("RGBA", (64, 64), "white"))], ids=["rgb", "opaque"])
def test_a_mask_without_transparency_is_refused(client: openai.OpenAI, mask: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(image=("photo.png", photo()), mask=("mask.png", mask), prompt="a cat")
    assert caught.value.param == "mask"


def test_several_objects_survive_the_form_or_are_refused(client: openai.OpenAI, served: Served) -> None:
    def edit(extra: dict[str, Any]) -> None:
        client.images.edit(image=("photo.png", photo()), prompt="a cat", extra_body={"steps": 2, **extra})

    edit({"loras": [{"name": "add_detail", "scale": 0.5}, {"name": "style_two", "scale": 0.25}]})
    edit({"loras": '[{"name": "add_detail", "scale": 0.5}, {"name": "style_two"}]'})
    prompts = [sent["prompt"] for sent in served.sent(IMG2IMG)]
    assert "<lora:add_detail:0.5>" in prompts[0]
    assert "<lora:style_two:0.25>" in prompts[0]
    assert "<lora:style_two:1>" in prompts[1]
    with pytest.raises(openai.BadRequestError, match="one part with JSON text"):
        edit({"loras": [{"name": "add_detail", "scale": 0.5}, {"name": "style_two"}]})


def test_a_variation_needs_no_prompt(client: openai.OpenAI, served: Served) -> None:
    answer = client.images.create_variation(image=("photo.png", photo()), extra_body={"steps": 2})
    assert size_of((answer.data or [])[0].b64_json) == ("png", 64, 64)
    assert served.sent(IMG2IMG)[0]["prompt"] == ""


def test_a_stream_carries_each_picture_when_it_is_made(client: openai.OpenAI) -> None:
    events = list(client.images.generate(prompt="a cat", n=3, stream=True, **SMALL))
    assert [event.type for event in events] == ["image_generation.completed"] * 3
    assert [size_of(event.b64_json) for event in events] == [("png", 64, 64)] * 3
    assert [event.seed for event in events] == [7, 8, 9]


def test_a_stream_of_an_edit_has_the_types_of_edits(client: openai.OpenAI) -> None:
    stream = client.images.edit(
        image=("photo.png", photo()), prompt="a cat", stream=True, extra_body={"steps": 2, "seed": 7}
    )
    assert [event.type for event in stream] == ["image_edit.completed"]


def test_unfinished_pictures_are_jpegs_no_more_than_asked_for(client: openai.OpenAI, served: Served) -> None:
    served.fault("slow-step", count=-1, seconds=0.1)
    stream = client.images.generate(
        prompt="a cat", stream=True, partial_images=1, size="256x256", extra_body={"steps": 60}
    )
    events = list(stream)
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert size_of(events[0].b64_json)[0] == events[0].output_format == "jpeg"
    assert events[0].partial_image_index == 0  # type: ignore[union-attr]  # as its type says


def test_a_stream_that_fails_at_once_is_an_http_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a cat", stream=True, extra_body={"steeps": 3})
    assert caught.value.param == "steeps"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "1001x1000"}, "size"),
        ({"size": "large"}, "size"),
        ({"n": 11}, "n"),
        ({"background": "transparent"}, "background"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 50}, "output_compression"),
        ({"quality": "hgih"}, "quality"),
        ({"model": "gpt-image-2"}, "model"),
        ({"response_format": "url"}, "response_format"),
        ({"extra_body": {"steeps": 3}}, "steeps"),
        ({"extra_body": {"extra_body": {"steps": 999}}}, "extra_body.steps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_name_their_field_and_are_sent_once(
    client: openai.OpenAI, served: Served, fields: dict[str, Any], param: str
) -> None:
    failed_before = served.jobs()["failed"]
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a cat", **fields)
    assert caught.value.param == param
    assert caught.value.code == "invalid_input"
    assert caught.value.type == "invalid_request_error"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert served.jobs()["failed"] == failed_before + 1
    assert not served.sent(TXT2IMG)


def test_an_unknown_checkpoint_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(prompt="a cat", model="nothing-of-this-name")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_failure_that_cost_a_picture_is_not_sent_three_times(client: openai.OpenAI, served: Served) -> None:
    served.fault("nan", count=-1)
    failed_before = served.jobs()["failed"]
    with pytest.raises(openai.InternalServerError):
        client.images.generate(prompt="a cat", **SMALL)
    assert served.jobs()["failed"] == failed_before + 1


def test_a_client_that_hangs_up_cancels_its_job(client: openai.OpenAI, served: Served) -> None:
    served.fault("slow-step", count=-1, seconds=0.1)
    cancelled_before = served.jobs()["cancelled"]
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1, max_retries=0).images.generate(prompt="a cat", **LONG)
    deadline = time.monotonic() + 20
    while served.jobs()["cancelled"] == cancelled_before:
        assert time.monotonic() < deadline


def test_a_stream_that_nobody_reads_on_cancels_its_job(client: openai.OpenAI, served: Served) -> None:
    served.fault("slow-step", count=-1, seconds=0.1)
    cancelled_before = served.jobs()["cancelled"]
    extra = {"steps": 150, "seed": 7}
    with client.images.generate(
        prompt="a cat", stream=True, partial_images=3, size="64x64", extra_body=extra
    ) as stream:
        assert next(iter(stream)).type == "image_generation.partial_image"
    deadline = time.monotonic() + 20
    while served.jobs()["cancelled"] == cancelled_before:
        assert time.monotonic() < deadline


def test_a_wrong_key_is_refused_in_openais_shape(served: Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong")
    with pytest.raises(openai.AuthenticationError, match="HTTP_API_KEY"):
        client.models.list()


def test_azures_client_finds_its_paths(served: Served) -> None:
    served.reset()
    client = openai.AzureOpenAI(azure_endpoint=served.url, api_key=served.key, api_version="2024-02-01")
    answer = client.images.generate(model="dall-e-3", prompt="a cat", size="64x64")
    assert size_of((answer.data or [])[0].b64_json) == ("png", 64, 64)
    assert served.sent(TXT2IMG)[0]["steps"] == 3


def post(served: Served, path: str, **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {served.key}"}
    return requests.post(f"{served.url}/v1{path}", headers=headers, timeout=60, **more)


def test_open_webuis_bodies_are_answered_as_it_reads_them(served: Served) -> None:
    body = {"model": "default", "prompt": "a cat", "n": 1, "size": "64x64", "response_format": "b64_json", "steps": 2}
    answer = post(served, "/images/generations?api-version=", json=body).json()
    assert "url" not in answer["data"][0]
    assert answer["data"][0]["b64_json"].startswith("iVBOR")
    form = {"model": "default", "prompt": "a cat", "n": "1", "background": "auto", "response_format": "b64_json"}
    files = {"image": ("image.png", photo(), "image/png")}
    assert post(served, "/images/edits", data={**form, "steps": "2"}, files=files).json()["data"][0]["b64_json"]


def test_n8ns_bodies_are_answered_as_it_reads_them(served: Served) -> None:
    body = {"prompt": "a cat", "model": "dall-e-3", "response_format": "b64_json", "quality": "hd", "style": "vivid"}
    answer = post(served, "/images/generations", json=body).json()
    assert answer["data"][0]["b64_json"]
    assert any("quality" in warning for warning in answer["warnings"])
    form = {"prompt": "a cat", "model": "default", "n": "1", "size": "64x64", "quality": "auto", "output_format": "png"}
    files = [("image[]", ("image.png", photo(), "image/png"))]
    answer = post(served, "/images/edits", data={**form, "steps": "2"}, files=files).json()
    assert answer["data"][0]["b64_json"]


def test_json_edits_carry_pictures_as_data_urls(served: Served) -> None:
    url = "data:image/png;base64," + base64.b64encode(photo()).decode()
    body = {"prompt": "a cat", "images": [{"image_url": url}], "steps": 2}
    assert post(served, "/images/edits", json=body).json()["data"][0]["b64_json"]
    refused = post(served, "/images/edits", json={"prompt": "a cat", "images": [{"file_id": "file-1"}]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "images")


def test_the_queue_form_is_the_same_request(served: Served) -> None:
    job = {"openai_route": "/v1/images/generations", "openai_input": {"prompt": "a cat", **SMALL}}
    answer = requests.post(
        f"{served.url}/runsync", json={"input": job}, headers={"Authorization": f"Bearer {served.key}"}, timeout=60
    ).json()
    assert answer["output"]["data"][0]["seed"] == 7
