"""Checkpoint files: what is listed, which names are understood, and what a header tells about the architecture."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from standin.errors import WebUIError
from standin.models.safetensors import Header, read_header

if TYPE_CHECKING:
    import argparse

ENDINGS = (".ckpt", ".safetensors")
VAE_ENDINGS = (".vae.ckpt", ".vae.safetensors")
SDXL_MARKS = ("conditioner.embedders.1.", "conditioner.embedders.0.")
FIRST_BLOCK = "model.diffusion_model.input_blocks.0.0.weight"
CHANNELS_OF_LATENTS = (4, 8, 9)
"""Plain, pix2pix and inpainting models."""
CLIP_WIDTHS = {"sd1": 768, "sdxl": 2048}
TOKEN_EMBEDDING = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"  # noqa: S105 # a tensor's name


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model file; `name` is relative to the checkpoint folder."""

    path: Path
    name: str

    @property
    def title(self) -> str:
        """The title in lists and options (without hashes, as under `--no-hashing`)."""
        return self.name

    @property
    def stem(self) -> str:
        """The name that goes into an infotext."""
        return self.path.stem

    @property
    def model_name(self) -> str:
        """The name with folders folded into underscores."""
        return os.path.splitext(self.name.replace("/", "_"))[0]  # noqa: PTH122 # a name, not a path

    @property
    def aliases(self) -> tuple[str, ...]:
        """Every spelling that an override understands."""
        return (self.model_name, self.title, self.stem)

    def listed(self) -> dict[str, object]:
        """The entry of `GET /sdapi/v1/sd-models`."""
        config = self.path.with_suffix(".yaml")
        return {
            "title": self.title,
            "model_name": self.model_name,
            "hash": None,
            "sha256": None,
            "filename": str(self.path),
            "config": str(config) if config.exists() else None,
        }


@dataclass(frozen=True, slots=True)
class Weights:
    """The properties of a loaded checkpoint that matter here."""

    architecture: str
    header: Header

    @property
    def clip_width(self) -> int:
        """Numbers per token that an embedding must have."""
        shape = self.header.shapes.get(TOKEN_EMBEDDING)
        return shape[1] if shape is not None and len(shape) == 2 else CLIP_WIDTHS[self.architecture]  # noqa: PLR2004 # a matrix


def read_weights(checkpoint: Checkpoint) -> Weights:
    """Reads the header and decides the architecture.

    Raises WebUIError as the real loader does: a missing or truncated file, or tensors of the wrong shape.
    """
    if checkpoint.path.suffix.lower() != ".safetensors":
        if not checkpoint.path.exists():
            raise WebUIError("FileNotFoundError", f"[Errno 2] No such file or directory: '{checkpoint.path}'")
        return Weights("sd1", Header({}, {}))
    header = read_header(checkpoint.path)
    shape = header.shapes.get(FIRST_BLOCK)
    if shape is not None and len(shape) == 4 and shape[1] not in CHANNELS_OF_LATENTS:  # noqa: PLR2004 # a convolution
        expected = (320, 4, 3, 3)
        raise WebUIError(
            "RuntimeError",
            f"Error(s) in loading state_dict for LatentDiffusion:\n\tsize mismatch for {FIRST_BLOCK}: copying a "
            f"param with shape "
            f"torch.Size({list(shape)}) from checkpoint, the shape in current model is torch.Size({list(expected)}).",
        )
    return Weights(_architecture(header), header)


def _architecture(header: Header) -> str:
    if any(key.startswith(SDXL_MARKS) for key in header.shapes):
        return "sdxl"
    named = header.metadata.get("modelspec.architecture", "")
    return "sdxl" if named.startswith("stable-diffusion-xl") else "sd1"


class Checkpoints:
    """The list behind `GET /sdapi/v1/sd-models`; changes only when it is refreshed."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self._command = Path(flags.ckpt)
        self._default_command = Path(flags.data_dir) / "model.ckpt"
        self._own_folder = Path(flags.models_dir or Path(flags.data_dir) / "models") / "Stable-diffusion"
        self._folder = Path(flags.ckpt_dir) if flags.ckpt_dir else None
        self._by_title: dict[str, Checkpoint] = {}
        self._by_alias: dict[str, Checkpoint] = {}

    def refresh(self) -> str | None:
        """Looks at the folders again; gives the title of `--ckpt` where that file exists."""
        self._by_title.clear()
        self._by_alias.clear()
        chosen = None
        if self._command.exists():
            chosen = self._register(self._command).title
        elif self._command != self._default_command:
            print(
                f"Checkpoint in --ckpt argument not found (Possible it was moved to {self._own_folder}: "
                f"{self._command}",
                file=sys.stderr,
            )
        folders = [self._own_folder, *([self._folder] if self._folder and self._folder != self._own_folder else [])]
        for folder in folders:
            for path in model_files(folder, ENDINGS):
                if not path.name.endswith(VAE_ENDINGS):
                    self._register(path)
        return chosen

    def listed(self) -> list[dict[str, object]]:
        """Every checkpoint, the one of `--ckpt` first."""
        return [checkpoint.listed() for checkpoint in self._by_title.values()]

    def titles(self) -> list[str]:
        """The titles alone."""
        return list(self._by_title)

    def named(self, name: object) -> Checkpoint | None:
        """The checkpoint of exactly this alias."""
        return self._by_alias.get(name) if isinstance(name, str) else None

    def closest(self, text: str) -> Checkpoint | None:
        """Return the checkpoint that refiner and hires fix take for `text`: an alias, else the shortest title."""
        found = self.named(text)
        for wanted in (text, re.sub(r"\s*\[[^]]+]\s*$", "", text)):
            if found is None:
                found = min(
                    (c for c in self._by_title.values() if wanted in c.title), key=lambda c: len(c.title), default=None
                )
        return found

    def select(self, wanted: object) -> Checkpoint:
        """The checkpoint for the option's value, the first of the list if unknown; FileNotFoundError for none."""
        found = self.named(wanted)
        if found is not None:
            return found
        if not self._by_title:
            folder = f"\n - directory {self._folder}" if self._folder else ""
            raise WebUIError(
                "FileNotFoundError",
                f"No checkpoints found. When searching for checkpoints, looked at:\n - file {self._command}\n - "
                f"directory "
                f"{self._own_folder}{folder}Can't run without a checkpoint. Find and place a .ckpt or "
                f".safetensors file into any "
                "of those locations.",
            )
        first = next(iter(self._by_title.values()))
        if wanted is not None:
            print(f"Checkpoint {wanted} not found; loading fallback {first.title}", file=sys.stderr)
        return first

    def _register(self, path: Path) -> Checkpoint:
        checkpoint = Checkpoint(path, self._name_of(path))
        self._by_title[checkpoint.title] = checkpoint
        for alias in checkpoint.aliases:
            self._by_alias[alias] = checkpoint
        return checkpoint

    def _name_of(self, path: Path) -> str:
        for folder in (self._folder, self._own_folder):
            if folder is not None and str(path).startswith(str(folder)):
                return str(path)[len(str(folder)) :].lstrip("/")
        return path.name


def model_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files with these endings below `folder`, folder by folder, sorted as people sort names with numbers."""
    if not folder.is_dir():
        return []
    found = [
        Path(root) / name
        for root, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(endings)
    ]
    return sorted(found, key=lambda path: (natural_key(path.parent), natural_key(path)))


def natural_key(path: Path) -> list[tuple[bool, int, str]]:
    """A sort key by which `v2` comes before `v10`, without regard to case."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
