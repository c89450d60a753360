"""Every kind of job that does not diffuse: upscale, interrogate, notes, listings, refresh, prefetch, dry run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker.clock import running
from worker.contract.job import Txt2Img
from worker.contract.kinds import Interrogate, Listing, PngInfo, Prefetch, Refresh, Upscale, WebUIGet
from worker.contract.model_jobs import ModelsList, ModelsPrefetch, ModelsRemove
from worker.models import actions
from worker.stages import inquiries, prepare, tools
from worker.stages.incoming import NOTHING, take_in
from worker.webui import extras
from worker.webui.call import call_webui

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.contract.job import Job
    from worker.models.store import ModelStore
    from worker.stages.generate import Generated
    from worker.stages.hands import Hands
    from worker.stages.incoming import Incoming
    from worker.stages.run import Run
    from worker.stages.source import PictureSource
    from worker.webui.backend import Backend

T = TypeVar("T")


class Errands:
    """See the module's docstring.

    Args:
        backend: The WebUI, ready.
        store: The model files.
        source: Where pictures that jobs point at are read from.
        hands: What the service lends.
        max_pixels: Of a picture that a client sends.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        store: ModelStore,
        source: PictureSource,
        hands: Hands,
        max_pixels: int,
    ) -> None:
        self._backend = backend
        self._store = store
        self._source = source
        self._hands = hands
        self._max_pixels = max_pixels

    async def incoming(self, request: Job, run: Run) -> Incoming:
        """Return the job's own pictures."""
        if isinstance(request, Txt2Img) and not request.controlnet:
            return NOTHING  # the usual case is not worth a thread
        reading = partial(take_in, request, self._source, target=run.target, max_pixels=self._max_pixels)
        taking = partial(reading, deadline=run.deadline)
        return await self._hands.before(run.deadline, self._hands.thread(taking))

    async def upscale(self, request: Upscale, run: Run) -> Generated:
        """Return the upscaled picture, proven to be what was asked for."""
        with run.phases.phase("prepare"):
            incoming = await self.incoming(request, run)
            asked = tools.upscaling(request, incoming, self._backend)
        made = await self._ask(extras.UPSCALE, asked.body, run, partial(tools.upscaled, request, asked))
        idle = await self._idle(asked.upscalers, run)
        return tools.examined(request, asked, made, idle)

    async def answer(self, request: Job, run: Run) -> dict[str, Any]:  # noqa: PLR0911 - one line per kind
        """Return what is special in the answer to a job that makes no picture."""
        if isinstance(request, Interrogate):
            incoming = await self.incoming(request, run)
            body = extras.interrogation(request, incoming.images[0])
            model = body["model"]
            caption = await self._ask(extras.INTERROGATE, body, run, partial(extras.caption, model=model))
            return {"caption": caption, "model": model}
        if isinstance(request, PngInfo):
            read = partial(self._source.read, target=run.target, deadline=run.deadline)
            data = await self._hands.thread(read, request.image, request.path("image"))
            return await self._hands.thread(tools.read_notes, request, data)
        if isinstance(request, Listing):
            if request.type == "health":
                return {"type": request.type, "items": inquiries.health(self._hands.health(), self._backend)}
            return {"type": request.type, "items": await self._hands.thread(inquiries.listing, request, self._backend)}
        if isinstance(request, WebUIGet):
            return {"raw": await self._hands.thread(inquiries.raw, request, self._backend)}
        if isinstance(request, Refresh):
            await self._hands.thread(inquiries.reachable, request, self._store)
            return {"type": request.type, "items": await inquiries.refresh(request, self._backend)}
        if isinstance(request, Prefetch):
            told = prepare.fetching(run.on_progress)
            models = self._store.prepare(inquiries.wanted_of(request), on_progress=told)
            return {"type": request.type, "items": inquiries.told(await self._hands.before(run.deadline, models))}
        if isinstance(request, ModelsList | ModelsPrefetch | ModelsRemove):
            doing = actions.perform(self._store, request, on_progress=prepare.fetching(run.on_progress))
            return {"type": request.type, "items": await self._hands.before(run.deadline, doing)}
        raise TypeError(type(request))

    async def _idle(self, upscalers: Sequence[str], run: Run) -> list[str]:
        """Return the upscalers that only resize, looked at once each, alone on the GPU."""
        unseen = self._backend.probe.unseen(upscalers)
        if not unseen:
            return []

        async def work() -> list[str]:
            left = max(1.0, run.deadline - running())
            return await self._backend.idle_upscalers(unseen, timeout=left)

        return await self._hands.errand(work, run.deadline, run.phases)

    async def _ask(self, path: str, body: Mapping[str, Any], run: Run, look: Callable[[Any], T]) -> T:
        """Return what `look` finds in the WebUI's answer; what is no right answer is asked for once more."""

        async def work() -> T:
            left = max(1.0, run.deadline - running())
            content = await call_webui(self._backend, path, body, timeout=left, pool=self._hands.pool)
            return await self._hands.thread(look, content)

        return await self._hands.errand(work, run.deadline, run.phases)
