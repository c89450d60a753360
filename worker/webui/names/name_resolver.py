"""A typed job and the WebUI's listings to names that the WebUI will not replace: pure, all mistakes at once.

A1111 v1.10.1 skips an unknown hypernetwork (`extra_networks_hypernet.py`) and face restorer (`face_restoration.py`) in
silence, replaces an unknown upscaler by a plain resize (`images.py`), and downloads the small VAE in the middle of a
job (`sd_vae_taesd.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.contract.rules.pass_prompts import pass_prompts, written_in_passes
from worker.contract.rules.prompt_syntax import passes_of
from worker.contract.types.job import Txt2Img
from worker.errors import InvalidInput, Problem
from worker.webui.names import lora_tags
from worker.webui.names.samplers import NO_SAMPLING, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.contract.rules.pass_prompts import PassPrompt
    from worker.contract.types.job import Generation
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.names.lora_tags import ChosenLora
    from worker.webui.names.weights import Weights

DEFAULT_FACE_RESTORER = "CodeFormer"
_NONE = "None"
_SMALL = "TAESD"
_PARTS = {"sd_vae_decode_method": "decoder", "sd_vae_encode_method": "encoder"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Every model and name of one job as the WebUI knows it; None where the client said nothing.

    Attributes:
        vae: The option's value (file name with ending, ``None`` or ``Automatic``).
        words: Trigger words to put into the prompt.
        renamed: The WebUI's name by name in a prompt's tag, where they differ.
        options: Overridden options that name something, as the WebUI spells it.
        styled: LoRAs that the prompts of its styles name.
        in_passes: LoRAs that prompts of ADetailer's passes name; its answers say nothing of them.
        base_models: Base model by LoRA, where known.
        checkpoint_sha256: Of the checkpoint's file, where known.
    """

    checkpoint: Checkpoint
    sampling: Sampling = NO_SAMPLING
    hr_sampling: Sampling = NO_SAMPLING
    vae: str | None = None
    loras: tuple[ChosenLora, ...] = ()
    tagged: tuple[ChosenLora, ...] = ()
    words_before: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    refiner: Checkpoint | None = None
    hr_checkpoint: Checkpoint | None = None
    hr_upscaler: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    styles: tuple[str, ...] | None = None
    styled: tuple[ChosenLora, ...] = ()
    in_passes: tuple[ChosenLora, ...] = ()
    base_models: Mapping[str, str] = field(default_factory=dict)
    checkpoint_sha256: str | None = None

    @property
    def applied_loras(self) -> tuple[ChosenLora, ...]:
        """Every LoRA that the WebUI will apply: of tags, of the job's list, and of its styles."""
        return (*self.tagged, *self.loras, *self.styled)


@dataclass(frozen=True, slots=True)
class JobNames:
    """The names in a job that are no models, as the WebUI spells them.

    Attributes:
        prompts: The prompts of its passes, ``(path in the job, text)``.
        negative_prompts: Likewise.
        pass_prompts: The parts of the prompts of ADetailer's passes.
        negative_pass_prompts: Likewise.
        tags: The tags in the prompts that the WebUI reads, ``(path in the job, tag)``.
        styled: The LoRAs that the prompts of its styles name.
        warnings: For the client.
        problems: One for each name that the WebUI does not know.
    """

    prompts: Sequence[tuple[str, str]]
    negative_prompts: Sequence[tuple[str, str]]
    pass_prompts: Sequence[PassPrompt]
    negative_pass_prompts: Sequence[PassPrompt]
    tags: Sequence[tuple[str, lora_tags.Tag]]
    styled: tuple[ChosenLora, ...]
    warnings: Sequence[str]
    sampling: Sampling
    hr_sampling: Sampling
    hr_upscaler: str | None
    styles: tuple[str, ...] | None
    options: Mapping[str, Any]
    problems: tuple[Problem, ...]


