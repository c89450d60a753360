"""Tiny models for a machine that has none: valid files that list, load and draw, and contain zeros.

With them come the extensions that a demonstration needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from standin.models.checkpoints import ENDINGS, TOKEN_EMBEDDING, model_files
from standin.models.safetensors import write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping

LAYER = "transformer_blocks.0.attn1.to_q.weight"
SD1 = {
    "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 1, 1),
    f"model.diffusion_model.input_blocks.1.1.{LAYER}": (8, 8),
    TOKEN_EMBEDDING: (1, 768),
    "first_stage_model.decoder.conv_in.weight": (1, 4, 1, 1),
}
SDXL = {
    "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 1, 1),
    f"model.diffusion_model.input_blocks.4.1.{LAYER}": (8, 8),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (1, 768),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
LORA_SD1 = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
LORA_SDXL = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
CHECKPOINTS = {
    "Deliberate_v6": (SD1, "stable-diffusion-v1"),
    "Other_v1": (SD1, "stable-diffusion-v1"),
    "Jib_Mix_Illustrious_Realistic": (SDXL, "stable-diffusion-xl-v1-base"),
}
LORAS = {
    "add_detail": "sd_v1",
    "style_two": "sd_v1",
    "Detail_Tweaker_XL": "sdxl_base_v1-0",
    "Real_Skin_Slider": "sdxl_base_v1-0",
}
CONTROL_MODEL = "control_v11p_sd15_canny"
EXTENSIONS = ("controlnet", "adetailer", "ultimate-sd-upscale")


def write_demo_lora(path: Path, base: str) -> None:
    """A LoRA with the metadata that training leaves."""
    layer = LORA_SDXL if base.startswith("sdxl") else LORA_SD1
    shapes: Mapping[str, tuple[int, ...]] = {
        f"{layer}.lora_down.weight": (4, 8),
        f"{layer}.lora_up.weight": (8, 4),
        f"{layer}.alpha": (),
    }
    metadata = {"ss_base_model_version": base, "ss_output_name": path.stem, "ss_network_module": "networks.lora"}
    write(path, shapes, {**metadata, "ss_network_dim": "4", "ss_network_alpha": "4"})


def write_all(flags: argparse.Namespace) -> None:
    """Models into the folders of checkpoints, LoRAs and ControlNets, each only where there are none of others."""
    folder = Path(flags.ckpt_dir or Path(flags.data_dir) / "models" / "Stable-diffusion")
    for name in _missing(folder, CHECKPOINTS):
        shapes, architecture = CHECKPOINTS[name]
        metadata = {"modelspec.architecture": architecture, "modelspec.title": name}
        write(folder / f"{name}.safetensors", shapes, metadata)
    loras = Path(flags.lora_dir)
    for name in _missing(loras, LORAS):
        write_demo_lora(loras / f"{name}.safetensors", LORAS[name])
    control = Path(getattr(flags, "controlnet_dir", None) or Path(flags.data_dir) / "models" / "ControlNet")
    for name in _missing(control, (CONTROL_MODEL,)):
        write(control / f"{name}.safetensors", {"control_model.input_hint_block.0.weight": (16, 3, 3, 3)}, {})


def _missing(folder: Path, names: Collection[str]) -> list[str]:
    """The names without a file yet; none where the folder has files of somebody else's."""
    present = {path.stem for path in model_files(folder, ENDINGS)}
    return [] if present - set(names) else [name for name in names if name not in present]
