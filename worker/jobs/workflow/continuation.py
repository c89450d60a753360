"""Continuations: the stages that are left, run for stored pictures that somebody has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import orjson

from worker.common.clock import running
from worker.contract.expand.from_infotext import job_from
from worker.contract.parse.workflow_parser import parse_workflow
from worker.contract.rules.sizes import Size
from worker.contract.rules.stage_fields import CONTINUED
from worker.contract.types.composed.workflow import Continue
from worker.errors import InvalidInput, WorkerError, WorkerFault
from worker.images import infotext
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import inspect
from worker.jobs.workflow.stage_jobs import StagePicture
from worker.jobs.workflow.stage_run import StageRun
from worker.jobs.workflow.workflow_job import describe
from worker.jobs.workflow.workflow_plan import plan_stages, stages_to_run
from worker.jobs.workflow.workflow_record import RecordedPicture, copied_from_json, read_record
from worker.judges.panel import JudgedPictures
from worker.storage.keys import safe, safe_prefix
from worker.storage.store_errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.images.formats.picture import Picture
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.workflow.workflow_record import WorkflowRecord
    from worker.judges.panel import Panel
    from worker.storage.keys import KeyTemplate
    from worker.storage.object_store import Store

_LARGEST_FACTS = 4 * 1024 * 1024
_LARGEST_PICTURE = 64 * 1024 * 1024
_STORE_S = 20.0
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class ChosenPicture:
    """A stored picture to go on with: its key, where the job names it, and what its workflow's record says of it."""

    key: str
    path: str
    recorded: RecordedPicture | None = None

    def final(self, stage: str) -> str:
        """Return the key of the note that says where this picture's last stage is stored."""
        return f"{PurePosixPath(self.key).with_suffix('')}.{safe(stage)}.json"


