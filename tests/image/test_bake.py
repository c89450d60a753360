"""docker/bake.sh, run for real with a small program in the place of `python -m worker models pull`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORKER = """
import json, os, pathlib, sys
words = sys.argv[1:]
if "Broken" in words:
    sys.exit(1)
folder = pathlib.Path(words[words.index("--dir") + 1])
calls = pathlib.Path("calls.json")
said = {"words": words[: words.index("--dir")], "folder": str(folder)}
said |= {name: os.environ.get(name) for name in ("HF_TOKEN", "CIVITAI_API_KEY")}
calls.write_text(json.dumps([*json.loads(calls.read_text() if calls.exists() else "[]"), said]))
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
for name in words[2 : words.index("--dir")]:
    (folder / "checkpoints" / f"{name}.safetensors".replace("/", "_")).write_text(name)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__main__.py").write_text(WORKER, encoding="utf-8")
    (tmp_path / "secrets").mkdir()
    return tmp_path


def bake(place: Path, names: str) -> int:
    return subprocess.run(
        [str(ROOT / "docker/bake.sh"), names, str(place / "cache"), str(place / "models")],
        check=False,
        cwd=place,
        env={"PATH": os.environ["PATH"], "WORKER_PYTHON": sys.executable, "SECRETS": str(place / "secrets")},
    ).returncode


def calls(place: Path) -> list[dict[str, object]]:
    file = place / "calls.json"
    called: list[dict[str, object]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return called


@pytest.mark.parametrize("nothing", ["", "  ", " , ,"])
def test_nothing_to_bake_makes_an_empty_folder(place: Path, nothing: str) -> None:
    assert bake(place, nothing) == 0
    assert list((place / "models").iterdir()) == []
    assert calls(place) == []


def test_names_with_blanks_and_signs_arrive_whole(place: Path) -> None:
    assert bake(place, "Deliberate v6, Hand Detail FLUX & XL ,Real Skin Slider") == 0
    assert calls(place)[0]["words"] == ["models", "pull", "Deliberate v6", "Hand Detail FLUX & XL", "Real Skin Slider"]
    assert (place / "models/checkpoints/Hand Detail FLUX & XL.safetensors").exists()


def test_an_address_can_say_what_it_is(place: Path) -> None:
    assert bake(place, "lora=https://example.com/a.safetensors?x=1, Deliberate v6") == 0
    assert [call["words"] for call in calls(place)] == [
        ["models", "pull", "https://example.com/a.safetensors?x=1", "--kind", "lora"],
        ["models", "pull", "Deliberate v6"],
    ]


def test_tokens_come_from_secrets(place: Path) -> None:
    (place / "secrets/hf_token").write_text("hf_sesame\n", encoding="utf-8")
    assert bake(place, "Deliberate v6") == 0
    assert (calls(place)[0]["HF_TOKEN"], calls(place)[0]["CIVITAI_API_KEY"]) == ("hf_sesame", "")


def test_each_list_has_a_folder_of_its_own_between_builds(place: Path) -> None:
    assert [bake(place, names) for names in ("A", "A", "A, B")] == [0, 0, 0]
    folders = [call["folder"] for call in calls(place)]
    assert folders[0] == folders[1] != folders[2]


def test_a_model_that_can_not_be_had_fails_the_build(place: Path) -> None:
    assert bake(place, "Broken") != 0
    assert not (place / "models/checkpoints").exists()
