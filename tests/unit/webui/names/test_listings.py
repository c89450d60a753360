"""The WebUI's listings as a catalog, and names in other spellings than its own."""

from __future__ import annotations

from typing import Any

import pytest

from worker.webui.names.catalog import Catalog, Checkpoint, Lora, Upscaler, Vae, parse

LISTINGS: dict[str, Any] = {
    "checkpoints": [
        {
            "model_name": "Real_v6",
            "title": "sub/Real_v6.safetensors [abcdef0123]",
            "filename": "/m/sub/Real_v6.safetensors",
            "hash": "abcdef0123",
        },
        {"model_name": "Old", "title": "Old.ckpt", "filename": "/m/Old.ckpt", "hash": None},
    ],
    "loras": [
        {
            "name": "Add Detail",
            "alias": "detail",
            "path": "/l/Add Detail.safetensors",
            "metadata": {"sshs_model_hash": "0123456789abcdef"},
        },
        {"name": "style-one", "path": "/l/style-one.pt", "metadata": None},
    ],
    "vae": [
        {"model_name": "vae-ft.vae.pt", "filename": "/v/vae-ft.vae.pt"},
        {"model_name": "other.ckpt", "filename": "/v/other.ckpt"},
    ],
    "upscalers": [
        {"name": "4x", "model_path": "/u/4x.pth", "scale": 2},
        {"name": "Lanczos", "model_path": None, "scale": None},
    ],
    "latent_upscale_modes": [{"name": "Latent"}],
    "embeddings": {"loaded": {"good": {}}, "skipped": {"sdxl": {}}},
    "styles": [{"name": "Film", "prompt": "grain", "negative_prompt": None}, {"name": "None", "prompt": None}],
    "scripts": {"txt2img": ["Dynamic Prompts v2"], "img2img": ["SD Upscale"]},
    "face_restorers": [{"name": "GFPGAN"}],
    "hypernetworks": [{"name": "h"}],
    "script_info": [{"name": "refiner"}],
    "controlnet_models": {"model_list": ["canny [e3b0c442]"]},
    "controlnet_modules": {"module_list": ["none", "canny"]},
    "controlnet_module_labels": {"module_list": ["None", "Canny (edges)"]},
    "controlnet_settings": {"control_net_unit_count": 5},
    "detectors": {"ad_model": ["face_yolov8n.pt"]},
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse(LISTINGS)


def test_every_listing_is_in_the_catalog(catalog: Catalog) -> None:
    first, second = catalog.checkpoints
    assert first == Checkpoint(
        "Real_v6", "sub/Real_v6.safetensors [abcdef0123]", "/m/sub/Real_v6.safetensors", "abcdef0123"
    )
    assert (first.place, first.stem, second.place, second.short_hash) == ("sub/Real_v6", "Real_v6", "Old", None)
    assert [lora.told_hash for lora in catalog.loras] == ["0123456789ab", None]
    assert catalog.loras[1] == Lora("style-one", "", "/l/style-one.pt", {})
    assert catalog.vaes[0] == Vae("vae-ft.vae.pt", "/v/vae-ft.vae.pt")
    assert catalog.upscalers == (Upscaler("4x", "/u/4x.pth", 2.0), Upscaler("Lanczos", None, 4.0))
    assert catalog.latent_upscalers == ("Latent",)
    assert (set(catalog.embeddings), set(catalog.skipped_embeddings)) == ({"good"}, {"sdxl"})
    assert catalog.styles == ("Film", "None")
    assert catalog.texts_of(["Film", "None", "other"]) == ["grain", "", "", ""]
    assert (set(catalog.scripts), set(catalog.img2img_scripts)) == ({"dynamic prompts v2"}, {"sd upscale"})
    assert (catalog.face_restorers, catalog.hypernetworks) == (("GFPGAN",), ("h",))
    assert catalog.script_info == ({"name": "refiner"},)
    assert (catalog.control_models, catalog.control_units) == (("canny [e3b0c442]",), 5)
    assert catalog.control_modules == ("none", "canny")
    assert [catalog.control_module(name) for name in ("CANNY", "canny (Edges)", "depth")] == ["canny", "canny", None]
    assert catalog.detectors == ("face_yolov8n.pt",)


@pytest.mark.parametrize("broken", [None, "x", 5, [], {}, ["x"]])
def test_a_listing_that_is_missing_or_no_list_counts_as_empty(broken: Any) -> None:
    for name in ("checkpoints", "styles", "controlnet_models", "controlnet_settings", "detectors", "script_info"):
        found = parse({**LISTINGS, name: broken})
        assert len(found.loras) == 2
        if name == "controlnet_settings":
            assert found.control_units == 3
    nothing = parse({})
    assert [*nothing.checkpoints, *nothing.control_models, *nothing.embeddings] == []
    assert nothing.control_units == 3


def test_labels_of_preprocessors_count_only_where_both_listings_are_as_long() -> None:
    found = parse({**LISTINGS, "controlnet_module_labels": {"module_list": ["None"]}})
    assert found.control_module("Canny (edges)") is None
    assert found.control_module("Canny") == "canny"


@pytest.mark.parametrize(
    ("wanted", "title"),
    [
        ("sub/Real_v6.safetensors [abcdef0123]", "sub/Real_v6.safetensors [abcdef0123]"),
        ("Real_v6", "sub/Real_v6.safetensors [abcdef0123]"),
        ("Real_v6.safetensors", "sub/Real_v6.safetensors [abcdef0123]"),
        ("sub/Real_v6", "sub/Real_v6.safetensors [abcdef0123]"),
        ("abcdef0123", "sub/Real_v6.safetensors [abcdef0123]"),
        ("real-V6.SafeTensors", "sub/Real_v6.safetensors [abcdef0123]"),
        ("REAL V6", "sub/Real_v6.safetensors [abcdef0123]"),
        ("Real_v6 [abcdef01]", "sub/Real_v6.safetensors [abcdef0123]"),
        ("Real_v6 [1234567890]", None),
        ("old.CKPT", "Old.ckpt"),
        ("old", "Old.ckpt"),
        ("real", None),
    ],
)
def test_a_checkpoint_is_meant_by_its_title_name_hash_or_another_spelling(
    catalog: Catalog, wanted: str, title: str | None
) -> None:
    found = catalog.checkpoint_meant(wanted)
    assert (found and found.title) == title


def test_loras_and_vaes_are_meant_in_other_spellings(catalog: Catalog) -> None:
    for wanted in ("Add Detail", "add_detail", "ADD-DETAIL.safetensors", "addDetail.PT"):
        assert catalog.lora_meant(wanted) == catalog.loras[0]
    assert catalog.lora_meant("detail") is None, "a part of a name is another name"
    assert catalog.lora("add_detail") is None, "the WebUI itself has one spelling"
    for wanted in ("vae-ft.vae.pt", "vae-ft.vae", "VAE_ft.vae.safetensors"):
        assert catalog.vae_meant(wanted) == catalog.vaes[0]
    assert catalog.vae("VAE_ft.vae") is None


def test_a_spelling_that_two_share_means_neither() -> None:
    loras = [{"name": "a b", "path": "/l/a b.pt"}, {"name": "a-b", "path": "/l/a-b.pt"}]
    both = parse({"loras": loras})
    assert both.lora_meant("a_b") is None
    assert both.lora_meant("a b") == both.loras[0]
