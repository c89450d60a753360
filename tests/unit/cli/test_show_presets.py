"""``worker presets``: what it lists and shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from worker.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

OWN = """
luca:
  role: character
  about: A boy.
  prompt: {before: luca}
  loras: [{name: luca, scale: 0.8}]
mia: {role: character}
beach: {role: scene, prompt: {after: on a beach}}
"""


@pytest.fixture(autouse=True)
def own_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "presets.yaml"
    path.write_text(OWN)
    monkeypatch.setenv("PRESETS_FILE", str(path))
    return path


def test_presets_are_listed_with_their_roles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["luca", "character", "A", "boy."] for line in lines)
    assert any(line.startswith("sdxl-2:3 ") for line in lines)
    assert main(["presets", "list", "--role", "scene", "--json"]) == 0
    assert [preset["name"] for preset in json.loads(capsys.readouterr().out)] == ["beach"]


def test_a_combination_is_shown_as_the_job_that_it_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "luca", "--scene", "beach", "--preset", "sdxl-2:3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A boy."
    assert "prompt: luca, …, on a beach" in lines
    assert "width: 832" in lines
    assert "loras: name=luca scale=0.8" in lines
    assert main(["presets", "show", "beach", "--prompt", "running", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["job"]["prompt"] == "running, on a beach"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "luka"], "did you mean 'luca'?"),
        (["show", "luca", "--scene", "mia"], "scene: must be a scene"),
        (["show", "luca", "--preset", "mia"], "is a second character"),
    ],
)
def test_what_can_not_be_shown_says_why(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["presets", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_broken_file_is_named(own_presets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_presets.write_text("luca: {role: hero}")
    assert main(["presets", "list"]) == 1
    assert "PRESETS_FILE" in capsys.readouterr().err
