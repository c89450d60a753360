"""Tiny model files for tests: valid safetensors with the keys and metadata that tell their kind, and broken ones."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLIP_WIDTH = {"sd1": 768, "sdxl": 2048}
ARCHITECTURE = {"sd1": "stable-diffusion-v1", "sdxl": "stable-diffusion-xl-v1-base"}
BASE_VERSION = {"sd1": "sd_v1", "sdxl": "sdxl_base_v1-0"}
_ATTENTION = "transformer_blocks.0.attn1.to_q"
_CHECKPOINT = {
    "sd1": {
        "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 1, 1),
        f"model.diffusion_model.input_blocks.1.1.{_ATTENTION}.weight": (8, 8),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (1, 768),
    },
    "sdxl": {
        "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 1, 1),
        f"model.diffusion_model.input_blocks.4.1.{_ATTENTION}.weight": (8, 8),
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (1, 768),
        "conditioner.embedders.1.model.ln_final.weight": (1280,),
    },
}
_LORA_LAYER = {
    "sd1": "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
    "sdxl": "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
}


def write_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None
) -> Path:
    """A valid file of half-precision zeros with these tensors."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))
    return path


def checkpoint(path: Path, architecture: str = "sd1", metadata: Mapping[str, str] | None = None) -> Path:
    """A checkpoint that loads; `architecture`: sd1 or sdxl."""
    told = {"modelspec.architecture": ARCHITECTURE[architecture], "modelspec.title": path.stem}
    return write_safetensors(path, _CHECKPOINT[architecture], {**told, **(metadata or {})})


def bad_shape_checkpoint(path: Path) -> Path:
    """A checkpoint that is read but does not fit any model."""
    return write_safetensors(
        path, {**_CHECKPOINT["sd1"], "model.diffusion_model.input_blocks.0.0.weight": (1, 5, 1, 1)}
    )


def lora(path: Path, architecture: str = "sd1", metadata: Mapping[str, str] | None = None, *, width: int = 8) -> Path:
    """A LoRA for models of this architecture; another `width` than 8 does not fit the checkpoints of this module.

    Like nearly all that are trained, it carries its own hash, unless `metadata` says otherwise.
    """
    layer = _LORA_LAYER[architecture]
    told = {"ss_base_model_version": BASE_VERSION[architecture], "ss_output_name": path.stem, "ss_network_dim": "4"}
    told["sshs_model_hash"] = hashlib.sha256(path.stem.encode()).hexdigest()
    shapes: dict[str, tuple[int, ...]] = {
        f"{layer}.lora_down.weight": (4, width),
        f"{layer}.lora_up.weight": (width, 4),
    }
    return write_safetensors(path, {**shapes, f"{layer}.alpha": ()}, {**told, **(metadata or {})})


def embedding(path: Path, architecture: str = "sd1", vectors: int = 2) -> Path:
    """A textual inversion for models of this architecture."""
    if architecture == "sdxl":
        return write_safetensors(path, {"clip_g": (vectors, 1280), "clip_l": (vectors, 768)})
    return write_safetensors(path, {"emb_params": (vectors, CLIP_WIDTH[architecture])})


def vae(path: Path) -> Path:
    """A VAE."""
    return write_safetensors(path, {"decoder.conv_in.weight": (1, 4, 1, 1), "encoder.conv_in.weight": (1, 3, 1, 1)})


def bad_shape_vae(path: Path) -> Path:
    """A VAE that is read but does not fit: for latents of 16 channels, like Flux's."""
    return write_safetensors(path, {"decoder.conv_in.weight": (1, 16, 1, 1), "encoder.conv_in.weight": (1, 3, 1, 1)})


def truncated(path: Path) -> Path:
    """Cuts the end off a model file: the header is whole, the numbers are not."""
    data = path.read_bytes()
    path.write_bytes(data[:-2] if len(data) > 2 else b"")
    return path


def html_page(path: Path) -> Path:
    """What a download leaves when the server answered with a login page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<!DOCTYPE html><html><body>Please sign in</body></html>", encoding="utf-8")
    return path


def model_folders(root: Path) -> list[str]:
    """Usual models below `root` and the WebUI's flags that point to them.

    Checkpoints Deliberate_v6 and Other_v1 (SD 1.5) and XL_v1 (SDXL); LoRAs add_detail, style_two (SD 1.5) and for_sdxl;
    embeddings goodemb (SD 1.5) and xlemb (SDXL); VAE tinyvae.
    """
    checkpoints, loras, embeddings, vaes = (root / name for name in ("checkpoints", "loras", "embeddings", "vae"))
    checkpoint(checkpoints / "Deliberate_v6.safetensors")
    checkpoint(checkpoints / "Other_v1.safetensors")
    checkpoint(checkpoints / "XL_v1.safetensors", "sdxl")
    for name, architecture in (("add_detail", "sd1"), ("style_two", "sd1"), ("for_sdxl", "sdxl")):
        lora(loras / f"{name}.safetensors", architecture)
    embedding(embeddings / "goodemb.safetensors")
    embedding(embeddings / "xlemb.safetensors", "sdxl")
    vae(vaes / "tinyvae.safetensors")
    return [
        *("--ckpt-dir", str(checkpoints), "--ckpt", str(checkpoints / "Deliberate_v6.safetensors")),
        *("--lora-dir", str(loras), "--embeddings-dir", str(embeddings), "--vae-dir", str(vaes)),
    ]
