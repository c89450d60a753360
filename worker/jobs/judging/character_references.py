"""References of a character's face, from the pictures that its preset names."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from worker.errors import InvalidInput, SettingsInvalid
from worker.images.formats.picture import BrokenPicture
from worker.images.incoming import opaque, read_picture

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from worker.contract.operator.presets import Preset
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.judges.faces.enrolment import FaceReferences

_LARGEST_FILE = 32 * 1024 * 1024


def character_named(name: str, services: JobServices) -> Preset | None:
    """Return the character of that name, None where the endpoint has none."""
    preset = services.operator.presets.get(name)
    return preset if preset is not None and preset.role == "character" else None


def references_of(character: Preset, context: JobContext, services: JobServices) -> FaceReferences:
    """Return the references of a character, enrolled when they are first asked for. Blocking.

    Raises:
        JudgeUnavailable: this worker judges no faces.
        SettingsInvalid: a picture can't be had, or shows no face of one person.
    """
    analyser = services.judges.analyser()
    from worker.judges.faces.enrolment import ReferencesUnusable, enrol  # noqa: PLC0415 - needs numpy, an extra

    files = {place: _file(place, character, context, services) for place in character.references}
    digests = {place: hashlib.sha256(data).hexdigest() for place, data in files.items()}
    threshold = character.consistency.threshold if character.consistency is not None else None

    def enrolled() -> FaceReferences:
        most = services.limits.max_pixels
        members = [(place, digests[place], _picture(place, data, character, most)) for place, data in files.items()]
        try:
            return enrol(character.name, members, analyser, threshold=threshold)
        except ReferencesUnusable as error:
            raise _unusable(character, str(error)) from None

    return services.judges.enrolled_once((*digests.values(), str(threshold)), enrolled)


def _file(place: str, character: Preset, context: JobContext, services: JobServices) -> bytes:
    """Return a file below MODELS_DIR, else the picture of that key in the operator's store."""
    root = services.operator.models_root
    path = (root / place).resolve() if root is not None else None
    if root is not None and path is not None and path.is_relative_to(root.resolve()) and path.is_file():
        return _read(path, place, character)
    try:
        found = services.inputs.source.read(f"key:{place}", place, target=None, deadline=context.deadline)
    except InvalidInput:
        found = ""
    if isinstance(found, str):
        raise _unusable(character, f"{place!r} is neither a file below MODELS_DIR nor a picture in the store")
    return found


def _read(path: Path, place: str, character: Preset) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _unusable(character, f"{place!r} is larger than {_LARGEST_FILE >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise _unusable(character, f"{place!r} can't be read: {error.strerror}") from None


def _picture(place: str, data: bytes, character: Preset, max_pixels: int) -> Image.Image:
    try:
        return opaque(read_picture(data, max_pixels=max_pixels))
    except BrokenPicture as broken:
        raise _unusable(character, f"{place!r} is not a usable picture: {broken}") from None


def _unusable(character: Preset, why: str) -> SettingsInvalid:
    return SettingsInvalid(f"the references of the character {character.name!r}: {why}")
