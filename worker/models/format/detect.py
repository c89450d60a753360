"""Kind and base model of a model file, from its header alone; pure.

Told apart by the names and shapes of tensors, which tools have kept stable for years, and by the metadata that trainers
leave (kohya's ``ss_*``, ``modelspec.*``). The offspring of SDXL (Pony, Illustrious, NoobAI) have SDXL's shapes: only
metadata or a catalog can tell them apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from worker.settings import ModelKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.models.format.safetensors import Header, Tensor

_WIDTHS = {768: "SD 1.5", 1024: "SD 2", 2048: "SDXL", 1280: "SDXL Refiner"}
"""Width of the text embedding that cross attention reads."""
_OFFSPRING = (
    ("pony", "SDXL (Pony)"),
    ("noob", "SDXL (NoobAI)"),
    ("illustrious", "SDXL (Illustrious)"),
    ("ilxl", "SDXL (Illustrious)"),
)
_ARCHITECTURES = (
    ("auraflow", "AuraFlow"),
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
_CIVITAI_BASES = (
    (r"pony v7.*|aura ?flow.*", "AuraFlow"),
    (r"pony( v?6.*|( diffusion.*)?)", "SDXL (Pony)"),
    (r"illustrious.*", "SDXL (Illustrious)"),
    (r"noob ?ai.*", "SDXL (NoobAI)"),
    (r"sdxl.*refiner.*", "SDXL Refiner"),
    (r"sdxl.*", "SDXL"),
    (r"flux.*", "Flux"),
    (r"sd ?3.*", "SD 3"),
    (r"sd ?2(\.\d.*)?", "SD 2"),
    (r"sd ?1(\.\d.*)?", "SD 1.5"),
)
"""CivitAI's words for base models, whole: a part of a word is none (Pony V7 is no Pony as SDXL has it)."""
FoundKind = ModelKind | Literal["diffusers part"]
"""Kinds by a header: also a UNet, VAE or text encoder of a diffusers repository, which A1111 can't read."""
_INTERCHANGEABLE = {("controlnet", "lora"), ("controlnet", "checkpoint")}
"""Kinds asked for and kinds found that the WebUI takes for each other."""
_TENSOR_MARKS = (
    ("joint_transformer_blocks", "AuraFlow"),
    ("double_layers.", "AuraFlow"),
    ("double_blocks", "Flux"),
    ("single_transformer_blocks", "Flux"),
    ("joint_blocks", "SD 3"),
)
"""Parts of tensor names that only one architecture has, the more telling ones first."""
_DIFFUSERS = ("down_blocks.0.resnets.", "decoder.up_blocks.", "decoder.mid_block.", "text_model.embeddings.")
"""Beginnings of tensor names in the parts of a diffusers repository."""
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
    """The facts in a header; None where it says nothing."""

    kind: FoundKind | None
    base_model: str | None
    trigger_words: tuple[str, ...] = ()


def detect(header: Header) -> Facts:
    """Return the kind, base model and trigger words of a file."""
    tensors, metadata = header.tensors, header.metadata
    kind = _kind(tensors)
    base = None if kind == "vae" else _base_by_tensors(tensors, kind)
    if kind in {"lora", "checkpoint", "embedding"}:
        told = _base_by_metadata(metadata)
        base = (told or base) if kind == "lora" else (base or told)  # of a LoRA, shapes allow no more than a guess
        base = base or _base_by_version(metadata)
    if base == "SDXL":
        base = _offspring(metadata) or base
    return Facts(kind, base, _triggers(metadata))


def base_of_metadata(metadata: Mapping[str, Any]) -> str | None:
    """Return the base model that the metadata of an add-on tells, as the WebUI lists it; None where it does not."""
    texts = {name: str(value) for name, value in metadata.items()}
    base = _base_by_metadata(texts)
    return _offspring(texts) or base if base == "SDXL" else base


def known_base(text: str | None) -> str | None:
    """Return our name for a base model as CivitAI writes it (``Pony``, ``SDXL 1.0``, ``Flux.1 D``); None: unknown."""
    lowered = (text or "").strip().lower()
    return next((base for pattern, base in _CIVITAI_BASES if re.fullmatch(pattern, lowered)), None)


def is_usable_as(found: FoundKind | None, wanted: ModelKind) -> bool:
    """Return whether the WebUI takes a file of one kind where another is asked for; unknown kinds pass."""
    return found is None or found == wanted or (wanted, found) in _INTERCHANGEABLE


def with_article(kind: FoundKind | None) -> str:
    """Return a kind with its article: ``a lora``, ``an upscaler``."""
    if kind == "diffusers part":
        return "one part of a diffusers repository"
    return f"{'an' if str(kind)[0] in 'aeiou' else 'a'} {kind}"


def finer_base(said: str | None, seen: str | None) -> str | None:
    """Return the better word for a base model: the header is sure of the family, the source may know the branch."""
    if said is None or seen is None:
        return seen or said
    return said if said.split(" (", 1)[0] == seen.split(" (", 1)[0] else seen


def place_of(kind: FoundKind | None) -> str:
    """Return what to do with a file that is not of the kind that was asked for."""
    if kind == "diffusers part":
        return "A1111 reads models in one file: take the repository's single-file version."
    return f"Put it where {kind} files are, and name it where {with_article(kind)} belongs."


def _kind(tensors: Mapping[str, Tensor]) -> FoundKind | None:  # noqa: PLR0911  one line per kind
    names = tensors.keys()
    if any(mark in name for name in names for mark in _LORA_MARKS):
        return "lora"
    if (
        any(name.startswith(("control_model.", "controlnet_", "lllite_")) for name in names)
        or "input_hint_block.0.weight" in names
    ):
        return "controlnet"
    if any(name.startswith(_DIFFUSERS) for name in names):
        return "diffusers part"
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
    for mark, base in _TENSOR_MARKS:
        if any(mark in name for name in tensors):
            return base
    if any(name.startswith("conditioner.embedders.1.") for name in tensors):
        return "SDXL"
    if kind == "lora" and any(name.startswith(("lora_te1_", "lora_te2_")) for name in tensors):
        return "SDXL"
    for name in tensors:
        if "attn2" in name and "to_k" in name:
            by_width = _WIDTHS.get(_input_width(tensors, name, kind))
            if by_width is not None and (kind != "lora" or by_width != "SDXL Refiner"):
                return by_width
    return None


_INPUT_SIDE = ("lora_down.weight", "lora_A.weight", "lora.down.weight")
"""Of a LoRA only these tensors' second dimension is the layer's input; of the others it is a rank or a factor."""


def _input_width(tensors: Mapping[str, Tensor], name: str, kind: str | None) -> int:
    """Return the width of the input of the layer that a tensor belongs to; 0 where the tensor does not tell."""
    shape = tensors[name].shape
    if len(shape) < 2:  # noqa: PLR2004  out, in
        return 0
    if kind != "lora" or name.endswith(_INPUT_SIDE):
        return shape[1]
    other = tensors.get(f"{name[:-1]}2") if name.endswith("lokr_w1") else None
    return shape[1] * other.shape[1] if other is not None and len(other.shape) >= 2 else 0  # noqa: PLR2004  as above


def _base_by_metadata(metadata: Mapping[str, str]) -> str | None:
    for key in ("modelspec.architecture", "ss_base_model_version", "ss_base_model", "sd version"):
        text = metadata.get(key, "").lower()
        for mark, base in _ARCHITECTURES:
            if mark in text:
                return base
    return None


def _base_by_version(metadata: Mapping[str, str]) -> str | None:
    """Return what older trainers wrote: only whether it is Stable Diffusion 2."""
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
