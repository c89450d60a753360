"""The operator's presets, wildcards and rules, and what models' publishers recommend, through the whole worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support.webui_dir import running_host
from worker.errors import SettingsInvalid
from worker.jobs.operator_config import load_operator_config
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "presets.yaml").write_text("tiny: {defaults: {steps: 3, width: 72}}\n")
    (folder / "policy.yaml").write_text(
        "- {name: people, terms: [john doe]}\n- {name: cars, action: flag, terms: [car]}\n"
    )
    (folder / "lists/animals").mkdir(parents=True)
    (folder / "lists/animals/pets.txt").write_text("# pets\ncat\ndog\n\n")
    more = {
        "PRESETS_FILE": str(folder / "presets.yaml"),
        "PROMPT_POLICY_FILE": str(folder / "policy.yaml"),
        "WILDCARDS_DIR": str(folder / "lists"),
    }
    with running_host(folder / "worker", more) as host:
        yield Worker(host)


def test_a_preset_is_applied_and_told(house: Worker) -> None:
    answer = house.run_job({"input": {"prompt": "a", "height": 64, "preset": "tiny"}})
    assert answer["parameters"]["steps"] == 3
    assert answer["applied"]["preset"] == {"steps": 3, "width": 72}


def test_a_shipped_preset_is_there_too(house: Worker) -> None:
    answer = house.run_job({"input": {"type": "validate", "job": {"prompt": "a", "preset": "sdxl-1:1"}}})
    assert answer["requests"][0]["body"]["width"] == 1024


def test_wildcards_come_from_the_operators_lists(house: Worker) -> None:
    answer = house.run(prompt="a __animals/pets__", wildcards=True)
    assert answer["info"]["all_prompts"][0] in {"a cat", "a dog"}


def test_a_refused_prompt_makes_no_picture(house: Worker) -> None:
    answer = house.run(prompt="{john doe|john doe}", wildcards=True)
    assert answer["details"]["problems"][0]["path"] == "prompt"


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({"hires": {"scale": 2, "denoising_strength": 0.5, "negative_prompt": "john doe"}}, "hires.negative_prompt"),
        ({"adetailer": [{"model": "face_yolov8n.pt", "prompt": "john doe"}]}, "adetailer[0].prompt"),
        ({"loras": [{"name": "add_detail", "trigger_words": ["john doe"]}]}, "loras[0].trigger_words"),
    ],
)
def test_words_that_come_by_another_way_are_refused_too(house: Worker, job: dict[str, Any], path: str) -> None:
    answer = house.run(**job)
    assert answer["details"]["problems"][0]["path"] == path, answer


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({"prompt": "john x", "plot": {"x": {"search": "x", "values": ["x", "doe"]}}}, "plot.x.values[1]"),
        (
            {"prompt": "john x", "negative_prompt": "x", "plot": {"x": {"search": "x", "values": ["x", "doe"]}}},
            "plot.x.values[1]",
        ),
        ({"prompt": "", "plot": {"x": {"field": "prompt", "values": ["x", "john doe"]}}}, "plot.x.values[1]"),
        (
            {"script": {"name": "x/y/z plot", "args": {"X type": "Prompt S/R", "X values": ["cat", "john doe"]}}},
            "script.args.X values[1]",
        ),
    ],
)
def test_words_that_a_plot_puts_into_a_prompt_are_refused_in_its_cell(
    house: Worker, job: dict[str, Any], path: str
) -> None:
    answer = house.run(**job)
    assert len(answer["images"]) == 1
    (error,) = [part["error"] for part in answer["parts"] if "error" in part]
    assert error["details"]["problems"][0]["path"] == path


def test_a_dry_run_knows_the_rules_and_what_is_recommended(house: Worker) -> None:
    refused = house.run_job({"input": {"type": "validate", "job": {"prompt": "john doe"}}})
    assert refused["details"]["problems"][0]["path"] == "job.prompt"
    advised = house.run_job({"input": {"type": "validate", "job": {"prompt": "a", "recommended": True}}})
    assert advised["requests"][0]["body"]["width"] == 512


def test_a_flagged_prompt_is_a_warning(house: Worker) -> None:
    assert any("'cars'" in warning for warning in house.run(prompt="a car")["warnings"])


def test_what_a_publisher_recommends_is_used_and_said(house: Worker) -> None:
    answer = house.run_job({"input": {"prompt": "a", "steps": 1, "recommended": True}})
    assert answer["applied"]["size"] == {"width": 512, "height": 512}
    assert any("clip_skip=1" in warning for warning in answer["warnings"])


def test_clients_that_send_models_by_address_learn_what_is_cached(house: Worker) -> None:
    answer = house.run(checkpoint={"name": "Other_v1", "url": "https://example.com/Other_v1.safetensors"})
    assert answer["cache_info"]["checkpoints_cached"] >= 2
    assert answer["cache_info"]["total_cache_size_mb"] >= 0


@pytest.mark.parametrize("variable", ["PRESETS_FILE", "PROMPT_POLICY_FILE"])
@pytest.mark.parametrize("text", [None, "a: ["])
def test_a_file_that_can_not_be_read_stops_the_start(tmp_path: Path, variable: str, text: str | None) -> None:
    path = tmp_path / "file.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsInvalid, match=variable):
        load_operator_config(read_settings({variable: str(path)}))
