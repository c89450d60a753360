"""Safetensors files: reading a header with the library's own complaints, and writing tiny ones."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from standin.errors import WebUIError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_HEADER = 100_000_000
LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Header:
    """The contents of a safetensors file, without its numbers."""

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: Path) -> Header:
    """The header of `path`.

    Raises WebUIError as the real program would: FileNotFoundError, or SafetensorError with the library's name of the
    defect.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(LENGTH_BYTES)
            if len(start) < LENGTH_BYTES:
                raise _broken("HeaderTooSmall")
            (length,) = struct.unpack("<Q", start)
            if length > MAX_HEADER:
                raise _broken("HeaderTooLarge")
            if LENGTH_BYTES + length > size:
                raise _broken("InvalidHeaderLength")
            text = file.read(length)
    except FileNotFoundError:
        raise WebUIError("FileNotFoundError", f'No such file or directory: "{path}"') from None
    return _parse(text, size - LENGTH_BYTES - len(text))


def _parse(text: bytes, body_bytes: int) -> Header:
    try:
        content = json.loads(text)
        metadata = {str(key): str(value) for key, value in content.pop("__metadata__", {}).items()}
        shapes = {name: tuple(int(side) for side in tensor["shape"]) for name, tensor in content.items()}
        end = max((int(tensor["data_offsets"][1]) for tensor in content.values()), default=0)
    except UnicodeDecodeError:
        raise _broken("InvalidHeader") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise _broken("InvalidHeaderDeserialization") from None
    if end != body_bytes:
        raise _broken("MetadataIncompleteBuffer")
    return Header(metadata, shapes)


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None) -> None:
    """A valid safetensors file of half-precision zeros with these tensors."""
    offset = 0
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))


def _broken(defect: str) -> WebUIError:
    return WebUIError("SafetensorError", f"Error while deserializing header: {defect}")
