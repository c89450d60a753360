"""Files and prompts that the WebUI reads in ways of its own: what it would make of them is never called right."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.integration.truth.test_truth import problems
from tests.support import models
from tests.support.rig import pixels
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HIRES = {"scale": 2, "upscaler": "Latent", "denoising_strength": 0.6, "prompt": "a dog"}
STYLES = "name,prompt,negative_prompt\ndetailed,<lora:add_detail:0.7> fine,\n"


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker on whose volume files share their names."""
    folder = tmp_path_factory.mktemp("twins")
    root = folder / "models"
    models.model_folders(root)
    models.lora(root / "loras" / "sub" / "style_two.safetensors", metadata={"ss_network_dim": "8"})
    for name in ("a=b", "c:d", "e>f", "g#h", "x=y=z"):
        models.lora(root / "loras" / f"{name}.safetensors")
    models.vae(root / "vae" / "sub" / "tinyvae.safetensors")
    models.embedding(root / "embeddings" / "sub" / "goodemb.safetensors")
    (root / "checkpoints" / "sub").mkdir()
    shutil.copy(
        root / "checkpoints" / "Other_v1.safetensors", root / "checkpoints" / "sub" / "Deliberate_v6.safetensors"
    )
    with running_host(folder, {"RERUNS": "0", "DEFAULT_CHECKPOINT": "sub/Deliberate_v6"}) as host:
        yield Worker(host)


def _loras(answer: dict[str, Any]) -> list[tuple[str, float]]:
    assert "error" not in answer, answer
    return [(lora["name"], lora["scale"]) for lora in answer["applied"]["loras"]]


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({"loras": ["style_two"]}, "loras[0]"),
        ({"prompt": "a <lora:style_two:1> cat"}, "prompt <lora:style_two:1>"),
        ({"vae": "tinyvae"}, "vae"),
        ({"embeddings": ["goodemb"], "prompt": "goodemb"}, "embeddings[0]"),
    ],
)
def test_a_name_of_two_files_is_refused_where_the_webui_takes_the_other(
    twins: Worker, job: dict[str, Any], path: str
) -> None:
    answer = twins.run(**job)
    assert set(problems(answer)) == {path}
    assert "sub/" in answer["error"]


def test_the_file_that_the_webui_takes_can_be_named_by_its_folder(twins: Worker) -> None:
    assert _loras(twins.run(loras=["sub/style_two"])) == [("style_two", 1.0)]


def test_checkpoints_of_one_name_are_told_apart_the_default_too(twins: Worker) -> None:
    below = twins.run()
    assert below["applied"]["checkpoint"] == "sub/Deliberate_v6"
    above = twins.run(checkpoint="Deliberate_v6")
    assert above["applied"]["checkpoint"] == "Deliberate_v6"
    assert above["parameters"]["override_settings"]["sd_model_checkpoint"].startswith("Deliberate_v6.safetensors")
    assert twins.run(checkpoint="sub/Deliberate_v6")["images"] == below["images"]


def test_a_plot_tells_checkpoints_of_one_name_apart(twins: Worker) -> None:
    axis = {"field": "checkpoint", "values": ["Deliberate_v6", "sub/Deliberate_v6.safetensors"]}
    answer = twins.run(plot={"x": axis})
    assert [row["checkpoint"] for row in answer["pictures"]] == ["Deliberate_v6", "sub/Deliberate_v6"]
    assert answer["images"][0] == twins.run(checkpoint="Deliberate_v6")["images"][0]


@pytest.mark.parametrize("name", ["a=b", "c:d", "e>f", "g#h"])
def test_a_lora_that_no_tag_can_name_is_refused(twins: Worker, name: str) -> None:
    assert set(problems(twins.run(loras=[name]))) == {"loras[0]"}


def test_a_lora_with_two_equals_signs_can_be_named(twins: Worker) -> None:
    assert _loras(twins.run(loras=["x=y=z"])) == [("x=y=z", 1.0)]


def test_loras_behind_a_comment_are_applied(worker: Worker) -> None:
    plain = worker.run(prompt="a cat", loras=["add_detail"])
    answer = worker.run(prompt="a cat # by the window", loras=["add_detail"])
    assert answer["images"] == plain["images"]
    assert any(warning.startswith("prompt: '#' begins a comment") for warning in answer["warnings"])


def test_a_tag_in_a_comment_is_not_applied_nor_said_to_be(worker: Worker) -> None:
    answer = worker.run(prompt="# <lora:add_detail:1>\na cat # <lora:nobody:1>")
    assert _loras(answer) == []
    assert answer["images"] == worker.run(prompt="a cat")["images"]


def test_comments_are_read_where_the_job_says_so(worker: Worker) -> None:
    answer = worker.run(prompt="a cat # <lora:add_detail:1>", override_settings={"enable_prompt_comments": False})
    assert _loras(answer) == [("add_detail", 1.0)]
    assert answer["warnings"] == []


def test_each_of_several_prompts_loses_its_comment(worker: Worker) -> None:
    job = {"prompts": ["a dog # one", {"prompt": "a cat"}], "steps": 2, "width": 64, "height": 64}
    answer = worker.run_job({"input": job})
    assert "error" not in answer, answer
    assert [body["prompt"] for body in worker.sent()] == ["a dog", "a cat"]
    assert [warning.split(":")[0] for warning in answer["warnings"]] == ["prompts[0].prompt"]


