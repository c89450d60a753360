"""Workflows as they are sent, to their stages as typed jobs, or to every mistake of every stage at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown, word
from worker.contract.base.limits import Limits
from worker.contract.base.paths import root_of
from worker.contract.parse.job_parser import parse_job
from worker.contract.rules.prompt_syntax import NOT_FILLED_IN
from worker.contract.rules.stage_fields import (
    BROUGHT,
    CONTINUED,
    IMG2IMG_UPSCALER,
    OF_THE_FIRST,
    OF_THE_WHOLE,
    STAGE_KINDS,
    name_of,
    placing_fields,
    read_placing,
    readable_fields,
    seeds_of,
    stage_job_fields,
)
from worker.contract.types.composed.workflow import MOST_STAGES, Continue, Stage, Workflow
from worker.contract.types.job import LARGEST_SEED, Generation, Job
from worker.contract.types.kinds import TYPE_WORDS, JudgeImages, infer
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from worker.contract.parse.unknown_fields import UnknownFields

Definition = Mapping[str, Any]
"""A named workflow: ``stages``, and defaults of their fields."""


def is_workflow(raw: object) -> bool:
    """Return whether a job's input is to be read by `parse_workflow`."""
    return isinstance(raw, dict) and word(raw.get("type", raw.get("action"))) in ("workflow", "continue")


def parse_workflow(
    raw: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    named: Mapping[str, Definition] | None = None,
    unknown: UnknownFields = "refuse",
    recorded: bool = False,
) -> Workflow | Continue:
    """Return the workflow in `raw`, with its `plan` of typed stages.

    Args:
        raw: A job's input, plain JSON of a bearable size.
        limits: What each stage may ask for.
        named: The endpoint's workflows.
        unknown: What becomes of a stage's field with a value that nobody reads.
        recorded: Of a continuation: its fields are also those of the workflow that made the pictures.

    Raises:
        InvalidInput: lists every mistake of every stage, each with its path as the client wrote it.
    """
    return _Reader(raw, limits or Limits(), named or {}, unknown, recorded=recorded).read()


