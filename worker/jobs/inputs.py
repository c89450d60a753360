"""Inputs of a job: the pictures that it carries or points at, read, upright, opaque, fitted and encoded anew."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.contract.rules.sizes import Size
from worker.contract.types.job import Generation
from worker.contract.types.kinds import ControlMaps, Img2Img, Inpaint, Interrogate, Upscale
from worker.errors import InvalidInput
from worker.images.formats.picture import BrokenPicture
from worker.images.incoming import (
    Sides,
    as_mask,
    fitted,
    grown,
    infotext_of,
    is_empty,
    is_transparent,
    nearest_size,
    opaque,
    read_picture,
    to_base64,
    transparency_mask,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL.Image import Image

    from worker.contract.types.job import Job
    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.picture_source import PictureSource
    from worker.storage.object_store import StoreTarget

SMALLEST_SIDE = 64
LONGEST_ASKED = 2048
LARGEST_SIDE = 8192
"""Of a picture whose own size the result takes; what is really made is limited by the operator's pixels."""

_OVERLAP = 16
_STRETCH_LATENT = 3


@dataclass(frozen=True, slots=True)
class JobInputs:
    """The pictures that come with one job, base64 of PNGs of ours.

    Attributes:
        images: To start from.
        mask: White is made anew.
        masks: One for each of `images`, of jobs that have several.
        size: Of what is worked on, where the pictures decide; None without start pictures.
        own: Of the picture to start from.
        infotext: The notes of the picture to start from, if it has any.
        units: ``<unit>.image`` and the like, of ControlNet.
        extra: Fields that follow from the pictures (outpainting works on the whole picture).
        warnings: What was done to them that the client may not expect.
        result: Size of what comes back, where that is another.
    """

    images: tuple[str, ...] = ()
    mask: str | None = None
    size: Size | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    result: Size | None = None
    own: Size | None = None
    infotext: str | None = None
    masks: tuple[str, ...] = ()


NO_INPUTS = JobInputs()


class InputLoader:
    """Loads the pictures of jobs in threads; one for the worker's life.

    Args:
        source: Reads the pictures that a job points at.
        threads: For the reading and decoding.
        max_pixels: Of one picture.
    """

    def __init__(self, source: PictureSource, threads: JobThreads, *, max_pixels: int) -> None:
        self.source = source
        self._threads = threads
        self._max_pixels = max_pixels

    async def load(self, job: Job, context: JobContext) -> JobInputs:
        """Return the job's own pictures.

        Raises:
            InvalidInput: one can't be had or is no picture; names the field.
            DeadlineExceeded: the job's time was over first.
        """
        limits = {"target": context.target, "deadline": context.deadline, "max_pixels": self._max_pixels}
        work = self._threads.run(load_inputs, job, self.source, given=context.pictures, **limits)
        return await context.before_deadline(work, "its pictures were there")

    async def load_images(self, texts: Mapping[str, str], context: JobContext) -> dict[str, Image]:
        """Return the pictures that `texts` stand for, upright and opaque; both by the path of their field.

        Raises:
            InvalidInput, DeadlineExceeded: see `load`.
        """

        def load() -> dict[str, Image]:
            images = {}
            for path, text in texts.items():
                data = self.source.read(text, path, target=context.target, deadline=context.deadline)
                try:
                    images[path] = opaque(read_picture(data, max_pixels=self._max_pixels))
                except BrokenPicture as broken:
                    raise InvalidInput.at(path, f"is not a usable picture: {broken}") from None
            return images

        return await context.before_deadline(self._threads.run(load), "its pictures were there")


