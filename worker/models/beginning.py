"""The first look at a file that is arriving: is it a model at all?"""

from __future__ import annotations

import os

from worker.models.header import LENGTH_BYTES, BrokenHeader, header_length, looks_like, parse_header


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
    if not file.endswith(".safetensors"):
        kind = looks_like(start)
        if kind is not None and "zip" not in kind:
            raise BrokenHeader(f"it is {kind}")
        return True
    length = header_length(start)
    if front < LENGTH_BYTES + length:
        return False
    header = parse_header(os.pread(fd, length, LENGTH_BYTES))
    if size is not None and header.file_bytes != size:
        raise BrokenHeader(f"it has {size} bytes, its header says {header.file_bytes}")
    return True
