"""What a model file is, from its header alone: kind and base model; pure.

Told apart by the names and shapes of tensors, which tools have kept stable for years, and by the metadata that trainers
leave (kohya's ``ss_*``, ``modelspec.*``). The offspring of SDXL (Pony, Illustrious, NoobAI) have SDXL's shapes: only
metadata or a catalog can tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.models.header import Header, Tensor
    from worker.settings import ModelKind

_WIDTHS = {768: "SD 1.5", 1024: "SD 2", 2048: "SDXL", 1280: "SDXL Refiner"}
"""Width of the text embedding that cross attention reads."""
_OFFSPRING = (
    ("pony", "SDXL (Pony)"),
    ("noob", "SDXL (NoobAI)"),
    ("illustrious", "SDXL (Illustrious)"),
    ("ilxl", "SDXL (Illustrious)"),
)
_ARCHITECTURES = (
    ("xl-v1-refiner", "SDXL Refiner"),
    ("xl", "SDXL"),
    ("diffusion-v1", "SD 1.5"),
    ("diffusion-v2", "SD 2"),
    ("diffusion-v3", "SD 3"),
    ("flux", "Flux"),
    ("sd_v1", "SD 1.5"),
    ("sd_v2", "SD 2"),
    ("sd3", "SD 3"),
)
_LORA_MARKS = (
    ".lora_down.",
    ".lora_up.",
    ".lora_A.",
    ".lora_B.",
    ".hada_w1",
    ".lokr_w",
    ".oft_",
    ".dora_scale",
    ".lora.down.",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a header tells: None where it does not."""

    kind: ModelKind | None
    base_model: str | None
    trigger_words: tuple[str, ...] = ()


def detect(header: Header) -> Facts:
    """Return the kind, base model and trigger words of a file."""
    tensors, metadata = header.tensors, header.metadata
    kind = _kind(tensors)
    base = _base_by_tensors(tensors, kind)
    if kind == "vae":
        base = None
    told = _base_by_metadata(metadata)
    if base is None and kind in {"lora", "checkpoint", "embedding"}:
        base = told
    if base == "SDXL":
        base = _offspring(metadata) or base
    return Facts(kind, base, _triggers(metadata))


def base_of_metadata(metadata: Mapping[str, Any]) -> str | None:
    """Return the base model that the metadata of an add-on tells, as the WebUI lists it; None where it does not."""
    texts = {name: str(value) for name, value in metadata.items()}
    base = _base_by_metadata(texts)
    return _offspring(texts) or base if base == "SDXL" else base


def known_base(text: str | None) -> str | None:
    """Return our name for a base model as CivitAI writes it (``Pony``, ``SDXL 1.0``, ``Flux.1 D``), or None."""
    if not text:
        return None
    lowered = text.lower()
    for mark, base in _OFFSPRING:
        if mark in lowered:
            return base
    if "refiner" in lowered:
        return "SDXL Refiner"
    for mark, base in (("xl", "SDXL"), ("flux", "Flux"), ("sd 3", "SD 3"), ("sd 2", "SD 2"), ("sd 1", "SD 1.5")):
        if mark in lowered:
            return base
    return None


def finer_base(said: str | None, seen: str | None) -> str | None:
    """Return the better word for a base model: the header is sure of the family, the source may know the branch."""
    if said is None or seen is None:
        return seen or said
    return said if said.split(" (", 1)[0] == seen.split(" (", 1)[0] else seen


def _kind(tensors: Mapping[str, Tensor]) -> ModelKind | None:  # noqa: PLR0911  one line per kind
    names = tensors.keys()
    if any(mark in name for name in names for mark in _LORA_MARKS):
        return "lora"
    if (
        any(name.startswith(("control_model.", "controlnet_", "lllite_")) for name in names)
        or "input_hint_block.0.weight" in names
    ):
        return "controlnet"
    if any(name.startswith(("model.diffusion_model.", "double_blocks.", "joint_blocks.")) for name in names):
        return "checkpoint"
    if names & {"emb_params", "clip_l", "clip_g", "string_to_param.*", "<concept>"} and len(names) <= 4:  # noqa: PLR2004  an embedding is a vector or two
        return "embedding"
    if any(name.removeprefix("first_stage_model.") == "decoder.conv_in.weight" for name in names):
        return "vae"
    if any(name.startswith(("conv_first.", "model.0.weight", "body.0.", "RRDB_trunk.")) for name in names):
        return "upscaler"
    return None


def _base_by_tensors(tensors: Mapping[str, Tensor], kind: str | None) -> str | None:  # noqa: PLR0911  one per family
    if kind == "embedding":
        if "clip_g" in tensors:
            return "SDXL"
        vector = next(iter(tensors.values())).shape
        return {768: "SD 1.5", 1024: "SD 2"}.get(vector[-1]) if vector else None
    if any("double_blocks" in name or "single_transformer_blocks" in name for name in tensors):
        return "Flux"
    if any("joint_blocks" in name for name in tensors):
        return "SD 3"
    if any(name.startswith("conditioner.embedders.1.") for name in tensors):
        return "SDXL"
    if kind == "lora" and any(name.startswith(("lora_te1_", "lora_te2_")) for name in tensors):
        return "SDXL"
    for name, tensor in tensors.items():
        if "attn2" in name and "to_k" in name and len(tensor.shape) >= 2 and not name.endswith(_OUTPUT_SIDE):  # noqa: PLR2004  out, in
            base = _WIDTHS.get(tensor.shape[1])
            if base is not None and (kind != "lora" or base != "SDXL Refiner"):
                return base
    return None


_OUTPUT_SIDE = ("lora_up.weight", "lora_B.weight", "lora.up.weight")
"""These tensors' second dimension is the rank, which can have any value."""


def _base_by_metadata(metadata: Mapping[str, str]) -> str | None:
    for key in ("modelspec.architecture", "ss_base_model_version", "ss_base_model", "sd version"):
        text = metadata.get(key, "").lower()
        for mark, base in _ARCHITECTURES:
            if mark in text:
                return base
    if "ss_v2" in metadata:
        return "SD 2" if metadata["ss_v2"].lower() == "true" else "SD 1.5"
    return None


def _offspring(metadata: Mapping[str, str]) -> str | None:
    for key in (
        "ss_sd_model_name",
        "modelspec.title",
        "modelspec.merged_from",
        "ss_base_model_version",
        "base_model",
        "name",
    ):
        text = metadata.get(key, "").lower()
        for mark, base in _OFFSPRING:
            if mark in text:
                return base
    return None


def _triggers(metadata: Mapping[str, str]) -> tuple[str, ...]:
    text = (
        metadata.get("modelspec.trigger_phrase")
        or metadata.get("trained_words")
        or metadata.get("activation text")
        or ""
    )
    return split_words(text)


def split_words(text: str) -> tuple[str, ...]:
    """Return the trigger words of a comma- or line-separated text, at most 50 of 200 characters."""
    words = (word.strip().strip("\"'[]").strip() for word in text.replace("\n", ",").split(","))
    return tuple(dict.fromkeys(word[:200] for word in words if word))[:50]
