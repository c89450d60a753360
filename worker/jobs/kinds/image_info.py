"""Jobs that read a picture: its notes on how it was made, or a caption for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.contract.expand.from_infotext import job_from
from worker.errors import InvalidInput
from worker.images import infotext
from worker.images.client_base64 import decode_clients_base64
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import inspect
from worker.images.pixels import texts
from worker.jobs.kinds.webui_call import call_with_gpu
from worker.webui.request import upscale as extras

if TYPE_CHECKING:
    from worker.contract.types.kinds import Interrogate, PngInfo
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices

_NOT_NOTES = frozenset({"parameters", "UserComment", "exif", "icc_profile"})


async def interrogate(job: Interrogate, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return a caption for the job's picture."""
    inputs = await services.inputs.load(job, context)
    body = extras.interrogation(job, inputs.images[0])
    model = body["model"]
    caption = await call_with_gpu(extras.INTERROGATE, body, partial(extras.caption, model=model), context, services)
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
        picture = inspect(decode_clients_base64(data) if isinstance(data, str) else data)
        notes = texts(picture)
    except BrokenPicture as broken:
        raise InvalidInput.at(job.path("image"), f"is not a usable picture: {broken}") from None
    text = picture.infotext or ""
    read = infotext.parse(text)
    return {
        "info": text,
        "items": {name: value for name, value in notes.items() if name not in _NOT_NOTES},
        "parameters": {"Prompt": read.prompt, "Negative prompt": read.negative_prompt, **read.fields} if text else {},
        "job": job_from(read.prompt, read.negative_prompt, read.fields) if text else {},
        "size": {"width": picture.width, "height": picture.height},
        "format": picture.format,
    }
