"""Names in a job that are no models (samplers, styles, options), and its prompts, by the WebUI's listings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.contract.types.job import Txt2Img
from worker.errors import InvalidInput
from worker.webui.names import name_resolver, options, prompt_checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.contract.types.job import Generation
    from worker.errors import Problem
    from worker.jobs.prepare.resolved_models import ResolvedModel
    from worker.webui.backend import Backend
    from worker.webui.names.catalog import Catalog
    from worker.webui.names.samplers import Sampling


@dataclass(frozen=True, slots=True)
class JobNames:
    """The names in a job that are no models, as the WebUI spells them, and a problem for each that it does not know."""

    sampling: Sampling
    hr_sampling: Sampling
    hr_upscaler: str | None
    styles: tuple[str, ...] | None
    options: Mapping[str, Any]
    problems: tuple[Problem, ...]


def resolve_names(job: Generation, backend: Backend) -> JobNames:
    """Return the job's names. Raises InvalidInput where its prompts have too many tags to look at."""
    catalog, weights = backend.catalog, backend.plan.weights
    sampling, hr_sampling, problems = name_resolver.samplings(job, catalog)
    styles, wrong_styles = name_resolver.styles(job, catalog)
    spelt, wrong_options = options.settled(job, catalog, weights)
    _, wrong_tags = name_resolver.style_loras(job, styles or (), catalog)
    problems = [
        *problems,
        *wrong_styles,
        *wrong_tags,
        *wrong_options,
        *name_resolver.face_restorer(job, catalog, weights),
    ]
    hr_upscaler = None
    if isinstance(job, Txt2Img):
        hr_upscaler, wrong_upscaler = name_resolver.upscaler(job, catalog, weights)
        problems += wrong_upscaler
    positive, negative = texts_of(job)
    if crowd := name_resolver.crowded([*positive, *negative]):
        raise InvalidInput([*problems, *crowd])
    return JobNames(sampling, hr_sampling, hr_upscaler, styles, spelt, tuple(problems))


def prompt_warnings(
    texts: Sequence[tuple[str, str]],
    models: Iterable[ResolvedModel],
    catalog: Catalog,
    styles: Sequence[str],
    *,
    loaded: bool,
) -> list[str]:
    """Return warnings about the prompts: embeddings that do nothing, and texts of more than one part.

    Args:
        texts: ``(path in the job, prompt)``.
        models: The job's files.
        catalog: The WebUI's listings.
        styles: By their listed names.
        loaded: The catalog was read while the job's checkpoint was loaded, so that its word on embeddings holds.
    """
    skipped = catalog.skipped_embeddings if loaded else ()
    brought = [(model.path, model.name) for model in models if model.kind == "embedding"]
    idle = prompt_checks.unused(brought, [*(text for _, text in texts), *catalog.texts_of(styles)])
    there = {*catalog.embeddings, *catalog.skipped_embeddings, *(name for _, name in brought)}
    absent = prompt_checks.absent(texts, there)
    return [*prompt_checks.skipped(texts, skipped), *absent, *prompt_checks.long_ones(texts), *idle]


def texts_of(job: Generation) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the job's prompts and its negative prompts, ``(path, text)`` each."""
    positive = [(job.path("prompt"), job.prompt or "")]
    negative = [(job.path("negative_prompt"), job.negative_prompt or "")]
    if isinstance(job, Txt2Img) and job.enable_hr:
        positive.append((job.path("hr_prompt"), job.hr_prompt or ""))
        negative.append((job.path("hr_negative_prompt"), job.hr_negative_prompt or ""))
    return positive, negative
