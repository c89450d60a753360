from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from worker.cli.single_job.job_file import read_job, sdk_arguments
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

JOB = {"input": {"prompt": "x"}}


@pytest.mark.parametrize(
    ("text", "place", "meaning"),
    [
        ('{"input": {"prompt": "x",}}', "line 1, column", "a comma too many"),
        (
            '{\n "input": {\n  "prompt": "x"\n  "steps": 3}}',
            "line 4, column 3",
            "a comma or a closing bracket is missing",
        ),
        ("{'input': {'prompt': 'x'}}", "line 1, column 2", 'quotes are "'),
        ("{“input”: {}}", "line 1, column 2", 'quotes are "'),
        ('{"input": {"tiling": True}}', "line 1, column", "Python"),
        ('{"input": {"prompt": "x"}', "line 1", "missing"),
        ('{"input": {"prompt": "x\n"}}', "line 1", "not closed"),
        ('{"input": {}} {"input": {}}', "line 1, column 15", "ends before this"),
    ],
)
def test_a_slip_in_json_is_told_by_its_place_and_what_was_meant(text: str, place: str, meaning: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_job(text, "job.json")
    assert "job.json is not JSON" in caught.value.message
    assert place in caught.value.message
    assert meaning in caught.value.message


def test_a_name_that_is_given_twice_is_no_slip_to_pass_over() -> None:
    with pytest.raises(InvalidInput, match=r"job.json: 'seed' is given twice"):
        read_job('{"input": {"seed": 1, "seed": 2}}', "job.json")


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), (" \n", "is empty"), ("[]", "object"), ("3", "object")])
def test_what_is_no_job_is_told_with_an_example(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_job(text, "job.json")


def test_a_job_in_a_list_is_told_to_come_without() -> None:
    with pytest.raises(InvalidInput, match="leave the outer"):
        read_job(json.dumps([JOB]))


def test_a_bare_input_is_a_job() -> None:
    assert read_job('{"prompt": "x"}') == {"id": "local", **JOB}


def test_the_sdk_gets_the_job_of_the_file_written_out(tmp_path: Path) -> None:
    (tmp_path / "test_input.json").write_text('{"prompt": "x"}', encoding="utf-8")
    name, text = sdk_arguments([], tmp_path)
    assert name == "--test_input"
    assert json.loads(text) == {"id": "local_test", **JOB}


@pytest.mark.parametrize("given", [["--test_input", json.dumps(JOB)], [f"--test_input={json.dumps(JOB)}"]])
def test_a_job_on_the_command_line_counts_before_the_file(tmp_path: Path, given: list[str]) -> None:
    *rest, text = sdk_arguments([*given, "--rp_log_level", "ERROR"], tmp_path)
    assert rest == ["--rp_log_level", "ERROR", "--test_input"]
    assert json.loads(text)["input"] == JOB["input"]


def test_the_sdk_s_own_server_needs_no_job(tmp_path: Path) -> None:
    assert sdk_arguments(["--rp_serve_api"], tmp_path) == ["--rp_serve_api"]


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no test_input\.json in .*example"):
        sdk_arguments([], tmp_path)
