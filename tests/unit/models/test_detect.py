from __future__ import annotations

import pytest

from tests.support import safetensors as make
from worker.models.format.compatibility import fits
from worker.models.format.detect import Facts, base_of_metadata, detect, finer_base, known_base, split_words
from worker.models.format.safetensors import header_length, parse_header


def _facts(tensors: dict[str, list[int]], metadata: dict[str, str] | None = None) -> Facts:
    raw = make.safetensors(tensors, metadata=metadata)
    return detect(parse_header(raw[8 : 8 + header_length(raw)]))


LOKR = {"lora_unet_x_attn2_to_k.lokr_w1": [2, 2], "lora_unet_x_attn2_to_k.lokr_w2": [4, 1024]}
"""LyCORIS, factor 2: neither tensor is as wide as the layer."""


@pytest.mark.parametrize(
    ("tensors", "metadata", "kind", "base"),
    [
        (make.SD15_CHECKPOINT, None, "checkpoint", "SD 1.5"),
        (make.SDXL_CHECKPOINT, None, "checkpoint", "SDXL"),
        (make.SDXL_CHECKPOINT, {"modelspec.title": "Pony Diffusion V6"}, "checkpoint", "SDXL (Pony)"),
        (make.SD15_LORA, None, "lora", "SD 1.5"),
        (make.SDXL_LORA, None, "lora", "SDXL"),
        (make.SDXL_LORA, {"ss_sd_model_name": "illustriousXL_v01.safetensors"}, "lora", "SDXL (Illustrious)"),
        (make.SDXL_LORA, {"ss_sd_model_name": "noobaiXLNAIXL.safetensors"}, "lora", "SDXL (NoobAI)"),
        ({"lora_te1_text_model_encoder_layers_0.lora_down.weight": [4, 8]}, None, "lora", "SDXL"),
        ({"lora_unet_mid.lora_up.weight": [8, 768]}, {"ss_base_model_version": "sdxl_base_v1-0"}, "lora", "SDXL"),
        ({"lora_unet_mid.lora_up.weight": [8, 4]}, {"ss_v2": "False"}, "lora", "SD 1.5"),
        ({"lora_unet_x_attn2_to_k.lora_up.weight": [8, 768]}, None, "lora", None),
        (LOKR, {"ss_base_model_version": "sdxl_base_v1-0"}, "lora", "SDXL"),
        (LOKR, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "lora", "SDXL"),
        (LOKR, None, "lora", "SDXL"),
        ({"lora_unet_x_attn2_to_k.lokr_w2": [4, 1024]}, None, "lora", None),
        ({"lora_unet_x_attn2_to_k.lokr_w2_a": [4, 1024]}, None, "lora", None),
        ({"lora_unet_x_attn2_to_k.hada_w1_a": [4, 1024]}, None, "lora", None),
        ({"lora_unet_x_attn2_to_k.oft_blocks": [4, 1024]}, None, "lora", None),
        (make.SD15_LORA, {"ss_base_model_version": "sdxl_base_v1-0"}, "lora", "SDXL"),
        (make.SDXL_LORA, {"ss_v2": "False"}, "lora", "SDXL"),
        ({"transformer.joint_transformer_blocks.0.attn.to_q.lora_A.weight": [2, 3072]}, None, "lora", "AuraFlow"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": [4, 8]}, None, "lora", "Flux"),
        ({"double_blocks.0.img_attn.qkv.weight": [4, 8]}, None, "checkpoint", "Flux"),
        ({"model.diffusion_model.joint_blocks.0.x.weight": [4]}, None, "checkpoint", "SD 3"),
        (make.EMBEDDING, None, "embedding", "SD 1.5"),
        ({"clip_l": [1, 768], "clip_g": [1, 1280]}, None, "embedding", "SDXL"),
        ({f"{name}": [1, 768] for name in ("emb_params", "a", "b", "c")}, None, "embedding", "SD 1.5"),
        ({f"{name}": [1, 768] for name in ("emb_params", "a", "b", "c", "d")}, None, None, None),
        (make.VAE, None, "vae", None),
        ({"control_model.x": [1]}, None, "controlnet", None),
        ({"down_blocks.0.resnets.0.conv1.weight": [8, 4], "conv_in.weight": [8, 4]}, None, "diffusers part", None),
        ({"decoder.conv_in.weight": [8, 4], "decoder.mid_block.x.weight": [8]}, None, "diffusers part", None),
        ({"text_model.embeddings.token_embedding.weight": [8, 768]}, None, "diffusers part", None),
        ({"input_hint_block.0.weight": [1]}, None, "controlnet", None),
        ({"something": [1]}, None, None, None),
    ],
)
def test_kind_and_base_are_told_from_the_header(
    tensors: dict[str, list[int]], metadata: dict[str, str] | None, kind: str | None, base: str | None
) -> None:
    facts = _facts(tensors, metadata)
    assert (facts.kind, facts.base_model) == (kind, base)


@pytest.mark.parametrize(
    ("metadata", "base"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        (
            {"ss_base_model_version": "sdxl_base_v1-0", "ss_sd_model_name": "ponyDiffusionV6XL.safetensors"},
            "SDXL (Pony)",
        ),
        ({"ss_base_model_version": "sd_v1", "ss_sd_model_name": "ponyish.safetensors"}, "SD 1.5"),
        ({}, None),
    ],
)
def test_the_base_of_an_addon_that_the_webui_lists_is_told_from_its_metadata(
    metadata: dict[str, str], base: str | None
) -> None:
    assert base_of_metadata(metadata) == base


@pytest.mark.parametrize(
    ("said", "seen", "base"),
    [
        ("SDXL (Pony)", "SDXL", "SDXL (Pony)"),
        ("SD 1.5", "SDXL", "SDXL"),
        ("SDXL", "SD 1.5", "SD 1.5"),
        (None, "SDXL", "SDXL"),
        ("SDXL", None, "SDXL"),
        (None, None, None),
    ],
)
def test_the_header_is_sure_of_the_family_and_the_source_may_know_the_branch(
    said: str | None, seen: str | None, base: str | None
) -> None:
    assert finer_base(said, seen) == base


def test_trigger_words_come_from_the_metadata() -> None:
    assert _facts(make.SDXL_LORA, {"modelspec.trigger_phrase": "ohwx man, ohwx"}).trigger_words == ("ohwx man", "ohwx")
    assert split_words("a, b,,a\nc") == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "base"),
    [("SDXL 1.0", "SDXL"), ("Pony", "SDXL (Pony)"), ("Illustrious", "SDXL (Illustrious)"), ("SD 1.5", "SD 1.5"),
     ("Flux.1 D", "Flux"), ("NoobAI", "SDXL (NoobAI)"), ("Hunyuan", None),
     ("Pony V7", "AuraFlow"), ("AuraFlow", "AuraFlow"), ("SDXL Lightning", "SDXL"), ("SD 2.1 768", "SD 2"),
     ("SD 3.5 Large", "SD 3"), ("SDXL Distilled", "SDXL"), ("SVD XT", None), ("ZImageTurbo", None),
     ("Wan Video", None), (None, None)],
)  # fmt: skip
def test_the_bases_of_others_are_translated(text: str | None, base: str | None) -> None:
    assert known_base(text) == base


@pytest.mark.parametrize(
    ("addon", "checkpoint", "verdict"),
    [
        ("SDXL", "SD 1.5", "refuse"),
        ("SD 1.5", "SDXL (Pony)", "refuse"),
        ("SDXL", "SDXL (Illustrious)", "ok"),
        ("SDXL (Pony)", "SDXL (Illustrious)", "warn"),
        ("SDXL (Pony)", "SDXL", "warn"),
        ("SDXL (Illustrious)", "SDXL (NoobAI)", "ok"),
        ("SDXL (Pony)", "SDXL (Pony)", "ok"),
        (None, "SDXL", "ok"),
        ("SD 1.5", None, "ok"),
    ],
)
def test_an_addon_fits_or_not(addon: str | None, checkpoint: str | None, verdict: str) -> None:
    assert fits(addon, checkpoint) == verdict
