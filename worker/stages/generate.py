"""From settled names to pictures that are proven to be what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.budget import split
from worker.contract.job import Txt2Img
from worker.contract.kinds import Img2Img
from worker.contract.rules import first_size, largest_size
from worker.errors import IncompatibleModel, InvalidInput, NanImage, Problem, WrongResult
from worker.images.inspect import decode_base64, inspect, is_black
from worker.images.picture import BrokenPicture
from worker.stages.incoming import LARGEST_SIDE
from worker.telemetry.progress import Progress
from worker.webui import body, outcome, reach, tags
from worker.webui.applied import extras_of
from worker.webui.attach import attach
from worker.webui.parameters import DEFAULT_STEPS, refiner_takes_over
from worker.webui.resolve import ChosenLora

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.budget import Size
    from worker.contract.job import Generation
    from worker.images.picture import Picture
    from worker.stages.incoming import Incoming
    from worker.stages.prepare import Prepared
    from worker.telemetry.progress import ProgressSink
    from worker.webui.answer import Answer
    from worker.webui.backend import Backend
    from worker.webui.body import Expectation, Request
    from worker.webui.catalog import Catalog, Checkpoint
    from worker.webui.execute.generate import GenerationResponse

LARGEST_SEED = 2**32 - 1
"""Random seeds are drawn up to here."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Pictures and the truth about them.

    Attributes:
        applied: What made them, as the answer's `applied`.
        info: A1111's own `info`.
        checks: What the operator's image check saw; None: there is none.
        parts: Of a job with several prompts or seeds: what became of each.
    """

    pictures: tuple[Picture, ...]
    seeds: tuple[int, ...]
    applied: dict[str, Any]
    info: Mapping[str, Any]
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    extras: tuple[Picture, ...] = field(default=())
    parts: tuple[dict[str, Any], ...] = ()
    checks: tuple[dict[str, Any], ...] | None = None


def request_for(
    job: Generation, prepared: Prepared, incoming: Incoming, backend: Backend, *, max_pixels: int
) -> Request:
    """Return the WebUI request for `job`, whose seed is settled, so that a repeat after a crash makes the same picture.

    Raises:
        InvalidInput: a start picture makes a result that is too large for this endpoint, or the WebUI lacks an
            extension, a script or a model of theirs.
    """
    request = _plain_request(job, prepared, incoming, backend, max_pixels)
    request, problems = attach(request, job, backend.catalog, backend.plan.weights, incoming.units)
    if not problems:
        problems = [
            Problem(job.path("script.args"), f"{value} makes {size.width}x{size.height}; {_at_most(max_pixels)}")
            for value, size in reach.sizes(job, backend.catalog)
            if size.pixels > max_pixels
        ]
    if problems:
        raise InvalidInput(problems)
    return request


def _plain_request(
    job: Generation, prepared: Prepared, incoming: Incoming, backend: Backend, max_pixels: int
) -> Request:
    names, baseline, chosen = backend.catalog.names, backend.baseline, prepared.chosen
    seed = job.seed or 0
    if isinstance(job, Img2Img):
        size = incoming.size or first_size(job)
        if size.pixels > max_pixels:
            message = f"makes a result of {size.width}x{size.height}; {_at_most(max_pixels)}"
            raise InvalidInput.at(job.path("init_images[0]"), message)
        _refuse_the_enormous(job, incoming)
        size_of_batch = _largest(job, size, backend.catalog)
        batches = split(*size_of_batch, job.batch_size or 1, job.n_iter or 1, max_pixels)
        start = body.Start(incoming.images, size, incoming.mask, incoming.extra, incoming.result)
        return body.img2img(job, chosen, names, seed=seed, batches=batches, baseline=baseline, start=start)
    if not isinstance(job, Txt2Img):
        raise TypeError(type(job))
    size = largest_size(job)
    if size.pixels > max_pixels:  # what a publisher recommends may be more than this endpoint allows
        message = f"makes a picture of {size.width}x{size.height}; {_at_most(max_pixels)}"
        raise InvalidInput.at(job.path("width"), message)
    largest = _largest(job, size, backend.catalog)
    batches = split(*largest, job.batch_size or 1, job.n_iter or 1, max_pixels)
    return body.txt2img(job, chosen, names, seed=seed, batches=batches, baseline=baseline)


def _largest(job: Generation, size: Size, catalog: Catalog) -> tuple[int, int]:
    """Return width and height of the largest pictures that a batch has to hold, those of a plot included."""
    largest = max([size, *(each for _, each in reach.sizes(job, catalog))], key=lambda each: each.pixels)
    return largest.width, largest.height


def _at_most(max_pixels: int) -> str:
    return f"at most {max_pixels} pixels are allowed here"


def _refuse_the_enormous(job: Img2Img, incoming: Incoming) -> None:
    """Raise InvalidInput where tiles would make a picture that no memory holds: they know no limit of the GPU's."""
    own, tiles, tiled = incoming.own, job.ultimate_upscale, job.tiled_diffusion
    factors = {
        "ultimate_upscale": (tiles.scale or 2.0) if tiles is not None and tiles.width is None else 1.0,
        "tiled_diffusion": (tiled.scale or 2.0) if tiled is not None and tiled.upscaler is not None else 1.0,
    }
    for name, factor in factors.items():
        if own is not None and factor * max(own.width, own.height) > LARGEST_SIDE:
            size = f"{own.width * factor:.0f}x{own.height * factor:.0f}"
            message = f"makes a picture of {size}; at most {LARGEST_SIDE} a side are allowed"
            raise InvalidInput.at(job.path(f"{name}.scale"), message)


