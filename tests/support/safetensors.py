"""Small real safetensors files of each kind and base model."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SIZES = {"F16": 2, "F32": 4, "U8": 1}

SD15_LORA = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": [4, 768]}
SDXL_LORA = {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": [4, 2048]}
SD15_CHECKPOINT = {
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [32, 768],
    "cond_stage_model.transformer.text_model.embeddings.position_ids": [1, 77],
    "first_stage_model.decoder.conv_in.weight": [8, 4],
}
SDXL_CHECKPOINT = {
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [16, 2048],
    "conditioner.embedders.1.model.ln_final.weight": [8],
}
EMBEDDING = {"emb_params": [2, 768]}
VAE = {"first_stage_model.decoder.conv_in.weight": [8, 4], "first_stage_model.encoder.conv_in.weight": [8, 4]}


def safetensors(
    tensors: Mapping[str, list[int]],
    *,
    metadata: Mapping[str, str] | None = None,
    dtype: str = "F16",
    fill: bytes = b"\x2a",
    pad_to: int = 0,
) -> bytes:
    """Return a whole file with these tensors (name → shape), made at least `pad_to` long by one more tensor."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, shape in tensors.items():
        size = _SIZES[dtype]
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    if pad_to > position:
        header["padding"] = {"dtype": "U8", "shape": [pad_to - position], "data_offsets": [position, pad_to]}
        position = pad_to
    raw = json.dumps(header).encode()
    body = (fill * (position // len(fill) + 1))[:position]
    return struct.pack("<Q", len(raw)) + raw + body


def write(path: Path, tensors: Mapping[str, list[int]], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write such a file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors(tensors, metadata=metadata))
    return path
