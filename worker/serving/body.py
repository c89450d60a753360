"""A posted body that goes out in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.payload import BytesPayload, Payload

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

PIECE = 256 * 1024


class Body(BytesPayload):
    """Bytes for aiohttp, written piece by piece as the connection takes them; can be sent again.

    Given whole, a large body is copied into the transport's buffer and keeps the loop from everything else.
    """

    def __init__(self, value: bytes) -> None:
        Payload.__init__(self, value, content_type="application/json")  # BytesPayload's own only warns of the size
        self._size = len(value)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write everything."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the first `content_length` bytes, all where that is None."""
        whole = memoryview(self._value)
        view = whole if content_length is None else whole[:content_length]
        for at in range(0, len(view), PIECE):
            await writer.write(view[at : at + PIECE])
