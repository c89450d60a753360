"""Fields that nobody here reads: passed over where they say nothing, else named as whose they are, or as a mistake."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from worker.common.suggestions import nearest
from worker.contract.base.aliases import FOREIGN_NAMES
from worker.contract.base.neutral import says_nothing
from worker.contract.base.other_programs import OtherField, other_field
from worker.contract.parse.normalise import SPELLINGS
from worker.contract.types.kinds import KINDS
from worker.contract.types.model_ref import lora_shape
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.contract.parse.validation_errors import UnknownField

UnknownFields = Literal["refuse", "warn"]
"""Treatment of a field that has a value but no reader here."""
_GUESSED = 8
"""Unknown fields that get a suggestion; a job with more of them is not a typing mistake."""
_NAMED = 20


@dataclass(slots=True)
class UnknownFieldReport:
    """Problems and warnings about the unknown fields of one job.

    Attributes:
        policy: Whether a value that nobody reads is a mistake.
        problems: The mistakes.
        ignored: Names that are passed over, in words.
    """

    policy: UnknownFields
    problems: list[Problem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    _guesses: int = 0

    def add(self, unknown: UnknownField, path: str, kind: str, given: Mapping[str, Any]) -> None:
        """Judge one field.

        Args:
            unknown: The field.
            path: Where the client wrote it.
            kind: Kind of the job.
            given: The job's own fields.
        """
        name, value = unknown.name, unknown.value
        other = other_field(name)
        if other is not None and (says_nothing(value) or other.changes_nothing(value) or _repeats(name, value, given)):
            self.ignored.append(_whose(path, other))
        elif says_nothing(value):
            self.ignored.append(path)
        else:
            self._guesses += 1
            problem = _problem(unknown, path, kind, given, few=self._guesses <= _GUESSED)
            if problem is None:
                self.ignored.append(path)
            elif self.policy == "warn":
                self.ignored.append(f"{path} (here: {problem.suggestion})" if problem.suggestion else path)
            else:
                self.problems.append(problem)

    def add_empty(self, names: Iterable[str]) -> None:
        """Note which of the fields that say nothing have names that nobody reads."""
        for name in names:
            if is_read(name):
                continue
            other = other_field(name)
            self.ignored.append(name if other is None else f"{name} ({other.owner}'s)")

    def not_caused_by_them(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems but those of fields that are only missing because they stand under an unknown name."""
        places = {problem.path.rpartition(".")[0] for problem in self.problems}
        meant = {f"{problem.path.rpartition('.')[0]}.{problem.suggestion}" for problem in self.problems}
        return [problem for problem in problems if problem.path not in places - {""} and problem.path not in meant]

    def warnings(self) -> list[str]:
        """Return one warning that names all fields that were passed over, none where there are none."""
        if not self.ignored:
            return []
        names = ", ".join(self.ignored[:_NAMED])
        more = f" and {len(self.ignored) - _NAMED} more" if len(self.ignored) > _NAMED else ""
        verb = "is" if len(self.ignored) == 1 else "are"
        return [f"{names}{more} {verb} ignored: not a field that this worker reads"]


def is_read(name: str) -> bool:
    """Return whether some kind of job reads a field of this name."""
    return name in SPELLINGS or any(name in model.model_fields for model in KINDS.values())


def _whose(path: str, other: OtherField) -> str:
    here = f"; here: {other.instead}" if other.instead else ""
    return f"{path} ({other.owner}'s{here})"


def _repeats(name: str, value: Any, given: Mapping[str, Any]) -> bool:
    """Return whether another program's field says no more than a field of the job, as Forge's CFG of the hires pass."""
    return name == "hr_cfg" and value in (given.get("cfg_scale", 7), 1, 1.0)


def _problem(  # noqa: PLR0911 - one explanation after the other
    unknown: UnknownField, path: str, kind: str, given: Mapping[str, Any], *, few: bool
) -> Problem | None:
    """Return the problem of a field that does not exist here; None where it only says again what another says."""
    name, names = unknown.name, unknown.names
    other = other_field(name)
    if other is not None:
        return Problem(path, f"is a field of {other.owner}; this worker runs AUTOMATIC1111", other.instead)
    if len(unknown.steps) > 1:
        meant = INNER_NAMES.get(name.lower())
        return Problem(path, "is not a field", meant if meant in names else nearest(name, names) if few else None)
    meant = FOREIGN_NAMES.get(name.lower())
    root = (meant or "").partition(".")[0]
    if meant is not None and meant in given and root in names:
        same = given[meant] == unknown.value
        return None if same else Problem(path, f"says the same as {meant}; send one of them")
    if meant is not None and root in names:
        shape = lora_shape(unknown.value) if meant == "loras" else None
        return Problem(path, "is not a field", f"{meant}: {shape}" if shape else meant)
    owners = [each for each, model in KINDS.items() if name in model.model_fields]
    if owners:
        return Problem(path, f"is a field of {', '.join(owners)}; this job is {kind}", meant)
    if meant is not None and any(root in model.model_fields for model in KINDS.values()):
        return Problem(path, "is not a field", meant)
    near = nearest(name, names) if few else None
    if near in given:
        return Problem(path, f"is not a field, and {near!r} is in the job as well; leave one of them out")
    return Problem(path, "is not a field", near)


INNER_NAMES: dict[str, str] = {
    "path": "name",
    "file": "name",
    "lora": "name",
    "lora_name": "name",
    "model_name": "name",
    "lora_path": "name",
    "multiplier": "scale",
    "strength": "scale",
    "strength_model": "scale",
    "strength_clip": "scale",
    "weight": "scale",
    "init_images": "image",
    "init_image": "image",
    "input_images": "image",
    "control_image": "image",
    "controlnet_image": "image",
    "controlnet_module": "module",
    "controlnet_model": "model",
    "processor": "module",
    "type": "module",
    "starting_control_step": "guidance_start",
    "ending_control_step": "guidance_end",
    "start": "guidance_start",
    "end": "guidance_end",
    "mode": "control_mode",
}
"""Other tools' names inside units and models, in lower case → ours; taken where the object has that field."""