def test_loras_of_the_job_hold_for_the_second_pass_too(worker: Worker) -> None:
    worker.run(hires=HIRES, loras=[{"name": "add_detail", "scale": 0.5, "trigger_words": ["shiny"]}])
    sent = worker.sent()[-1]
    assert sent["prompt"] == "a cat, shiny <lora:add_detail:0.5>"
    assert sent["hr_prompt"] == "a dog, shiny <lora:add_detail:0.5>"


def test_each_pass_may_name_a_lora_in_its_own_prompt(worker: Worker) -> None:
    hires = {**HIRES, "prompt": "a dog <lora:add_detail:0.3>"}
    assert _loras(worker.run(prompt="a cat <lora:add_detail:0.8>", hires=hires)) == [
        ("add_detail", 0.8),
        ("add_detail", 0.3),
    ]
    same = {**HIRES, "prompt": "a dog <lora:add_detail:0.8>"}
    assert _loras(worker.run(prompt="a cat <lora:add_detail:0.8>", hires=same)) == [("add_detail", 0.8)]


def test_a_lora_of_the_job_is_not_named_again_in_either_prompt(worker: Worker) -> None:
    hires = {**HIRES, "prompt": "a dog <lora:add_detail:0.3>"}
    assert set(problems(worker.run(hires=hires, loras=["add_detail"]))) == {"loras[0]"}


def test_the_prompt_of_a_second_pass_that_is_not_made_applies_nothing(worker: Worker) -> None:
    assert _loras(worker.run(hr_prompt="a dog <lora:add_detail:1>")) == []


def test_loras_that_are_switched_off_are_not_said_to_be_applied(worker: Worker) -> None:
    assert _loras(worker.run(prompt="a cat <lora:add_detail:1>", disable_extra_networks=True)) == []
    assert set(problems(worker.run(loras=["add_detail"], disable_extra_networks=True))) == {"loras"}


def test_where_loras_are_switched_off_those_of_the_job_before_are_not_drawn_on_with(worker: Worker) -> None:
    plain = pixels(worker.run()["images"][0])
    assert pixels(worker.run(loras=["add_detail"])["images"][0]) != plain
    assert pixels(worker.run(disable_extra_networks=True)["images"][0]) == plain


def test_prompts_are_encoded_anew_for_an_option_that_the_webui_forgets_to_compare(worker: Worker) -> None:
    job = {"prompt": "a cat, in a hat, on a mat"}
    plain = pixels(worker.run(**job)["images"][0])
    other = pixels(worker.run(**job, override_settings={"comma_padding_backtrack": 0})["images"][0])
    assert other != plain
    assert pixels(worker.run(**job)["images"][0]) == plain


@pytest.mark.parametrize("prompt", ["a cat <lora:add_detail:1", "a <lora:add_detail:1> cat <lyco:style_two"])
def test_a_tag_without_its_end_is_refused(worker: Worker, prompt: str) -> None:
    answer = worker.run(prompt=prompt, loras=["style_two"])
    assert set(problems(answer)) == {"prompt"}
    assert "has no end" in answer["error"]


def test_loras_of_styles_are_told(tmp_path: Path) -> None:
    variables = {"WEBUI_ARGS": f"--styles-file {tmp_path / 'styles.csv'}"}
    (tmp_path / "styles.csv").write_text(STYLES)
    with running_host(tmp_path, variables) as host:
        answer = Worker(host).run(styles=["detailed"], loras=["style_two"])
    assert _loras(answer) == [("style_two", 1.0), ("add_detail", 0.7)]


ODD_STYLES = """name,prompt,negative_prompt
ghost,a ghost <lora:no_such_lora:1>,
kase,film <lora:ADD_DETAIL:0.6>,
hyper,<hypernet:foo:1>,
loud,<lora:add_detail:1e9>,
unfit,<lora:sd15_only:1>,
"""


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker whose WebUI has styles with LoRAs that are not there, or do not fit."""
    folder = tmp_path_factory.mktemp("styled")
    models.model_folders(folder / "models")
    models.lora(folder / "models/loras/sd15_only.safetensors", metadata={"ss_base_model_version": "sdxl_base_v1-0"})
    (folder / "styles.csv").write_text(ODD_STYLES)
    with running_host(folder, {"RERUNS": "0", "WEBUI_ARGS": f"--styles-file {folder / 'styles.csv'}"}) as host:
        yield Worker(host)


@pytest.mark.parametrize(
    ("style", "words"),
    [("ghost", "no_such_lora"), ("kase", "ADD_DETAIL"), ("hyper", "hypernetwork"), ("loud", "weight beyond")],
)
def test_a_tag_in_a_style_that_would_do_nothing_is_told_before_anything_is_made(
    styled: Worker, style: str, words: str
) -> None:
    before = styled.sent()
    answer = styled.run(styles=[style])
    assert set(problems(answer)) == {"styles[0]"}
    assert words in answer["error"]
    assert styled.sent() == before


def test_a_lora_in_a_style_that_does_not_fit_is_refused_before_anything_is_made(styled: Worker) -> None:
    before = styled.sent()
    answer = styled.run(styles=["unfit"])
    assert answer["error_code"] == "incompatible_model"
    assert styled.sent() == before


def test_a_well_known_embedding_that_is_not_there_is_said_to_be_words(worker: Worker) -> None:
    answer = worker.run(negative_prompt="BadDream, easynegativev2, ugly")
    said = [warning for warning in answer["warnings"] if "read as plain words" in warning]
    assert [warning.split("'")[1] for warning in said] == ["BadDream", "EasyNegativeV2"]
