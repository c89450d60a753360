"""Names, hashes and bodies as clients of the WebUI write them, through the whole worker on the stand-in."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.integration.webui.test_extensions import picture, problems
from tests.support import models
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("words")
    root = folder / "models"
    models.model_folders(root)
    (root / "checkpoints" / "SDXL").mkdir()
    shutil.copy(root / "checkpoints" / "Other_v1.safetensors", root / "checkpoints" / "SDXL" / "juggernaut.safetensors")
    (folder / "webui/extensions/sd-webui-controlnet").mkdir(parents=True)
    control = folder / "controlnet"
    control.mkdir()
    models.checkpoint(control / "control_v11p_sd15_canny.safetensors")
    more = {
        "STANDIN_EXTENSIONS": "controlnet,adetailer",
        "CONTROLNET_DIR": str(control),
        "RERUNS": "0",
    }
    with running_host(folder, more) as host:
        yield Worker(host)


@pytest.fixture
def digits(worker: Worker) -> str:
    row = worker.host.backend.catalog.checkpoint("Other_v1")
    assert row is not None
    return hashlib.sha256(Path(row.filename).read_bytes()).hexdigest()[:10]


NAMING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("checkpoint", {}),
    ("sd_model_checkpoint", {}),
    ("refiner_checkpoint", {"refiner_switch_at": 0.5}),
    ("hr_checkpoint_name", {"enable_hr": True, "denoising_strength": 0.5}),
)


def naming(field: str, name: str, more: dict[str, Any]) -> dict[str, Any]:
    if field == "sd_model_checkpoint":
        return {"override_settings": {field: name}, **more}
    return {field: name, **more}


@pytest.mark.parametrize(("field", "more"), NAMING)
@pytest.mark.parametrize("title", ["Other_v1.safetensors [{}]", "Other_v1 [{}]"])
def test_a_title_with_the_right_hash_is_that_model(
    worker: Worker, digits: str, field: str, more: dict[str, Any], title: str
) -> None:
    answer = worker.run(**naming(field, title.format(digits), more))
    assert "error" not in answer


@pytest.mark.parametrize(("field", "more"), NAMING)
def test_a_title_with_a_wrong_hash_is_an_error_that_says_so(worker: Worker, field: str, more: dict[str, Any]) -> None:
    answer = worker.run(**naming(field, "Other_v1.safetensors [0123456789]", more))
    assert answer["error_code"] == "hash_mismatch"
    assert "0123456789" in answer["error"]


def test_a_hash_alone_is_the_model_whose_hash_it_is_once_that_is_known(worker: Worker, digits: str) -> None:
    assert "error" not in worker.run(checkpoint=f"Other_v1 [{digits}]")
    assert worker.run(checkpoint=digits)["applied"]["checkpoint"] in {"Other_v1", "juggernaut"}


def test_a_hash_alone_is_found_in_files_that_nobody_has_measured(tmp_path: Path) -> None:
    root = tmp_path / "models"
    models.model_folders(root)
    unmeasured = root / "checkpoints" / "XL_v1.safetensors"
    whole = hashlib.sha256(unmeasured.read_bytes()).hexdigest()
    with running_host(tmp_path, {"RERUNS": "0"}) as host:
        own = Worker(host)
        for digits in (whole[:10], whole.upper()):
            assert own.run(checkpoint=digits, width=768, height=768)["applied"]["checkpoint"] == "XL_v1"
        told = own.run(checkpoint="0123456789")
        assert told["error_code"] == "model_not_found"
    written = json.loads((root / "cache_registry.json").read_text(encoding="utf-8"))
    assert whole in json.dumps(written)


@pytest.mark.parametrize("name", ["SDXL_juggernaut", "SDXL\\juggernaut.safetensors", "SDXL/juggernaut", "juggernaut"])
def test_a_file_in_a_folder_is_known_by_each_of_its_names(worker: Worker, name: str) -> None:
    assert worker.run(checkpoint=name)["applied"]["checkpoint"] == "juggernaut"


@pytest.mark.parametrize(
    "name", ["canny", "Canny", "openpose", "openpose_full", "dw_openpose_full", "depth", "depth_midas", "lineart"]
)
def test_a_preprocessor_is_known_by_its_name_and_by_that_on_the_screen(worker: Worker, name: str) -> None:
    catalog = worker.host.backend.catalog
    assert name == "Canny" or name in {*catalog.control_modules, *catalog.control_labels}
    unit = {"module": name, "model": "control_v11p_sd15_canny", "image": picture()}
    answer = worker.run_job({"input": {"type": "validate", "job": {"prompt": "a cat", "controlnet": [unit]}}})
    assert answer.get("valid"), answer


def test_every_label_of_the_preprocessors_has_a_name(worker: Worker) -> None:
    catalog = worker.host.backend.catalog
    assert len(catalog.control_labels) > 50
    assert all(catalog.control_module(label) in catalog.control_modules for label in catalog.control_labels)


def test_the_listing_by_alias_is_answered_with_its_query(worker: Worker) -> None:
    api = {"method": "GET", "endpoint": "/controlnet/module_list?alias_names=true"}
    listed = worker.run_job({"input": {"api": api}})
    assert set(listed["module_list"]) == set(worker.host.backend.catalog.control_labels)


def test_a_controlnet_inside_a_pass_is_checked_as_any_other(worker: Worker) -> None:
    detector = worker.host.backend.catalog.detectors[0]
    unit = {"ad_model": detector, "ad_controlnet_model": "nonexist"}
    assert set(problems(worker.run(adetailer=[unit]))) == {"adetailer[0].ad_controlnet_model"}
    wrong = {"ad_model": detector, "ad_controlnet_model": "control_v11p_sd15_canny [00000000]"}
    assert set(problems(worker.run(adetailer=[wrong]))) == {"adetailer[0].ad_controlnet_model"}


def test_a_detector_that_is_not_there_says_which_is_and_where_it_belongs(worker: Worker) -> None:
    answer = worker.run(adetailer=[{"ad_model": "face_yolov8n.pt"}])
    assert problems(answer) == {"adetailer[0].ad_model": "mediapipe_face_full"}
    assert "DETECTOR_DIR" in answer["error"]


def test_mistakes_in_fields_and_in_names_come_at_once(worker: Worker) -> None:
    answer = worker.run(width=63, checkpoint="nowhere", sampler_name="Eulr", stepz=4, styles=["none such"])
    assert set(problems(answer)) == {"width", "stepz", "checkpoint", "sampler_name", "styles[0]"}
    api = {"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": {"steps": 0, "sampler_name": "Eulr"}}
    assert set(problems(worker.run_job({"input": api}))) == {"payload.steps", "payload.sampler_name"}


WRONG_UNITS: dict[str, Any] = {
    "width": 63,
    "controlnet": [{"model": "control_v11p_sd15_cany", "module": "cany", "input_image": "AAAA" * 20, "weight": 9}],
    "alwayson_scripts": {
        "ADetailer": {
            "args": [True, {"ad_model": "face_full", "ad_conf": 30, "ad_use_sampler": True, "ad_sampler": "Eulr"}]
        }
    },
    "loras": [{"name": "nowhere", "scale": "much"}],
}
IN_UNITS = {
    "width",
    "controlnet[0].model",
    "controlnet[0].module",
    "controlnet[0].weight",
    "alwayson_scripts.ADetailer.args[1].ad_model",
    "alwayson_scripts.ADetailer.args[1].ad_sampler",
    "loras[0]",
    "loras[0].scale",
}


def test_mistakes_of_an_upscale_come_at_once_too(worker: Worker) -> None:
    wrong = {"type": "upscale", "image": picture(), "upscaler": "Lanczoz", "scale": 99, "stepz": 1}
    assert set(problems(worker.run_job({"input": wrong}))) == {"upscaler", "scale", "stepz"}


def test_mistakes_inside_units_come_with_all_others(worker: Worker) -> None:
    assert set(problems(worker.run(**WRONG_UNITS))) == IN_UNITS


def test_a_dry_run_tells_mistakes_in_fields_and_names_at_once_too(worker: Worker) -> None:
    job = {"prompt": "a cat", "checkpoint": "nowhere", **WRONG_UNITS}
    answer = worker.run_job({"input": {"type": "validate", "job": job, "jobb": 1}})
    assert set(problems(answer)) == {"jobb", "job.checkpoint", *(f"job.{path}" for path in IN_UNITS)}
    api = {"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": {"steps": 0, "sampler_name": "Eulr"}}
    answer = worker.run_job({"input": {"type": "validate", "job": api}})
    assert set(problems(answer)) == {"job.payload.steps", "job.payload.sampler_name"}


def test_names_and_pictures_are_judged_together_before_anything_is_fetched(worker: Worker) -> None:
    broken = {"init_images": [base64.b64encode(b"no picture at all, but long enough").decode()], "sampler_name": "Eulr"}
    for wrap in (lambda job: {"input": job}, lambda job: {"input": {"type": "validate", "job": job}}):
        answer = worker.run_job(wrap({"prompt": "a cat", "checkpoint": "nowhere", **broken}))
        assert {path.removeprefix("job.") for path in problems(answer)} == {
            "checkpoint",
            "sampler_name",
            "init_images[0]",
        }


def test_all_options_of_the_webui_may_come_back_with_a_job(worker: Worker) -> None:
    listed = worker.run_job({"input": {"api": {"method": "GET", "endpoint": "/sdapi/v1/options"}}})
    assert len(listed) > 300
    answer = worker.run(override_settings={**listed, "sd_model_checkpoint": "Other_v1"})
    assert "error" not in answer
    assert answer["applied"]["checkpoint"] == "Other_v1"


def test_a_misread_tag_is_named_and_never_dropped(worker: Worker) -> None:
    answer = worker.run(prompt="a <lora:add_detail:1:stop=20> cat")
    assert "lora-block-weight" in answer["error"]
    assert problems(answer) == {"prompt": "<lora:add_detail:1>"}
