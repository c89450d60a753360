"""Extensions and scripts through the whole worker, on the stand-in with all of them installed."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

CANNY = "control_v11p_sd15_canny"


def picture(width: int = 64, height: int = 64) -> str:
    out = io.BytesIO()
    image = Image.new("RGB", (width, height), "gray")
    image.paste("white", (8, 8, 40, 40))
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def unit(**fields: Any) -> dict[str, Any]:
    return {"module": "canny", "model": CANNY, "image": picture(), **fields}


def size_of(image: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        width, height = opened.size
        return width, height


def problems(answer: dict[str, Any]) -> dict[str, str | None]:
    assert answer["error_code"] == "invalid_input", answer
    return {problem["path"]: problem.get("suggestion") for problem in answer["details"]["problems"]}


def bodies(worker: Worker, path: str = "txt2img") -> list[dict[str, Any]]:
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    return [entry["json"] for entry in entries if entry["path"] == f"/sdapi/v1/{path}"]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("extended")
    (folder / "webui/extensions/sd-webui-controlnet").mkdir(parents=True)
    control = folder / "controlnet"
    control.mkdir()
    models.checkpoint(control / f"{CANNY}.safetensors")
    for file in ("detectors/face_yolov8s.pt", "annotators/hed/ControlNetHED.pth"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_bytes(b"weights")
    more = {
        "DETECTOR_DIR": str(folder / "detectors"),
        "ANNOTATOR_DIR": str(folder / "annotators"),
        "STANDIN_EXTENSIONS": "controlnet,adetailer,tiled-diffusion,dynamic-prompts,ultimate-sd-upscale",
        "CONTROLNET_DIR": str(control),
    }
    with running_host(folder, more) as host:
        yield Worker(host)


@pytest.fixture
def all_installed(extended: Worker) -> Iterator[Worker]:
    extended.reset()
    yield extended
    extended.reset()


# ControlNet


def test_a_controlnet_unit_runs_and_its_map_stays_apart(all_installed: Worker) -> None:
    plain = all_installed.run()
    answer = all_installed.run(controlnet=[unit(weight=0.8)])
    assert len(answer["images"]) == 1
    assert answer["images"] != plain["images"]
    sent = bodies(all_installed)[-1]["alwayson_scripts"]["controlnet"]["args"]
    assert len(sent) == 1
    assert sent[0]["enabled"] is True
    assert sent[0]["model"].startswith(CANNY)
    told = answer["parameters"]["alwayson_scripts"]["controlnet"]["args"][0]
    assert told["image"].startswith("<picture")


def test_a_preprocessor_finds_its_weights_on_the_volume(all_installed: Worker) -> None:
    answer = all_installed.run(controlnet=[unit(module="softedge_hed")])
    assert len(answer["images"]) == 1, answer
    assert answer["images"] != all_installed.run()["images"]


def test_a_detector_of_the_volume_is_found_by_name(all_installed: Worker) -> None:
    answer = all_installed.run(adetailer=[{"model": "face_yolov8s.pt"}])
    assert len(answer["images"]) == 1, answer
    missing = all_installed.run(adetailer=[{"model": "face_yolov9z.pt"}])
    assert problems(missing) == {"adetailer[0].model": "face_yolov8s.pt"}


def test_masks_of_a_unit_come_in_the_shape_that_the_extension_reads(all_installed: Worker) -> None:
    half = {"mask": picture(32, 32), "effective_region_mask": picture(64, 64)}
    answer = all_installed.run(controlnet=[unit(**half)])
    assert len(answer["images"]) == 1, answer
    (sent,) = bodies(all_installed)[-1]["alwayson_scripts"]["controlnet"]["args"]
    assert size_of(sent["mask"]) == (64, 64)
    with Image.open(io.BytesIO(base64.b64decode(sent["effective_region_mask"]))) as region:
        assert region.mode == "RGB"


def test_the_webuis_own_form_of_a_unit_is_the_same_job(all_installed: Worker) -> None:
    one = all_installed.run(controlnet=[unit()])
    args = [{"enabled": True, "module": "canny", "model": CANNY, "input_image": unit()["image"], "is_ui": False}]
    other = all_installed.run(alwayson_scripts={"controlnet": {"args": args}})
    assert one["images"] == other["images"]


def test_controlnet_with_hires_returns_two_maps_and_one_picture(all_installed: Worker) -> None:
    answer = all_installed.run(controlnet=[unit()], enable_hr=True, hr_scale=2, denoising_strength=0.5)
    assert len(answer["images"]) == 1
    assert size_of(answer["images"][0]) == (128, 128)


def test_a_unit_that_did_not_run_is_an_error(all_installed: Worker) -> None:
    answer = all_installed.run(controlnet=[unit(module="openpose_full")])
    assert answer["error_code"] == "wrong_result", answer
    assert all_installed.run()["images"]


@pytest.mark.parametrize(
    ("fields", "path", "suggestion"),
    [
        ({"module": "cany"}, "controlnet[0].module", "canny"),
        ({"model": "control_v11p_sd15_cany"}, "controlnet[0].model", CANNY),
        ({"image": "A" * 64}, "controlnet[0].image", None),
    ],
)
def test_a_bad_unit_is_refused_by_name(
    all_installed: Worker, fields: dict[str, Any], path: str, suggestion: str | None
) -> None:
    assert problems(all_installed.run(controlnet=[unit(**fields)])) == {path: suggestion}
    assert bodies(all_installed) == []


def test_more_units_than_the_webui_runs_are_refused(all_installed: Worker) -> None:
    assert set(problems(all_installed.run(controlnet=[unit()] * 11))) == {"controlnet"}


def test_controlnet_works_on_img2img_without_a_picture_of_its_own(all_installed: Worker) -> None:
    answer = all_installed.run(init_images=[picture()], controlnet=[{"module": "canny", "model": CANNY}])
    assert len(answer["images"]) == 1


def test_listing_controlnet_names_models_and_modules(all_installed: Worker) -> None:
    items = all_installed.run_job({"input": {"type": "controlnet"}})["items"]
    assert items["models"]["model_list"][0].startswith(CANNY)


# ADetailer


def test_adetailer_runs_just_the_passes_that_were_asked_for(all_installed: Worker) -> None:
    answer = all_installed.run(adetailer=[{"model": "mediapipe_face_full", "confidence": 0.4}])
    args = bodies(all_installed)[-1]["alwayson_scripts"]["ADetailer"]["args"]
    assert args == [True, False, {"ad_model": "mediapipe_face_full", "ad_confidence": 0.4}, {"ad_model": "None"}]
    assert answer["info"]["extra_generation_params"]["ADetailer model"] == "mediapipe_face_full"


@pytest.mark.parametrize(
    ("fields", "path", "suggestion"),
    [
        ({"model": "mediapipe_face_ful"}, "adetailer[0].model", "mediapipe_face_full"),
        ({"model": "mediapipe_face_full", "sampler": "Eulre"}, "adetailer[0].sampler", "Euler"),
        ({"model": "mediapipe_face_full", "checkpoint": "Other_v2"}, "adetailer[0].checkpoint", "Other_v1"),
    ],
)
def test_a_bad_pass_is_refused_by_name(
    all_installed: Worker, fields: dict[str, Any], path: str, suggestion: str | None
) -> None:
    assert problems(all_installed.run(adetailer=[fields])) == {path: suggestion}


# Tiles


@pytest.mark.parametrize(
    ("how", "path"),
    [({"upscaler": "lanczos"}, "init_images[0]"), ({"upscaler": "lanczos", "scale": 3}, "ultimate_upscale.scale")],
)
def test_an_enormous_result_is_blamed_on_what_was_sent(all_installed: Worker, how: dict[str, Any], path: str) -> None:
    answer = all_installed.run(init_images=[picture(5000, 64)], ultimate_upscale=how)
    assert answer["details"]["problems"][0]["path"] == path
    assert "at most 8192 a side" in answer["error"]


def test_a_long_picture_that_is_scaled_down_is_no_enormous_result(all_installed: Worker) -> None:
    answer = all_installed.run(init_images=[picture(8800, 64)], width=128, height=64)
    assert "error" not in answer, answer


def test_ultimate_upscale_doubles_the_picture_and_saves_nothing(all_installed: Worker) -> None:
    answer = all_installed.run(init_images=[picture(128, 128)], ultimate_upscale={"upscaler": "lanczos", "scale": 2})
    assert size_of(answer["images"][0]) == (256, 256), answer
    args = bodies(all_installed, "img2img")[-1]["script_args"]
    assert (len(args), args[8], args[9], args[11]) == (18, 1, False, False)


@pytest.mark.parametrize(("seam_fix", "checkpoint"), [("none", None), ("band_pass", "Deliberate_v6")])
def test_ultimate_upscale_without_redrawing_is_no_picture_of_another_model(
    all_installed: Worker, seam_fix: str, checkpoint: str | None
) -> None:
    how = {"scale": 2, "redraw": "none", "seam_fix": seam_fix}
    answer = all_installed.run(init_images=[picture(128, 128)], ultimate_upscale=how)
    assert [size_of(image) for image in answer["images"]] == [(256, 256)], answer
    assert answer["applied"]["checkpoint"] == checkpoint


def test_ultimate_upscale_with_seams_fixed_returns_the_last_picture(all_installed: Worker) -> None:
    answer = all_installed.run(
        init_images=[picture(128, 128)], ultimate_upscale={"width": 256, "height": 256, "seam_fix": "half_tile"}
    )
    assert [size_of(image) for image in answer["images"]] == [(256, 256)]


def test_tiled_diffusion_and_vae_are_attached(all_installed: Worker) -> None:
    answer = all_installed.run(
        init_images=[picture(128, 128)],
        tiled_diffusion={"upscaler": "Lanczos", "scale": 2, "tile_width": 16, "tile_height": 16, "overlap": 4},
        tiled_vae={"encoder_tile": 512},
    )
    assert size_of(answer["images"][0]) == (256, 256)
    assert set(bodies(all_installed, "img2img")[-1]["alwayson_scripts"]) >= {"Tiled Diffusion", "Tiled VAE"}


# Dynamic prompts


def test_the_extensions_own_expansion_is_always_off(all_installed: Worker) -> None:
    answer = all_installed.run(prompt="a {red|blue} cat")
    assert answer["info"]["all_prompts"] == ["a {red|blue} cat"]


def test_tiles_make_no_picture_that_no_memory_holds(all_installed: Worker) -> None:
    wide = {"init_images": [picture(1024)], "width": 64, "height": 64}
    answer = all_installed.run(**wide, ultimate_upscale={"scale": 16})
    assert list(problems(answer)) == ["ultimate_upscale.scale"]
    answer = all_installed.run(**wide, tiled_diffusion={"upscaler": "Lanczos", "scale": 8.0}, batch_size=1)
    assert "error" not in answer


# In workflows


def test_units_work_in_the_stages_of_a_workflow_on_the_pictures_of_the_stage_before(all_installed: Worker) -> None:
    without_picture = {name: value for name, value in unit().items() if name != "image"}
    stages = [
        {"name": "base", "type": "txt2img", "width": 64, "height": 64, "adetailer": [{"model": "face_yolov8s.pt"}]},
        {"name": "lines", "type": "img2img", "denoising_strength": 0.4, "controlnet": [without_picture]},
        {"name": "large", "type": "img2img", "denoising_strength": 0.3, "ultimate_upscale": {"scale": 2}},
    ]
    job = {"type": "workflow", "prompt": "a cat", "steps": 2, "seed": 7, "stages": stages}
    answer = all_installed.run_job({"id": "units", "input": {**job, "output": {"intermediates": ["base", "lines"]}}})
    assert "stages" in answer, answer
    base, lines, large = (stage["applied"] for stage in answer["stages"])
    assert [len(applied[name]) for applied, name in ((base, "adetailer"), (lines, "controlnet"))] == [1, 1]
    assert large["size"] == {"width": 128, "height": 128}
    again = {**stages[1], "init_images": answer["stages"][0]["images"]}
    plain = {name: value for name, value in again.items() if name != "name"}
    alone = all_installed.run_job({"input": {"prompt": "a cat", "steps": 2, "seed": 7, **plain}})
    assert alone["images"] == answer["stages"][1]["images"]


# Without the extensions


@pytest.mark.parametrize(
    ("fields", "path", "hint"),
    [
        ({"controlnet": [unit()]}, "controlnet", "EXTENSIONS"),
        ({"adetailer": [{"model": "face_yolov8n.pt"}]}, "adetailer", "EXTENSIONS"),
        ({"tiled_vae": {"enabled": True}}, "tiled_vae", "non-commercial"),
        ({"init_images": [picture(64, 64)], "ultimate_upscale": {"scale": 2}}, "ultimate_upscale", "not installed"),
    ],
)
def test_an_extension_that_is_not_installed_says_how_to_get_it(
    worker: Worker, fields: dict[str, Any], path: str, hint: str
) -> None:
    answer = worker.run(**fields)
    assert set(problems(answer)) == {path}
    assert hint in answer["error"]
