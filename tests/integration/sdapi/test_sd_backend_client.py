"""The package `sd-backend-client` against `serve`: detection, capabilities, pictures, progress, cancel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.sdapi.conftest import KEY
from tests.support.served import picture

if sys.version_info < (3, 11):
    pytest.skip("the package needs Python 3.11", allow_module_level=True)

from sd_backend_client.api.a1111_webservice import A1111Webservice
from sd_backend_client.api.detect import connect_to_backend
from sd_backend_client.api.webui.diffusion_request_body import DiffusionRequestBody
from sd_backend_client.errors import AuthError, GenerationError

if TYPE_CHECKING:
    from tests.support.served import Served


def body(**fields: Any) -> DiffusionRequestBody:
    return DiffusionRequestBody(**{"prompt": "a cat", "width": 64, "height": 64, "steps": 4, "seed": 42, **fields})


@pytest.fixture
def service(served: Served) -> A1111Webservice:
    found = connect_to_backend(served.url)
    assert isinstance(found, A1111Webservice)
    return found


def test_it_sees_what_the_webui_can(service: A1111Webservice) -> None:
    capabilities = service.get_capabilities()
    assert capabilities.controlnet
    assert capabilities.scheduler
    assert capabilities.interrogate
    assert [option.name for option in service.list_checkpoints()][:1] == ["Deliberate_v6.safetensors"]
    assert service.list_samplers()
    assert service.list_schedulers()
    assert service.list_upscalers()
    assert service.list_controlnet_models()
    assert service.get_controlnet_preprocessors()
    assert [style.name for style in service.get_styles()] == ["Detailed"]


def test_every_listing_has_the_shape_it_checks(service: A1111Webservice) -> None:
    for read in (service.get_models, service.get_vae, service.get_loras, service.get_samplers, service.get_upscalers):
        assert read()
    assert service.get_script_info()
    assert service.get_hypernetworks() == []
    assert service.progress_check().state.job_count == 0
    assert service.get_config()["samples_format"] == "png"
    service.refresh_checkpoints()
    service.refresh_loras()
    service.refresh_vae()


def test_pictures_come_with_their_seeds_and_how_they_were_made(service: A1111Webservice) -> None:
    drawn = service.submit_txt2img(body(batch_size=2, sd_model_name="Other_v1")).wait(60)
    assert [image.size for image in drawn.images] == [(64, 64)] * 2
    assert drawn.seeds == [42, 43]
    assert drawn.raw_info.sd_model_name == "Other_v1"
    again = service.submit_img2img(body(init_images=[picture()], denoising_strength=0.5)).wait(60)
    assert len(again.images) == 1
    mask = picture(colour="black")
    inpainted = service.submit_inpaint(body(init_images=[picture()], mask=mask, denoising_strength=0.5)).wait(60)
    assert len(inpainted.images) == 1
    larger = service.submit_upscale(picture(), 128, 128).wait(60)
    assert larger.images[0].size == (128, 128)


def test_its_options_change_for_this_client_alone(served: Served, service: A1111Webservice) -> None:
    before = served.options()
    service.set_config({"eta_noise_seed_delta": 7})
    assert service.get_config()["eta_noise_seed_delta"] == 7
    service.set_config({"eta_noise_seed_delta": before["eta_noise_seed_delta"]})
    assert served.options() == before


def test_a_job_that_runs_can_be_watched_and_cancelled(served: Served, service: A1111Webservice) -> None:
    job = service.submit_txt2img(body(steps=150))
    served.wait_until(lambda told: told["state"]["sampling_step"] > 0)
    assert 0 < (job.poll().progress or 0) < 1
    assert job.cancel()
    with pytest.raises(GenerationError, match="cancelled"):
        job.wait(30)
    served.wait_idle()
    assert service.submit_txt2img(body()).wait(60).images


def test_it_asks_for_the_key_and_sends_it(guarded: Served) -> None:
    service = A1111Webservice(guarded.url, credentials_provider=lambda: ("me", KEY))
    assert service.get_models()
    with pytest.raises(AuthError):
        A1111Webservice(guarded.url, credentials_provider=lambda: ("me", "wrong")).get_models()
