"""Pictures made seed after seed until the judges have accepted enough of them.

The next picture is prepared and waits for the GPU while one is being made, and a finished one is judged on the CPU
meanwhile: the GPU never waits for a judge. A picture that is under way when the last one is accepted is interrupted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.errors import DeliveryFailed, TooFewAccepted, WorkerError
from worker.jobs.job_services import LARGEST_DRAWN_SEED
from worker.jobs.judging.job_panel import look_at, panel_for
from worker.jobs.results import PartResult, merge_results, raise_if_all_refused, select_pictures
from worker.judges.panel import JudgedPictures
from worker.telemetry.phases import Phases
from worker.telemetry.progress import GENERATED, Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from worker.contract.types.composed.acceptance import Acceptance
    from worker.contract.types.job import Generation
    from worker.images.formats.picture import Picture
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.result_delivery import ResultStream
    from worker.jobs.results import Generated
    from worker.judges.panel import Judgement, Looked, Panel

REQUESTS_AT_ONCE = 2
"""One on the GPU, and one prepared and waiting for it."""
REFUSED = "refused by the image check"


@dataclass(frozen=True, slots=True)
class JudgedRequest:
    """The pictures of one request of the job, and what the judges say about each."""

    result: Generated
    looked: Sequence[Looked]


@dataclass(slots=True)
class _Tally:
    """Everything that is known of the pictures so far."""

    judged: JudgedPictures
    seeds: list[int | None] = field(default_factory=list)
    results: list[Generated] = field(default_factory=list)
    keys: dict[int, str] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: WorkerError | None = None


class UntilAccepted:
    """A job with `accept` on its way.

    Args:
        job: With `accept`.
        context: Its context.
        services: The worker's.
        make: Makes the pictures of a plain job, passed by the operator's moderation.
        stream: Is told each accepted picture.
    """

    def __init__(
        self,
        job: Generation,
        context: JobContext,
        services: JobServices,
        make: Callable[[Generation, JobContext], Awaitable[Generated]],
        stream: ResultStream,
    ) -> None:
        if job.accept is None:
            raise AssertionError("only for jobs with accept")
        self._job = job
        self._accept: Acceptance = job.accept
        self._context = context
        self._services = services
        self._make = make
        self._stream = stream
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._batch = job.batch_size or 1

    async def run(self) -> Generated:
        """Return the accepted pictures, with `judging` for the answer.

        Raises:
            InvalidInput: a judge, or the references, can't be had.
            TooFewAccepted: too few were accepted, and the job wants that to be an error.
            ImageRefused: the operator's moderation lets none pass.
            WorkerError: no picture could be made.
        """
        panel = await panel_for(self._accept, self._job.path("accept"), self._context, self._services)
        first = self._job.seed if self._job.seed is not None and self._job.seed >= 0 else self._random_seed()
        starts = range(first, first + self._accept.most, self._batch)
        # a task for every request, of which `_slots` lets REQUESTS_AT_ONCE work and the others wait
        tasks = [asyncio.ensure_future(self._judge_request(number, seed, panel)) for number, seed in enumerate(starts)]
        tally = _Tally(JudgedPictures(panel.distinct))
        try:
            await self._collect(tasks, tally)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._result(tally)

    def _random_seed(self) -> int:
        return self._services.random.randint(0, LARGEST_DRAWN_SEED)

    async def _judge_request(self, number: int, seed: int, panel: Panel) -> JudgedRequest:
        """Make the pictures of one request and have them looked at."""
        last = seed + self._batch - 1
        over = max(0, self._batch * (number + 1) - self._accept.most)
        size = self._batch - over
        changes = {"accept": None, "seed": seed, "batch_size": size if last > seed else None}
        counts = [self._batch] * -(-self._accept.most // self._batch)
        context = replace(self._context.part(number, counts), phases=Phases())
        async with self._slots:
            result = await self._make_request(self._job.changed(changes), context)
            phases = self._context.phases
            phases.add(context.phases, without=() if number == 0 else ("queue",))  # the others waited for this very job
        with phases.phase("judge"):
            return JudgedRequest(result, await look_at(result.pictures, panel, self._services))

    async def _make_request(self, job: Generation, context: JobContext) -> Generated:
        """Return the pictures of one request, which wildcards may turn into several."""
        pieces = await self._services.plain_jobs(job)
        return _join([await self._make(piece.job, context) for piece in pieces])

    async def _collect(self, tasks: Sequence[asyncio.Task[JudgedRequest]], tally: _Tally) -> None:
        """Take the requests in the order of their seeds until enough pictures are accepted."""
        for task in tasks:
            try:
                request = await task
            except WorkerError as error:
                if not tally.judged.judgements:
                    raise
                tally.error = error
                return
            await self._add(request, tally)
            self._report(tally)
            if tally.judged.accepted >= self._accept.wanted:
                return

    async def _add(self, request: JudgedRequest, tally: _Tally) -> None:
        result = request.result
        refused = [check["seed"] for check in result.checks or () if check["action"] == "refused"]
        tally.checks += result.checks or ()
        for seed in refused:
            tally.seeds.append(seed)
            tally.judged.refuse(REFUSED)
        accepted: dict[int, Judgement] = {}
        for place, looked in enumerate(request.looked):
            if tally.judged.accepted >= self._accept.wanted:
                break
            seed = result.seeds[place] if place < len(result.seeds) else None
            judgement = tally.judged.add(looked)
            tally.seeds.append(seed)
            tally.checks += checks_of(seed, judgement)
            if judgement.accepted:
                accepted[place] = judgement
            elif self._job.output.rejected == "store":
                await self._store_rejected(result.pictures[place], len(tally.seeds) - 1, seed or 0, tally)
        judged = [judgement.to_json() for judgement in accepted.values()]
        chosen = with_scores(select_pictures(result, list(accepted)), judged)
        tally.results.append(chosen)
        if accepted:
            self._stream.add(PartResult("", chosen))

    async def _store_rejected(self, picture: Picture, number: int, seed: int, tally: _Tally) -> None:
        """Store a rejected picture; a store that does not take it fails no accepted one."""
        try:
            tally.keys[number] = await self._services.delivery.store_rejected(
                picture, number, seed, self._job, self._context
            )
        except DeliveryFailed as error:
            tally.warnings.append(f"output.rejected: the picture of seed {seed} was not stored: {error.message}")

    def _report(self, tally: _Tally) -> None:
        made, accepted = len(tally.judged.judgements), tally.judged.accepted
        share = max(accepted / self._accept.wanted, made / self._accept.most)
        message = f"{accepted} of {self._accept.wanted} accepted, {made} made"
        self._context.on_progress(Progress(stage="judge", percent=GENERATED * min(1.0, share), message=message))

    async def _result(self, tally: _Tally) -> Generated:
        judged, accepted = tally.judged, tally.judged.accepted
        result = _join(tally.results)
        if not judged.accepted and all(one.why == REFUSED for one in judged.judgements):
            raise_if_all_refused(replace(result, checks=tuple(tally.checks)))
        judging = {
            "judged": [
                {"seed": seed, **one.to_json(), **({"key": tally.keys[place]} if place in tally.keys else {})}
                for place, (seed, one) in enumerate(zip(tally.seeds, judged.judgements, strict=True))
            ],
            "accepted": accepted,
            "made": len(judged.judgements),
            "average": judged.average(),
        }
        warnings = [*result.warnings, *tally.warnings]
        if accepted < self._accept.wanted:
            said = f"accept: {accepted} of {self._accept.wanted} pictures were accepted, {judging['made']} made"
            if tally.error is not None:
                said += f"; no more could be made: {tally.error.message}"
            if self._accept.on_too_few == "error":
                kept = await self._services.delivery.keep(result, self._context)
                raise TooFewAccepted(said, details={**judging, "kept": kept})
            if tally.error is not None and not accepted:
                raise tally.error
            warnings.append(said)
        return replace(result, warnings=tuple(warnings), checks=tuple(tally.checks), judging=judging)


def with_scores(result: Generated, judged: Sequence[Mapping[str, Any]]) -> Generated:
    """Return `result` with what the judges said about each picture in the facts about it."""
    facts = tuple(
        replace(fact, more={**fact.more, "judged": dict(one)}) for fact, one in zip(result.facts, judged, strict=False)
    )
    return replace(result, facts=facts)


def _join(results: Sequence[Generated]) -> Generated:
    """Return the results of several requests as one."""
    whole = PartResult("")
    for result in results:
        whole = whole.followed(PartResult("", result))
    return merge_results([whole])


def checks_of(seed: int | None, judgement: Judgement) -> list[dict[str, Any]]:
    """Return the entries in the answer's `checks` for the judges that gave a score or rejected the picture."""
    return [
        {
            "seed": seed,
            "action": "rejected" if verdict.accepted is False else "accepted",
            "label": name,
            "score": None if verdict.score is None else round(verdict.score, 4),
        }
        for name, verdict in judgement.verdicts.items()
    ]
