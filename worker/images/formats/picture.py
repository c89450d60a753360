"""A finished picture, as it travels from the WebUI to the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pybase64

Format = Literal["png", "jpeg", "webp", "avif"]

CONTENT_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
}
EXTENSIONS: dict[Format, str] = {"png": "png", "jpeg": "jpg", "webp": "webp", "avif": "avif"}


class BrokenPicture(Exception):
    """The bytes are not a whole picture of a known format. The message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture whose headers and integrity were checked.

    Attributes:
        data: The file's bytes.
        format: What they are.
        width: In pixels, as stored (before any EXIF orientation).
        height: In pixels.
        infotext: The generation parameters written into the file in A1111's way, if any.
        encoded: The base64 text that `data` came as, kept so that it need not be made again.
    """

    data: bytes = field(repr=False)
    format: Format
    width: int
    height: int
    infotext: str | None = None
    encoded: str | None = field(default=None, repr=False, compare=False)

    @property
    def base64(self) -> str:
        """The bytes as base64, without line breaks or prefix; made once."""
        if self.encoded is None:
            text = pybase64.b64encode_as_string(self.data)
            object.__setattr__(self, "encoded", text)  # a cache: the picture stays the same
            return text
        return self.encoded

    @property
    def base64_length(self) -> int:
        """Characters of `base64`, without making it."""
        return len(self.encoded) if self.encoded is not None else (len(self.data) + 2) // 3 * 4

    @property
    def content_type(self) -> str:
        """Its media type."""
        return CONTENT_TYPES[self.format]

    @property
    def extension(self) -> str:
        """The usual ending of its file name, without a dot."""
        return EXTENSIONS[self.format]
