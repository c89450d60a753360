"""The operator's rules on LoRAs, and the notes beside their files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import safetensors as make
from worker.contract.types.model_ref import ModelRef
from worker.errors import SettingsInvalid
from worker.models.format.lora_notes import SideNotes, read_side_notes
from worker.models.lora_rules import LORAS, LoraRules, UsedLora, read_lora_rules
from worker.models.store import ModelStore
from worker.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

RULES = LoraRules.model_validate(
    yaml.safe_load(
        """
largest_sum: {scale: 2, action: error}
folders:
  character: {scale: 0.9, base_model: SDXL, put_words: before, conflicts: ["character/*"]}
  character/old/: {scale: 0.5, conflicts: [style/oil]}
  style: {largest_sum: {scale: 1}}
files:
  Character/Luca.safetensors: {scale: 0.85, trigger_words: [luca, red hair]}
"""
    )
)


def used(*loras: tuple[str, float]) -> list[UsedLora]:
    return [UsedLora(f"loras[{index}]", file, scale) for index, (file, scale) in enumerate(loras)]


def test_the_innermost_rule_wins_value_by_value_and_conflicts_add_up() -> None:
    luca, old = RULES.rule("character/luca.safetensors"), RULES.rule("character/old/mia.pt")
    assert (luca.scale, luca.base_model, luca.put_words, luca.trigger_words) == (
        0.85,
        "SDXL",
        "before",
        ("luca", "red hair"),
    )
    assert (old.scale, old.base_model, old.conflicts) == (0.5, "SDXL", ("character/*", "style/oil"))
    assert RULES.rule("plain.safetensors").scale is None


def test_loras_that_conflict_are_named_with_their_fields() -> None:
    problems, _ = RULES.check(used(("character/luca.safetensors", 0.5), ("character/mia.safetensors", 0.5)))
    assert [problem.path for problem in problems] == ["loras[0]", "loras[1]"]
    assert "conflicts with 'character/mia.safetensors'" in problems[0].message
    problems, _ = RULES.check(used(("style/oil.safetensors", 0.2), ("character/old/x.safetensors", 0.2)))
    assert [problem.path for problem in problems] == ["loras[1]"]
    assert RULES.check(used(("character/luca.safetensors", 1.0), ("style/oil.safetensors", 1.0))) == ([], [])


def test_too_large_a_sum_of_scales_is_an_error_or_a_warning() -> None:
    problems, warnings = RULES.check(used(("a.safetensors", 1.5), ("b.safetensors", -0.6)))
    assert [(each.path, warnings) for each in problems] == [("loras[1]", [])]
    assert "add up to 2.1; at most 2 is wanted" in problems[0].message
    problems, warnings = RULES.check(used(("style/a.safetensors", 0.6), ("style/b.safetensors", 0.6)))
    assert not problems
    assert warnings == ["loras[1]: the scales of style/ add up to 1.2; at most 1 is wanted on this endpoint"]
    assert RULES.check(used(("a.safetensors", 0.7), ("b.safetensors", 0.7), ("c.safetensors", 0.6))) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not YAML"),
        ("- a", "the file: Input should be"),
        ("folders: {a: {scales: 1}}", "folders.a.scales"),
        ("files: {a: {scale: 20}}", "files.a.scale"),
        ("largest_sum: {scale: 0}", "largest_sum.scale"),
        ("largest_sum: {scale: 1, action: refuse}", "largest_sum.action"),
    ],
)
def test_a_file_of_rules_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / LORAS).write_text(text)
    with pytest.raises(SettingsInvalid, match=message):
        read_lora_rules(tmp_path)


def test_without_a_file_there_are_no_rules(tmp_path: Path) -> None:
    assert read_lora_rules(tmp_path) == LoraRules()
    (tmp_path / LORAS).write_text("")
    assert read_lora_rules(tmp_path) == LoraRules()


@pytest.mark.parametrize(
    ("text", "told", "notes"),
    [
        (b"a, b", None, SideNotes(trigger_words=("a", "b"))),
        (
            b"a",
            {"activation text": "luca, hat", "preferred weight": 0.7, "sd version": "SDXL"},
            SideNotes(0.7, ("luca", "hat"), "SDXL"),
        ),
        (b"a", {"activation text": "", "preferred weight": 0, "sd version": "Unknown"}, SideNotes(None, ("a",))),
        (None, {"preferred weight": "0.7", "activation text": 5, "sd version": ["SD1"]}, SideNotes()),
        (None, {"preferred weight": True}, SideNotes()),
        (None, {"preferred weight": 1e300}, SideNotes()),
        (None, [1], SideNotes()),
    ],
)
def test_notes_beside_a_file(text: bytes | None, told: Any, notes: SideNotes) -> None:
    assert read_side_notes(text, None if told is None else json.dumps(told).encode()) == notes


def test_notes_that_are_no_json_are_left_out() -> None:
    assert read_side_notes(b"a", b"{") == SideNotes(trigger_words=("a",))


def test_a_lora_has_the_operators_values_before_those_beside_it_and_the_catalogs(tmp_path: Path) -> None:
    file = tmp_path / "loras/character/Detail_Tweaker_XL.safetensors"
    make.write(file, make.SDXL_LORA)
    settings = read_settings({"MODELS_DIR": str(tmp_path)})

    def facts() -> tuple[Any, ...]:
        model = ModelStore(settings).find(ModelRef(name="Detail_Tweaker_XL"), "lora")
        assert model is not None
        return model.default_scale, model.trigger_words, model.base_model, model.put_words

    assert facts() == (1.5, (), "SDXL", None)
    file.with_suffix(".json").write_text('{"activation text": "sharp", "preferred weight": 0.6}')
    assert facts() == (0.6, ("sharp",), "SDXL", None)
    (tmp_path / LORAS).write_text(
        "folders: {character: {scale: 0.4, trigger_words: [crisp], base_model: SDXL (Pony), put_words: after}}"
    )
    assert facts() == (0.4, ("crisp",), "SDXL (Pony)", "after")


def test_notes_that_change_while_the_worker_runs_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "loras/x.safetensors"
    make.write(file, make.SDXL_LORA)
    store = ModelStore(read_settings({"MODELS_DIR": str(tmp_path)}))
    assert store.find(ModelRef(name="x"), "lora") is not None
    file.with_suffix(".json").write_text('{"preferred weight": 0.6}')
    again = store.find(ModelRef(name="x"), "lora")
    assert again is not None
    assert again.default_scale == 0.6