def load_inputs(
    job: Job,
    source: PictureSource,
    *,
    target: StoreTarget | None,
    deadline: float,
    max_pixels: int,
    given: Mapping[str, bytes],
) -> JobInputs:
    """Return the pictures of `job`, each of at most `max_pixels`, those that are `given` by the text for them.

    Raises:
        InvalidInput: one can't be had or is no picture; names the field.
    """
    unseen: list[str] = []
    notes: list[str | None] = []
    is_tiled = isinstance(job, (Img2Img, Upscale)) and job.tiles is not None

    def read(text: str, path: str) -> Image:
        data = given[text] if text in given else source.read(text, path, target=target, deadline=deadline)
        try:
            image = read_picture(data, max_pixels=max_pixels)
            notes.append(infotext_of(data, max_pixels=max_pixels) if is_tiled else None)
        except BrokenPicture as broken:
            raise InvalidInput.at(path, f"is not a usable picture: {broken}") from None
        if is_transparent(image):
            unseen.append(path)
        return image

    inputs = _read_all(job, read)
    if is_tiled:
        inputs = replace(inputs, infotext=notes[0])
    if not unseen or isinstance(job, Upscale):
        return inputs
    behind = _background(job) if isinstance(job, Img2Img) else "white"
    told = [f"{path} is wholly transparent: what is used is a {behind} picture" for path in unseen]
    return replace(inputs, warnings=(*inputs.warnings, *told))


def _read_all(job: Job, read: Callable[[str, str], Image]) -> JobInputs:
    if isinstance(job, Inpaint):
        return _inpaint(job, read)
    if isinstance(job, Img2Img):
        behind = _background(job)
        images = [opaque(read(text, job.path(f"init_images[{n}]")), behind) for n, text in enumerate(job.init_images)]
        size, warnings = _size(job, images[0])
        return JobInputs(
            tuple(to_base64(image) for image in images),
            size=size,
            units=_units(job, read),
            warnings=() if job.tiles is not None and job.width is None and job.height is None else warnings,
            own=Size(*images[0].size),
        )
    if isinstance(job, ControlMaps):
        images = [opaque(read(text, job.path(f"images[{n}]"))) for n, text in enumerate(job.images)]
        masks = [as_mask(read(text, job.path(f"masks[{n}]"))) for n, text in enumerate(job.masks or ())]
        return JobInputs(tuple(map(to_base64, images)), masks=tuple(map(to_base64, masks)))
    if isinstance(job, (Upscale, Interrogate)):
        image = read(job.image, job.path("image"))
        keeps_alpha = isinstance(job, Upscale) and image.mode == "RGBA"
        return JobInputs((to_base64(image if keeps_alpha else opaque(image)),), size=Size(*image.size))
    return JobInputs(units=_units(job, read)) if isinstance(job, Generation) and job.controlnet else NO_INPUTS


def _background(job: Img2Img) -> str:
    """Return the colour of what is transparent: the WebUI's option for it, which sees no transparency of ours."""
    return str((job.override_settings or {}).get("img2img_background_color") or "white")


def _inpaint(job: Inpaint, read: Callable[[str, str], Image]) -> JobInputs:
    image = opaque(read(job.init_images[0], job.path("init_images[0]")), _background(job))
    mask = None
    warnings: list[str] = []
    if job.mask is not None:
        path = job.path("mask")
        rounded = job.mask_round is not False
        drawn = read(job.mask, path)
        mask = transparency_mask(drawn) if job.mask_from_alpha else as_mask(drawn, rounded=rounded)
        if mask.size != image.size:
            warnings.append(f"{path}: is {mask.width}x{mask.height} and was scaled to the picture's {_told(image)}")
        mask = fitted(mask, image.size)
        if blank := _blank(mask, job, rounded=rounded):
            if not job.lenient:
                raise InvalidInput.at(path, blank)
            warnings.append(f"{path} {blank}")
            mask = mask if job.inpaint_full_res is False else None  # without one the WebUI works on the whole picture
    if job.outpaint is None:
        size, more = _size(job, image)
        _can_be_laid_over(job, size, image)
        result = Size(*image.size) if mask is not None and _is_put_back(job) else None
        text, told = None if mask is None else to_base64(mask), warnings if result else [*warnings, *more]
        return JobInputs((to_base64(image),), text, size, _units(job, read), warnings=tuple(told), result=result)
    if job.inpainting_mask_invert and mask is not None:
        mask = mask.point(lambda value: 255 - value)
    sides = job.outpaint
    room = Sides(sides.left or 0, sides.top or 0, sides.right or 0, sides.bottom or 0)
    base = image.resize(nearest_size(*image.size, low=SMALLEST_SIDE, high=LARGEST_SIDE)) if _odd(image) else image
    canvas, new = grown(base, mask, room, overlap=_OVERLAP)
    if max(canvas.size) > LARGEST_SIDE:
        message = f"makes a picture of {canvas.width}x{canvas.height}; at most {LARGEST_SIDE} a side are possible"
        raise InvalidInput.at(job.path("outpaint"), message)
    extra: dict[str, object] = {"inpainting_mask_invert": 0}
    if job.inpaint_full_res is None:
        extra["inpaint_full_res"] = False
    return JobInputs(
        (to_base64(canvas),), to_base64(new), Size(*canvas.size), _units(job, read), extra, tuple(warnings)
    )


