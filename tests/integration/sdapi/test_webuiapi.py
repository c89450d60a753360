"""The package `webuiapi` against `serve`, as its users call it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import webuiapi  # type: ignore[import-untyped]  # the package has no types

from tests.support.served import CANNY, base64_png, decoded, picture
from tests.support.webui_calls import CALLS

if TYPE_CHECKING:
    from tests.support.served import Served

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "seed": 42}


@pytest.fixture
def api(served: Served) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(port=served.port)


def test_it_finds_the_extensions(api: webuiapi.WebUIApi) -> None:
    assert (api.has_controlnet, api.has_adetailer) == (True, True)


def test_txt2img_gives_the_pictures_and_how_they_were_made(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(prompt="a cat", batch_size=2, **SMALL)
    assert [image.size for image in result.images] == [(64, 64), (64, 64)]
    assert result.info["all_seeds"] == [42, 43]
    assert result.info["infotexts"][0].startswith("a cat\nSteps: 4")
    assert (result.info["width"], result.info["sd_model_name"]) == (64, "Deliberate_v6")
    assert (result.parameters["batch_size"], result.parameters["n_iter"]) == (2, 1)


def test_the_same_call_makes_the_same_picture(api: webuiapi.WebUIApi) -> None:
    first, second = (api.txt2img(prompt="a cat", **SMALL).image for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_hires_doubles_the_picture(api: webuiapi.WebUIApi) -> None:
    upscaler = webuiapi.HiResUpscaler.Latent
    result = api.txt2img(prompt="a cat", enable_hr=True, hr_scale=2, hr_upscaler=upscaler, **SMALL)
    assert [image.size for image in result.images] == [(128, 128)]


def test_img2img_starts_from_a_picture_and_a_mask(api: webuiapi.WebUIApi) -> None:
    plain = api.img2img(images=[picture()], prompt="a cat", denoising_strength=0.5, **SMALL)
    mask = picture(colour="black")
    masked = api.img2img(images=[picture()], mask_image=mask, prompt="a cat", denoising_strength=0.5, **SMALL)
    assert plain.image.size == masked.image.size == (64, 64)
    assert plain.image.tobytes() != masked.image.tobytes()
    assert plain.parameters.get("init_images") is None


def test_the_script_loopback_gives_the_pictures_of_all_its_loops(api: webuiapi.WebUIApi) -> None:
    script = {"script_name": "Loopback", "script_args": [3, 0.2, "Linear", "None"]}
    made = api.img2img(images=[picture()], prompt="a cat", denoising_strength=0.6, **script, **SMALL)
    assert len(made.images) == 3
    assert len({image.tobytes() for image in made.images}) == 3


def test_img2img_without_a_size_is_512_as_in_a1111(served: Served) -> None:
    body = {"prompt": "a cat", "steps": 1, "init_images": [base64_png()]}
    assert decoded(served.post("/sdapi/v1/img2img", body).json()["images"][0]).size == (512, 512)


def test_a_controlnet_unit_is_in_effect(served: Served, api: webuiapi.WebUIApi) -> None:
    plain = api.txt2img(prompt="a cat", **SMALL)
    unit = webuiapi.ControlNetUnit(image=picture(), module="canny", model=CANNY)
    result = api.txt2img(prompt="a cat", controlnet_units=[unit], **SMALL)
    assert len(result.images) == 1
    assert result.image.tobytes() != plain.image.tobytes()
    assert served.sent()[-1]["alwayson_scripts"]["controlnet"]["args"][0]["model"].startswith(CANNY)


def test_adetailer_is_in_effect(served: Served, api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(prompt="a face", adetailer=[webuiapi.ADetailer(ad_model="face_yolov8n.pt")], **SMALL)
    assert len(result.images) == 1
    assert "ADetailer" in json_names(served.sent()[-1])


def json_names(body: dict[str, Any]) -> list[str]:
    return list(body.get("alwayson_scripts", {}))


def test_upscaling_takes_one_picture_or_several(api: webuiapi.WebUIApi) -> None:
    one = api.extra_single_image(image=picture(), upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
    assert one.image.size == (128, 128)
    both = api.extra_batch_images(images=[picture(), picture((32, 64))], upscaler_1="Lanczos", upscaling_resize=2)
    assert [image.size for image in both.images] == [(128, 128), (64, 128)]


def test_png_info_reads_the_picture_back(api: webuiapi.WebUIApi) -> None:
    image = api.txt2img(prompt="a cat", **SMALL).image
    assert api.png_info(image).info.startswith("a cat\nSteps: 4")
    assert api.png_info(picture()).info == ""


@pytest.mark.parametrize("call", CALLS)
def test_every_call_gives_what_the_webui_itself_gives(served: Served, api: webuiapi.WebUIApi, call: str) -> None:
    assert CALLS[call](api) == CALLS[call](webuiapi.WebUIApi(port=int(served.webui.rpartition(":")[2])))


@pytest.mark.parametrize(
    "listing",
    [
        "cmd_flags",
        "embeddings",
        "face_restorers",
        "hypernetworks",
        "latent_upscale_modes",
        "loras",
        "memory",
        "options",
        "prompt_styles",
        "realesrgan_models",
        "samplers",
        "schedulers",
        "scripts",
        "sd_models",
        "sd_vae",
        "upscalers",
    ],
)
def test_every_listing_is_the_webuis_own(served: Served, api: webuiapi.WebUIApi, listing: str) -> None:
    own = webuiapi.WebUIApi(port=int(served.webui.rpartition(":")[2]))
    here, there = (getattr(each, f"get_{listing}")() for each in (api, own))
    assert type(here) is type(there)
    if isinstance(here, list) and here:
        assert [list(row) for row in here] == [list(row) for row in there]
    elif isinstance(here, dict):
        assert here.keys() == there.keys()


def test_the_lists_of_controlnet_are_there(api: webuiapi.WebUIApi) -> None:
    assert api.controlnet_version() == 3
    assert [name.partition(" ")[0] for name in api.controlnet_model_list()] == [CANNY]
    assert "canny" in api.controlnet_module_list()


def test_a_preprocessor_of_controlnet_runs_alone(served: Served, api: webuiapi.WebUIApi) -> None:
    (drawn,) = api.controlnet_detect(images=[picture()], module="canny", processor_res=128).images
    assert drawn.size == (128, 128)
    body = {"controlnet_module": "canyn", "controlnet_input_images": [base64_png()]}
    refused = served.post("/controlnet/detect", body)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("module: 'canyn' is refused by ControlNet")
    assert "canny" in refused.json()["detail"]
    assert served.post("/controlnet/detect", {"controlnet_module": "canny"}).json()["detail"].startswith("images: ")


def test_a_model_that_is_set_stays_set_for_the_client_alone(served: Served) -> None:
    session = webuiapi.WebUIApi(port=served.port, username="artist", password="any")
    own = served.options()["sd_model_checkpoint"]
    session.util_set_model("Other_v1")
    assert session.util_get_current_model() == "Other_v1.safetensors"
    session.util_wait_for_ready(check_interval=0.1)
    assert session.txt2img(prompt="a cat", **SMALL).info["sd_model_name"] == "Other_v1"
    other = webuiapi.WebUIApi(port=served.port)
    assert other.txt2img(prompt="a cat", **SMALL).info["sd_model_name"] == "Deliberate_v6"
    assert served.options()["sd_model_checkpoint"] == own


def test_progress_and_interrupt_concern_the_job_that_runs(served: Served, api: webuiapi.WebUIApi) -> None:
    results: list[Any] = []

    def draw() -> None:
        results.append(webuiapi.WebUIApi(port=served.port).txt2img(prompt="a dog", width=64, height=64, steps=150))

    drawing = threading.Thread(target=draw)
    drawing.start()
    running = served.wait_until(lambda told: told["state"]["sampling_step"] > 2)
    assert 0 < running["progress"] < 1
    assert (running["state"]["job"], running["state"]["job_count"]) == ("Batch 1 out of 1", 1)
    api.interrupt()
    drawing.join(30)
    assert results[0].image.size == (64, 64)
    assert results[0].info["all_seeds"]
    idle = api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["state"]["job"]) == (0, 0, "")
    served.wait_idle()


def test_asynchronous_calls_work(api: webuiapi.WebUIApi) -> None:
    async def draw() -> Any:
        return await api.txt2img(prompt="a cat", use_async=True, **SMALL)

    assert asyncio.run(draw()).image.size == (64, 64)


def test_an_error_names_the_field_and_what_was_meant(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError) as refused:
        api.txt2img(prompt="a cat", sampler_name="Eular a", **SMALL)
    assert refused.value.args[0] == 422
    assert refused.value.args[1].startswith('{"detail":"sampler_name')
    assert "Euler a" in refused.value.args[1][:200]
