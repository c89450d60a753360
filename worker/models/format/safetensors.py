"""The header of a safetensors file: read, checked, never trusted.

Layout (huggingface/safetensors, "Format"): 8 bytes little-endian length N, N bytes of JSON, then the tensors' bytes.
The JSON maps names to ``{dtype, shape, data_offsets: [begin, end]}``; ``__metadata__`` maps text to text.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Far above the largest real one (about 1 MB); bounds the memory that a hostile file can take."""
LENGTH_BYTES = 8
SAFETENSORS = ".safetensors"
_MAX_NUMBER = 1 << 62
_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6,
    "F4": 4,
}  # fmt: skip


class BrokenHeader(ValueError):
    """The bytes are not a whole safetensors file; the message says in which way."""


class WrongLength(BrokenHeader):
    """The file begins as one and has fewer bytes than its header says, or more."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: its type and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The contents of a safetensors header.

    Attributes:
        tensors: By name.
        metadata: The free text pairs of ``__metadata__``.
        file_bytes: Size that the whole file must have.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    file_bytes: int


def header_length(start: bytes) -> int:
    """Return the length of the JSON from a file's first 8 bytes.

    Raises:
        BrokenHeader: too short, or no plausible length; HTML and pickles are recognised by name.
    """
    if len(start) < LENGTH_BYTES:
        raise BrokenHeader(f"the file has {len(start)} bytes, fewer than a header")
    kind = looks_like(start)
    if kind:
        raise BrokenHeader(f"it is {kind}, not a safetensors file")
    (length,) = struct.unpack("<Q", start[:LENGTH_BYTES])
    if not 2 <= length <= MAX_HEADER_BYTES:  # noqa: PLR2004  "{}"
        raise BrokenHeader("it does not start like a safetensors file")
    return int(length)


def parse_header(raw: bytes) -> Header:
    """Return the header from the JSON part of a file.

    Raises:
        BrokenHeader: not JSON, unknown types, or tensors that overlap, leave holes or don't fit their shapes.
    """
    try:
        data = orjson.loads(raw)
    except ValueError:
        raise BrokenHeader("its header is not JSON") from None
    if not isinstance(data, dict):
        raise BrokenHeader("its header is not a JSON object")
    metadata = data.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BrokenHeader("its __metadata__ is not an object of texts")  # no reader of the format takes such a file
    tensors: dict[str, Tensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, facts in data.items():
        tensor, begin, end = _tensor(name, facts)
        tensors[name] = tensor
        spans.append((begin, end, name))
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise BrokenHeader(f"tensor {name[:80]!r} does not start where the one before it ends")
        position = end
    return Header(tensors, metadata, LENGTH_BYTES + len(raw) + position)


def read_header(path: Path) -> Header:
    """Return the header of the file at `path` and check that the file is as long as it says.

    Raises:
        BrokenHeader: see `parse_header`; also when the file is truncated or longer than its tensors.
        OSError: the file can't be read.
    """
    if path.exists() and not path.is_file():  # a pipe would keep its reader for ever
        raise BrokenHeader("it is no regular file")
    with path.open("rb") as file:
        length = header_length(file.read(LENGTH_BYTES))
        raw = file.read(length)
        size = os.fstat(file.fileno()).st_size
    if len(raw) < length:
        raise WrongLength(f"it ends inside its header: {size} bytes, the header alone needs {LENGTH_BYTES + length}")
    header = parse_header(raw)
    if header.file_bytes != size:
        raise WrongLength(f"it has {size} bytes, its header says {header.file_bytes}")
    return header


def _tensor(name: str, facts: Any) -> tuple[Tensor, int, int]:
    where = f"tensor {name[:80]!r}"
    if not isinstance(facts, dict):
        raise BrokenHeader(f"{where} is not described by an object")
    dtype, shape, offsets = facts.get("dtype"), facts.get("shape"), facts.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise BrokenHeader(f"{where} has an unknown type {str(dtype)[:20]!r}")
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise BrokenHeader(f"{where} has no valid shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):  # noqa: PLR2004  begin and end
        raise BrokenHeader(f"{where} has no valid offsets")
    begin, end = offsets
    if end < begin or len(shape) > 64 or prod(shape) * _BITS[dtype] != (end - begin) * 8:  # noqa: PLR2004  more dimensions than any library knows
        raise BrokenHeader(f"{where} does not fit its shape")
    return Tensor(dtype, tuple(shape)), begin, end


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_NUMBER


def looks_like(start: bytes) -> str | None:
    """Return what a file that is no safetensors is by its first bytes; None when they tell nothing."""
    head = start.lstrip()[:LENGTH_BYTES].lower()
    if head.startswith((b"<!doc", b"<html", b"<?xml", b"<head", b"<body")):
        return "an HTML or XML page"
    if head.startswith((b"{", b"[")) and start[4:8] != b"\0\0\0\0":
        return "JSON text"
    if (
        start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
        and start[4:8] != b"\0\0\0\0"
    ):
        return "a zip or pickle file"
    if start.startswith(b"version "):
        return "a Git LFS pointer"
    return None


def is_fine_so_far(file: str, fd: int, front: int, size: int | None) -> bool:
    """Return True when the beginning is that of a model, False while too little is there to tell.

    Args:
        file: The name it will get: the ending says what it has to be.
        fd: The open partial file.
        front: Bytes that are there without a gap.
        size: Bytes that the source announces; None when it does not.

    Raises:
        BrokenHeader: it is something else, or the source offers another number of bytes than the header asks for.
    """
    if front < LENGTH_BYTES:
        return False
    start = os.pread(fd, LENGTH_BYTES, 0)
    if not file.lower().endswith(SAFETENSORS):
        check_pickle_start(start)
        return True
    length = header_length(start)
    if front < LENGTH_BYTES + length:
        return False
    header = parse_header(os.pread(fd, length, LENGTH_BYTES))
    if size is not None and header.file_bytes != size:
        raise WrongLength(f"it has {size} bytes, its header says {header.file_bytes}")
    return True


def check_pickle_start(start: bytes) -> None:
    """Check the first bytes of a model in another format than safetensors: they tell only what it is not.

    Raises:
        BrokenHeader: it is a page, JSON or a pointer.
    """
    if not start:
        raise BrokenHeader("the file is empty")
    kind = looks_like(start)
    if kind is not None and "zip" not in kind:
        raise BrokenHeader(f"it is {kind}")
