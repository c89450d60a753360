"""Answers of 200 that carry the wrong picture: each is caught."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.support import models
from tests.support.pictures import file, smooth
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Worker


def problems(answer: dict[str, Any]) -> dict[str, str | None]:
    assert answer["fault"] == "client", answer
    return {problem["path"]: problem.get("suggestion") for problem in answer["details"]["problems"]}


def size_of(image: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
        width, height = picture.size
        return width, height


# 1. options leak across jobs


def test_no_option_of_one_job_reaches_the_next(worker: Worker) -> None:
    before = worker.run()
    worker.run(clip_skip=2, vae="tinyvae", override_settings={"eta_noise_seed_delta": 7, "emphasis": "None"})
    after = worker.run()
    assert after["applied"]["clip_skip"] == 1
    assert after["applied"]["vae"] is None
    assert after["images"] == before["images"]


def test_a_leaked_clip_skip_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-clip-skip", value=2)
    answer = worker.run()
    assert answer["error_code"] == "wrong_result"
    assert "clip skip is 2, asked for 1" in answer["error"]


def test_a_leaked_vae_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-vae", name="other.safetensors")
    assert worker.run()["error_code"] == "wrong_result"


# 2. unknown samplers and schedulers are replaced


def test_an_unknown_sampler_is_refused_with_the_one_that_was_meant(worker: Worker) -> None:
    assert problems(worker.run(sampler_name="DPM++ 2N")) == {"sampler_name": "DPM++ 2M"}
    assert worker.sent() == []


def test_an_unknown_scheduler_is_refused_with_the_one_that_was_meant(worker: Worker) -> None:
    assert problems(worker.run(scheduler="karas")) == {"scheduler": "Karras"}


@pytest.mark.parametrize(
    ("written", "sampler", "scheduler"),
    [
        ("euler a", "Euler a", "Automatic"),
        ("k_euler_a", "Euler a", "Automatic"),
        ("dpmpp_2m", "DPM++ 2M", "Karras"),
        ("DPM++ 2M Karras", "DPM++ 2M", "Karras"),
        ("DPM++ 2M SDE Exponential", "DPM++ 2M SDE", "Exponential"),
    ],
)
def test_the_sampler_that_people_mean_is_the_one_that_runs(
    worker: Worker, written: str, sampler: str, scheduler: str
) -> None:
    answer = worker.run(sampler_name=written)
    assert (answer["applied"]["sampler"], answer["applied"]["scheduler"]) == (sampler, scheduler)


def test_another_sampler_than_asked_for_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-sampler")
    assert "sampler" in worker.run(sampler_name="Euler a")["error"]


def test_another_scheduler_than_asked_for_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-scheduler", name="Karras")
    assert "scheduler" in worker.run(sampler_name="Euler", scheduler="Exponential")["error"]
    worker.fault("wrong-scheduler", name="Karras")
    assert "scheduler" in worker.run()["error"], "the WebUI's default was not asked for, but it is what is meant"


# 3. unknown checkpoints are replaced


@pytest.mark.parametrize("name", ["Deliberate_v7", "Deliberat", "Other_v1 [0123456789]"])
def test_an_unknown_checkpoint_is_refused(worker: Worker, name: str) -> None:
    answer = worker.run(checkpoint=name)
    assert answer["error_code"] in {"model_not_found", "invalid_input", "hash_mismatch"}
    assert "checkpoint: " in answer["error"]
    assert worker.sent() == []


@pytest.mark.parametrize("name", ["Other_v1", "Other_v1.safetensors", "other_v1"])
def test_a_checkpoint_on_the_volume_is_the_one_that_runs(worker: Worker, name: str) -> None:
    answer = worker.run(checkpoint=name)
    assert answer["applied"]["checkpoint"] == "Other_v1"


def test_another_model_than_asked_for_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-model", name="Other")
    answer = worker.run()
    assert answer["error_code"] == "wrong_result"
    assert answer["retryable"] is True
    assert {"what": "model", "asked": "Deliberate_v6", "got": "Other"} in answer["details"]["mismatches"]


# 4. unknown LoRAs do nothing


def test_an_unknown_lora_is_refused_with_the_one_that_was_meant(worker: Worker) -> None:
    for typo in ("ad_detail", "add_detial", "ADD-DETAILS"):
        assert problems(worker.run(loras=[{"name": typo}])) == {"loras[0]": "add_detail"}


@pytest.mark.parametrize(
    ("tag", "suggestion"),
    [
        ("<lora:foo:1>", None),
        ("<lora:ad_detail:1>", "add_detail"),
        ("<lora:add_detail:abc>", None),
        ("<loar:add_detail:1>", "lora"),
    ],
)
def test_a_tag_that_would_do_nothing_is_refused(worker: Worker, tag: str, suggestion: str | None) -> None:
    assert problems(worker.run(prompt=f"a cat {tag}")) == {"prompt": suggestion}


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_thousands_of_tags_are_refused_by_their_number_alone(worker: Worker, field: str) -> None:
    answer = worker.run(**{"prompt": "a cat", field: "".join(f"<lora:l{number}:1>" for number in range(1000))})
    assert answer["error_code"] == "invalid_input"
    assert answer["details"]["problems"] == [
        {"path": field, "message": "has 1000 tags like <lora:…>; at most 100 are read"}
    ]


def test_loras_are_stacked_in_order_and_told(worker: Worker) -> None:
    plain = worker.run()
    answer = worker.run(loras=[{"name": "style_two", "scale": 0.7}, {"name": "add_detail", "scale": 1.5}])
    assert worker.sent()[-1]["prompt"] == "a cat <lora:style_two:0.7> <lora:add_detail:1.5>"
    assert [(lora["name"], lora["scale"]) for lora in answer["applied"]["loras"]] == [
        ("style_two", 0.7),
        ("add_detail", 1.5),
    ]
    assert answer["images"] != plain["images"]


def test_a_lora_in_the_prompt_is_told_too(worker: Worker) -> None:
    answer = worker.run(prompt="a cat <lora:add_detail:0.5>")
    assert [(lora["name"], lora["scale"]) for lora in answer["applied"]["loras"]] == [("add_detail", 0.5)]


@pytest.mark.parametrize("name", ["ADD_DETAIL", "Add Detail", "add_detail.safetensors"])
def test_a_tag_in_another_spelling_is_sent_as_the_webui_knows_it(worker: Worker, name: str) -> None:
    """The WebUI itself would take such a tag for no LoRA at all."""
    right = worker.run(prompt="a <lora:add_detail:0.5> cat")
    answer = worker.run(prompt=f"a <lora:{name}:0.5> cat")
    assert worker.sent()[-1]["prompt"] == "a <lora:add_detail:0.5> cat"
    assert [(lora["name"], lora["scale"]) for lora in answer["applied"]["loras"]] == [("add_detail", 0.5)]
    assert answer["images"] == right["images"]


def test_a_tag_in_the_prompt_of_hires_fix_is_spelt_right_too(worker: Worker) -> None:
    hires = {"scale": 2, "upscaler": "Latent", "denoising_strength": 0.6, "prompt": "a dog <lora:Add Detail:1>"}
    answer = worker.run(hires=hires)
    assert worker.sent()[-1]["hr_prompt"] == "a dog <lora:add_detail:1>"
    assert [lora["name"] for lora in answer["applied"]["loras"]] == ["add_detail"]


def test_a_lora_named_in_two_spellings_is_named_twice(worker: Worker) -> None:
    answer = worker.run(prompt="a cat <lora:Add Detail:0.5>", loras=["add_detail"])
    assert set(problems(answer)) == {"loras[0]"}


def test_a_damaged_lora_is_an_error_whether_listed_or_tagged(worker: Worker) -> None:
    file = models.lora(worker.host.settings.folder("lora") / "cut_off.safetensors")
    models.truncated(file)
    try:
        for job in ({"prompt": "a cat <lora:cut_off:1>"}, {"loras": ["cut_off"]}):
            assert worker.run(**job)["error_code"] == "model_damaged"
    finally:
        file.unlink()


def test_a_lora_that_came_to_the_volume_later_is_found_by_tag_and_by_name(worker: Worker) -> None:
    folder = worker.host.settings.folder("lora")
    models.lora(folder / "late_one.safetensors")
    models.lora(folder / "late_two.safetensors")
    answer = worker.run(prompt="a cat <lora:late_one:1>", loras=["late_two"])
    assert [lora["name"] for lora in answer["applied"]["loras"]] == ["late_one", "late_two"]


def test_a_checkpoint_that_came_to_the_volume_later_is_found(worker: Worker) -> None:
    models.checkpoint(worker.host.settings.folder("checkpoint") / "Late_v1.safetensors")
    assert worker.run(checkpoint="Late_v1")["applied"]["checkpoint"] == "Late_v1"


def test_a_lora_named_twice_is_refused(worker: Worker) -> None:
    answer = worker.run(prompt="a cat <lora:add_detail:0.5>", loras=["add_detail"])
    assert set(problems(answer)) == {"loras[0]"}


def test_a_tag_in_the_negative_prompt_is_a_warning(worker: Worker) -> None:
    answer = worker.run(negative_prompt="<lora:add_detail:1>")
    assert any("negative prompt" in warning for warning in answer["warnings"])


def test_a_lora_of_another_base_model_is_refused(worker: Worker) -> None:
    answer = worker.run(loras=["for_sdxl"])
    assert {"add_detail", "style_two"} <= set(answer["details"]["fitting"])
    assert "for_sdxl" not in answer["details"]["fitting"]
    assert answer["error_code"] == "incompatible_model"
    assert worker.sent() == []


# 5. a failed checkpoint switch poisons the process


def test_a_damaged_checkpoint_is_an_error_that_says_so(tmp_path: Path) -> None:
    from tests.integration.conftest import Worker as Driver

    with running_host(tmp_path) as host:
        worker = Driver(host)
        models.truncated(models.checkpoint(host.settings.folder("checkpoint") / "Broken.safetensors"))
        answer = worker.run(checkpoint="Broken")
        assert answer["fault"] == "worker"
        assert "SafetensorError" in answer["error"] or "damaged" in answer["error"]


# 6. an interrupted job is 200 with a partial picture


def test_a_job_that_somebody_interrupts_is_not_a_success(worker: Worker) -> None:
    worker.fault("missing-picture")
    answer = worker.run(n_iter=3)
    assert "number of pictures is 2, asked for 3" in answer["error"]


# 8. an upscaler without its weights is a plain resize


def test_an_upscaler_without_weights_is_refused(worker: Worker) -> None:
    answer = worker.run(enable_hr=True, hr_scale=2, denoising_strength=0.5, hr_upscaler="R-ESRGAN 4x+")
    assert set(problems(answer)) == {"hr_upscaler"}
    assert "not installed" in answer["error"]


def test_faces_are_not_restored_without_weights(worker: Worker) -> None:
    assert set(problems(worker.run(restore_faces=True))) == {"restore_faces"}
    assert worker.sent() == []


def test_an_embedding_of_another_base_model_is_refused(worker: Worker) -> None:
    answer = worker.run(prompt="a cat xlemb", embeddings=["xlemb"])
    assert answer["error_code"] == "incompatible_model"
    assert answer["details"]["fitting"] == ["goodemb"]
    assert "images" in worker.run(prompt="a cat goodemb", embeddings=["goodemb"])


@pytest.mark.parametrize("other", [{"checkpoint": "XL_v1"}, {"refiner": {"checkpoint": "XL_v1", "switch_at": 0.5}}])
def test_embeddings_listed_while_another_checkpoint_was_loaded_are_not_judged_by_that(
    worker: Worker, other: dict[str, Any]
) -> None:
    worker.run(**other)
    worker.run_job({"input": {"type": "refresh"}})
    answer = worker.run(prompt="a cat goodemb", embeddings=["goodemb"])
    assert "images" in answer, answer
    assert not [warning for warning in answer["warnings"] if "goodemb" in warning]
    worker.run_job({"input": {"type": "refresh"}})
    assert worker.run(prompt="a cat xlemb", embeddings=["xlemb"])["error_code"] == "incompatible_model"


def test_an_unknown_upscaler_is_refused_with_the_one_that_was_meant(worker: Worker) -> None:
    answer = worker.run(enable_hr=True, denoising_strength=0.5, hr_upscaler="Lanzcos")
    assert problems(answer) == {"hr_upscaler": "Lanczos"}


# 9. the size in the answer is not the picture's


def test_another_size_than_asked_for_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-size")
    assert "size of picture 0 is '56x64', asked for '64x64'" in worker.run()["error"]


def test_a_size_that_the_webui_would_round_is_refused(worker: Worker) -> None:
    assert set(problems(worker.run(width=500))) == {"width"}


@pytest.mark.parametrize(
    ("hires", "size"),
    [
        ({"hr_scale": 1.5, "hr_upscaler": "Latent"}, (96, 96)),
        ({"hr_scale": 2, "hr_upscaler": "Lanczos"}, (128, 128)),
        ({"hr_resize_x": 96, "hr_resize_y": 128, "hr_upscaler": "Latent"}, (96, 128)),
        ({"hr_resize_x": 128}, (128, 128)),
    ],
)
def test_the_size_after_hires_fix_is_proven(worker: Worker, hires: dict[str, Any], size: tuple[int, int]) -> None:
    answer = worker.run(enable_hr=True, denoising_strength=0.5, **hires)
    assert size_of(answer["images"][0]) == size
    assert (answer["applied"]["size"]["width"], answer["applied"]["size"]["height"]) == size


# 10. the next job reloads the default


def test_a_job_after_another_checkpoint_gets_the_default_again(worker: Worker) -> None:
    assert worker.run(checkpoint="Other_v1")["applied"]["checkpoint"] == "Other_v1"
    assert worker.run()["applied"]["checkpoint"] == "Deliberate_v6"
    assert worker.sent()[-1]["override_settings"]["sd_model_checkpoint"] == "Deliberate_v6.safetensors"


# pictures


@pytest.mark.parametrize("fault", ["truncated-picture", "broken-base64"])
def test_a_damaged_picture_is_noticed(worker: Worker, fault: str) -> None:
    worker.fault(fault)
    answer = worker.run()
    assert answer["error_code"] == "wrong_result"
    assert "damaged" in answer["error"]


def test_a_black_picture_is_noticed(worker: Worker) -> None:
    worker.fault("black")
    assert worker.run()["error_code"] == "nan_image"


def test_a_picture_too_few_is_noticed(worker: Worker) -> None:
    worker.fault("missing-picture")
    assert "number of pictures" in worker.run(batch_size=2)["error"]


def test_the_picture_of_another_seed_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-seed")
    assert "seed" in worker.run()["error"]


def test_a_grid_is_never_among_the_pictures(worker: Worker) -> None:
    worker.fault("grid-first")
    answer = worker.run(batch_size=2)
    assert [size_of(image) for image in answer["images"]] == [(64, 64), (64, 64)]
    assert answer["seeds"] == [42, 43]


def test_an_answer_without_pictures_is_an_error(worker: Worker) -> None:
    worker.fault("not-json", path="txt2img")
    assert worker.run()["error_code"] == "webui_error"


def test_the_client_may_take_a_warning_in_place_of_an_error(worker: Worker) -> None:
    worker.fault("wrong-sampler")
    answer = worker.run(sampler_name="Euler a", on_mismatch="warn")
    assert len(answer["images"]) == 1
    assert any("sampler" in warning for warning in answer["warnings"])
    assert answer["applied"]["sampler"] == "DPM++ 2M"


def test_a_vae_that_was_asked_for_is_the_one_that_runs(worker: Worker) -> None:
    assert worker.run(vae="tinyvae")["applied"]["vae"] == "tinyvae.safetensors"
    assert worker.run(vae="None")["applied"]["vae"] is None


def test_an_unknown_vae_is_refused(worker: Worker) -> None:
    assert problems(worker.run(vae="tinyvea")) == {"vae": "tinyvae"}


def test_every_seed_in_the_answer_makes_its_picture_alone(worker: Worker) -> None:
    together = worker.run(batch_size=2, n_iter=2, seed=7)
    assert together["seeds"] == [7, 8, 9, 10]
    for seed, image in zip(together["seeds"], together["images"], strict=True):
        assert worker.run(seed=seed)["images"] == [image]


def test_a_random_seed_is_drawn_by_the_worker_and_told(worker: Worker) -> None:
    answer = worker.run(seed=-1)
    assert answer["seeds"] == [worker.sent()[-1]["seed"]]
    assert worker.run(seed=answer["seeds"][0])["images"] == answer["images"]


def test_only_what_the_client_set_is_sent(worker: Worker) -> None:
    worker.run_job({"input": {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}})
    body = worker.sent()[-1]
    # The subseed marks the request; without a strength it changes no picture.
    assert set(body) == {"prompt", "steps", "width", "height", "seed", "subseed", "override_settings"}
    assert set(body["override_settings"]) == {"sd_model_checkpoint"}


def test_clip_skip_reaches_the_webui_as_the_integer_it_wants(worker: Worker) -> None:
    answer = worker.run(clip_skip=2)
    assert worker.sent()[-1]["override_settings"]["CLIP_stop_at_last_layers"] == 2
    assert answer["applied"]["clip_skip"] == 2


def test_nothing_the_webui_would_fetch_itself_is_left_on(worker: Worker) -> None:
    options = requests.get(f"{worker.url}/sdapi/v1/options", timeout=10).json()
    assert options["api_enable_requests"] is False
    assert options["samples_save"] is False
    assert options["live_previews_enable"] is False


def test_a_refiner_that_never_gets_its_turn_is_the_jobs_mistake_and_costs_no_second_run(worker: Worker) -> None:
    late = worker.run(steps=2, refiner={"checkpoint": "Other_v1", "switch_at": 0.9})
    assert set(problems(late)) == {"refiner.switch_at"}
    assert len(worker.sent()) == 1
    told = worker.run(steps=2, refiner={"checkpoint": "Other_v1", "switch_at": 0.9}, on_mismatch="warn")
    assert any("never came in" in warning for warning in told["warnings"])


def test_a_refiner_that_is_the_checkpoint_itself_is_a_mistake_that_costs_no_run(worker: Worker) -> None:
    itself = worker.run(steps=10, refiner={"checkpoint": "Deliberate_v6", "switch_at": 0.5})
    assert set(problems(itself)) == {"refiner.checkpoint"}
    assert worker.sent() == []


def test_a_refiner_without_a_step_of_its_own_is_told(worker: Worker) -> None:
    plain = worker.run(steps=4)
    idle = worker.run(steps=4, refiner={"checkpoint": "Other_v1", "switch_at": 1.0})
    assert idle["images"] == plain["images"]
    assert idle["applied"]["refiner"] is None
    assert idle["applied"]["checkpoint"] == "Deliberate_v6"
    assert any("leaves the refiner no step" in warning for warning in idle["warnings"])


def test_a_refiner_that_makes_the_picture_alone_is_its_checkpoint(worker: Worker) -> None:
    alone = worker.run(steps=4, refiner={"checkpoint": "Other_v1", "switch_at": 0.0})
    assert alone["applied"]["checkpoint"] == "Other_v1"
    assert alone["applied"]["refiner"] == {"checkpoint": "Other_v1", "switch_at": 0.0}
    assert any("leaves the checkpoint no step" in warning for warning in alone["warnings"])
    usual = worker.run(steps=10, refiner={"checkpoint": "Other_v1", "switch_at": 0.5})
    assert (usual["applied"]["checkpoint"], usual["warnings"]) == ("Deliberate_v6", [])
    assert usual["applied"]["refiner"] == {"checkpoint": "Other_v1", "switch_at": 0.5}


def test_an_embedding_that_no_prompt_names_is_told(worker: Worker) -> None:
    idle = worker.run(embeddings=["goodemb"])
    assert any(warning.startswith("embeddings[0]: 'goodemb' changes nothing") for warning in idle["warnings"])
    assert idle["applied"]["embeddings"] == []
    for used in ({"prompt": "a cat goodemb"}, {"negative_prompt": "(GoodEmb:1.1)"}):
        answer = worker.run(embeddings=["goodemb"], **used)
        assert answer["warnings"] == []
        assert answer["applied"]["embeddings"] == ["goodemb"]


def test_the_second_pass_is_told(worker: Worker) -> None:
    asked = {"enabled": True, "scale": 1.5, "steps": 3, "denoising_strength": 0.5, "upscaler": "Latent"}
    answer = worker.run(hires={**asked, "checkpoint": "Other_v1"})
    assert answer["applied"]["hires"] == {
        "scale": 1.5,
        "steps": 3,
        "denoising_strength": 0.5,
        "upscaler": "Latent",
        "checkpoint": "Other_v1",
    }


def test_the_seed_of_sd_upscale_makes_its_picture_again(worker: Worker) -> None:
    start = base64.b64encode(file(smooth(64, 64))).decode()
    script = {"name": "sd upscale", "args": {"Tile overlap": 16, "Scale Factor": 2.0, "Upscaler": "Lanczos"}}
    asked = {"type": "img2img", "init_images": [start], "script": script, "denoising_strength": 0.4}
    made = worker.run(**asked, seed=3, n_iter=1)
    assert made["seeds"] == [3]
    assert worker.run(**asked, seed=3)["images"] == made["images"]
    assert worker.run(**asked, seed=4)["images"] != made["images"]
    refused = worker.run(**asked, seed=3, n_iter=2)
    assert [problem["path"] for problem in refused["details"]["problems"]] == ["n_iter"]
