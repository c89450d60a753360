"""A settled job to the body of A1111's API: pure. What the client did not set is not sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.contract.rules.field_rules import final_size
from worker.webui.api_paths import IMG2IMG, TXT2IMG
from worker.webui.names import lora_tags
from worker.webui.request.parameters import DEFAULT_STEPS, asked_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.rules.sizes import Size
    from worker.contract.types.job import Generation, Txt2Img
    from worker.contract.types.kinds import Img2Img
    from worker.webui.names.catalog import Baseline, Checkpoint
    from worker.webui.names.lora_tags import ChosenLora
    from worker.webui.names.name_resolver import Chosen
    from worker.webui.names.samplers import SamplerTable, Sampling
    from worker.webui.request.parameters import Parameters

DEFAULT_SAMPLER = "Euler"
NOISE = "initial_noise_multiplier"


@dataclass(frozen=True, slots=True)
class Expectation:
    """The marks of an answer that show the picture that was asked for.

    Attributes:
        count: Pictures, grids and maps not counted.
        size: Pixels of every picture; None: not known beforehand.
        sampler, schedule: Names and effective label; None: whatever it is. Where nobody says, A1111 takes
            Euler and the schedule that goes with it.
        clip_skip: Layers; what is in force when nothing was asked.
        vae: ``sd_vae_name`` as it has to be: a file name; ``None`` (the string): the checkpoint's own; None: any that
            belongs to the checkpoint.
        seeds: Of each picture.
        loras: All that have to be applied, tags in the prompt included.
        pass_loras: LoRAs that ADetailer's passes read besides: the answer neither names nor proves them.
        names_loras: The answer names those of `loras` that were loaded, by their hashes.
        tags: Of the prompt as it was sent, each of which the WebUI has to have read.
        extras: ``extra_generation_params`` that have to be there, with their values.
        maps: Pictures that extensions add behind: a ControlNet unit that did not run adds none.
        steps_back: Pictures before the last that are not the result (a script's intermediate one).
        undiffused: A script makes the picture without diffusion, so that no model is named; only that it is there and
            whole is judged.
        from_picture: It starts from a picture, which may be of one colour or noise itself.
        tiled: A script redraws the picture tile by tile: its notes are those of a tile.
        parameters: Of the infotext, as far as the request settles them; None: not judged.
    """

    count: int
    checkpoint: Checkpoint
    clip_skip: int
    seeds: tuple[int, ...]
    size: Size | None = None
    sampler: str | None = None
    schedule: str | None = None
    vae: str | None = None
    loras: tuple[ChosenLora, ...] = ()
    pass_loras: tuple[ChosenLora, ...] = ()
    names_loras: bool = False
    tags: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    maps: int = 0
    steps_back: int = 0
    undiffused: bool = False
    from_picture: bool = False
    tiled: bool = False
    parameters: Parameters | None = None

    @property
    def models(self) -> list[str]:
        """The models that the WebUI has to have in memory, by names that tell them apart."""
        return [self.checkpoint.title, *(lora.name for lora in self.loras)]


@dataclass(frozen=True, slots=True)
class Request:
    """One request for pictures: where, what, and how to recognise the right answer."""

    path: str
    body: dict[str, Any]
    expect: Expectation
    steps: int

    @property
    def may_change_checkpoint(self) -> bool:
        """True where it may end with another checkpoint in memory than its own."""
        passes = self.body.get("alwayson_scripts", {}).get("ADetailer", {}).get("args", ())
        of_passes = any(isinstance(unit, dict) and unit.get("ad_checkpoint") for unit in passes)
        return of_passes or any(self.body.get(name) for name in ("refiner_checkpoint", "hr_checkpoint_name"))

    def parameters(self) -> dict[str, Any]:
        """Return the body as it is told to the client: pictures are named, not repeated."""
        return {name: _told(value, name) for name, value in self.body.items()}


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an img2img request.

    Attributes:
        images: base64 of PNGs.
        size: Of what is worked on, pixels.
        mask: base64; white is made anew.
        extra: Fields that follow from the pictures.
        result: Of what comes back, where that is another size.
    """

    images: tuple[str, ...]
    size: Size
    mask: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    result: Size | None = None


def txt2img(
    job: Txt2Img, chosen: Chosen, names: SamplerTable, *, seed: int, batches: tuple[int, int], baseline: Baseline
) -> Request:
    """Return the request for `job`.

    Args:
        job: The job.
        chosen: Its names and models, settled.
        names: Samplers and schedulers of the running WebUI.
        seed: Of the first picture, 0 or more; a random one is drawn by the caller, so that a repeat is identical.
        batches: ``(batch_size, n_iter)`` after the pixel budget.
        baseline: What holds where the job says nothing.
    """
    body = generation(job, chosen, seed=seed, batches=batches)
    extras: dict[str, Any] = {}
    final = final_size(job)
    _refiner(body, job, chosen, extras)
    if job.enable_hr:
        _sampling(body, chosen.hr_sampling, "hr_sampler_name", "hr_scheduler")
        if chosen.hr_upscaler is not None:
            body["hr_upscaler"] = extras["Hires upscaler"] = chosen.hr_upscaler
        if chosen.hr_checkpoint is not None:
            body["hr_checkpoint_name"] = chosen.hr_checkpoint.title
            extras["Hires checkpoint"] = chosen.hr_checkpoint
        if chosen.hr_sampling.sampler is not None and chosen.hr_sampling.sampler != (
            chosen.sampling.sampler or DEFAULT_SAMPLER
        ):
            extras["Hires sampler"] = chosen.hr_sampling.sampler
    return Request(
        TXT2IMG, body, _expectation(job, chosen, names, body, final, extras, baseline), steps=job.steps or DEFAULT_STEPS
    )


def img2img(
    job: Img2Img,
    chosen: Chosen,
    names: SamplerTable,
    *,
    seed: int,
    batches: tuple[int, int],
    baseline: Baseline,
    start: Start,
) -> Request:
    """Return the request for `job`, inpainting included, from `start`; the rest is as for `txt2img`."""
    body = generation(job, chosen, seed=seed, batches=batches)
    body |= {"init_images": list(start.images), "width": start.size.width, "height": start.size.height, **start.extra}
    if start.mask is not None:
        body["mask"] = start.mask
    noise = (job.override_settings or {}).get(NOISE)
    if noise is not None and NOISE not in body:  # as an option it comes too late (processing.py, __post_init__)
        body[NOISE] = noise
    extras: dict[str, Any] = {}
    _refiner(body, job, chosen, extras)
    return Request(
        IMG2IMG,
        body,
        _expectation(job, chosen, names, body, start.result or start.size, extras, baseline),
        steps=job.steps or DEFAULT_STEPS,
    )


def _refiner(body: dict[str, Any], job: Generation, chosen: Chosen, extras: dict[str, Any]) -> None:
    if chosen.refiner is None:
        return
    body["refiner_checkpoint"] = chosen.refiner.title
    # A1111 says nothing of a refiner that never gets its turn.
    if job.refiner_switch_at is not None and job.refiner_switch_at < 1:
        extras["Refiner"] = chosen.refiner


def generation(job: Generation, chosen: Chosen, *, seed: int, batches: tuple[int, int]) -> dict[str, Any]:
    """Return what txt2img and img2img have in common."""
    body = job.plain_fields()
    body["prompt"] = _with_loras(job.prompt, chosen)
    if body.get("hr_prompt"):  # the second pass has the LoRAs of its own prompt alone
        body["hr_prompt"] = _with_loras(body["hr_prompt"], chosen)
    body["seed"] = seed
    if batches != (1, 1) or "batch_size" in body or "n_iter" in body:
        body["batch_size"], body["n_iter"] = batches
    _sampling(body, chosen.sampling, "sampler_name", "scheduler")
    if chosen.styles is not None:
        body["styles"] = list(chosen.styles)
    overrides = {**(job.override_settings or {}), **chosen.options}
    overrides["sd_model_checkpoint"] = chosen.checkpoint.title
    if job.clip_skip is not None:
        overrides["CLIP_stop_at_last_layers"] = int(job.clip_skip)
    if chosen.vae is not None:
        overrides["sd_vae"] = chosen.vae
    body["override_settings"] = overrides
    return body


def with_baseline(request: Request, baseline: Baseline) -> Request:
    """Return the request with what holds where the job says nothing written out.

    Of a WebUI that others use as well: they may change its options at any time.
    """
    held = {"CLIP_stop_at_last_layers": baseline.clip_skip, "sd_vae": baseline.vae}
    asked = request.body.get("override_settings") or {}
    return replace(request, body={**request.body, "override_settings": {**held, **asked}})


def with_words(prompt: str, chosen: Chosen) -> str:
    """Return `prompt` with its tags as the WebUI knows them, between the trigger words."""
    parts = (*chosen.words_before, lora_tags.renamed(prompt, chosen.renamed), *chosen.words)
    return ", ".join(part for part in parts if part)


def _with_loras(prompt: str, chosen: Chosen) -> str:
    """Return `prompt` with the trigger words and the tags of the job's LoRAs."""
    text = with_words(prompt, chosen)
    written = (lora_tags.write(lora.name, lora.scale) for lora in chosen.loras)
    return " ".join(part for part in (text, *written) if part)


def _sampling(body: dict[str, Any], sampling: Sampling, sampler: str, scheduler: str) -> None:
    body.pop(sampler, None)
    body.pop(scheduler, None)
    if sampling.sampler is not None:
        body[sampler] = sampling.sampler
    if sampling.scheduler is not None:
        body[scheduler] = sampling.scheduler


def _expectation(
    job: Generation,
    chosen: Chosen,
    names: SamplerTable,
    body: Mapping[str, Any],
    final: Size | None,
    extras: Mapping[str, Any],
    baseline: Baseline,
) -> Expectation:
    count = int(body.get("batch_size", 1)) * int(body.get("n_iter", 1))
    seed = int(body["seed"])
    varied = bool(job.subseed_strength)
    vae = chosen.vae or baseline.vae
    return Expectation(
        count=count,
        checkpoint=chosen.checkpoint,
        clip_skip=job.clip_skip or baseline.clip_skip,
        seeds=tuple(seed if varied else seed + index for index in range(count)),
        size=final,
        sampler=chosen.sampling.sampler or DEFAULT_SAMPLER,
        schedule=names.effective(chosen.sampling.sampler or DEFAULT_SAMPLER, chosen.sampling.scheduler),
        vae=None if vae == "Automatic" else vae,
        loras=() if job.disable_extra_networks else _each_once(chosen),
        pass_loras=chosen.in_passes,
        names_loras=baseline.names_loras,
        tags=tuple(tag.text for tag in lora_tags.parse(body["prompt"])),
        extras=extras,
        from_picture="init_images" in body,
        parameters=asked_for(body),
    )


def _each_once(chosen: Chosen) -> tuple[ChosenLora, ...]:
    """Return every LoRA with each scale that it has; the prompts of both passes may name it."""
    return tuple({(lora.name, lora.scale): lora for lora in (*chosen.tagged, *chosen.loras)}.values())


_PICTURES = frozenset({"init_images", "mask", "image", "effective_region_mask"})


def _told(value: Any, name: str = "") -> Any:
    """Return `value` with every picture in it replaced by its length."""
    if isinstance(value, str):
        return f"<picture, {len(value)} characters>" if name in _PICTURES else value
    if isinstance(value, dict):
        return {key: _told(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_told(part, name) for part in value]
    return value
