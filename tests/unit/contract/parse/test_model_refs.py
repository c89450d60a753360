from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from worker.contract.types.model_ref import LoraRef, ModelRef


def test_a_string_and_an_object_with_that_name_are_the_same() -> None:
    assert ModelRef.model_validate("Deliberate v6") == ModelRef.model_validate({"name": "Deliberate v6"})


def test_the_names_that_todays_clients_use_are_understood() -> None:
    lora = LoraRef.model_validate({"name": "x", "url": "https://a/b", "weight": 0.5, "hash": "AB" * 32, "version": 7})
    assert lora.scale == 0.5
    assert lora.sha256 == "ab" * 32
    assert lora.revision == "7"


def test_an_empty_hash_is_no_hash() -> None:
    assert ModelRef.model_validate({"name": "x", "hash": ""}).sha256 is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "needs a name, a url or one_of"),
        ("", "at least 1 character"),
        ("  ", "must not be empty"),
        ("a\nb", "control characters"),
        ({"name": "x", "sha256": "12345678"}, "64 hex digits"),
        ({"name": "x", "sha256": "z" * 64}, "64 hex digits"),
        ({"name": "x", "scale": float("nan")}, "must be a number, -10 to 10"),
        ({"name": "x", "scale": 11}, "must be -10 to 10, not 11"),
        ({"name": "x", "strength": 1}, "Extra inputs"),
        (7, "valid dictionary"),
    ],
)
def test_a_bad_reference_says_what_is_wrong(raw: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LoraRef.model_validate(raw)


@pytest.mark.parametrize("token", ["“sesame”", "a\nb"])
def test_a_token_has_to_fit_into_a_header(token: str) -> None:
    with pytest.raises(ValidationError, match="plain ASCII"):
        ModelRef.model_validate({"name": "x", "token": token})


@pytest.mark.parametrize(
    ("ref", "shown"),
    [
        ("https://me:s3cret@h.example/x.safetensors", "https://…@h.example/x.safetensors"),
        ("https://h.example/x?token=s3cret", "https://h.example/x?…"),
        ("civitai:77?token=s3cret", "civitai:77?…"),
        ("ftp://s3cret@h.example", "ftp://…@h.example"),
        ("LoRA: who? me@home", "LoRA: who? me@home"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(ref: str, shown: str) -> None:
    assert ModelRef(name=ref).shown == shown


def test_a_token_does_not_show() -> None:
    ref = ModelRef.model_validate({"name": "x", "token": "sesame"})
    assert "sesame" not in repr(ref)
    assert "sesame" not in ref.model_dump_json()


def test_the_schema_offers_a_string_or_an_object() -> None:
    class Job(BaseModel):
        checkpoint: ModelRef | None = None
        loras: list[LoraRef] = []

    schema = Job.model_json_schema()
    forms = [form["type"] for form in schema["$defs"]["LoraRef"]["anyOf"]]
    assert forms == ["string", "object"]
    assert json.dumps(schema)


@pytest.mark.parametrize("field", [{"scale": True}, {"weight": False}, {"trigger_words": 1}, {"trigger_words": "yes"}])
def test_truth_values_are_no_numbers_and_words_no_truth_values(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LoraRef.model_validate({"name": "x", **field})


def test_numbers_and_truth_values_may_be_text() -> None:
    lora = LoraRef.model_validate({"name": "x", "scale": "0.8", "trigger_words": "true"})
    assert (lora.scale, lora.trigger_words) == (0.8, True)
