"""Dry runs: the requests, the fetches and the cost of a job, without doing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.accept import accept, inside
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Interrogate, Prefetch, Upscale
from worker.errors import ClientError, InvalidInput
from worker.jobs.generation import PreparedJob
from worker.jobs.kinds import upscaling, volume_models
from worker.webui.request import upscale as extras

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.job import Job
    from worker.contract.types.kinds import Validate
    from worker.contract.types.model_ref import ModelRef
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.models.store import ModelStore
    from worker.settings import ModelKind
    from worker.webui.request.body import Request


@dataclass(slots=True)
class DryRun:
    """The findings about a job that was not run."""

    requests: list[Request] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    fetch: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self, kind: str) -> dict[str, Any]:
        """Return the answer of `validate`."""
        sizes = [request.expect.size for request in self.requests]
        pixels = [size.pixels if size is not None else 0 for size in sizes]
        return {
            "valid": True,
            "type": kind,
            "requests": [
                *({"path": request.path, "body": request.parameters()} for request in self.requests),
                *self.calls,
            ],
            "fetch": self.fetch,
            "cost": cost([request.body for request in self.requests], pixels),
            "warnings": list(dict.fromkeys(self.warnings)),
        }


async def validate(job: Validate, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return the requests, fetches and cost of the job inside `job`.

    Raises:
        InvalidInput, ModelNotFound, IncompatibleModel: it would fail; every mistake of all its parts.
    """
    accepted = accept(
        job.job,
        limits=services.limits,
        presets=services.operator.presets,
        unknown_fields=services.unknown_fields,
    )
    inner = accepted.job
    try:
        await services.delivery.admit(inner, context)
        dry = await _dry_run(inner, context, services)
    except InvalidInput as error:
        raise inside(accepted.placed(error)) from None
    except ClientError as error:
        raise inside(error) from None
    return dry.to_json(inner.kind)


async def _dry_run(job: Job, context: JobContext, services: JobServices) -> DryRun:
    dry = DryRun(warnings=list(job.warnings))
    if isinstance(job, Generation):
        await _dry_generation(job, dry, context, services)
    elif isinstance(job, Upscale):
        inputs = await services.inputs.load(job, context)
        asked = await services.threads.run(upscaling.upscaling, job, inputs, services.backend)
        dry.calls.append({"path": extras.UPSCALE, "body": asked.told()})
    elif isinstance(job, Interrogate):
        await services.inputs.load(job, context)
    elif isinstance(job, Prefetch):
        dry.fetch += await services.threads.run(_missing, job, services.store)
    return dry


async def _dry_generation(job: Generation, dry: DryRun, context: JobContext, services: JobServices) -> None:
    problems = []
    for plain in await services.plain_jobs(job):
        try:
            found = await services.generation.dry_run(plain.job, context)
        except InvalidInput as error:
            problems += error.problems
            continue
        if isinstance(found, PreparedJob):
            dry.requests.append(found.request)
            dry.warnings += found.warnings
        else:
            dry.fetch += [_shown(model.wanted) for model in found.missing]
    if problems:
        raise InvalidInput(list(dict.fromkeys(problems)))


def _missing(job: Prefetch, store: ModelStore) -> list[dict[str, Any]]:
    """Return the models that a prefetch would fetch. Raises ModelNotFound for one that nobody knows."""
    missing = []
    for path, ref, kind in volume_models.wanted_of(job):
        choice = store.resolve(ref, kind, path=path)
        if store.find(ref, kind, path=path) is not None:
            continue
        if not choice.locators:
            raise store.not_found(choice, ref)
        missing.append(_shown((path, ref, kind)))
    return missing


def _shown(wanted: tuple[str, ModelRef, ModelKind]) -> dict[str, Any]:
    path, ref, kind = wanted
    return {"path": path, "kind": kind, "ref": ref.shown}


def cost(bodies: Sequence[Mapping[str, Any]], pixels: Sequence[int]) -> dict[str, Any]:
    """Return the cost of requests: pictures, sampling steps, and steps times megapixels."""
    pictures = [int(body.get("batch_size", 1)) * int(body.get("n_iter", 1)) for body in bodies]
    steps = [count * int(body.get("steps", 50)) for count, body in zip(pictures, bodies, strict=True)]
    work = sum(number * size for number, size in zip(steps, pixels, strict=True)) / 1_000_000
    return {"pictures": sum(pictures), "steps": sum(steps), "megapixel_steps": round(work, 3)}