async def continue_workflow(job: Continue, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return the answer to a continuation: what became of each of its pictures.

    Raises:
        InvalidInput: there is no store, no such picture, or nobody knows the stages.
        WorkerError: not one picture could be made.
    """
    store = await services.threads.run(services.delivery.stored, context)
    if store is None:
        raise InvalidInput.at("type", "continue needs a store: send s3Config, or the operator sets BUCKET_ENDPOINT_URL")
    chosen, record = await services.threads.run(_chosen, job, store, services.delivery.template)
    job, after = _with_stages(job, record, context, services)
    await services.delivery.admit_rejected(job, context)
    run = _Continuation(job, after, store, context, services)
    return await run.answer(chosen)


def _chosen(job: Continue, store: Store, template: KeyTemplate) -> tuple[list[ChosenPicture], WorkflowRecord | None]:
    """Return the pictures that the job names, and the record of the workflow that made them. Blocking."""
    try:
        if job.job is not None:
            record = read_record(store, job.job)
            if record is None:
                raise InvalidInput.at("job", f"no workflow of the id {job.job!r} has stored its pictures; send keys")
            return _kept(job, record), record
        prefix = safe_prefix(store.target.prefix)
        keys = [key if not prefix or key.startswith(f"{prefix}/") else f"{prefix}/{key}" for key in job.keys or ()]
        for number, key in enumerate(keys):
            if ".." in key.split("/"):
                raise InvalidInput.at(f"keys[{number}]", "names no picture in the store")
        records = _records(keys, store, template)
    except StoreError as error:
        raise InvalidInput.at("job" if job.job else "keys", f"can't be read from the store: {error}") from None
    found = []
    for number, key in enumerate(keys):
        path = f"keys[{number}]"
        record = records[key]
        recorded = next((one for one in record.pictures if one.key == key), None) if record is not None else None
        found.append(ChosenPicture(key, path, recorded))
    return found, next((record for record in records.values() if record is not None), None)


def _kept(job: Continue, record: WorkflowRecord) -> list[ChosenPicture]:
    places = job.keep if job.keep is not None else range(len(record.pictures))
    wrong = [(number, place) for number, place in enumerate(places) if place >= len(record.pictures)]
    if wrong:
        number, place = wrong[0]
        message = f"the job has {len(record.pictures)} pictures, counted from 0; there is no {place}"
        raise InvalidInput.at(f"keep[{number}]", message)
    return [
        ChosenPicture(record.pictures[place].key, f"keep[{number}]", record.pictures[place])
        for number, place in enumerate(places)
    ]


def _records(keys: Sequence[str], store: Store, template: KeyTemplate) -> dict[str, WorkflowRecord | None]:
    """Return the record of the workflow that stored each picture, by key. Blocking; raises StoreError."""
    read: dict[str, WorkflowRecord | None] = {}
    found: dict[str, WorkflowRecord | None] = {}
    for key in keys:
        jobs = (*template.jobs(store.target.prefix, key), PurePosixPath(key).parent.name)
        found[key] = None
        for job in dict.fromkeys(jobs):
            if job not in read:
                read[job] = read_record(store, job)
            record = read[job]
            if record is not None and any(one.key == key for one in record.pictures):
                found[key] = record
                break
    return found


def _with_stages(
    job: Continue, record: WorkflowRecord | None, context: JobContext, services: JobServices
) -> tuple[Continue, str | None]:
    """Return the job with the stages of the record where it gives none, and the stage that has been run.

    Raises:
        InvalidInput: nobody knows the stages, or all of them have been run.
    """
    names = [stage.name for stage in job.plan]
    after = job.after
    if record is not None and not names:
        raw = {
            **record.definition,
            "type": "continue",
            "output": job.output.model_dump(exclude_none=True),
            **{name: getattr(job, name) for name in ("job", "keep", "keys", "again", "stream") if getattr(job, name)},
            **job.definition,
            "stages": record.definition["stages"],
        }
        limits, named = services.limits_of(context), services.operator.workflows
        read = parse_workflow(raw, limits=limits, named=named, recorded=True)
        if not isinstance(read, Continue):
            raise AssertionError("its type says so")
        job, after = read, after or record.stage
        names = [stage.name for stage in job.plan]
    elif record is not None and after is None and record.stage in names:
        after = record.stage
    if not names:
        raise InvalidInput.at("stages", "is needed: the store does not tell which stages are left; or send workflow")
    if not stages_to_run(job, after=after):
        raise InvalidInput.at("job", f"all stages have been run: {after!r} is the last one")
    return job, after


@dataclass(slots=True)
class _Continuation:
    """The stages that are left, for one picture after the other."""

    job: Continue
    after: str | None
    store: Store
    context: JobContext
    services: JobServices
    panels: dict[str, Panel] = field(default_factory=dict)
    judged: dict[str, JudgedPictures] = field(default_factory=dict)

    async def answer(self, chosen: Sequence[ChosenPicture]) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        failed: WorkerError | None = None
        answer: dict[str, Any] = {"images": [], "seeds": [], "parts": parts, "warnings": list(self.job.warnings)}
        last = stages_to_run(self.job, after=self.after)[-1].name
        for number, one in enumerate(chosen):
            links = [] if self.job.again else await self.services.threads.run(self._links, one.final(last))
            if links:
                parts.append({"key": one.key, "status": "skipped", **self._shown(links)})
                continue
            if isinstance(failed, WorkerFault):
                parts.append({"key": one.key, "status": "failed", "error": failed.to_answer()})
                continue
            try:
                made = await self._make_one(one, last, number, len(chosen))
            except WorkerError as error:
                failed = failed or error
                parts.append({"key": one.key, "status": "failed", "error": error.to_answer()})
                continue
            answer["warnings"] += made.pop("warnings")
            answer["images"] += made.get("images", [])
            answer["seeds"] += made["seeds"]
            status = "made" if made["seeds"] else "rejected"
            parts.append({"key": one.key, "status": status, **made})
        if failed is not None and not any(part["status"] != "failed" for part in parts):
            raise failed
        answer["warnings"] = list(dict.fromkeys(answer["warnings"]))
        return answer

    async def _make_one(self, one: ChosenPicture, last: str, number: int, count: int) -> dict[str, Any]:
        """Return the part of the answer for a picture whose stages are run now, delivered at once."""
        services, threads = self.services, self.services.threads
        start = await threads.run(self._read, one)
        size = Size(start.picture.width, start.picture.height)
        made_by = self._made_by()
        context = self.context.part(number, [1] * count)
        planned = await plan_stages(
            self.job,
            context,
            services,
            after=self.after,
            given=dict.fromkeys(made_by, (size, 1)),
            panels=self.panels,
        )
        for each in planned:
            if each.panel is not None:
                self.judged.setdefault(each.stage.name, JudgedPictures(each.panel.distinct))
        place = f"{PurePosixPath(one.key).parent.name}.{last}.{PurePosixPath(one.key).stem}"
        run = StageRun(self.job, replace(context, id=place, raw={}), services, judged=self.judged)
        await run.run(planned, dict.fromkeys(made_by, (start,)))
        answer = describe(self.job, run.done, self.context)
        told = await services.delivery.deliver(answer, run.done[-1].result, self.job, run.context)
        if told.get("keys"):
            await threads.run(self._note, one.final(last), told["keys"])
        shown = ("images", "keys", "pictures", "seeds", "applied", "stages", "warnings", "cached", "previews", "checks")
        return {name: told[name] for name in shown if name in told}

    def _made_by(self) -> list[str]:
        """Return the names by which stages may refer to the pictures that are there."""
        names = [stage.name for stage in self.job.plan]
        done = names[: names.index(self.after) + 1] if self.after in names else []
        return [CONTINUED, *done]

    def _links(self, note: str) -> list[str]:
        """Return the keys of a picture's last stage, where the store has all of them. Blocking."""
        try:
            keys = orjson.loads(self.store.get(note, deadline=running() + _STORE_S, most=_LARGEST_FACTS))["keys"]
            there = all(
                any(file.key == key for file in self.store.list(key, deadline=running() + _STORE_S)) for key in keys
            )
        except (StoreError, orjson.JSONDecodeError, KeyError, TypeError):
            return []  # at worst it is made once more
        return list(keys) if there else []

    def _shown(self, keys: Sequence[str]) -> dict[str, Any]:
        images = [] if self.job.output.delivery == "none" else [self.store.url(key) for key in keys]
        return {"images": images, "keys": list(keys)}

    def _note(self, note: str, keys: Sequence[str]) -> None:
        deadline = running() + _STORE_S
        data = orjson.dumps({"keys": list(keys)})
        self.store.put(note, data, content_type="application/json", metadata={}, deadline=deadline, linked=False)

    def _read(self, one: ChosenPicture) -> StagePicture:
        """Return a stored picture with what its stages need to know. Blocking.

        Raises:
            InvalidInput: it is not there, or no picture.
        """
        try:
            data = self.store.get(
                one.key, deadline=min(self.context.deadline, running() + _STORE_S), most=_LARGEST_PICTURE
            )
            picture = inspect(data)
            recorded = one.recorded
            if recorded is not None:
                return StagePicture(picture, recorded.seed, recorded.number, recorded.copied)
            return self._by_its_facts(picture, self._facts_beside(one.key))
        except StoreError as error:
            raise InvalidInput.at(one.path, f"can't be read from the store: {error}") from None
        except BrokenPicture as broken:
            raise InvalidInput.at(one.path, f"is not a usable picture: {broken}") from None

    def _facts_beside(self, key: str) -> Mapping[str, Any]:
        """Return the job of the JSON file beside a picture, empty where there is none."""
        name = str(PurePosixPath(key).with_suffix(".json"))
        try:
            told = orjson.loads(self.store.get(name, deadline=running() + _STORE_S, most=_LARGEST_FACTS))
        except StoreError as error:
            if error.failure.status == _NOT_FOUND:
                return {}
            raise
        except orjson.JSONDecodeError:
            return {}
        found = told.get("job", told) if isinstance(told, dict) else None
        return found if isinstance(found, dict) else {}

    def _by_its_facts(self, picture: Picture, facts: Mapping[str, Any]) -> StagePicture:
        """Return a picture with the prompt, LoRAs and seed of its JSON, else of its infotext."""
        if not isinstance(facts.get("prompt"), str):
            said = infotext.parse(picture.infotext or "")
            facts = job_from(said.prompt, said.negative_prompt, said.fields).job
        try:
            drawn = copied_from_json(facts)
            seed = int(facts.get("seed", 0))
        except (ValueError, TypeError):
            drawn, seed = {}, 0
        offset = next((stage.seed_offset for stage in self.job.plan if stage.name == self.after), 0)
        return StagePicture(picture, max(0, seed - offset), 0, drawn)