class _Reader:
    def __init__(
        self,
        raw: Mapping[str, Any],
        limits: Limits,
        named: Mapping[str, Definition],
        unknown: UnknownFields,
        *,
        recorded: bool,
    ) -> None:
        self._limits = limits
        self._unknown = unknown
        self._problems: list[Problem] = []
        given = {("type" if name == "action" else name): value for name, value in raw.items() if value is not None}
        self._kind = Continue if word(given.get("type")) == "continue" else Workflow
        self._own = frozenset() if recorded else frozenset(given)
        definition = self._definition(given.get("workflow"), named)
        self._given = {**{name: value for name, value in definition.items() if name != "stages"}, **given}
        self._by_name = isinstance(given.get("stages"), dict)
        self._written = self._merged(definition.get("stages"), given.get("stages"))
        self._kinds = [self._stage_kind(number, fields)[0] for number, fields in enumerate(self._written)]
        self._names = self._stage_names()
        self._stages: list[Stage] = []

    def read(self) -> Workflow | Continue:
        envelope = {
            name: value
            for name, value in self._given.items()
            if name != "stages" and (name in self._kind.model_fields or name == "return")
        }
        placing = [
            {name: value for name, value in fields.items() if name in placing_fields(kind)}
            for fields, kind in zip(self._written, self._kinds, strict=True)
        ]
        job: Job | None = None
        try:
            job = parse_job({**envelope, **({"stages": placing} if placing else {})}, limits=self._limits)
        except InvalidInput as error:
            of_union = "stages" if placing and len(placing) <= MOST_STAGES else ""  # that it is no object either
            self._problems += [self._placed(problem) for problem in error.problems if problem.path != of_union]
        for number, fields in enumerate(self._written):
            self._read_stage(number, fields)
        self._unknown_defaults()
        if isinstance(job, (Workflow, Continue)):
            self._check_whole(job)
        if self._problems or not isinstance(job, (Workflow, Continue)):
            raise InvalidInput(list(dict.fromkeys(self._problems))[: self._limits.max_problems])
        job.planned(self._stages, {**self._defaults(), "stages": self._written})
        told = [
            f"{stage.name}: {warning}"
            for stage in self._stages
            for warning in stage.job.warnings
            if not (self._is_filled_in(stage) and warning.endswith(NOT_FILLED_IN))
        ]
        job.remember(warnings=told, written={})
        return job

    def _definition(self, name: object, named: Mapping[str, Definition]) -> Definition:
        if name is None:
            return {}
        if isinstance(name, str) and name in named:
            return named[name]
        known = ", ".join(sorted(named)) or "none"
        near = nearest(name, named) if isinstance(name, str) else None
        raise InvalidInput.at("workflow", f"is no workflow of this endpoint ({known}): {shown(name)}", near)

    def _merged(self, defined: object, given: object) -> list[dict[str, Any]]:
        """Return the raw stages: those of the named workflow with the client's changes, else the client's."""
        base = [dict(stage) for stage in defined] if isinstance(defined, list) else []
        changes: list[tuple[str, str | None, object]] = []
        if isinstance(given, dict):
            changes = [(f"stages.{name}", name, fields) for name, fields in given.items()]
        elif isinstance(given, list):
            changes = [(f"stages[{n}]", name_of(fields), fields) for n, fields in enumerate(given)]
        elif given is not None:
            self._problems.append(Problem("stages", f"must be a list of stages, not {shown(given)}"))
        read = []
        for path, name, fields in changes:
            if isinstance(fields, dict):
                read.append((path, name, dict(fields)))
            else:
                self._problems.append(Problem(path, f"must be an object, not {shown(fields)}"))
        if not base:
            if isinstance(given, dict) and not self._problems:
                self._problems.append(Problem("stages", "must be a list of stages; names are for those of a workflow"))
            return [fields for _, _, fields in read]
        names = [str(stage.get("name")) for stage in base]
        for path, name, fields in read:
            if name in names:
                stage = base[names.index(name)]
                stage.update(fields)
            else:
                message = f"is no stage of this workflow ({', '.join(names)})"
                self._problems.append(Problem(path, message, nearest(name, names) if name else None))
        return base

    def _is_filled_in(self, stage: Stage) -> bool:
        """Return whether a stage takes over prompts that the first one has drawn for each picture."""
        return stage.source is not None and self._given.get("wildcards") is True and "prompt" not in stage.own

    def _place(self, number: int) -> str:
        if self._by_name and number < len(self._written):
            return f"stages.{self._written[number].get('name')}"
        return f"stages[{number}]"

    def _placed(self, problem: Problem) -> Problem:
        """Return a problem of the envelope with its path as the client wrote the stage."""
        if not problem.path.startswith("stages["):
            return problem
        number, _, rest = problem.path.removeprefix("stages[").partition("]")
        return Problem(f"{self._place(int(number))}{rest}", problem.message, problem.suggestion)

    def _read_stage(self, number: int, fields: Mapping[str, Any]) -> None:
        place = self._place(number)
        own = {name: value for name, value in fields.items() if value is not None}
        for name in sorted(own.keys() & OF_THE_WHOLE):
            self._problems.append(Problem(f"{place}.{name}", "belongs to the whole job, not to a stage"))
        kind, problem = self._stage_kind(number, own)
        if kind is None:
            self._problems += [Problem(f"{place}.type", *problem)]
            return
        name = self._names[number]
        self._check_name(number, place)
        source = self._source(number, own, kind, place)
        raw = stage_job_fields(own, kind, self._defaults(), source=source)
        scale = own.get("scale") if "scale" in placing_fields(kind) else None
        if scale is not None and (raw.keys() & {"width", "height"}):
            self._problems.append(Problem(f"{place}.scale", "can't be combined with width or height; send one of them"))
        try:
            job = parse_job({**raw, "type": kind}, limits=self._limits, guarded=True, unknown=self._unknown)
        except InvalidInput as error:
            self._problems += [
                Problem(self._in_stage(problem.path, place, own), problem.message, problem.suggestion)
                for problem in error.problems
            ]
            return
        if isinstance(job, Workflow):
            field = "script" if "script" in own else "script_name"
            self._problems.append(Problem(f"{place}.{field}", "can't be a stage: write each loop as an img2img stage"))
            return
        given = frozenset(field for field in job.model_fields_set if root_of(job.path(field)) in own)
        job.remember(
            warnings=[],
            written={field: self._in_stage(job.path(field), place, own) for field in type(job).model_fields},
        )
        if isinstance(job, Generation) and job.accept is not None and source is not None:
            message = 'makes seed after seed, in the first stage only; put a stage of "type": "judge" behind this one'
            self._problems.append(Problem(job.path("accept"), message))
        placing = read_placing(own, kind)
        if placing is None:
            return  # what is wrong with it is told by the envelope
        offset = placing.seed_offset or 0
        highest = max([offset, *(seed + offset for seed in seeds_of(job))])
        if highest > LARGEST_SEED:
            message = f"makes a seed of {highest}; at most {LARGEST_SEED} is possible"
            self._problems.append(Problem(f"{place}.seed_offset", message))
        self._stages.append(
            Stage(
                name,
                place,
                job,
                source,
                enabled=placing.enabled is not False,
                seed_offset=offset,
                scale=placing.scale if scale is not None else None,
                keep=placing.keep or "accepted",
                own=given,
            )
        )

    def _in_stage(self, path: str, place: str, own: Mapping[str, Any]) -> str:
        """Return where the client wrote the field of a stage: in the stage, or as a default of all stages."""
        root = root_of(path)
        if root == "override_settings" and IMG2IMG_UPSCALER in path and "upscaler" in own:
            return f"{place}.upscaler"
        if root not in own and root in self._defaults():
            return path
        return f"{place}.{path}".rstrip(".")

    def _stage_kind(self, number: int, own: Mapping[str, Any]) -> tuple[str | None, tuple[str, str | None]]:
        """Return the kind of a stage, or what is wrong with it: the words, and what may be meant."""
        given = own.get("type")
        if given is None:
            kind = infer({**self._defaults(), **own}) if number == 0 and self._kind is Workflow else None
            if "mask" in own or "outpaint" in own:
                kind = "inpaint"
            if kind in STAGE_KINDS:
                return kind, ("", None)
            return None, (f"is missing: one of {', '.join(STAGE_KINDS)}", None)
        kind = TYPE_WORDS.get(word(given))
        if kind in STAGE_KINDS:
            return kind, ("", None)
        near = nearest(given, STAGE_KINDS) if isinstance(given, str) else None
        return None, (f"must be one of {', '.join(STAGE_KINDS)}, not {shown(given)}", near)

    def _stage_names(self) -> list[str]:
        """Return the name of each stage: its own, else its kind and its place, told apart from the others' own."""
        given = [name_of(fields) for fields in self._written]
        names: list[str] = []
        for number, (name, kind) in enumerate(zip(given, self._kinds, strict=True)):
            own = name or f"{kind or 'stage'}-{number}"
            while name is None and own in given:
                own += "-"
            names.append(own)
        return names

    def _check_name(self, number: int, place: str) -> None:
        name = self._names[number]
        if name in self._names[:number]:
            self._problems.append(Problem(f"{place}.name", f"{name!r} is the name of an earlier stage"))
        elif name == CONTINUED:
            message = f"{name!r} is the word for the pictures that continue is given; take another name"
            self._problems.append(Problem(f"{place}.name", message))

    def _source(self, number: int, own: Mapping[str, Any], kind: str, place: str) -> str | None:
        """Return the stage whose pictures this one begins with; a mistake in it is noted."""
        begins = own.get("from")
        if kind == "txt2img":
            if begins is not None:
                self._problems.append(Problem(f"{place}.from", "a txt2img stage begins with nothing; make it img2img"))
            return None
        if self._brings_pictures(number, own, kind, place):
            return None
        earlier = self._names[:number]
        if self._kind is Continue:
            earlier = [CONTINUED, *earlier]
            begins = begins if begins in earlier else None  # a stage that has been run: its pictures are the given ones
            return str(begins or earlier[-1])
        if begins is None and not earlier:
            needs = "a stage before it" if kind == "judge" else "a picture"
            self._problems.append(Problem(f"{place}.type", f"the first stage needs {needs} to be {kind}"))
        if not isinstance(begins, str):  # what is no text is told by the envelope
            return earlier[-1] if earlier else CONTINUED
        if begins not in earlier:
            message = f"must be an earlier stage ({', '.join(earlier) or 'there is none'}), not {shown(begins)}"
            self._problems.append(Problem(f"{place}.from", message, nearest(begins, earlier)))
        return begins

    def _brings_pictures(self, number: int, own: Mapping[str, Any], kind: str, place: str) -> bool:
        """Return whether a stage begins with pictures of its own; a mistake in that is noted."""
        pictures = own.keys() & ({"images"} | BROUGHT if kind == "judge" else BROUGHT)
        if pictures and kind == "judge":
            message = "is not a field of a judge stage: it judges the pictures of the stage that it comes from"
            self._problems.append(Problem(f"{place}.{min(pictures)}", message))
            return False
        if pictures and own.get("from") is not None:
            self._problems.append(Problem(f"{place}.{min(pictures)}", "can't be combined with from"))
        return bool(pictures) or (number == 0 and kind != "judge" and bool(BROUGHT & self._given.keys()))

    def _defaults(self) -> dict[str, Any]:
        """Return the fields of the whole job that its stages take over."""
        return {
            name: value
            for name, value in self._given.items()
            if name == "on_mismatch" or (name not in self._kind.model_fields and name not in ("return", "about"))
        }

    def _unknown_defaults(self) -> None:
        """Note fields of the whole job that no kind of stage has."""
        every = frozenset().union(*(readable_fields(kind) for kind in STAGE_KINDS))
        for name in self._defaults():
            if name not in every:
                near = nearest(name, [*self._kind.model_fields, *every])
                self._problems.append(Problem(name, "is a field neither of a workflow nor of a stage", near))

    def _check_whole(self, job: Workflow | Continue) -> None:
        if not self._written and not self._problems and isinstance(job, Workflow):
            self._problems.append(Problem("stages", "is missing: a workflow has a stage at least"))
        if isinstance(job, Continue):
            self._check_pictures(job)
        chooses = any(
            isinstance(stage.job, JudgeImages) or getattr(stage.job, "accept", None) for stage in self._stages
        )
        if job.output.rejected is not None and not chooses:
            self._problems.append(Problem("output.rejected", "has no effect without accept or a judge stage"))
        if len(self._stages) == len(self._written):
            self._check_names(job)

    def _check_pictures(self, job: Continue) -> None:
        if (job.job is None) == (job.keys is None):
            self._problems.append(
                Problem("job", "is needed, or keys: the pictures to go on with, and one of both only")
            )
        elif job.keep is not None and job.job is None:
            self._problems.append(Problem("keep", "counts pictures of a job, so it needs job"))

        if any(kind == "txt2img" for kind in self._kinds):
            return  # that stage has made them
        for name in sorted(self._own & (OF_THE_FIRST | {"seed"})):
            message = "has no effect: the pictures are there, each with its size and its seed"
            if name == "accept":
                message = (
                    'makes pictures, and these are there; put a stage of "type": "judge" before those that are left'
                )
            self._problems.append(Problem(name, message))

    def _check_names(self, job: Workflow | Continue) -> None:
        names = [stage.name for stage in self._stages]
        named = [(f"output.intermediates[{n}]", name) for n, name in enumerate(job.output.intermediates or ())]
        if isinstance(job, Workflow) and job.until is not None:
            named.append(("until", job.until))
        if isinstance(job, Continue) and job.after is not None:
            named.append(("after", job.after))
        self._problems += [_no_stage(path, name, names) for path, name in named if name not in names and names]
        first = next((stage for stage in self._stages if stage.enabled), None)
        if first is None and names:
            self._problems.append(Problem("stages", "has no stage that is enabled"))
        if isinstance(job, Workflow) and first is not None and first.source not in (None, CONTINUED):
            message = f"begins with pictures of {first.source!r}, which is switched off, and nothing before makes any"
            self._problems.append(Problem(f"{first.place}.from", message))


def _no_stage(path: str, name: str, names: list[str]) -> Problem:
    return Problem(path, f"must be a stage ({', '.join(names)}), not {shown(name)}", nearest(name, names))
