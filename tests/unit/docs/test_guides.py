"""The guides' examples are taken by the worker as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.cli.main import main
from worker.contract.accept import accept
from worker.contract.operator.presets import read_presets
from worker.contract.types.kinds import LISTED
from worker.jobs.operator_config import load_presets
from worker.models.lora_rules import LoraRules
from worker.settings import read_settings, variables

ROOT = Path(__file__).resolve().parents[3]
GUIDES = [ROOT / "docs" / name for name in ("jobs.md", "delivery.md")]
MODELS = (ROOT / "docs/models.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[Any]:
    found = []
    for guide in GUIDES:
        for number, text in enumerate(
            re.findall(rf"```{language}\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
        ):
            found.append(pytest.param(text, id=f"{guide.stem}-{number}"))
    return found


@pytest.mark.parametrize("text", blocks("json"))
def test_every_example_is_a_job_that_is_accepted(text: str) -> None:
    request = json.loads(text)
    assert set(request) <= {"input", "s3Config"}
    accept(request["input"], presets=load_presets(read_settings({})))


def test_the_commands_about_models_are_the_ones_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    commands = set(re.findall(r"^worker models (\w+)", MODELS, re.MULTILINE))
    assert commands >= {"list", "pull", "verify", "remove"}
    for command in commands:
        assert main(["models", command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_listings_are_the_ones_there_are() -> None:
    line = next(
        line for line in (ROOT / "docs/jobs.md").read_text(encoding="utf-8").splitlines() if "Listings:" in line
    )
    assert tuple(re.findall(r"`(\w+)`", line)) == LISTED


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_variable_exists(guide: Path) -> None:
    known = {name for variable in variables() for name in variable.names} | {"BAKE"}
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`", guide.read_text(encoding="utf-8")))
    assert named <= known, named - known


def _threats() -> list[tuple[str, list[str]]]:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = text.partition("| threat | defence | held by |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    return [(row[0], re.findall(r"`((?:tests|\.github)[^`]*)`", row[-1])) for row in rows]


@pytest.mark.parametrize(
    ("threat", "places"), _threats(), ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_every_threat_is_held_by_tests_that_are_there(threat: str, places: list[str]) -> None:
    assert places, f"nothing holds: {threat}"
    for place in places:
        path = ROOT / place
        assert path.exists(), f"{place} holds {threat!r} and is not there"
        if place.startswith("tests"):
            files = [path] if path.is_file() else list(path.rglob("test_*.py"))
            assert any(re.search(r"^def test_", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files)


def test_the_files_in_the_studio_page_are_read() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/studio.md").read_text(encoding="utf-8"), re.DOTALL)
    rules = next(block for block in blocks if "character/" in block)
    presets = next(block for block in blocks if "role: character" in block)
    assert LoraRules.model_validate(yaml.safe_load(rules)).rule("character/luca.safetensors").scale == 0.85
    found = read_presets(presets)
    accepted = accept({"character": "luca", "scene": "beach", "prompt": "running"}, presets=found)
    assert accepted.preset["prompt"] == "luca, a boy with red hair, running, on a beach, low sun"
