"""Verification of the WebUI's answer: pictures that are proven to be what was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.contract.types.job import Txt2Img
from worker.errors import IncompatibleModel, InvalidInput, NanImage, WrongResult
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import decode_base64, inspect, is_black
from worker.jobs.results import Generated
from worker.webui.names import lora_tags
from worker.webui.names.name_resolver import ChosenLora
from worker.webui.request.parameters import DEFAULT_STEPS, refiner_takes_over
from worker.webui.result import verify as answer_checks
from worker.webui.result.applied import extras_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.job import Generation
    from worker.images.formats.picture import Picture
    from worker.jobs.prepare.prepare import PreparedModels
    from worker.webui.backend import Backend
    from worker.webui.execute.generate import GenerationResponse
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.request.body import Expectation, Request
    from worker.webui.result.response import WebUIResponse


def verify(
    job: Generation, models: PreparedModels, request: Request, made: GenerationResponse, backend: Backend
) -> Generated:
    """Return the pictures of an answer after proving that they are what was asked for.

    Blocking (some milliseconds a picture): to be run in a thread, without the GPU.

    Raises:
        WrongResult: something differs and the job does not say that a warning is enough.
        IncompatibleModel: a LoRA could not be applied to this checkpoint, likewise.
        InvalidInput: the refiner had no turn, likewise.
        ModelDamaged: the weights of an upscaler or face restorer could not be used, likewise.
        NanImage: every pixel of a picture is black.
    """
    answer = made.answer
    expect = _what_was_made(request.expect, answer) if made.is_cut_short else request.expect
    pictures, extras = _pictures(answer, expect)
    black = [index for index, picture in enumerate(pictures) if is_black(picture)]
    if black:
        raise NanImage(
            f"picture {black[0]} is black from edge to edge, which is what NaNs become",
            hint="Try another VAE, or a checkpoint in full precision.",
        )
    mismatches = [
        *answer_checks.answer_mismatches(expect, answer, backend.catalog),
        *([] if made.is_cut_short else answer_checks.picture_mismatches(expect, pictures, answer)),
    ]
    log = answer_checks.read_log(made.log)
    error = (
        _unfit({**log.unfit, **made.found.unfit}, models, backend)
        or answer_checks.idle_upscalers(made.found.idle)
        or answer_checks.stopped_loras(made.found.stopped)
        or _unused_refiner(job, models, mismatches)
        or answer_checks.conclude(mismatches, log.complaints)
    )
    warnings: tuple[str, ...] = ()
    if error is not None:
        if job.on_mismatch != "warn":
            raise error
        warnings = (error.message,)
    if made.is_cut_short:
        warnings = (*warnings, f"ended early by the client: {_told(len(pictures), request.expect.count)}")
    return Generated(
        pictures=pictures,
        seeds=(tuple(answer.seeds) or expect.seeds)[: len(pictures)],
        applied=applied(answer, models, request, pictures, backend.catalog),
        info=answer.info,
        parameters=request.parameters(),
        warnings=warnings,
        extras=() if made.is_cut_short else extras,
        is_whole=not made.is_cut_short,
    )


def _what_was_made(expect: Expectation, answer: WebUIResponse) -> Expectation:
    """Return the expectation of an answer that the client has ended early: fewer pictures, and unfinished ones."""
    begins = answer.first + expect.steps_back
    texts = answer.infotexts[begins:] or answer.images[begins:]
    return replace(expect, count=min(expect.count, len(texts)), maps=0, extras={}, parameters=None)


def _told(made: int, asked: int) -> str:
    return f"{made} of {asked} pictures, of which some may be unfinished"


def _unused_refiner(
    job: Generation, models: PreparedModels, mismatches: Sequence[answer_checks.Mismatch]
) -> InvalidInput | None:
    """Return the client's mistake of a refiner whose turn never came, where that is all that differs."""
    if {each.what for each in mismatches} - {"Refiner"} or not mismatches or mismatches[0].got is not None:
        return None
    if models.chosen.refiner == models.chosen.checkpoint:
        return InvalidInput.at(job.path("refiner_checkpoint"), "is the checkpoint itself, which refines nothing")
    steps = job.steps or DEFAULT_STEPS
    if isinstance(job, Txt2Img) and job.enable_hr:
        steps = job.hr_second_pass_steps or steps
    if job.refiner_switch_at is not None and refiner_takes_over(job.refiner_switch_at, steps):
        return None
    message = f"the refiner never came in: no step is beyond {job.refiner_switch_at:g}; lower it, or take more steps"
    return InvalidInput.at(job.path("refiner_switch_at"), message)


def _unfit(unfit: Mapping[str, int], models: PreparedModels, backend: Backend) -> IncompatibleModel | None:
    if not unfit:
        return None
    checkpoint = models.chosen.checkpoint.name
    backend.unfit.update((checkpoint, lora) for lora in unfit)
    said = ", ".join(f"{lora!r}{f' ({layers} layers)' if layers else ''}" for lora, layers in sorted(unfit.items()))
    why = "the shapes do not fit" if all(unfit.values()) else "it changes nothing; do the shapes fit?"
    return IncompatibleModel(
        f"the WebUI could not apply LoRA {said} to checkpoint {checkpoint!r}: {why}",
        details={"checkpoint": checkpoint, "layers": dict(unfit)},
    )


def applied(
    answer: WebUIResponse, models: PreparedModels, request: Request, pictures: tuple[Picture, ...], catalog: Catalog
) -> dict[str, Any]:
    """Return the models and values that really made the pictures, by the WebUI's answer and the pictures' bytes."""
    info = answer.info
    sampler = str(info.get("sampler_name", ""))
    bases = dict(models.bases)
    clip_skip = info.get("clip_skip")
    text = (answer.infotexts[answer.first :] or ("",))[0]
    extras = extras_of(text, catalog.embeddings)
    made = _which(info.get("sd_model_name"), request.expect.checkpoint, catalog)
    alone = extras["refiner"] is not None and extras["refiner"].get("switch_at") == 0
    return {
        "checkpoint": extras["refiner"]["checkpoint"] if alone else made,
        "checkpoint_hash": None if alone else info.get("sd_model_hash") or models.checkpoint_hash,
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


def _of_styles(answer: WebUIResponse, request: Request) -> list[ChosenLora]:
    """Return the LoRAs that the prompt's styles brought along, by the prompt that the WebUI says it read."""
    if not request.body.get("styles") or request.body.get("disable_extra_networks") or not answer.prompts:
        return []
    brought = [tag for tag in lora_tags.parse(answer.prompts[0]) if tag.kind in lora_tags.LORA_KINDS]
    own = {lora.name for lora in request.expect.loras}
    return [ChosenLora(tag.name, tag.scale, "styles") for tag in brought if tag.name not in own]


def _pictures(answer: WebUIResponse, expect: Expectation) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Return the pictures and what came after them. Grids before them are left out."""
    texts = answer.images[answer.first + expect.steps_back :]
    found: list[Picture] = []
    for index, text in enumerate(texts):
        try:
            found.append(inspect(decode_base64(text), base64=text))
        except BrokenPicture as broken:
            raise WrongResult(
                f"picture {index} is damaged: {broken}", details={"picture": index, "of": len(texts)}
            ) from broken
    return tuple(found[: expect.count]), tuple(found[expect.count :])
