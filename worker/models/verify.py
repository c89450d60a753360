"""Measuring and checking files that are there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.models.header import BrokenHeader, read_header

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models.inventory import Inventory
    from worker.models.local import LocalModel

_BLOCK = 4 * 1024 * 1024


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex; reads all of it."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def measure(inventory: Inventory, model: LocalModel) -> str:
    """Measure a file that nobody has measured as it is now, and write the result down, so that it is done once.

    One that was replaced by another of the same size does not come from where the old one came from.
    """
    _, _, file = model.key.partition("/")
    before = inventory.volume.look(model.kind, file)
    digest = sha256_of(model.path)
    seen = inventory.volume.look(model.kind, file)
    if seen is not None and seen == before and seen.size == model.size:
        entry = replace(inventory.entry(seen), sha256=digest, changed=seen.modified_ns)
        written = inventory.written_hash(model.key)
        inventory.record(entry if written in {None, digest} else replace(entry, source=None, also=(), etag=None))
    return digest


def complaint(path: Path, *, sha256: str | None) -> str | None:
    """Return what is wrong with a file: its header, or its hash where one is given; None when nothing is."""
    if path.suffix == ".safetensors":
        try:
            read_header(path)
        except BrokenHeader as error:
            return str(error)
    if sha256 is not None:
        measured = sha256_of(path)
        if measured != sha256:
            return f"its SHA-256 is {measured}, it should be {sha256}"
    return None
