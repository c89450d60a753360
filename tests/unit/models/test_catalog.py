from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from worker.errors import SettingsInvalid
from worker.models.format.filenames import PICKLE_ENDINGS
from worker.models.sources.civitai import Civitai
from worker.models.sources.huggingface import HuggingFace
from worker.models.sources.model_catalog import read_catalog

if TYPE_CHECKING:
    from pathlib import Path


def test_the_catalog_that_ships_knows_its_models_by_name_alias_and_source() -> None:
    catalog = read_catalog()
    assert len(catalog.entries) == 33
    scales = {entry.name: entry.default_scale for entry in catalog.of_kind("lora")}
    assert scales["Detail Tweaker XL"] == 1.5
    assert scales["Pony Realism Slider"] == 3.0
    jib = catalog.named("jib mix illustrious realistic v2.0 revelation", "checkpoint")
    assert jib is not None
    assert jib.base_model == "SDXL (Illustrious)"
    assert catalog.from_source(Civitai(1590699), "checkpoint") is jib
    assert catalog.from_source(Civitai(1590699, choices=(("fp", "fp32"),)), "checkpoint") is None
    deliberate = HuggingFace("XpucT/Deliberate", "Deliberate_v6.safetensors")
    assert catalog.from_source(deliberate, "checkpoint") is catalog.named("deliberate", "checkpoint")


def test_the_file_names_of_the_catalog_are_the_tags_of_the_webui() -> None:
    assert {entry.stem for entry in read_catalog().of_kind("checkpoint")} == {
        "Deliberate_v6",
        "Jib_Mix_Illustrious_Realistic_v2.0_Revelation",
    }


def test_every_pickle_that_the_catalog_fetches_has_its_hash_pinned() -> None:
    pickles = [
        entry
        for entry in read_catalog().entries
        if any(locator.file_name.lower().endswith(PICKLE_ENDINGS) for locator in entry.locators)
    ]
    assert {entry.kind for entry in pickles} == {"upscaler", "detector", "annotator"}
    assert all(entry.sha256 is not None for entry in pickles)


def test_a_detector_is_known_by_the_name_that_jobs_give_it() -> None:
    catalog = read_catalog()
    for name in ("face_yolov8n", "face_yolov8n.pt", "Face YOLOv8n"):
        found = catalog.named(name, "detector")
        assert found is not None, name
        assert found.stem == "face_yolov8n"


def test_a_preprocessors_weights_lie_where_the_extension_looks_for_them() -> None:
    """`annotator/*/__init__.py` of sd-webui-controlnet 1.1.455."""
    assert {entry.stem for entry in read_catalog().of_kind("annotator")} == {
        "openpose/body_pose_model",
        "openpose/hand_pose_model",
        "openpose/facenet",
        "hed/ControlNetHED",
        "mlsd/mlsd_large_512_fp32",
        "lineart/sk_model",
        "lineart/sk_model2",
        "midas/dpt_hybrid-midas-501f0c75",
        "pidinet/table5_pidinet",
    }


@pytest.mark.parametrize(
    ("preprocessor", "weights"),
    [
        ("softedge_hed", "hed/ControlNetHED"),
        ("softedge_pidinet", "pidinet/table5_pidinet"),
        ("depth_midas", "midas/dpt_hybrid-midas-501f0c75"),
        ("mlsd", "mlsd/mlsd_large_512_fp32"),
        ("lineart_realistic", "lineart/sk_model"),
        ("lineart_coarse", "lineart/sk_model2"),
    ],
)
def test_a_preprocessors_name_finds_its_weights_where_they_are_one_file(preprocessor: str, weights: str) -> None:
    found = read_catalog().named(preprocessor, "annotator")
    assert found is not None
    assert found.stem == weights


def test_an_upscaler_gets_the_file_name_by_which_the_webui_knows_it() -> None:
    found = read_catalog().named("R-ESRGAN 4x+", "upscaler")
    assert found is not None
    assert found.stem == "RealESRGAN_x4plus"


def test_no_catalog_is_an_empty_one(tmp_path: Path) -> None:
    assert read_catalog(tmp_path / "none.json").entries == ()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([{"name": "x", "kind": "lora", "sources": ["nowhere"]}], "models.0.sources"),
        ([{"name": "x", "kind": "lora", "sources": ["civitai:abc"]}], "CivitAI references are"),
        ([{"name": "x", "kind": "hat", "sources": ["civitai:1"]}], "models.0.kind"),
        (
            [
                {"name": "x", "kind": "lora", "sources": ["civitai:1"]},
                {"name": "X", "kind": "lora", "sources": ["civitai:2"]},
            ],
            "names both",
        ),
    ],
)
def test_a_wrong_catalog_is_refused_with_the_place(tmp_path: Path, models: list[object], message: str) -> None:
    path = tmp_path / "catalog.json"
    path.write_bytes(orjson.dumps({"schema": "a1111-worker/catalog/1", "models": models}))
    with pytest.raises(SettingsInvalid, match=message):
        read_catalog(path)


def test_a_hash_in_the_catalog_names_who_states_it(tmp_path: Path) -> None:
    stated = [entry for entry in read_catalog().entries if entry.sha256 is not None]
    assert stated
    assert all(entry.stated_by for entry in stated)
    entry = {"name": "x", "kind": "lora", "sources": ["civitai:1"], "sha256": "0" * 64}
    path = tmp_path / "catalog.json"
    path.write_bytes(orjson.dumps({"schema": "a1111-worker/catalog/1", "models": [entry]}))
    with pytest.raises(SettingsInvalid, match="stated_by"):
        read_catalog(path)