def examine(
    job: Generation, prepared: Prepared, request: Request, made: GenerationResponse, backend: Backend
) -> Generated:
    """Return the pictures of an answer after proving that they are what was asked for.

    Blocking (some milliseconds a picture): run it in a thread, outside the GPU's lock.

    Raises:
        WrongResult: something differs and the job does not say that a warning is enough.
        IncompatibleModel: a LoRA could not be applied to this checkpoint, likewise.
        InvalidInput: the refiner had no turn, likewise.
        ModelDamaged: the weights of an upscaler or face restorer could not be used, likewise.
        NanImage: every pixel of a picture is black.
    """
    answer, expect = made.answer, request.expect
    pictures, extras = _pictures(answer, expect)
    black = [index for index, picture in enumerate(pictures) if is_black(picture)]
    if black:
        raise NanImage(
            f"picture {black[0]} is black from edge to edge, which is what NaNs become",
            hint="Try another VAE, or a checkpoint in full precision.",
        )
    mismatches = [
        *outcome.answer_mismatches(expect, answer, backend.catalog),
        *outcome.picture_mismatches(expect, pictures, answer),
    ]
    log = outcome.read_log(made.log)
    error = (
        _unfit({**log.unfit, **made.found.unfit}, prepared, backend)
        or outcome.idle_upscalers(made.found.idle)
        or _unused_refiner(job, prepared, mismatches)
        or outcome.conclude(mismatches, log.complaints)
    )
    warnings = list(prepared.warnings)
    if error is not None:
        if job.on_mismatch != "warn":
            raise error
        warnings.append(error.message)
    return Generated(
        pictures=pictures,
        seeds=_seeds(answer, expect, pictures),
        applied=applied(answer, prepared, request, pictures, backend.catalog),
        info=answer.info,
        parameters=request.parameters(),
        warnings=tuple(warnings),
        extras=extras,
    )


def _unused_refiner(job: Generation, prepared: Prepared, mismatches: Sequence[outcome.Mismatch]) -> InvalidInput | None:
    """Return the client's mistake of a refiner whose turn never came, where that is all that differs."""
    if {each.what for each in mismatches} - {"Refiner"} or not mismatches or mismatches[0].got is not None:
        return None
    if prepared.chosen.refiner == prepared.chosen.checkpoint:
        return InvalidInput.at(job.path("refiner_checkpoint"), "is the checkpoint itself, which refines nothing")
    steps = job.steps or DEFAULT_STEPS
    if isinstance(job, Txt2Img) and job.enable_hr:
        steps = job.hr_second_pass_steps or steps
    if job.refiner_switch_at is not None and refiner_takes_over(job.refiner_switch_at, steps):
        return None
    message = f"the refiner never came in: no step is beyond {job.refiner_switch_at:g}; lower it, or take more steps"
    return InvalidInput.at(job.path("refiner_switch_at"), message)


def _unfit(unfit: Mapping[str, int], prepared: Prepared, backend: Backend) -> IncompatibleModel | None:
    if not unfit:
        return None
    checkpoint = prepared.chosen.checkpoint.name
    backend.unfit.update((checkpoint, lora) for lora in unfit)
    said = ", ".join(f"{lora!r}{f' ({layers} layers)' if layers else ''}" for lora, layers in sorted(unfit.items()))
    why = "the shapes do not fit" if all(unfit.values()) else "it changes nothing; do the shapes fit?"
    return IncompatibleModel(
        f"the WebUI could not apply LoRA {said} to checkpoint {checkpoint!r}: {why}",
        details={"checkpoint": checkpoint, "layers": dict(unfit)},
    )


