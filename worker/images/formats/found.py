"""What a format's reader finds."""

from __future__ import annotations

from dataclasses import dataclass

from worker.images.picture import BrokenPicture

MOST_PIECES = 20_000
"""Chunks or segments of one file: each takes some microseconds to look at, here and in whatever decodes it."""


def not_too_many(pieces: int) -> None:
    """Raise BrokenPicture for a file that is cut into more pieces than any program writes."""
    if pieces > MOST_PIECES:
        raise BrokenPicture(f"a picture in more than {MOST_PIECES} pieces")


@dataclass(frozen=True, slots=True)
class Found:
    """Size in pixels, infotext, EXIF block, and whether it moves."""

    width: int
    height: int
    infotext: str | None = None
    exif: bytes | None = None
    frames: bool = False