def resolve_names(job: Generation, catalog: Catalog, weights: Weights | None) -> JobNames:
    """Return the job's names. Raises InvalidInput where its prompts have too many tags to look at.

    Args:
        job: The job.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown.
    """
    sampling, hr_sampling, problems = samplings(job, catalog)
    chosen_styles, wrong_styles = styles(job, catalog)
    options, wrong_options = _options(job, catalog, weights)
    is_read = not job.disable_extra_networks  # else the WebUI takes the tags out and does nothing with them
    styled, wrong_tags = lora_tags.style_loras(job, chosen_styles or (), catalog) if is_read else ((), [])
    problems = [*problems, *wrong_styles, *wrong_tags, *wrong_options, *face_restorer(job, catalog, weights)]
    hr_upscaler = None
    if isinstance(job, Txt2Img):
        hr_upscaler, wrong_upscaler = upscaler(job, catalog, weights)
        problems += wrong_upscaler
    positive, negative = passes_of(job)
    written = [(job.path(field), text) for field, text in written_in_passes(job)] if job.adetailer else []
    if crowd := lora_tags.crowded([*positive, *negative, *written]):
        raise InvalidInput([*problems, *crowd])
    in_passes, negative_in_passes = pass_prompts(job) if job.adetailer else ([], [])
    read = [*(positive if is_read else ()), *((each.path, each.text) for each in in_passes)]
    return JobNames(
        prompts=positive,
        negative_prompts=negative,
        pass_prompts=in_passes,
        negative_pass_prompts=negative_in_passes,
        tags=[(path, tag) for path, text in read for tag in lora_tags.parse(text)],
        styled=styled,
        warnings=[*unproven_faces(job, weights), *_read_in_passes(job, in_passes)],
        sampling=sampling,
        hr_sampling=hr_sampling,
        hr_upscaler=hr_upscaler,
        styles=chosen_styles,
        options=options,
        problems=tuple(problems),
    )


def known(value: str, candidates: Iterable[str], path: str, what: str) -> tuple[str | None, list[Problem]]:
    """Return the candidate that `value` means (exactly, else the only one equal but for case), or a problem."""
    names = list(candidates)
    if value in names:
        return value, []
    folded = [name for name in names if name.casefold() == value.casefold()]
    if len(folded) == 1:
        return folded[0], []
    listed = ", ".join(names[:40]) or "none is installed"
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""  # noqa: PLR2004 - a line's worth
    return None, [Problem(path, f"unknown {what} {value!r}; known: {listed}{more}", nearest(value, names))]


def samplings(job: Generation, catalog: Catalog) -> tuple[Sampling, Sampling, list[Problem]]:
    """Return the samplers and schedulers of the first and second pass."""
    first = second = NO_SAMPLING
    problems: list[Problem] = []
    if job.sampler_name or job.scheduler:
        first, problems = catalog.samplers.resolve(
            job.sampler_name,
            job.scheduler,
            sampler_path=job.path("sampler_name"),
            scheduler_path=job.path("scheduler"),
        )
    hr_sampler = getattr(job, "hr_sampler_name", None)
    hr_scheduler = getattr(job, "hr_scheduler", None)
    if hr_sampler or hr_scheduler:
        second, more = catalog.samplers.resolve(
            hr_sampler,
            hr_scheduler,
            sampler_path=job.path("hr_sampler_name"),
            scheduler_path=job.path("hr_scheduler"),
        )
        problems += more
    return first, second, problems


def upscaler(job: Txt2Img, catalog: Catalog, weights: Weights | None) -> tuple[str | None, list[Problem]]:
    """Return the hires upscaler by its listed name.

    Args:
        job: The job.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown. An upscaler without its weights would be replaced by a plain
            resize, silently.
    """
    if not job.hr_upscaler:
        return None, []
    path = job.path("hr_upscaler")
    return upscaler_meant(
        job.hr_upscaler, [*catalog.latent_upscalers, *(u.name for u in catalog.upscalers)], catalog, weights, path
    )


def upscaler_meant(
    name: str, names: Sequence[str], catalog: Catalog, weights: Weights | None, path: str
) -> tuple[str | None, list[Problem]]:
    """Return the one of the listed `names` that is meant, or a problem that offers those with weights alone."""
    found, _ = known(name, names, path, "upscaler")
    if found is not None:
        return found, missing_upscaler(found, catalog, weights, path)
    without = {u.name for u in catalog.upscalers if weights is not None and weights.of_upscaler(u) is not None}
    return known(name, [each for each in names if each not in without], path, "upscaler")


