"""`.runpod/`: as RunPod documents the two files, and as our settings, presets and contract are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from tools import hub
from worker.cli.deploy.deployment_presets import CUDA_VERSIONS, PRESETS, SDXL
from worker.contract.parse.job_parser import parse_job
from worker.settings import read_settings, variables

ROOT = Path(__file__).parents[3]
POOLS = {
    "AMPERE_16",
    "AMPERE_24",
    "ADA_24",
    "AMPERE_48",
    "ADA_48_PRO",
    "AMPERE_80",
    "ADA_80_PRO",
    "HOPPER_141",
}
CUDA = Annotated[str, Field(pattern=r"^1[1-3]\.\d$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Option(Strict):
    label: str
    value: str


class Input(Strict):
    """RunPod's Hub publishing guide, "Environment variables"."""

    name: str
    type: Literal["string", "huggingface", "number", "boolean"]
    description: str
    default: str | int | float | bool | None = None
    required: bool = False
    advanced: bool = False
    options: list[Option] | None = None
    min: float | None = None
    max: float | None = None
    trueValue: str | None = None  # noqa: N815 - RunPod's name
    falseValue: str | None = None  # noqa: N815 - as above

    @model_validator(mode="after")
    def _fields_fit_the_type(self) -> Input:
        assert self.type == "number" or (self.min is None and self.max is None)
        assert self.type == "boolean" or self.trueValue is None
        assert self.options is None or self.default in {option.value for option in self.options}
        return self


class Static(Strict):
    key: str
    value: str


class Variable(Strict):
    key: str
    input: Input


class Preset(Strict):
    name: str
    defaults: dict[str, str | int | bool]


class Config(Strict):
    """The guide's "Runpod configuration"."""

    runsOn: Literal["GPU"]  # noqa: N815 - RunPod's names, here and below
    containerDiskInGb: int  # noqa: N815
    gpuCount: int  # noqa: N815
    gpuIds: str  # noqa: N815
    allowedCudaVersions: list[CUDA]  # noqa: N815
    presets: list[Preset]
    env: list[Static | Variable]


class Hub(Strict):
    """The guide's "General metadata"."""

    title: str
    description: str
    type: Literal["serverless"]
    category: Literal["audio", "embedding", "language", "video", "image"]
    iconUrl: str | None = None  # noqa: N815
    config: Config


class Case(Strict):
    name: str
    input: dict[str, Any]
    timeout: int


class TestConfig(Strict):
    __test__ = False

    gpuTypeId: str  # noqa: N815
    gpuCount: int  # noqa: N815
    env: list[Static]
    allowedCudaVersions: list[CUDA]  # noqa: N815


class Tests(Strict):
    """The guide's "tests.json reference"."""

    __test__ = False

    tests: list[Case]
    config: TestConfig


@pytest.fixture(scope="module")
def listing() -> Hub:
    return TypeAdapter(Hub).validate_json((ROOT / ".runpod/hub.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases() -> Tests:
    return TypeAdapter(Tests).validate_json((ROOT / ".runpod/tests.json").read_text(encoding="utf-8"))


def test_the_listing_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / ".runpod/hub.json").read_text(encoding="utf-8") == hub.render(), "run `make docs`"


def test_the_form_shows_a_dozen_inputs_in_words_that_people_use(listing: Hub) -> None:
    inputs = {entry.key: entry.input for entry in listing.config.env if isinstance(entry, Variable)}
    shown = {key: one.name for key, one in inputs.items() if not one.advanced}
    assert list(inputs)[: len(shown)] == list(shown)
    assert len(shown) == 12
    assert (shown["HF_TOKEN"], shown["CIVITAI_API_KEY"]) == ("Hugging Face token", "CivitAI token")
    assert inputs["BOOT_TIMEOUT_S"].name == "Boot timeout (seconds)"
    assert not [one.name for one in inputs.values() if "Hf" in one.name or "Webui" in one.name]


def test_every_variable_of_the_listing_is_one_of_the_worker(listing: Hub) -> None:
    known = {name for variable in variables() for name in variable.names}
    assert {item.key for item in listing.config.env if isinstance(item, Variable)} <= known
    assert [item.key for item in listing.config.env if isinstance(item, Static)] == ["RUNPOD_INIT_TIMEOUT"]


def test_the_listing_s_defaults_change_nothing(listing: Hub) -> None:
    defaults = {
        item.key: str(item.input.default).lower() if item.input.type == "boolean" else str(item.input.default)
        for item in listing.config.env
        if isinstance(item, Variable) and item.input.default is not None
    }
    assert read_settings(defaults) == read_settings({})


def test_no_secret_has_a_default(listing: Hub) -> None:
    secret = {name for variable in variables() if variable.secret for name in variable.names}
    found = {item.key: item.input.default for item in listing.config.env if isinstance(item, Variable)}
    assert {found[name] for name in secret & found.keys()} == {None}


def test_presets_are_accepted_by_the_worker(listing: Hub) -> None:
    offered = {item.key for item in listing.config.env}
    for preset in listing.config.presets:
        read_settings({name: str(value) for name, value in preset.defaults.items()})
        assert preset.defaults.keys() <= offered


def test_presets_name_models_of_the_catalog() -> None:
    catalog = json.loads((ROOT / "models/cache_registry.json").read_text(encoding="utf-8"))
    names = {model["name"] for model in catalog["models"] if model["kind"] == "checkpoint"}
    assert {preset.environment["DEFAULT_CHECKPOINT"] for preset in PRESETS.values()} <= names


def test_gpus_are_known_to_runpod_and_to_the_image_s_cuda(listing: Hub) -> None:
    assert set(listing.config.gpuIds.split(",")) <= POOLS
    blackwell = ("RTX 50", "B200", "B300", "Blackwell")
    for preset in PRESETS.values():
        assert not [gpu for gpu in preset.gpus if any(name in gpu for name in blackwell)]
    assert sorted(listing.config.allowedCudaVersions, reverse=True) == listing.config.allowedCudaVersions
    assert set(listing.config.allowedCudaVersions) == set(CUDA_VERSIONS)


def test_sdxl_gets_gpus_of_at_least_24_gb() -> None:
    small = {"NVIDIA RTX A4000", "NVIDIA RTX A4500", "NVIDIA RTX 2000 Ada Generation"}
    for preset in PRESETS.values():
        if preset.environment["DEFAULT_CHECKPOINT"] == SDXL:
            assert not small & set(preset.gpus)


def test_the_hub_s_test_jobs_are_jobs_that_the_worker_takes(cases: Tests) -> None:
    for case in cases.tests:
        parse_job(case.input)


def test_the_hub_s_test_environment_is_one_that_the_worker_takes(cases: Tests) -> None:
    known = {name for variable in variables() for name in variable.names} | {"RUNPOD_INIT_TIMEOUT"}
    assert {item.key for item in cases.config.env} <= known
    read_settings({item.key: item.value for item in cases.config.env})
    assert set(cases.config.allowedCudaVersions) == set(CUDA_VERSIONS)
