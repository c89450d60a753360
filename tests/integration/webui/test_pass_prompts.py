"""Prompts of ADetailer's passes: their tags name models as the job's own do, though the WebUI's answer hides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.rig import pixels
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FACE = "face_yolov8s.pt"
RULES = """
largest_sum: {scale: 1.5, action: error}
files:
  add_detail: {conflicts: [style_two]}
"""


def detecting(folder: Path) -> dict[str, str]:
    """Return the settings of a worker whose ADetailer has a detector that finds something."""
    detectors = folder / "detectors"
    detectors.mkdir()
    (detectors / FACE).write_bytes(b"weights")
    return {"DETECTOR_DIR": str(detectors), "STANDIN_EXTENSIONS": "adetailer", "RERUNS": "0"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("passes")
    models.model_folders(folder / "models")
    models.checkpoint(folder / "models/checkpoints/Large_v1.safetensors", "sdxl")
    with running_host(folder, detecting(folder)) as host:
        yield Worker(host)


@pytest.fixture
def detailed(started: Worker) -> Iterator[Worker]:
    started.reset()
    yield started
    started.reset()


def run(worker: Worker, *passes: dict[str, Any], **job: Any) -> dict[str, Any]:
    return worker.run(adetailer=[{"model": FACE, **each} for each in passes], **job)


def told(answer: dict[str, Any]) -> dict[str, str | None]:
    assert answer["error_code"] == "invalid_input", answer
    return {problem["path"]: problem.get("suggestion") for problem in answer["details"]["problems"]}


@pytest.mark.parametrize(
    ("tag", "suggestion"),
    [
        ("<lora:add_detial:1>", "add_detail"),
        ("<lora:add_detail:1:stop=20>", "<lora:add_detail:1>"),
        ("<lroa:add_detail:1>", "lora"),
        ("<lora:add_detail:1", None),
    ],
)
def test_a_tag_of_a_pass_that_would_do_nothing_is_refused_where_it_stands(
    detailed: Worker, tag: str, suggestion: str | None
) -> None:
    assert told(run(detailed, {}, {"prompt": f"a hand [SEP] a face {tag}"})) == {"adetailer[1].prompt": suggestion}
    assert detailed.sent() == []


def test_the_webuis_own_form_gets_the_path_that_it_wrote(detailed: Worker) -> None:
    unit = {"ad_model": FACE, "ad_prompt": "face <lora:add_detial:1>"}
    answer = detailed.run(alwayson_scripts={"ADetailer": {"args": [True, False, unit]}})
    assert told(answer) == {"alwayson_scripts.ADetailer.args[2].ad_prompt": "add_detail"}


def test_a_known_lora_of_a_pass_makes_a_right_picture_that_is_no_wrong_result(detailed: Worker) -> None:
    plain = run(detailed, {"prompt": "a face"})
    answer = run(detailed, {"prompt": "a face <lora:add_detail:0.7>"})
    assert answer["images"] != plain["images"], "the LoRA had no effect"
    assert answer["applied"]["loras"] == []


def test_a_lora_of_a_pass_is_sent_as_the_webui_spells_it(detailed: Worker) -> None:
    answer = run(detailed, {"prompt": "a face <lora:Add Detail:1>"})
    assert "images" in answer, answer
    (unit, _) = detailed.sent()[0]["alwayson_scripts"]["ADetailer"]["args"][2:]
    assert unit["ad_prompt"] == "a face <lora:add_detail:1>"


def test_each_detection_may_have_the_same_lora_with_another_scale(detailed: Worker) -> None:
    assert "images" in run(detailed, {"prompt": "<lora:add_detail:1> [SEP] <lora:add_detail:0.5>"})


@pytest.mark.parametrize(
    "job", [{"prompt": "a cat <lora:add_detail:1>"}, {"loras": [{"name": "add_detail", "scale": 0.5}]}]
)
def test_a_pass_that_names_a_lora_of_the_prompt_that_it_takes_over_is_refused(
    detailed: Worker, job: dict[str, Any]
) -> None:
    assert set(told(run(detailed, {"prompt": "[PROMPT] <lora:add_detail:0.5>"}, **job))) == {"adetailer[0].prompt"}
    assert "images" in run(detailed, {"prompt": "a face <lora:add_detail:0.5>"}, **job)


def test_tags_of_a_pass_are_judged_even_where_the_job_switches_its_own_off(detailed: Worker) -> None:
    answer = run(detailed, {"prompt": "<lora:add_detial:1>"}, disable_extra_networks=True)
    assert told(answer) == {"adetailer[0].prompt": "add_detail"}


def test_a_pass_that_takes_over_tags_that_were_switched_off_is_pointed_out(detailed: Worker) -> None:
    job = {"prompt": "a cat <lora:add_detail:1>", "disable_extra_networks": True}
    (said,) = run(detailed, {}, **job)["warnings"]
    assert said.startswith("disable_extra_networks: ADetailer's passes apply")
    assert run(detailed, {"prompt": "a face"}, **job)["warnings"] == []


def test_a_pass_that_is_off_is_not_judged(detailed: Worker) -> None:
    assert "images" in run(detailed, {"prompt": "<lora:add_detial:1>", "enabled": False})


def test_a_lora_that_does_not_fit_the_checkpoint_of_its_pass_is_refused_there(detailed: Worker) -> None:
    answer = run(detailed, {"prompt": "a face <lora:add_detail:1>", "checkpoint": "Large_v1"})
    assert answer["error_code"] == "incompatible_model", answer
    assert answer["details"]["path"] == "adetailer[0].prompt"
    taken_over = run(detailed, {"checkpoint": "Large_v1"}, prompt="a cat <lora:add_detail:1>")
    assert taken_over["details"]["path"] == "adetailer[0].prompt"
    assert "images" in run(detailed, {"prompt": "a face", "checkpoint": "Large_v1"}, prompt="a <lora:add_detail:1>")


def test_a_negative_prompt_of_a_pass_is_told_that_its_tags_are_words(detailed: Worker) -> None:
    (said,) = run(detailed, {"negative_prompt": "ugly <lora:add_detail:1>"})["warnings"]
    assert said.startswith("adetailer[0].negative_prompt: the tag <lora:add_detail:1> has no effect")


def test_an_embedding_that_a_pass_alone_names_is_used(detailed: Worker) -> None:
    job = {"embeddings": ["goodemb"]}
    assert run(detailed, {"negative_prompt": "ugly, goodemb"}, **job)["warnings"] == []
    assert "changes nothing" in run(detailed, {}, **job)["warnings"][0]


def test_an_embedding_that_is_not_there_is_pointed_out_where_a_pass_names_it(detailed: Worker) -> None:
    (said,) = run(detailed, {"negative_prompt": "EasyNegative"})["warnings"]
    assert said.startswith("adetailer[0].negative_prompt: 'EasyNegative' is read as plain words")


def test_a_lora_of_a_pass_that_the_catalog_knows_is_fetched(detailed: Worker) -> None:
    units = [{"model": FACE, "prompt": "a face <lora:Detail Tweaker XL:1>"}]
    answer = detailed.run_job({"input": {"type": "validate", "job": {"prompt": "a cat", "adetailer": units}}})
    (fetched,) = answer["fetch"]
    assert (fetched["path"].split(" ")[0], fetched["ref"]) == ("adetailer[0].prompt", "Detail Tweaker XL")


def test_syntax_that_a_pass_does_not_read_is_pointed_out(detailed: Worker) -> None:
    passes = {"prompt": "a face, __eyes__"}, {"prompt": "<lora=add_detail>", "negative_prompt": "{red|blue} eyes"}
    said = run(detailed, *passes, wildcards=True)["warnings"]
    assert [each.split(":")[0] for each in said] == [
        "adetailer[1].prompt",
        "adetailer[0].prompt",
        "adetailer[1].negative_prompt",
    ]


def test_a_pass_with_brackets_that_would_take_minutes_is_refused(detailed: Worker) -> None:
    assert set(told(run(detailed, {"prompt": "(a) " * 251}))) == {"adetailer[0].prompt"}


def test_thousands_of_tags_of_a_pass_are_refused_by_their_number_alone(detailed: Worker) -> None:
    answer = run(detailed, {"prompt": "[SEP]".join(f"<lora:{number}:1>" for number in range(900))})
    assert set(told(answer)) == {"adetailer[0].prompt"}
    assert len(answer["details"]["problems"]) == 1


def test_a_lora_of_a_pass_that_was_replaced_makes_another_picture(tmp_path: Path) -> None:
    with running_host(tmp_path, {**detecting(tmp_path), "RESULT_CACHE": "volume"}) as host:
        worker, named = Worker(host), {"prompt": "a face <lora:add_detail:1>"}
        first, again = run(worker, named), run(worker, named)
        assert again["cached"]
        file = tmp_path / "models/loras/add_detail.safetensors"
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert pixels(run(worker, named)["images"][0]) != pixels(first["images"][0])


def test_the_operators_rules_hold_for_the_loras_of_a_pass(tmp_path: Path) -> None:
    models.model_folders(tmp_path / "models")
    (tmp_path / "models/loras.yaml").write_text(RULES)
    with running_host(tmp_path, detecting(tmp_path)) as host:
        worker, face = Worker(host), {"prompt": "a face <lora:add_detail:1>"}
        assert set(told(run(worker, {"prompt": f"[PROMPT] {face['prompt']}"}, loras=["style_two"]))) == {
            "adetailer[0].prompt"
        }
        assert "images" in run(worker, face, loras=["style_two"])
        assert set(told(run(worker, {"prompt": "a face <lora:add_detail:2>"}))) == {"adetailer[0].prompt"}


def test_a_vae_of_a_pass_is_that_of_the_job_or_a_known_one(detailed: Worker) -> None:
    assert "images" in run(detailed, {"vae": "None"})
    assert told(run(detailed, {"vae": "tinyvea.safetensors"})) == {"adetailer[0].vae": "tinyvae.safetensors"}
