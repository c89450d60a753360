"""Wrappings that programs put around the base64 of a picture by mistake."""

from __future__ import annotations

_LOOKED_AT = 256
_QUOTES = ('"', "'", "`")


def wrapped(text: str) -> str | None:
    """Return what somebody put around the base64 in `text`, None where nothing is seen."""
    head = text[:_LOOKED_AT].lstrip()
    if head[:2] in {"b'", 'b"'}:
        return "Python's repr of bytes (b'…'); decode them to text before they are sent"
    if head.startswith(_QUOTES):
        return "in quotation marks of its own; send the text without them"
    lower = head.lower()
    if lower.count(";base64,") > 1:
        return "a data URL with its prefix (data:…;base64,) twice"
    if lower.startswith("base64,") or (";base64," in lower and not lower.startswith("data:")):
        return "the rest of a data URL: its prefix lacks `data:`"
    if lower.startswith("data:,"):
        return "an empty data URL (data:,), as an empty canvas gives"
    return None
