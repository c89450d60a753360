"""File names that are safe everywhere, made from the names that people give; pure.

The WebUI refers to a LoRA or embedding by its file name without ending, so a file's stem is also its tag: it must hold
nothing that the prompt's syntax (``<lora:stem:1.0>``, parentheses, commas) or a shell or a file system reads otherwise.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MODEL_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
PICKLE_ENDINGS = MODEL_ENDINGS[1:]
MAX_STEM = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_LETTER_OR_DIGIT = re.compile(r"[A-Za-z0-9]")
_BETWEEN = re.compile(r"[\W_]+")


class BadReference(ValueError):
    """The text can't name or address a model; the message says why."""


def split_ending(name: str) -> tuple[str, str]:
    """Return ``(stem, ending)``; `ending` is empty unless it is one that model files have."""
    lowered = name.lower()
    for ending in MODEL_ENDINGS:
        if lowered.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    return name, ""


def short_hash(text: str) -> str:
    """Return 8 hex digits that stand for `text` (any string, lone surrogates included)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def safe_stem(name: str) -> str:
    """Return the one file stem for `name`: ASCII letters, digits, ``._+-``, at most `MAX_STEM` long, never hidden.

    Case stays, runs of anything else become ``_``. Where letters had to be dropped (other scripts) or the name was too
    long, 8 digits of its hash keep different names apart.
    """
    stem, _ = split_ending(name.strip())
    folded = unicodedata.normalize("NFKD", stem)
    plain = "".join(mark for mark in folded if not unicodedata.combining(mark))
    lost = any(mark.isalnum() and not mark.isascii() for mark in plain)
    safe = _UNSAFE.sub("_", plain).strip("._-+")
    if not _LETTER_OR_DIGIT.search(safe):
        safe, lost = "model", True
    if lost or len(safe) > MAX_STEM:
        safe = f"{safe[: MAX_STEM - 9].rstrip('._-+')}-{short_hash(stem)}"
    return safe


def match_key(name: str) -> str:
    """Return what two spellings of one name have in common: case, ending and the kind of separators don't count."""
    stem, _ = split_ending(name.strip())
    return _BETWEEN.sub(" ", unicodedata.normalize("NFKC", stem).casefold()).strip()


def relative_path(name: str) -> str:
    """Return `name` as a path below a model folder.

    Raises:
        BadReference: it would leave the folder.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    if ".." in parts or name.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[\\/]", name):
        raise BadReference("a model's name must stay inside the model folder: no absolute path, no '..'")
    if not parts:
        raise BadReference("is no file name")
    return "/".join(parts)
