"""``worker faces``: enrolment, comparison, calibration and folding with small models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.judge_models import face_settings
from tests.support.pictures import noise
from worker.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of two persons, `a` and `b`, three each, and the settings for faces."""
    for name, value in face_settings(tmp_path).items():
        monkeypatch.setenv(name, value)
    for number, person in enumerate("ab"):
        (tmp_path / "persons" / person).mkdir(parents=True)
        for size in (200, 256, 300):
            picture = noise(12, 12, seed=number).resize((size, size), 3)
            picture.save(tmp_path / "persons" / person / f"{person}{size}.png")
    return tmp_path


def pictures(folder: Path, person: str) -> list[str]:
    return sorted(str(path) for path in (folder / "persons" / person).iterdir())


def test_a_person_is_enrolled_and_told_from_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, other = pictures(folder, "a"), pictures(folder, "b")
    assert main(["faces", "enrol", "luca", *own[:2], "--threshold", "0.8"]) == 0
    assert "luca: 2 references" in capsys.readouterr().out
    assert main(["faces", "compare", "luca", own[2]]) == 0
    capsys.readouterr()
    assert main(["faces", "compare", "luca", "--json", own[2], other[0]]) == 1
    same, different = json.loads(capsys.readouterr().out)
    assert (same["file"], same["accepted"], same["faces"]) == (own[2], True, 1)
    assert (different["accepted"], "at least 0.8" in different["why"]) == (False, True)


def test_a_stranger_is_told_by_name_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faces", "enrol", "luca", *pictures(folder, "a"), pictures(folder, "b")[0]]) == 1
    assert "b200.png shows somebody else" in capsys.readouterr().err
    assert not (folder / "faces").exists()


def test_a_threshold_is_proposed_from_the_pictures_of_several_persons(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faces", "calibrate", str(folder / "persons")]) == 0
    said = capsys.readouterr().out
    assert "2 people: 6 comparisons within one person, 6 between people" in said
    assert 0 < float(said.rsplit("proposed threshold: ", 1)[1]) < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "nobody", "persons/a/a200.png"], "'nobody' is nobody who was enrolled here"),
        (["enrol", "../luca", "persons/a/a200.png"], "is no name"),
        (["enrol", "luca", "detector.onnx"], "is not a usable picture"),
        (["enrol", "luca", "nowhere.png"], "nowhere.png: No such file"),
        (["calibrate", "persons/a"], "needs pictures of at least two people"),
        (["fold", "persons/a/a200.png", "out.onnx"], "is no ONNX model"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(folder)
    assert main(["faces", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_without_models_the_settings_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FACE_EMBEDDER")
    assert main(["faces", "compare", "luca", *pictures(folder, "a")]) == 1
    assert "FACE_DETECTOR and FACE_EMBEDDER are not set" in capsys.readouterr().err