def applied(
    answer: Answer, prepared: Prepared, request: Request, pictures: tuple[Picture, ...], catalog: Catalog
) -> dict[str, Any]:
    """Return what really made the pictures, by the WebUI's own words and the pictures' bytes."""
    info = answer.info
    sampler = str(info.get("sampler_name", ""))
    bases = dict(prepared.bases)
    clip_skip = info.get("clip_skip")
    text = (answer.infotexts[answer.first :] or ("",))[0]
    extras = extras_of(text, catalog.embeddings)
    made = _which(info.get("sd_model_name"), request.expect.checkpoint, catalog)
    alone = extras["refiner"] is not None and extras["refiner"].get("switch_at") == 0
    return {
        "checkpoint": extras["refiner"]["checkpoint"] if alone else made,
        "checkpoint_hash": None if alone else info.get("sd_model_hash") or prepared.checkpoint_hash,
        "vae": info.get("sd_vae_name"),
        "loras": [
            {"name": lora.name, "scale": lora.scale, "base_model": bases.get(lora.name)}
            for lora in (*request.expect.loras, *_of_styles(answer, request))
        ],
        "sampler": sampler or None,
        "scheduler": catalog.names.effective(sampler, answer.schedule()),
        "clip_skip": int(clip_skip) if isinstance(clip_skip, (int, float)) else None,
        "size": {"width": pictures[0].width, "height": pictures[0].height} if pictures else None,
        **extras,
    }


def _which(said: Any, asked: Checkpoint, catalog: Catalog) -> Any:
    """Return the checkpoint by the name that the WebUI said, by its path where that name is another's too."""
    several = said == asked.stem and sum(each.stem == said for each in catalog.checkpoints) > 1
    return asked.place if several else said


def _of_styles(answer: Answer, request: Request) -> list[ChosenLora]:
    """Return the LoRAs that the prompt's styles brought along, by the prompt that the WebUI says it read."""
    if not request.body.get("styles") or request.body.get("disable_extra_networks") or not answer.prompts:
        return []
    brought = [tag for tag in tags.parse(answer.prompts[0]) if tag.kind in tags.LORA_KINDS]
    own = {lora.name for lora in request.expect.loras}
    return [ChosenLora(tag.name, tag.scale, "styles") for tag in brought if tag.name not in own]


def on_state(request: Request, sink: ProgressSink) -> Any:
    """Return a function that turns the WebUI's progress into the job's."""
    images = request.expect.count

    def tell(state: Mapping[str, Any]) -> None:
        inner = state.get("state") or {}
        share = float(state.get("progress") or 0.0)
        done, batches = int(inner.get("job_no") or 0), int(inner.get("job_count") or 0)
        per_batch = max(1, images // batches) if batches > 0 else images
        sink(
            Progress(
                stage="generate",
                percent=5 + 85 * min(1.0, share),
                step=int(inner.get("sampling_step") or 0),
                steps=int(inner.get("sampling_steps") or request.steps),
                eta_s=max(0.0, float(state.get("eta_relative") or 0.0)),
                image=min(images, done * per_batch + 1),
                images=images,
                preview=state.get("current_image") or None,
            )
        )

    return tell


def _pictures(answer: Answer, expect: Expectation) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Return the pictures and what came after them. Grids before them are left out, but where a script makes them."""
    texts = answer.images if expect.free else answer.images[answer.first + expect.steps_back :]
    count = len(texts) if expect.free else expect.count
    found: list[Picture] = []
    for index, text in enumerate(texts):
        try:
            found.append(inspect(decode_base64(text), base64=text))
        except BrokenPicture as broken:
            raise WrongResult(
                f"picture {index} is damaged: {broken}", details={"picture": index, "of": len(texts)}
            ) from broken
    return tuple(found[:count]), tuple(found[count:])


def _seeds(answer: Answer, expect: Expectation, pictures: Sequence[Picture]) -> tuple[int, ...]:
    """Return a seed per picture; a script's pictures say their own, its grid has that of its first picture."""
    seeds, count = tuple(answer.seeds) or expect.seeds, len(pictures)
    if expect.seeds_of_tiles:
        return tuple(expect.seeds[0] + index for index in range(count))
    if not expect.free:
        return seeds[:count]
    grids = max(0, count - len(seeds)) if answer.first or count > len(seeds) else 0
    listed = (*seeds[:1] * grids, *seeds)[:count]
    own = [outcome.seed_of(picture) for picture in pictures]
    return tuple(seed if seed is not None else known for seed, known in zip(own, listed, strict=True))
