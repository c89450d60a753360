"""Results as files: pictures and the facts about them in one zip, for the result cache and for kept stages. Pure."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import orjson

from worker.images.formats.picture import BrokenPicture, Picture
from worker.images.inspect import inspect
from worker.jobs.picture_facts import ImageFacts
from worker.jobs.results import Generated

FORMAT = 1
_FACTS = "facts.json"


class BrokenResult(ValueError):
    """The bytes are not a whole result of this format."""


def pack(result: Generated, **more: Any) -> bytes:
    """Return `result` as the bytes of a zip file that people can open; `more` are facts of the caller's, JSON.

    Raises:
        TypeError: a fact is no JSON.
    """
    names = [f"{number}.{picture.extension}" for number, picture in enumerate(result.pictures)]
    extras = [f"extra-{number}.{picture.extension}" for number, picture in enumerate(result.extras)]
    facts = {
        "format": FORMAT,
        "seeds": list(result.seeds),
        "applied": result.applied,
        "info": dict(result.info),
        "parameters": dict(result.parameters),
        "warnings": list(result.warnings),
        "about": list(result.facts),
        "pictures": names,
        "extras": extras,
        "more": more,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:  # pictures are compressed as they are
        file.writestr(_FACTS, orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        for name, picture in zip((*names, *extras), (*result.pictures, *result.extras), strict=True):
            file.writestr(name, picture.data)
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[Generated, dict[str, Any]]:
    """Return the result in `data`, and the caller's facts.

    Raises:
        BrokenResult: it is damaged, or of another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            facts = orjson.loads(file.read(_FACTS))
            if facts["format"] != FORMAT:
                raise BrokenResult(f"format {facts['format']}")
            pictures, extras = (_pictures(file, facts[kind]) for kind in ("pictures", "extras"))
            result = Generated(
                pictures=pictures,
                seeds=tuple(facts["seeds"]),
                applied=facts["applied"],
                info=facts["info"],
                parameters=facts["parameters"],
                warnings=tuple(facts["warnings"]),
                facts=tuple(ImageFacts(**about) for about in facts["about"]),
                extras=extras,
            )
            return result, dict(facts["more"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, OSError, BrokenPicture) as error:
        raise BrokenResult(str(error)) from None


def _pictures(file: zipfile.ZipFile, names: list[str]) -> tuple[Picture, ...]:
    """Return the pictures of these names; `ZipFile` compares each with its checksum."""
    return tuple(inspect(file.read(name)) for name in names)
