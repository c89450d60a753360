"""Model files and the disk they lie on: what is there, what is broken, how fast it is read, how much room is left."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from worker.doctor.finding import Finding
from worker.models.format.detect import detect, is_usable_as, place_of, with_article
from worker.models.format.safetensors import SAFETENSORS, BrokenHeader, read_header
from worker.models.volume.layout import Volume
from worker.settings import A1111_FOLDERS, MODEL_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.models.volume.layout import ModelFile
    from worker.settings import Settings

LOW_SPACE = 10 * 2**30
SAMPLE = 256 * 2**20
PIECE = 4 * 2**20
SLOW_MB_S = 100
LOOKED_AT = 500


def volume(settings: Settings) -> Iterator[Finding]:
    """Yield what the WebUI will find."""
    yield from _models(settings)
    yield from _room(settings)


def _models(settings: Settings) -> Iterator[Finding]:
    if settings.webui_url is not None:
        return
    there = Volume.of(settings)
    checkpoints = sorted(there.names("checkpoint"))
    where = settings.folder("checkpoint")
    if checkpoints:
        yield Finding("checkpoints", "ok", f"{len(checkpoints)} in {where}: {', '.join(checkpoints[:10])}")
    else:
        fix = "Put one there, or `worker models pull 'Deliberate v6'`."
        yield Finding("checkpoints", "warn", f"none in {where}", fix)
    yield Finding("LoRAs", "ok", f"{len(there.names('lora'))} in {settings.folder('lora')}")
    files = [file for kind in MODEL_KINDS for name in there.names(kind) if (file := there.look(kind, name)) is not None]
    for file in files[:LOOKED_AT]:
        if file.path.suffix.lower() == SAFETENSORS:
            yield from _file(file)
    yield from _unread_folders(settings, there)
    if files:
        yield speed(max(files, key=lambda one: one.size).path)


def _file(file: ModelFile) -> Iterator[Finding]:
    why = broken(file.path)
    if why is not None:
        fix = f"`worker models pull` it again, or remove {file.path}."
        yield Finding("model file", "fail", f"{file.file}: {why}", fix)
        return
    found = detect(read_header(file.path)).kind
    if not is_usable_as(found, file.kind):
        told = f"{file.key} is {with_article(found)}, not {with_article(file.kind)}"
        yield Finding("model file", "warn", told, f"{place_of(found)} No job gets it from there.")


def _unread_folders(settings: Settings, volume: Volume) -> Iterator[Finding]:
    """Yield the folders with A1111's own names that have models and are not read."""
    for kind, names in A1111_FOLDERS.items():
        read = next(folder for known, folder in volume.folders.items() if known == kind)
        for name in names:
            folder = settings.models_root / name
            if folder.is_dir() and folder.resolve() != read.resolve() and any(folder.iterdir()):
                fix = f"Move its files to {read}, or set {kind.upper()}_DIR={folder}."
                yield Finding("model folder", "warn", f"{folder} is not read for a {kind}; {read} is", fix)


def broken(path: Path) -> str | None:
    """Return what is wrong with a safetensors file's header and length, None when nothing is."""
    try:
        read_header(path)
    except BrokenHeader as error:
        return str(error)
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    return None


def speed(path: Path) -> Finding:
    """Return how fast the beginning of a file comes from its disk, the page cache left out where the system lets us."""
    try:
        with path.open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, SAMPLE, os.POSIX_FADV_DONTNEED)
            buffer, read, began = bytearray(PIECE), 0, time.perf_counter()
            while read < SAMPLE and (got := file.readinto(buffer)):
                read += got
            seconds = max(time.perf_counter() - began, 1e-6)
    except OSError as error:
        return Finding("volume speed", "fail", f"{path} can't be read: {error.strerror}", "Look after the volume.")
    rate = read / seconds / 1e6
    slow = rate < SLOW_MB_S and read > PIECE
    return Finding(
        "volume speed",
        "warn" if slow else "ok",
        f"{rate:.0f} MB/s over {read / 1e6:.0f} MB of {path.name}",
        "Checkpoints load slowly from here: stage them on local disk, or use another data centre.",
    )


def _room(settings: Settings) -> Iterator[Finding]:
    folder = settings.models_root
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    usage = shutil.disk_usage(folder)
    free = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} at {folder}"
    enough = usage.free >= LOW_SPACE
    yield Finding("space for models", "ok" if enough else "warn", free, "A checkpoint takes 2 to 7 GB; make room.")
    if folder.exists() and not os.access(folder, os.W_OK):
        yield Finding("models folder", "warn", f"{folder} is read-only", "Nothing can be downloaded to it.")