def missing_upscaler(name: str, catalog: Catalog, weights: Weights | None, path: str) -> list[Problem]:
    """Return a problem when upscaler `name` is listed but its weights are not on this machine."""
    row = next((u for u in catalog.upscalers if u.name == name), None)
    missing = weights.of_upscaler(row) if row is not None and weights is not None else None
    if missing is None or weights is None:
        return []
    ready = [u.name for u in catalog.upscalers if weights.of_upscaler(u) is None]
    return [Problem(path, f"the weights of {name!r} ({missing}) are not installed; installed: {', '.join(ready)}")]


def face_restorer(job: Generation, catalog: Catalog, weights: Weights | None) -> list[Problem]:
    """Return a problem when faces are to be restored by a model whose weights are not on this machine."""
    if not job.restore_faces:
        return []
    name = str((job.override_settings or {}).get("face_restoration_model") or DEFAULT_FACE_RESTORER)
    found, problems = known(name, catalog.face_restorers, job.path("restore_faces"), "face restorer")
    if problems and "face_restoration_model" in (job.override_settings or {}):
        return []  # told with the option
    missing = weights.of_face_restorer(found) if found is not None and weights is not None else None
    if missing is None:
        return problems
    return [Problem(job.path("restore_faces"), f"the weights of {found} are not installed (models/{missing} is empty)")]


def unproven_faces(job: Generation, weights: Weights | None) -> list[str]:
    """Return a warning where nobody can tell whether faces are restored: the WebUI says so even without weights."""
    if not job.restore_faces or weights is not None:
        return []
    return [f"{job.path('restore_faces')}: whether this WebUI has the weights for it can't be seen from here"]


def _read_in_passes(job: Generation, in_passes: Sequence[PassPrompt]) -> list[str]:
    """Return a warning where passes read tags of the job's prompt although it has them switched off."""
    if not (job.disable_extra_networks and any(each.takes_main for each in in_passes)):
        return []
    if not (job.loras or any(tag.kind in lora_tags.LORA_KINDS for tag in lora_tags.parse(job.prompt))):
        return []
    path, passes = job.path("disable_extra_networks"), job.path("adetailer")
    return [f"{path}: ADetailer's passes apply the LoRAs of the job's prompt all the same; give {passes} prompts"]


def styles(job: Generation, catalog: Catalog) -> tuple[tuple[str, ...] | None, list[Problem]]:
    """Return the styles by their listed names."""
    if job.styles is None:
        return None, []
    chosen, problems = [], []
    for index, style in enumerate(job.styles):
        found, more = known(style, catalog.styles, f"{job.path('styles')}[{index}]", "style")
        problems += more
        if found is not None:
            chosen.append(found)
    return tuple(chosen), problems


def _options(job: Generation, catalog: Catalog, weights: Weights | None) -> tuple[Mapping[str, Any], list[Problem]]:
    """Return the options that the WebUI would not know as the job spells them, and a problem for each it lacks.

    Args:
        job: The job.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown.
    """
    given = job.override_settings or {}
    names = {
        "face_restoration_model": ("face restorer", catalog.face_restorers),
        "sd_hypernetwork": ("hypernetwork", (_NONE, *catalog.hypernetworks)),
        "upscaler_for_img2img": ("upscaler", tuple(upscaler.name for upscaler in catalog.upscalers)),
    }
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for option, (what, listed) in names.items():
        if option not in given:
            continue
        path = f"{job.path('override_settings')}.{option}"
        name, more = known(str(given[option]), listed, path, what)
        problems += more
        if name is not None:
            found[option] = name
            if option == "upscaler_for_img2img":
                problems += missing_upscaler(name, catalog, weights, path)
    for option, part in _PARTS.items():
        if given.get(option) == _SMALL and weights is not None and not weights.has_small_vae(part):
            path = f"{job.path('override_settings')}.{option}"
            problems.append(Problem(path, f"the weights of {_SMALL} are not installed (models/VAE-taesd)", "Full"))
    return found, problems
