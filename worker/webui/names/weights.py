"""Weights of upscalers and face restorers that are really there.

A1111 lists both whether or not it has their weights, tries to fetch them in the middle of a job, and when that fails
answers 200 with a plain resize or an untouched face, while the infotext still names them.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.webui.names.catalog import Upscaler

ENDINGS = frozenset({".pth", ".pt", ".safetensors", ".ckpt"})
FACE_FOLDERS = {"CodeFormer": "Codeformer", "GFPGAN": "GFPGAN"}
LATENT_DIFFUSION = "LDSR"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that were found.

    Attributes:
        files: Names of weight files.
        folders: Names of the folders that hold any.
    """

    files: frozenset[str]
    folders: frozenset[str]

    def of_upscaler(self, upscaler: Upscaler) -> str | None:
        """Return what is missing for `upscaler`, None when nothing is."""
        if upscaler.name == LATENT_DIFFUSION:
            return None if LATENT_DIFFUSION in self.folders else "model.ckpt"
        if not upscaler.path or not upscaler.path.startswith(("http://", "https://")):
            return None
        file = PurePosixPath(urlsplit(upscaler.path).path).name
        return None if file in self.files else file

    def of_face_restorer(self, name: str) -> str | None:
        """Return the folder that lacks the weights of face restorer `name`, None when they are there."""
        folder = FACE_FOLDERS.get(name)
        return folder if folder is not None and folder not in self.folders else None

    def has_small_vae(self, part: str) -> bool:
        """Return whether the small VAE's `part`, encoder or decoder, is there for any architecture."""
        return any(file.startswith("taesd") and file.endswith(f"_{part}.pth") for file in self.files)


def look(webui: Path, arguments: str, more: Iterable[Path]) -> Weights:
    """Return the weights below the WebUI's models folder and in the folders `more`.

    Args:
        webui: The A1111 checkout.
        arguments: The operator's own command line arguments, which may move the models folder.
        more: Folders that the command line adds.
    """
    models = _models_folder(webui, shlex.split(arguments))
    places = [*(models.iterdir() if models.is_dir() else ()), *more]
    found = [file for place in places if place.is_dir() for file in place.iterdir() if file.suffix in ENDINGS]
    return Weights(frozenset(file.name for file in found), frozenset(file.parent.name for file in found))


def _models_folder(webui: Path, arguments: list[str]) -> Path:
    given: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        given[name] = value or (arguments[index + 1] if index + 1 < len(arguments) else "")
    if given.get("--models-dir"):
        return webui / given["--models-dir"]
    return webui / given.get("--data-dir", "") / "models"
