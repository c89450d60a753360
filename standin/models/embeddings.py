"""Textual inversion files: which ones the loaded model can use."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError
from standin.models.checkpoints import model_files
from standin.models.safetensors import read_header

if TYPE_CHECKING:
    from standin.models.checkpoints import Weights

ENDINGS = (".safetensors", ".pt", ".bin")
SD1_WIDTH = 768
MATRIX = 2


@dataclass(frozen=True, slots=True)
class Embedding:
    """One file: its name in prompts, numbers per vector, number of vectors, and the digest of its bytes as read."""

    name: str
    shape: int
    vectors: int
    digest: str = ""

    def listed(self) -> dict[str, Any]:
        """The entry of `GET /sdapi/v1/embeddings`."""
        return {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": self.shape,
            "vectors": self.vectors,
        }


class Embeddings:
    """The folder's embeddings, split by whether the model can use them."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self.loaded: dict[str, Embedding] = {}
        self.skipped: dict[str, Embedding] = {}
        self._versions: dict[str, list[str]] = {}

    def refresh(self, weights: Weights) -> None:
        """Reads the folder for a model; files that cannot be read are left out."""
        found = [embedding for path in model_files(self._folder, ENDINGS) if (embedding := _read(path)) is not None]
        self.loaded = {embedding.name: embedding for embedding in found if embedding.shape == weights.clip_width}
        self.skipped = {embedding.name: embedding for embedding in found if embedding.shape != weights.clip_width}

    def listed(self) -> dict[str, dict[str, Any]]:
        """Both lists as JSON."""
        return {
            "loaded": {name: embedding.listed() for name, embedding in sorted(self.loaded.items())},
            "skipped": {name: embedding.listed() for name, embedding in sorted(self.skipped.items())},
        }

    def version(self, name: str) -> int:
        """Counts the files that have had this name, as they were read."""
        digest, known = self.loaded[name].digest, self._versions.setdefault(name, [])
        if digest not in known:
            known.append(digest)
        return known.index(digest)

    def used(self, *texts: str) -> tuple[str, ...]:
        """The usable embeddings whose names appear in these prompts."""
        return tuple(name for name in sorted(self.loaded) if any(_mentions(text, name) for text in texts))


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", text.lower()) is not None


def _read(path: Path) -> Embedding | None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix != ".safetensors":
        return Embedding(path.stem, SD1_WIDTH, 1, digest)
    try:
        shapes = read_header(path).shapes
    except WebUIError:
        return None
    if "clip_g" in shapes and "clip_l" in shapes:
        return Embedding(path.stem, shapes["clip_g"][-1] + shapes["clip_l"][-1], shapes["clip_g"][0], digest)
    shape = next(iter(shapes.values()), ())
    if not shape:
        return None
    return Embedding(path.stem, shape[-1], shape[0] if len(shape) >= MATRIX else 1, digest)
