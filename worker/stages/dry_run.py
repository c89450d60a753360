"""What a job would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.types.kinds import Interrogate, Prefetch, Upscale
from worker.errors import InvalidInput
from worker.stages import generate, inquiries, prepare, tools
from worker.webui.request import upscale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.contract.expand.prompts import Piece
    from worker.contract.types.job import Generation, Job
    from worker.contract.types.model_ref import ModelRef
    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.models.volume.resolve import Resolution
    from worker.settings import ModelKind
    from worker.stages.incoming import Incoming
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend
    from worker.webui.request.body import Request


class WouldFetch(Exception):
    """Models are not there and would be fetched first."""

    def __init__(self, wanted: Sequence[tuple[str, ModelRef, ModelKind]]) -> None:
        super().__init__(len(wanted))
        self.wanted = wanted


class DryStore:
    """A model store that finds, but does not fetch: where it would, it says so."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self.find = store.find
        self.not_found = store.not_found
        self.availability = store.availability
        self.volume = store.volume
        self.listed = store.listed

    def resolve(self, ref: ModelRef, kind: ModelKind, *, path: str = "") -> Resolution:
        """As the store does."""
        return self._store.resolve(ref, kind, path=path)

    async def prepare(
        self, wanted: Sequence[tuple[str, ModelRef, ModelKind]], *, on_progress: ProgressSink
    ) -> list[LocalModel]:
        """Return the models when all are there; raises `WouldFetch` with those that are not."""
        del on_progress
        models = [(each, self.find(each[1], each[2], path=each[0])) for each in wanted]
        missing = [each for each, model in models if model is None]
        if missing:
            raise WouldFetch(missing)
        return [model for _, model in models if model is not None]


@dataclass(slots=True)
class Dry:
    """What was found out."""

    requests: list[Request] = field(default_factory=list)
    errands: list[dict[str, Any]] = field(default_factory=list)
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
                *self.errands,
            ],
            "fetch": self.fetch,
            "cost": inquiries.cost([request.body for request in self.requests], pixels),
            "warnings": list(dict.fromkeys(self.warnings)),
        }


async def dry_run(
    job: Job,
    pieces: Sequence[Piece],
    backend: Backend,
    store: ModelStore,
    *,
    settle: Callable[[Generation], Awaitable[tuple[Generation, list[str]]]],
    read: Callable[[Job], Awaitable[Incoming]],
    max_pixels: int,
    on_progress: ProgressSink,
) -> Dry:
    """Return what `job` would do.

    Args:
        job: As it was read.
        pieces: The plain jobs that it means; none where it is no generation.
        backend: The WebUI.
        store: The model files.
        settle: Returns a plain job as the operator's rules and its checkpoint's publisher have it, and warnings.
        read: Returns a job's own pictures.
        max_pixels: Of one batch.
        on_progress: Told as for a real job.

    Raises:
        InvalidInput, ModelNotFound, IncompatibleModel: the job would fail; every mistake of all pieces.
    """
    dry = Dry(warnings=list(job.warnings))
    problems = []
    for piece in pieces:
        try:
            request, said = await settle(piece.job)
            incoming = await read(request)
            prepared = await prepare.prepare(
                request,
                backend,
                DryStore(store),  # type: ignore[arg-type]  # finds and chooses as the store does
                default_checkpoint=backend.default,
                on_progress=on_progress,
            )
            dry.requests.append(generate.request_for(request, prepared, incoming, backend, max_pixels=max_pixels))
            dry.warnings += [*said, *prepared.warnings, *incoming.warnings]
        except WouldFetch as missing:
            dry.fetch += [{"path": path, "kind": kind, "ref": ref.shown} for path, ref, kind in missing.wanted]
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(list(dict.fromkeys(problems)))
    if isinstance(job, Upscale):
        asked = tools.upscaling(job, await read(job), backend)
        dry.errands.append({"path": upscale.UPSCALE, "body": asked.told()})
    elif isinstance(job, Interrogate):
        await read(job)
    elif isinstance(job, Prefetch):
        dry.fetch += _fetched_for(job, store)
    return dry


def _fetched_for(job: Prefetch, store: ModelStore) -> list[dict[str, Any]]:
    """Return the models that a prefetch would fetch. Raises ModelNotFound for one that nobody knows."""
    missing = []
    for path, ref, kind in inquiries.wanted_of(job):
        choice = store.resolve(ref, kind, path=path)
        if store.find(ref, kind, path=path) is not None:
            continue
        if not choice.locators:
            raise store.not_found(choice, ref)
        missing.append({"path": path, "kind": kind, "ref": ref.shown})
    return missing
