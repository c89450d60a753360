"""Jobs that read a picture: its notes on how it was made, or a caption for it."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.contract.expand.from_infotext import job_from
from worker.contract.expand.other_notes import read_other_notes
from worker.errors import InvalidInput
from worker.images import infotext
from worker.images.client_base64 import decode_clients_base64
from worker.images.formats.picture import BrokenPicture, Picture
from worker.images.formats.readable import as_still
from worker.images.inspect import inspect
from worker.images.pixels import decoded, texts
from worker.images.stealth import hidden_text
from worker.jobs.kinds.webui_call import call_with_gpu
from worker.webui import api_paths
from worker.webui.request import upscale as extras

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.kinds import Interrogate, PngInfo
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices

_NAMED = 12
_LOOKED_THROUGH = 16 * 1024 * 1024
"""Pixels of a picture that are decoded to look for hidden notes."""
_OTHER_NOTES = frozenset({"Comment", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "dream_metadata"})
"""Texts in which other programs than the WebUI write how a picture was made."""
_NOT_NOTES = frozenset({"parameters", "UserComment", "exif", "icc_profile"})


async def interrogate(job: Interrogate, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return a caption for the job's picture."""
    inputs = await services.inputs.load(job, context)
    body = extras.interrogation(job, inputs.images[0])
    model = body["model"]
    caption = await call_with_gpu(api_paths.INTERROGATE, body, partial(extras.caption, model=model), context, services)
    return {"caption": caption, "model": model}


async def png_info(job: PngInfo, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return the notes in a picture's file. Raises InvalidInput where it can't be had or is no whole picture."""
    source, path = services.inputs.source, job.path("image")
    data = await services.threads.run(source.read, job.image, path, target=context.target, deadline=context.deadline)
    return await services.threads.run(read_notes, job, data)


def read_notes(job: PngInfo, data: bytes | str) -> dict[str, Any]:
    """Return what a picture file says about how it was made, and the job that makes it again.

    Raises:
        InvalidInput: it is no whole picture.
    """
    try:
        picture = inspect(as_still(decode_clients_base64(data) if isinstance(data, str) else data))
        notes = texts(picture)
        text = picture.infotext or _hidden(picture, notes) or ""
    except BrokenPicture as broken:
        raise InvalidInput.at(job.path("image"), f"is not a usable picture: {broken}") from None
    hidden = _hidden_notes(text) if picture.infotext is None else {}
    return {
        "info": text,
        "items": {name: value for name, value in {**notes, **hidden}.items() if name not in _NOT_NOTES},
        **_told(text, {**notes, **hidden}),
        "size": {"width": picture.width, "height": picture.height},
        "format": picture.format,
    }


def _told(text: str, notes: Mapping[str, str]) -> dict[str, Any]:
    """Return what the notes say, the job that follows from them, and what that job does not carry."""
    other = read_other_notes(text, notes)
    if other is not None:
        warnings = [f"the notes are {other.program}'s; only what means the same here is in the job"]
        if other.lost:
            warnings.append(f"the job does not carry all that made the picture: {', '.join(other.lost[:_NAMED])}")
        return {
            "parameters": other.parameters,
            "job": other.job,
            "lost": list(other.lost),
            "program": other.program,
            "warnings": warnings,
        }
    read = infotext.parse(text)
    if not (read.prompt or read.negative_prompt or read.fields):
        return {"parameters": {}, "job": {}, "lost": [], "warnings": ["the file has no generation data"]}
    rebuilt = job_from(read.prompt, read.negative_prompt, read.fields)
    return {
        "parameters": {"Prompt": read.prompt, "Negative prompt": read.negative_prompt, **read.fields},
        "job": rebuilt.job,
        "lost": rebuilt.lost,
        "warnings": rebuilt.warnings,
    }


def _hidden(picture: Picture, notes: Mapping[str, str]) -> str | None:
    """Return the text hidden in a picture without other notes, None where there is none or it is too large to look."""
    if any(name in _OTHER_NOTES for name in notes) or picture.width * picture.height > _LOOKED_THROUGH:
        return None
    return hidden_text(decoded(picture))


def _hidden_notes(text: str) -> dict[str, str]:
    """Return the notes in a hidden text, which NovelAI writes as an object of all that it else writes by name."""
    try:
        found = json.loads(text) if text.startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
