"""Titles of models as the WebUI writes them: a name, and a hash in brackets. Pure."""

from __future__ import annotations

import re

MAX_REF_LENGTH = 2048
"""Signs of a reference to a model."""
ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|(?:hf|huggingface|civitai|urn):", re.IGNORECASE)
_TITLE = re.compile(r"(?P<name>.*\S)\s*\[(?P<hash>[0-9a-fA-F]{8,12})\]\s*", re.DOTALL)


def split_title(text: str) -> tuple[str, str | None]:
    """Return a model's name, and the hash that the WebUI's titles have behind it: ``name.safetensors [58e088dedc]``.

    Folders may be parted by backslashes, as the WebUI on Windows has them.
    """
    if ADDRESS.match(text) or len(text) > MAX_REF_LENGTH:
        return text, None
    found = _TITLE.fullmatch(text)
    name, digits = (found["name"], found["hash"].lower()) if found else (text, None)
    return name.replace("\\", "/"), digits
