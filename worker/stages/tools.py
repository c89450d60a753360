"""Jobs on pictures that do not diffuse: upscale, interrogate, read a picture's notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.contract.again import job_from
from worker.contract.budget import Size
from worker.errors import InvalidInput, WrongResult
from worker.images import infotext
from worker.images.degenerate import is_one_colour
from worker.images.inspect import decode_base64, inspect
from worker.images.picture import BrokenPicture
from worker.images.pixels import texts
from worker.stages.generate import Generated
from worker.webui import extras, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.kinds import PngInfo, Upscale
    from worker.images.picture import Picture
    from worker.stages.incoming import Incoming
    from worker.webui.backend import Backend
    from worker.webui.extras import Upscaling

_NOT_NOTES = frozenset({"parameters", "UserComment", "exif", "icc_profile"})


@dataclass(frozen=True, slots=True)
class Upscaled:
    """An upscaled picture, what the WebUI says about it, and what is not as asked for but may be."""

    picture: Picture
    html_info: str
    warnings: tuple[str, ...] = ()


def upscaling(job: Upscale, incoming: Incoming, backend: Backend) -> Upscaling:
    """Return the WebUI request for `job`.

    Raises:
        InvalidInput: an upscaler that is not there.
    """
    if incoming.size is None:
        raise AssertionError("an upscale job has a picture")
    asked, problems = extras.upscaling(job, incoming.images[0], incoming.size, backend.catalog, backend.plan.weights)
    if problems:
        raise InvalidInput(problems)
    return asked


def upscaled(job: Upscale, asked: Upscaling, content: Any) -> Upscaled:
    """Return the picture in the WebUI's answer to `asked`.

    Raises:
        WrongResult: there is none, a damaged one, or another than was asked for and the job does not say that a
            warning is enough.
    """
    text = content.get("image") if isinstance(content, dict) else None
    if not isinstance(text, str):
        raise WrongResult("the WebUI's answer has no picture")
    try:
        picture = inspect(decode_base64(text), base64=text)
    except BrokenPicture as broken:
        raise WrongResult(f"the upscaled picture is damaged: {broken}") from broken
    if is_one_colour(picture) and not is_one_colour(inspect(decode_base64(str(asked.body["image"])))):
        raise WrongResult("the upscaled picture is of one colour from edge to edge, and the one that was sent is not")
    html_info = str(content.get("html_info", ""))
    try:
        extras.check_upscaled(asked, Size(picture.width, picture.height), html_info)
    except WrongResult as error:
        if job.on_mismatch != "warn":
            raise
        return Upscaled(picture, html_info, (error.message,))
    return Upscaled(picture, html_info)


def examined(job: Upscale, asked: Upscaling, made: Upscaled, idle: Sequence[str]) -> Generated:
    """Return the result of an upscale job after proving that its upscalers were at work.

    Args:
        job: The job.
        asked: The request.
        made: Its answer.
        idle: Its upscalers that were seen to do nothing.

    Raises:
        ModelDamaged: one did nothing, and the job does not say that a warning is enough.
    """
    warnings = list(made.warnings)
    damaged = outcome.idle_upscalers(idle)
    if damaged is not None:
        if job.on_mismatch != "warn":
            raise damaged
        warnings.append(damaged.message)
    picture = made.picture
    return Generated(
        pictures=(picture,),
        seeds=(0,),
        applied={
            "upscalers": list(asked.upscalers),
            "size": {"width": picture.width, "height": picture.height},
        },
        info={"html_info": made.html_info},
        parameters=asked.told(),
        warnings=tuple(warnings),
    )


def read_notes(job: PngInfo, data: bytes | str) -> dict[str, Any]:
    """Return what a picture file says about how it was made, and the job that makes it again.

    Raises:
        InvalidInput: it is no whole picture.
    """
    try:
        picture = inspect(decode_base64(data) if isinstance(data, str) else data)
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
