"""Ordinary jobs whose answer is not what was asked for, in one word or another: none passes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.jobs.test_kinds import picture
from tests.support import models, pictures
from worker.webui.result.probe import LOOK_AGAIN

if TYPE_CHECKING:
    from tests.integration.conftest import Worker

HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_scale": 1.5, "hr_second_pass_steps": 3, "steps": 2}
VARIED = {"subseed": 7, "subseed_strength": 0.25}


def mismatches(answer: dict[str, Any]) -> list[str]:
    assert answer.get("error_code") == "wrong_result", answer
    assert answer["retryable"] is True
    return [each["what"] for each in answer["details"]["mismatches"]]


@pytest.mark.parametrize(
    ("name", "value", "job"),
    [
        ("Steps", "9", {}),
        ("CFG scale", "3.5", {}),
        ("Denoising strength", "0.9", HIRES),
        ("Hires upscale", "3.0", HIRES),
        ("Hires steps", "9", HIRES),
        ("Hires resize", "96x104", {**HIRES, "hr_resize_x": 96, "hr_resize_y": 96, "hr_scale": None}),
        ("Variation seed", "8", VARIED),
        ("Variation seed strength", "0.5", VARIED),
        ("Tiling", "False", {"tiling": True}),
        ("Seed", "77", {}),
        ("Sampler", "Euler a", {}),
        ("Model", "Other", {}),
    ],
)
def test_another_value_than_asked_for_is_noticed(worker: Worker, name: str, value: str, job: dict[str, Any]) -> None:
    asked = {field: given for field, given in job.items() if given is not None}
    assert "error" not in worker.run(**asked)
    worker.fault("wrong-parameter", name=name, value=value)
    assert any(what.lower().startswith(name.lower()) for what in mismatches(worker.run(**asked)))


@pytest.mark.parametrize("lost", ["Hires upscale", "Hires steps", "Denoising strength", "Hires upscaler"])
def test_a_second_pass_of_which_there_is_no_word_is_noticed(worker: Worker, lost: str) -> None:
    worker.fault("lost-parameter", name=lost)
    assert any(what.startswith(lost) for what in mismatches(worker.run(**HIRES, hr_upscaler="Latent")))


@pytest.mark.parametrize(
    ("lost", "job"),
    [
        ("Hires checkpoint", {**HIRES, "hr_checkpoint_name": "Other_v1"}),
        ("Hires sampler", {**HIRES, "hr_sampler_name": "Euler a"}),
        ("Refiner", {"steps": 10, "refiner": {"checkpoint": "Other_v1", "switch_at": 0.5}}),
    ],
)
def test_a_model_or_sampler_of_a_later_step_that_was_not_used_is_the_webuis_fault(
    worker: Worker, lost: str, job: dict[str, Any]
) -> None:
    assert "error" not in worker.run(**job)
    worker.fault("lost-parameter", name=lost)
    assert lost in mismatches(worker.run(**job))


@pytest.mark.parametrize(
    ("fault", "what", "job"),
    [
        ("wrong-prompt", "prompt", {}),
        ("wrong-negative", "negative prompt", {"negative_prompt": "blurry"}),
        ("lost-style", "prompt", {"styles": ["Film"]}),
        ("lost-tag", "LoRA tags in the prompt", {"loras": ["add_detail"]}),
        ("no-loras", "LoRAs that were loaded", {"loras": ["add_detail"]}),
        ("wrong-seed", "seeds", {}),
    ],
)
def test_a_prompt_or_seed_that_was_read_otherwise_is_noticed(
    worker: Worker, fault: str, what: str, job: dict[str, Any]
) -> None:
    assert "error" not in worker.run(**job)
    worker.fault(fault)
    assert what in mismatches(worker.run(**job))


def test_loras_without_a_hash_of_their_own_are_missed_too_once_they_had_an_effect(worker: Worker) -> None:
    row = worker.host.backend.catalog.lora("add_detail")
    assert row is not None
    path = Path(row.path).with_name("nameless.safetensors")
    models.lora(path, metadata={"sshs_model_hash": ""})
    try:
        assert "error" not in worker.run(loras=["nameless"])
        worker.fault("no-loras", count=-1)
        answers = [worker.run(loras=["nameless"]) for _ in range(LOOK_AGAIN)]
    finally:
        path.unlink()
    assert mismatches(answers[-1]) == ["LoRAs that had an effect"]


def test_a_lora_with_a_comma_in_its_name_is_found_in_the_infotext_which_leaves_it_out(worker: Worker) -> None:
    row = worker.host.backend.catalog.lora("add_detail")
    assert row is not None
    path = Path(row.path).with_name("rain, night.safetensors")
    models.lora(path)
    try:
        made = [worker.run(loras=["rain, night"]), worker.run(prompt="a cat <lora:rain, night:1>")]
        worker.fault("no-loras")
        lied = worker.run(loras=["rain, night"])
    finally:
        path.unlink()
    assert [answer["applied"]["loras"][0]["name"] for answer in made] == ["rain, night"] * 2
    assert mismatches(lied) == ["LoRAs that were loaded"]


@pytest.mark.parametrize(("name", "value"), [("Seed", "43"), ("Steps", "9"), ("Sampler", "Euler a"), ("Size", "8x8")])
def test_a_picture_whose_own_notes_say_something_else_is_noticed(worker: Worker, name: str, value: str) -> None:
    worker.fault("wrong-notes", name=name, value=value)
    assert f"{name} in the notes of picture 0" in mismatches(worker.run())


@pytest.mark.parametrize("changed", [{"seed": 43}, {"prompt": "a dog"}, {"steps": 3}, {"cfg_scale": 3}])
def test_the_answer_to_the_job_before_is_noticed(worker: Worker, changed: dict[str, Any]) -> None:
    worker.run()
    worker.fault("previous-answer")
    assert mismatches(worker.run(**changed))


def test_the_answer_to_the_job_before_is_noticed_where_only_its_picture_was_another(worker: Worker) -> None:
    start = {"type": "img2img", "denoising_strength": 0.5}
    worker.run(**start, init_images=[picture(64, 64)])
    worker.fault("previous-answer")
    other = worker.run(**start, init_images=[picture(64, 64, colour="red")])
    assert mismatches(other) == ["subseeds"]


def test_the_strength_of_a_start_picture_is_compared(worker: Worker) -> None:
    worker.fault("wrong-parameter", name="Denoising strength", value="0.1")
    answer = worker.run(type="img2img", init_images=[picture(64, 64)])
    assert "Denoising strength" in mismatches(answer)


@pytest.mark.parametrize("fault", ["white", "noise"])
def test_a_picture_that_no_prompt_makes_is_noticed(worker: Worker, fault: str) -> None:
    worker.fault(fault)
    assert mismatches(worker.run()) == ["content of picture 0"]


def test_a_black_upscale_is_noticed(worker: Worker) -> None:
    def upscaled(image: str) -> dict[str, Any]:
        return worker.run_job({"input": {"type": "upscale", "image": image, "upscaler_1": "Lanczos"}})

    worker.fault("black")
    assert upscaled(base64.b64encode(pictures.file(pictures.smooth(64, 64))).decode())["error_code"] == "wrong_result"
    assert "error" not in upscaled(picture(64, 64, colour="black")), "a black picture stays black"


def test_what_the_webui_reads_otherwise_by_right_is_no_lie(worker: Worker) -> None:
    for job in (
        {"prompt": "  a   cat,\n a dog  "},
        {"prompt": "a cat # the old one\n# a whole line\nin a hat"},
        {"prompt": "", "negative_prompt": "Steps: 3, Sampler: none"},
        {"prompt": "a cat\nNegative prompt: a dog\nSteps: 3, Sampler: Euler, CFG scale: 9"},
        {"prompt": "ein schöner Käse, 猫, \u00a0nbsp, \U0001f431"},
        {"prompt": "a cat", "styles": ["Detailed", "Film"], "negative_prompt": "dark"},
        {"prompt": "  a cat # grey", "styles": ["film"]},
        {"prompt": "a (cat:1.2) [dog:bird:0.5] AND fish", "loras": ["add_detail"]},
        {"prompt": "a {red|blue} __animal__ cat"},
        {"cfg_scale": 7.123456789, "steps": 3, "n_iter": 2, "batch_size": 2},
        {"seed": 2**40 + 1, "n_iter": 2},
    ):
        answer = worker.run(**job)
        assert "error" not in answer, (job, answer)
