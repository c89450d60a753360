"""What named programs send when they connect and draw, to `serve` and the bridge: written anew from what each needs."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.served import CANNY, base64_png, decoded, warnings_of

if TYPE_CHECKING:
    from tests.support.served import Served

TITLE = "Deliberate_v6.safetensors"
OTHER = "Other_v1.safetensors"


def basic(text: str) -> dict[str, str]:
    """The header of a client with a user name of its own, so that it is a client of its own."""
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def read(response: requests.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def info_of(answer: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(answer["info"], str)
    return dict(json.loads(answer["info"]))


def test_sillytavern(door: Served) -> None:
    headers = {"Authorization": "Basic"}  # as it comes where no password was set
    assert door.get("/sdapi/v1/options", headers=headers).status_code == 200
    names = {
        path: [row[field] for row in read(door.get(f"/sdapi/v1/{path}", headers=headers))]
        for path, field in {
            "samplers": "name",
            "sd-models": "title",
            "upscalers": "name",
            "latent-upscale-modes": "name",
            "schedulers": "name",
            "sd-vae": "model_name",
        }.items()
    }
    assert names["upscalers"][0] == "None"
    assert door.get("/sdapi/v1/sd-modules", headers=headers).json() == {"detail": "Not Found"}
    assert "forge_preset" not in read(door.get("/sdapi/v1/options", headers=headers))
    assert read(door.post("/sdapi/v1/options", {"sd_model_checkpoint": OTHER}, headers=headers)) is None
    idle = read(door.get("/sdapi/v1/progress", headers=headers))
    assert (idle["progress"], idle["state"]["job_count"]) == (0, 0)
    body = {
        "url": door.url,
        "auth": "user:secret-of-the-user",
        "prompt": "a knight",
        "negative_prompt": "",
        "sampler_name": "DDIM",
        "scheduler": "normal",
        "steps": 20,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 2,
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "hr_additional_modules": [],
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": names["sd-vae"][0]},
        "override_settings_restore_afterwards": True,
        "clip_skip": 1,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
        "alwayson_scripts": {"ADetailer": {"args": [True, True, {"ad_model": "face_yolov8n.pt"}]}},
    }
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=headers))
    assert decoded(answer["images"][0]).size == (64, 64)
    assert len(answer["images"]) == 1
    assert info_of(answer)["sd_model_name"] == "Other_v1"
    assert "secret-of-the-user" not in json.dumps(answer)
    assert "secret-of-the-user" not in door.process.log


def test_sillytavern_with_the_key_in_its_addresss_query(guarded: Served) -> None:
    key = {"key": "a-key-for-clients"}
    assert guarded.get("/sdapi/v1/options", headers={"Authorization": "Basic"}).status_code == 401
    assert guarded.get("/sdapi/v1/options", headers={"Authorization": "Basic"}, params=key).status_code == 200


def test_open_webui(door: Served) -> None:
    headers = basic("open-webui:key")
    models = read(door.get("/sdapi/v1/sd-models", headers=headers))
    options = read(door.get("/sdapi/v1/options", headers=headers))
    assert options["sd_model_checkpoint"] in [row["title"] for row in models]
    switched = door.post("/sdapi/v1/options", {**options, "sd_model_checkpoint": OTHER}, headers=headers)
    assert (read(switched), warnings_of(switched)) == (None, [])
    assert read(door.get("/sdapi/v1/options", headers=headers)) == {**options, "sd_model_checkpoint": OTHER}
    body = {"prompt": "a hill", "batch_size": 2, "width": 64, "height": 64, "steps": 4, "negative_prompt": "people"}
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=headers))
    assert [decoded(image).size for image in answer["images"]] == [(64, 64)] * 2
    assert info_of(answer)["sd_model_name"] == "Other_v1"


def test_auto_photoshop(door: Served) -> None:
    headers = basic("photoshop:key")
    assert read(door.get("/user", headers=headers)) is None
    assert door.get("/sdapi/auto-photoshop-sd/heartbeat", headers=headers).status_code == 404
    assert read(door.post("/sdapi/v1/options", {"inpainting_mask_weight": 1}, headers=headers)) is None
    modules = read(door.get("/controlnet/module_list", params={"alias_names": "true"}, headers=headers))
    assert "canny" in modules["module_list"]
    assert read(door.get("/controlnet/settings", headers=headers))["control_net_unit_count"] > 0
    assert "adetailer" in read(door.get("/sdapi/v1/scripts", headers=headers))["txt2img"]
    body = {
        "prompt": "a boat",
        "negative_prompt": "",
        "steps": 4,
        "sampler_index": "Euler a",
        "width": 64,
        "height": 64,
        "denoising_strength": 0.7,
        "batch_size": 2,
        "cfg_scale": 7,
        "seed": "-1",
        "mask_blur": 4,
        "restore_faces": False,
        "tiling": False,
        "clip_skip": 1,
        "uniqueDocumentId": "b0b",
        "mode": "txt2img",
        "prompt_shortcut_ui_dict": {},
        "original_prompt": "a boat",
        "original_negative_prompt": "",
        "enable_hr": False,
    }
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=headers))
    assert len(answer["images"]) == 2
    for image, seed in zip(answer["images"], info_of(answer)["all_seeds"], strict=True):
        told = read(door.post("/sdapi/v1/png-info", {"image": f"data:image/png;base64,{image}"}, headers=headers))
        assert f"Seed: {seed}," in told["info"]
    empty = requests.post(
        f"{door.url}/sdapi/v1/interrupt", headers={**headers, "Content-Type": "application/json"}, timeout=10
    )
    assert read(empty) == {}


def test_krita_connects_and_keeps_its_model(door: Served) -> None:
    headers = basic("krita:key")
    assert door.get("/queue/status", headers=headers).status_code == 200
    styles = read(door.get("/sdapi/v1/prompt-styles", headers=headers))
    assert [style["name"] for style in styles] == ["Detailed"]
    assert "loaded" in read(door.get("/sdapi/v1/embeddings", headers=headers))
    models = read(door.get("/controlnet/model_list", params={"update": "true"}, headers=headers))["model_list"]
    assert models[0].startswith(CANNY)
    assert "control_types" in read(door.get("/controlnet/control_types", headers=headers))
    body = {
        "prompt": "a tree",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "seed": 7,
        "subseed": -1,
        "subseed_strength": 0,
        "n_iter": 2,
        "batch_size": 1,
        "sampler_name": "Euler a",
        "steps": 4,
        "cfg_scale": 7.0,
        "enable_hr": False,
        "save_images": True,
        "override_settings": {"sd_model_checkpoint": OTHER, "sd_vae": "Automatic", "img2img_color_correction": False},
        "override_settings_restore_afterwards": False,
    }
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=headers))
    echo = answer["parameters"]
    expected = echo["batch_size"] * echo["n_iter"] + (1 if echo["save_images"] else 0)
    assert len(answer["images"]) == expected == 2
    assert info_of(answer)["sd_model_name"] == "Other_v1"
    assert read(door.get("/sdapi/v1/options", headers=headers))["sd_model_checkpoint"] == OTHER
    inpainting = {
        **body,
        "n_iter": 1,
        "init_images": [base64_png()],
        "mask": base64_png(),
        "mask_blur": 4,
        "inpainting_fill": 1,
        "inpaint_full_res": 0,
        "inpainting_mask_invert": 0,
        "denoising_strength": 0.5,
    }
    assert len(read(door.post("/sdapi/v1/img2img", inpainting, headers=headers))["images"]) == 1


def test_aiyabot(door: Served) -> None:
    headers = basic("discord:key")
    assert door.get("/sdapi/v1/cmd-flags", headers=headers).status_code == 200
    assert requests.head(door.url, headers=headers, timeout=10).status_code == 200
    assert door.get("/config").json()
    assert door.post("/login", None).status_code == 200
    assert door.get("/sdapi/v1/version", headers=headers).status_code == 404
    for row in read(door.get("/sdapi/v1/sd-models", headers=headers)):
        assert all(isinstance(row[name], str) for name in ("title", "filename", "model_name", "hash"))
    assert read(door.post("/sdapi/v1/options", {"sd_model_checkpoint": TITLE}, headers=headers)) is None
    body = {
        "prompt": "a fox",
        "negative_prompt": "",
        "steps": 25,
        "width": 64,
        "height": 64,
        "cfg_scale": 7.0,
        "sampler_index": "DPM++ 2M Karras",
        "seed": 1,
        "seed_resize_from_h": -1,
        "seed_resize_from_w": -1,
        "denoising_strength": None,
        "n_iter": 1,
        "batch_size": 1,
        "styles": ["None"],
        "override_settings": {"CLIP_stop_at_last_layers": 1},
        "restore_faces": False,
    }
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=headers))
    assert read(door.post("/sdapi/v1/png-info", {"image": answer["images"][0]}, headers=headers))["info"]
    hires = {
        **body,
        "enable_hr": True,
        "hr_upscaler": "Latent",
        "hr_scale": 2,
        "hr_second_pass_steps": 12.5,
        "denoising_strength": 0.7,
        "styles": ["Detailed"],
    }
    response = door.post("/sdapi/v1/txt2img", hires, headers=headers)
    assert decoded(read(response)["images"][0]).size == (128, 128)
    assert "hr_second_pass_steps: 12.5 is read as 12" in warnings_of(response)


def test_kobold_lite(door: Served) -> None:
    page = {"Origin": "http://localhost:5001"}
    models = door.get("/sdapi/v1/sd-models", headers=page)
    assert read(models)
    assert models.headers["Access-Control-Allow-Origin"] == page["Origin"]
    options = read(door.get("/sdapi/v1/options", headers=page))
    assert options["samples_format"]
    body = {
        "prompt": "a castle",
        "negative_prompt": "",
        "seed": 3,
        "sampler_name": "Euler a",
        "batch_size": 1,
        "n_iter": 1,
        "steps": 5,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "do_not_save_samples": True,
        "do_not_save_grid": True,
        "enable_hr": False,
        "s_churn": 0,
        "s_tmax": 0,
        "s_tmin": 0,
        "s_noise": 1,
        "override_settings": {
            "sd_model_checkpoint": options["sd_model_checkpoint"],
            "eta_noise_seed_delta": 0,
            "CLIP_stop_at_last_layers": 1,
            "ddim_discretize": "uniform",
            "img2img_fix_steps": False,
            "sd_hypernetwork": "None",
            "inpainting_mask_weight": 1,
            "initial_noise_multiplier": 1,
            "comma_padding_backtrack": 20,
        },
    }
    assert read(door.post("/sdapi/v1/txt2img", {**body, "eta": 0}, headers=page))["images"]
    from_picture = {**body, "init_images": [base64_png()], "denoising_strength": 0.6}
    assert read(door.post("/sdapi/v1/img2img", from_picture, headers=page))["images"]


def test_dify_sends_no_content_type(door: Served) -> None:
    headers = basic("dify:key")

    def post(path: str, body: Any) -> requests.Response:
        return requests.post(f"{door.url}{path}", data=json.dumps(body).encode(), headers=headers, timeout=5)

    assert "Other_v1" in [row["model_name"] for row in read(door.get("/sdapi/v1/sd-models", headers=headers))]
    assert read(post("/sdapi/v1/options", {"sd_model_checkpoint": "Other_v1"})) is None
    body = {
        "init_images": [base64_png()],
        "resize_mode": 0,
        "denoising_strength": 0.6,
        "prompt": "a lake",
        "negative_prompt": "",
        "steps": 4,
        "width": 64,
        "height": 64,
        "sampler_name": "Euler a",
        "script_args": ["outpainting mk2"],
    }
    answer = read(post("/sdapi/v1/img2img", body))
    assert info_of(answer)["sd_model_name"] == "Other_v1"


def test_n8n(door: Served) -> None:
    headers = basic("n8n:key")
    assert read(door.post("/sdapi/v1/refresh-checkpoints", None, headers=headers)) is None
    name = read(door.get("/sdapi/v1/sd-models", headers=headers))[1]["model_name"]
    assert read(door.post("/sdapi/v1/options", {"sd_model_checkpoint": name}, headers=headers)) is None
    body = {
        "prompt": "a bridge",
        "width": 64,
        "height": 64,
        "steps": 4,
        "sampler_name": "Euler a",
        "alwayson_scripts": {"controlnet": {"args": []}},
    }
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=headers))
    answer["parameters"]["prompt"] = "written into"
    assert (answer["parameters"]["prompt"], info_of(answer)["sd_model_name"]) == ("written into", name)


def test_vercels_kit_posts_to_paths_with_a_slash_and_sizes_as_text(door: Served) -> None:
    for row in read(door.get("/sdapi/v1/sd-models")):
        assert isinstance(row["hash"], str)
        assert isinstance(row["sha256"], str)
    body = {
        "prompt": "a road",
        "n_iter": 2,
        "width": "64",
        "height": "64",
        "steps": 4,
        "override_settings": {"sd_model_checkpoint": "Other_v1"},
    }
    bearer = {"Authorization": "Bearer anything"}
    posted = door.post("/sdapi/v1/txt2img/", body, headers=bearer, allow_redirects=False)
    assert len(read(posted)["images"]) == 2


def test_openoutpaint(door: Served) -> None:
    page = {"Origin": "http://127.0.0.1:3456"}
    assert door.get("/startup-events", headers=page).status_code == 200
    posted = door.post(
        "/sdapi/v1/options/", {"img2img_color_correction": False, "inpainting_mask_weight": 1.0}, headers=page
    )
    assert read(posted) is None
    body = {
        "prompt": "a sea",
        "negative_prompt": "",
        "mask": "",
        "init_images": [],
        "styles": [],
        "sampler_index": "Euler a",
        "scheduler": "Automatic",
        "batch_size": 1,
        "n_iter": 1,
        "steps": 4,
        "width": 64,
        "height": 64,
        "seed": -1,
        "cfg_scale": 7,
        "inpainting_fill": 1,
        "inpaint_full_res": False,
        "outpainting_fill": 2,
        "enable_hr": False,
        "hr_resize_x": 0,
        "hr_resize_y": 0,
        "hr_square_aspect": False,
        "hr_upscaler": "Latent (bicubic, antialiased)",
    }
    answer = read(door.post("/sdapi/v1/txt2img", body, headers=page))
    assert len(info_of(answer)["all_seeds"]) == 1
    picture = f"data:image/png;base64,{base64_png()}"
    larger = {"upscaler_1": "Lanczos", "image": picture, "resize-mode": 0, "upscaling_resize": 2}
    assert decoded(read(door.post("/sdapi/v1/extra-single-image/", larger, headers=page))["image"]).size == (128, 128)


def test_ai_render(door: Served) -> None:
    body = {
        "prompt": "a house",
        "init_images": [f"data:image/png;base64,{base64_png()}"],
        "denoising_strength": 0.6,
        "image_similarity": 0.4,
        "sampler": "dpmpp_2m",
        "sampler_index": "LMS Karras",
        "seed": 5,
        "steps": 4,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "alwayson_scripts": {"controlnet": {"args": [{"weight": 1.0, "module": "canny", "model": CANNY}]}},
    }
    assert read(door.post("/sdapi/v1/img2img", body))["images"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"sampler_name": "Huen"}, id="agnai's spelling of Heun"),
        pytest.param({"sampler_name": "DPM2 A"}, id="agnai's spelling of DPM2 a"),
        pytest.param({"sampler_name": "DPM Adaptive"}, id="agnai's spelling of DPM adaptive"),
        pytest.param({"sampler_name": "Euler a", "model_override": ""}, id="agnai's own field"),
        pytest.param({"scheduler": "N/A"}, id="sillytavern without a list of schedulers"),
        pytest.param({"hr_scale": "1.0", "enable_hr": False}, id="text-generation-webui"),
        pytest.param({"cfg_scale": 4.5, "steps": 22}, id="librechat"),
        pytest.param({"cfgScale": 7, "samplerName": "x"}, id="stablestudio's own fields"),
        pytest.param({"seed": "-1", "script_name": None, "hr_checkpoint_name": None}, id="nulls"),
        pytest.param(
            {"enable_hr": True, "hr_upscaler": "Latent (bicubic, antialiased)", "denoising_strength": 0.7},
            id="openoutpaint's misspelt upscaler",
        ),
    ],
)
def test_what_other_programs_send_draws(door: Served, body: dict[str, Any]) -> None:
    small = {"prompt": "a cat", "negative_prompt": "", "width": 64, "height": 64, "steps": 4}
    assert read(door.post("/sdapi/v1/txt2img", {**small, **body}))["images"]


def test_a_page_that_goes_away_interrupts_and_hangs_up(door: Served) -> None:
    headers = basic("gone:key")
    sent = len(door.sent())
    body = {"prompt": "a storm", "width": 64, "height": 64, "steps": 150}
    session = requests.Session()
    hung_up = threading.Event()

    def draw() -> None:
        try:
            session.post(f"{door.url}/sdapi/v1/txt2img", json=body, headers=headers, timeout=1.5)
        except requests.Timeout:
            hung_up.set()

    drawing = threading.Thread(target=draw)
    drawing.start()
    door.wait_until(lambda told: told["state"]["sampling_step"] > 0, headers=headers)
    drawing.join(30)
    session.close()
    assert hung_up.is_set()
    door.wait_until(lambda told: told["state"]["job_count"] == 0, headers=headers)
    door.wait_idle()
    assert len(door.sent()) == sent + 1
    assert read(door.post("/sdapi/v1/txt2img", {**body, "steps": 2}, headers=headers))["images"]
