"""What a format's reader finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """Size in pixels, infotext, EXIF block, and whether it moves."""

    width: int
    height: int
    infotext: str | None = None
    exif: bytes | None = None
    frames: bool = False