def _blank(mask: Image, job: Inpaint, *, rounded: bool) -> str | None:
    """Return what is wrong with a mask without anything to be made anew, None where there is something."""
    if job.outpaint is not None:
        return None
    if job.inpainting_mask_invert:
        is_blank = is_empty(mask.point(lambda value: 255 - value), rounded=rounded)
        return "is white all over: with inpainting_mask_invert black is what is made anew" if is_blank else None
    if not is_empty(mask, rounded=rounded):
        return None
    kind = "opaque all over: what is transparent" if job.mask_from_alpha else "black all over: white is what"
    return f"is {kind} is made anew"


def _told(image: Image) -> str:
    return f"{image.width}x{image.height}"


def _is_put_back(job: Inpaint) -> bool:
    """Return whether the repainted part is put back into the picture, which then keeps its size (inpaint_full_res)."""
    return job.inpaint_full_res is not False and (job.override_settings or {}).get("overlay_inpaint") is not False


def _can_be_laid_over(job: Inpaint, size: Size, image: Image) -> None:
    """Raise InvalidInput where the WebUI would lay a picture over one of another size, and fail on it."""
    kept = job.resize_mode == _STRETCH_LATENT and job.inpaint_full_res is False
    if kept and image.size != (size.width, size.height):
        message = (
            f"3 leaves the picture at {image.width}x{image.height}, and can't put it behind what the mask makes anew"
        )
        raise InvalidInput.at(job.path("resize_mode"), f"{message} at {size.width}x{size.height}; send 0, 1 or 2")


def _odd(image: Image) -> bool:
    return image.size != nearest_size(*image.size, low=SMALLEST_SIDE, high=LARGEST_SIDE)


def _size(job: Img2Img, image: Image) -> tuple[Size, tuple[str, ...]]:
    """Return the size of the result: the client's, else the picture's own at the nearest multiple of 8."""
    if job.width is not None and job.height is not None:
        return Size(job.width, job.height), ()
    width, height = image.size
    if job.width is not None:
        width, height = job.width, round(image.height * job.width / image.width)
    elif job.height is not None:
        width, height = round(image.width * job.height / image.height), job.height
    if max(width, height) > LARGEST_SIDE + 3 or min(width, height) < SMALLEST_SIDE - 4:
        raise InvalidInput.at(
            job.path("init_images[0]"),
            f"is {image.width}x{image.height}, which makes a result of {width}x{height}; "
            f"send width and height ({SMALLEST_SIDE} to {LONGEST_ASKED})",
        )
    near = Size(*nearest_size(width, height, low=SMALLEST_SIDE, high=LARGEST_SIDE))
    if (near.width, near.height) == (width, height):
        return near, ()
    return near, (f"the result is {near.width}x{near.height}, the nearest multiples of 8 to {width}x{height}",)


def _units(job: Generation, read: Callable[[str, str], Image]) -> dict[str, str]:
    """Return the pictures of the ControlNet units that are on, by their place among those."""
    found: dict[str, str] = {}
    place = 0
    for index, unit in enumerate(job.controlnet or ()):
        if not unit.is_on:
            continue
        path = f"controlnet[{index}]"
        image = None if unit.image is None else opaque(read(unit.image, job.path(f"{path}.image")))
        if image is not None:
            found[f"{place}.image"] = to_base64(image)
        if unit.mask is not None:
            mask = as_mask(read(unit.mask, job.path(f"{path}.mask")))
            found[f"{place}.mask"] = to_base64(mask if image is None else fitted(mask, image.size))
        if unit.effective_region_mask is not None:
            region = as_mask(read(unit.effective_region_mask, job.path(f"{path}.effective_region_mask")))
            found[f"{place}.effective_region_mask"] = to_base64(region.convert("RGB"))  # it fails on grey
        place += 1
    return found
