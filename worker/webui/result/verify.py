"""Verification of the WebUI's answer: pictures that are proven to be what was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.contract.types.job import Txt2Img
from worker.errors import IncompatibleModel, InvalidInput, ModelDamaged, NanImage, WorkerError, WrongResult
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import decode_base64, inspect, is_black
from worker.webui.request.parameters import DEFAULT_STEPS
from worker.webui.result.applied import applied
from worker.webui.result.failures import swallowed
from worker.webui.result.mismatches import answer_mismatches, picture_mismatches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.job import Generation
    from worker.images.formats.picture import Picture
    from worker.webui.backend import Backend
    from worker.webui.names.name_resolver import Chosen
    from worker.webui.request.body import Expectation, Request
    from worker.webui.result.mismatches import Mismatch
    from worker.webui.result.response import GenerationResponse, WebUIResponse

_UNFIT_LAYER = re.compile(r"\bNetwork (.+?) layer \S+: ")
_COMPLAINT = re.compile(
    r"^\*\*\* (?!API error: )|^generating image for [^:]+: \w+$"
    r"|^Lora not found: |Couldn't find network with name|Couldn't find VAE named"
    r"|Skipping unknown extra network|^(?:de)?activating (?:unmentioned )?extra network |^loading network "
    r"|^Unable to load Textual inversion|Unable to load face-restoration model|Failed face-restoration inference"
)
"""An API error is not among them: it was answered with 500, and its lines may come when the next job has begun."""
_UNREADABLE = ("SafetensorError", "UnpicklingError", "EOFError", "BadZipFile", "FileNotFoundError", "URLError")
"""Exceptions of a file that can't be read, or that is not there and can't be fetched."""
_WEIGHTS = re.compile(
    rf"Error verifying pickled file|(?:Unable to load|Failed loading) [\w-]+ model|^(?:{'|'.join(_UNREADABLE)}): "
)
WEIGHTS_HINT = "Its file is broken, missing, or of a format that A1111 refuses: replace it, or name another one."
_REPORT = "*** "


@dataclass(frozen=True, slots=True)
class VerifiedPictures:
    """Pictures that are what was asked for.

    Attributes:
        pictures: Those that were asked for, in order.
        extras: Those that came after them.
        seeds: One for each.
        applied: The models and values that made them.
        warnings: A difference that the client lets pass.
    """

    pictures: tuple[Picture, ...]
    extras: tuple[Picture, ...]
    seeds: tuple[int, ...]
    applied: dict[str, Any]
    warnings: tuple[str, ...]


def verify(
    made: GenerationResponse, request: Request, *, job: Generation, chosen: Chosen, backend: Backend
) -> VerifiedPictures:
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
        *answer_mismatches(expect, answer, backend.catalog),
        *([] if made.is_cut_short else picture_mismatches(expect, pictures, answer)),
    ]
    log = read_log(made.log)
    error = (
        _unfit({**log.unfit, **made.found.unfit}, request, backend)
        or idle_upscalers(made.found.idle)
        or stopped_loras(made.found.stopped)
        or _unused_refiner(job, mismatches)
        or conclude(mismatches, log.complaints)
    )
    warnings: tuple[str, ...] = ()
    if error is not None:
        if job.on_mismatch != "warn":
            raise error
        warnings = (error.message,)
    if made.is_cut_short:
        warnings = (*warnings, f"ended early by the client: {_told(len(pictures), request.expect.count)}")
    return VerifiedPictures(
        pictures,
        () if made.is_cut_short else extras,
        seeds=(tuple(answer.seeds) or expect.seeds)[: len(pictures)],
        applied=applied(answer, request, pictures, chosen, backend.catalog),
        warnings=warnings,
    )


@dataclass(frozen=True, slots=True)
class LogFindings:
    """Failures in the WebUI's log during a job that was answered with 200.

    Attributes:
        unfit: Layers that a LoRA could not be applied to, by LoRA.
        complaints: Lines about LoRAs not found, failed extension hooks, failed upscalers and face restorers.
    """

    unfit: Mapping[str, int]
    complaints: tuple[str, ...]


def _what_was_made(expect: Expectation, answer: WebUIResponse) -> Expectation:
    """Return the expectation of an answer that the client has ended early: fewer pictures, and unfinished ones."""
    begins = answer.first + expect.steps_back
    texts = answer.infotexts[begins:] or answer.images[begins:]
    return replace(expect, count=min(expect.count, len(texts)), maps=0, extras={}, parameters=None)


def _told(made: int, asked: int) -> str:
    return f"{made} of {asked} pictures, of which some may be unfinished"


def read_log(lines: Sequence[str]) -> LogFindings:
    """Return what the log says; with ``--loglevel DEBUG`` it is the only proof that LoRAs were applied.

    Source: `extensions-builtin/Lora/networks.py`, `modules/errors.py` and `modules/scripts.py` of A1111 v1.10.1.
    """
    unfit: dict[str, int] = {}
    complaints: list[str] = []
    before = ""
    for line in lines:
        layer = _UNFIT_LAYER.search(line)
        if layer:
            unfit[layer.group(1)] = unfit.get(layer.group(1), 0) + 1
        elif _COMPLAINT.search(line) and not (line.startswith(_REPORT) and before.startswith(_REPORT)):
            complaints.append(line.removeprefix(_REPORT).strip()[:300])
        before = line
    if complaints:
        raised = [f"{each.kind}: {each.message}"[:300] for each in swallowed(lines) if each.kind in _UNREADABLE]
        complaints += raised
    return LogFindings(unfit, tuple(dict.fromkeys(complaints)))


def conclude(mismatches: Sequence[Mismatch], complaints: Sequence[str]) -> WorkerError | None:
    """Return the error that these findings amount to, None when there are none."""
    if not mismatches and not complaints:
        return None
    broken = [line for line in complaints if _WEIGHTS.search(line)]
    if broken:  # a second run would not mend the file
        missed = "".join(f"{mismatch}; " for mismatch in mismatches)
        message = f"{missed}the WebUI could not load a model's weights; its log says: {'; '.join(broken)}"
        return ModelDamaged(message, hint=WEIGHTS_HINT, details={"log": list(complaints)})
    said = [str(mismatch) for mismatch in mismatches] + [f"the WebUI's log says: {line}" for line in complaints]
    return WrongResult(
        "; ".join(said),
        details={
            "mismatches": [{"what": m.what, "asked": m.asked, "got": m.got} for m in mismatches],
            "log": list(complaints),
        },
    )


def idle_upscalers(names: Sequence[str]) -> ModelDamaged | None:
    """Return the error for upscalers that were seen to do nothing, None where there are none."""
    if not names:
        return None
    said = ", ".join(map(repr, names))
    return ModelDamaged(f"upscaler {said} only resized the picture: its weights could not be used", hint=WEIGHTS_HINT)


def stopped_loras(names: Sequence[str]) -> WrongResult | None:
    """Return the error for LoRAs that the WebUI has stopped applying, None where there are none."""
    if not names:
        return None
    said = ", ".join(map(repr, names))
    return WrongResult(
        f"LoRA {said} has no effect any more, though it had before: the WebUI applies none",
        details={"mismatches": [{"what": "LoRAs that had an effect", "asked": list(names), "got": []}]},
    )


def _unused_refiner(job: Generation, mismatches: Sequence[Mismatch]) -> InvalidInput | None:
    """Return the client's mistake of a refiner whose turn never came, where that is all that differs."""
    if {each.what for each in mismatches} - {"Refiner"} or not mismatches or mismatches[0].got is not None:
        return None
    steps = job.steps or DEFAULT_STEPS
    if isinstance(job, Txt2Img) and job.enable_hr:
        steps = job.hr_second_pass_steps or steps
    if job.refiner_switch_at is not None and refiner_takes_over(job.refiner_switch_at, steps):
        return None
    message = f"the refiner never came in: no step is beyond {job.refiner_switch_at:g}; lower it, or take more steps"
    return InvalidInput.at(job.path("refiner_switch_at"), message)


def refiner_takes_over(switch_at: float, steps: int) -> bool:
    """Return whether a refiner surely has a turn, whatever the schedule.

    A1111 asks before each step how far the noise has gone down. The coarsest schedules (SGM Uniform, Simple) are at
    ``1 - 1/steps`` before their last step, the others nearer to 1.
    """
    return switch_at <= 1 - 1 / steps


def _unfit(unfit: Mapping[str, int], request: Request, backend: Backend) -> IncompatibleModel | None:
    if not unfit:
        return None
    checkpoint = request.expect.checkpoint.name
    if not request.may_change_checkpoint:  # else it may be another one that the LoRA does not fit
        backend.incompatible_loras.update((checkpoint, lora) for lora in unfit)
    said = ", ".join(f"{lora!r}{f' ({layers} layers)' if layers else ''}" for lora, layers in sorted(unfit.items()))
    why = "the shapes do not fit" if all(unfit.values()) else "it changes nothing; do the shapes fit?"
    return IncompatibleModel(
        f"the WebUI could not apply LoRA {said} to checkpoint {checkpoint!r}: {why}",
        details={"checkpoint": checkpoint, "layers": dict(unfit)},
    )


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
