"""One plain job to its pictures: names settled, models in place, request made until its pictures are right."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from worker.recovery.making import Maker, Order
from worker.recovery.mending import ModelFiles
from worker.stages import generate, prepare
from worker.stages.judged import judged
from worker.stages.recommend import advice, recommended_for
from worker.webui.previews import with_previews

if TYPE_CHECKING:
    from worker.contract.job import Generation
    from worker.models.staging import Staging
    from worker.models.store import ModelStore
    from worker.settings import Settings
    from worker.stages.errands import Errands
    from worker.stages.generate import Generated
    from worker.stages.hands import Hands
    from worker.stages.house import House
    from worker.stages.run import Run
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend
    from worker.webui.body import Request


class Studio:
    """See the module's docstring.

    Args:
        settings: The worker's.
        backend: The WebUI, ready.
        maker: Makes requests until they are right.
        store: The model files.
        house: The operator's rules.
        errands: Takes in the client's own pictures.
        hands: Threads and the clock.
        staging: Copies of checkpoints on a local disk.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        backend: Backend,
        maker: Maker,
        store: ModelStore,
        house: House,
        errands: Errands,
        hands: Hands,
        staging: Staging | None = None,
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._maker = maker
        self._store = store
        self._house = house
        self._errands = errands
        self._hands = hands
        self._files = ModelFiles(store, hands, ahead=settings.model_readahead, staging=staging)

    async def settled(self, request: Generation) -> tuple[Generation, list[str]]:
        """Return the job with what its checkpoint's publisher recommends, where it wants that, and warnings.

        Raises:
            InvalidInput: the operator's rules refuse a prompt.
        """
        flagged = self._house.check(request)
        return await self._recommended(request, flagged) if request.recommended else (request, flagged)

    async def generated(self, request: Generation, run: Run) -> Generated:
        """Return the pictures of one plain job, proven to be what was asked for.

        Raises:
            WorkerError: they can't be made.
        """
        request, flagged = await self.settled(request)
        with run.phases.phase("prepare"):
            prepare_it = partial(self._prepare, request, run.on_progress)
            prepared = await self._hands.before(run.deadline, self._maker.steady(prepare_it, run.deadline))
            self._files.hold(prepared, run, loaded=self._backend.loaded)
            incoming = await self._errands.incoming(request, run)
        sent = generate.request_for(request, prepared, incoming, self._backend, max_pixels=self._settings.max_pixels)
        sent, watched = self._watched(request, sent)
        right = await self._maker.make(
            Order(
                sent,
                examine=lambda sent, made: generate.examine(request, prepared, sent, made, self._backend),
                on_state=lambda sent: generate.on_state(sent, run.on_progress),
                deadline=run.deadline,
                phases=run.phases,
                mend=partial(self._files.mend, prepared, run),
            )
        )
        said = (*flagged, *watched, *right.result.warnings, *incoming.warnings, *right.notes)
        result = right.result if said == right.result.warnings else replace(right.result, warnings=said)
        gate = self._house.gate
        if gate is None:
            return result
        with run.phases.phase("check"):  # beside the next generation: the GPU was given on
            return await self._hands.thread(partial(judged, gate, result, together=sent.expect.free))

    def _watched(self, request: Generation, sent: Request) -> tuple[Request, list[str]]:
        """Return the request with live previews where they are wanted and allowed, and a warning where not allowed."""
        if not request.live_previews:
            return sent, []
        gate = self._house.gate
        if gate is not None and gate.action != "flag":
            return sent, ["live_previews: none are told where pictures are checked before they are"]
        if self._settings.live_previews == "off":
            return sent, ["live_previews: this endpoint makes none (LIVE_PREVIEWS)"]
        return with_previews(sent, self._settings.live_previews), []

    async def _recommended(self, request: Generation, warnings: list[str]) -> tuple[Generation, list[str]]:
        """Return the job with what its checkpoint's publisher recommends, and warnings that say so."""
        found = await self._hands.thread(recommended_for, request, self._store, self._backend.loaded)
        changes = advice(request, found) if found is not None else {}
        said = ", ".join(f"{name}={value}" for name, value in changes.items()) or "nothing is known"
        return request.changed(changes), [*warnings, f"recommended for this checkpoint: {said}"]

    async def _prepare(self, request: Generation, on_progress: ProgressSink) -> prepare.Prepared:
        return await prepare.prepare(
            request, self._backend, self._store, default_checkpoint=self._backend.default, on_progress=on_progress
        )
