"""One spelling for every job: what the WebUI's API says in two ways or keeps from old times becomes one field.

Nulls are left out (the WebUI's own echo of a request is full of them), `sampler_index` is an old `sampler_name`, and
the override settings that have a field of their own move there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.jsonguard import shown
from worker.contract.overrides import MOVED, read_overrides
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER_NULL = frozenset({"prompt", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter"})
"""Fields for which the WebUI itself fails on null."""

_SAME_AS_UNSET: dict[str, frozenset[str]] = {
    "sampler_name": frozenset({""}),
    "sampler_index": frozenset({""}),
    "scheduler": frozenset({""}),
    "refiner_checkpoint": frozenset({"", "None"}),
    "hr_upscaler": frozenset({""}),
    "hr_checkpoint_name": frozenset({"", "Use same checkpoint"}),
    "hr_sampler_name": frozenset({"", "Use same sampler"}),
    "hr_scheduler": frozenset({"", "Use same scheduler"}),
}
"""Values with which the WebUI does what it does without the field."""

_WITHOUT_EFFECT: dict[str, tuple[tuple[object, ...], str]] = {
    "save_images": ((False,), "the worker keeps no pictures on its disk"),
    "do_not_save_samples": ((False, True), ""),
    "do_not_save_grid": ((False, True), ""),
    "send_images": ((True,), "pictures are always in the answer"),
    "override_settings_restore_afterwards": ((True,), "no job changes the options of another"),
    "force_task_id": (("",), "jobs are known by the id that the platform gives them"),
}
"""Fields of the WebUI's API that mean nothing to a worker: values that pass silently, and the warning for others."""

_LEGACY: dict[str, tuple[tuple[object, ...], str]] = {
    "firstphase_width": ((0,), "is no longer supported by the WebUI; set width and hr_resize_x"),
    "firstphase_height": ((0,), "is no longer supported by the WebUI; set height and hr_resize_y"),
    "firstpass_image": (("",), "is internal to the WebUI and can't be sent"),
    "comments": (({},), "is internal to the WebUI and can't be sent"),
    "infotext": (("",), "is not read; send its values as fields"),
    "script_name": (("",), "is not available: scripts are not offered"),
    "script_args": (([],), "is not available: scripts are not offered"),
    "alwayson_scripts": (({},), "is not available: scripts and extensions are not offered"),
}
"""Fields of the WebUI's API that are accepted only with the value they have in its own echo."""


@dataclass(slots=True)
class Normal:
    """A job in one spelling.

    Attributes:
        fields: What is left to be read by the job's type.
        written: Field → where the client wrote it, when that is elsewhere.
        problems: Mistakes found on the way.
        warnings: What was ignored and why.
    """

    fields: dict[str, Any]
    written: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def normalise(raw: Mapping[str, Any]) -> Normal:
    """Return `raw` in one spelling; `raw` is left as it is."""
    normal = Normal({})
    for name, value in raw.items():
        if value is None:
            if name in NEVER_NULL:
                normal.problems.append(Problem(name, "must not be null; leave it out for the default"))
            continue
        if isinstance(value, str) and value in _SAME_AS_UNSET.get(name, ()):
            continue
        if name in _WITHOUT_EFFECT:
            silent, why = _WITHOUT_EFFECT[name]
            if why and value not in silent:
                normal.warnings.append(f"{name} is ignored: {why}")
        elif name in _LEGACY:
            silent, why = _LEGACY[name]
            if value not in silent:
                normal.problems.append(Problem(name, why))
        else:
            normal.fields[name] = value
    _sampler_index(normal)
    _overrides(normal)
    return normal


def _sampler_index(normal: Normal) -> None:
    old = normal.fields.pop("sampler_index", None)
    if old and "sampler_name" not in normal.fields:
        normal.fields["sampler_name"] = old
        normal.written["sampler_name"] = "sampler_index"


def _overrides(normal: Normal) -> None:
    given = normal.fields.pop("override_settings", None)
    if given is None:
        return
    if not isinstance(given, dict):
        normal.problems.append(Problem("override_settings", f"must be an object, not {shown(given)}"))
        return
    kept, problems = read_overrides(given)
    normal.problems.extend(problems)
    if kept:
        normal.fields["override_settings"] = kept
    for option, target in MOVED.items():
        if given.get(option) is not None and given[option] != "":
            _move(normal, option, given[option], target)


def _move(normal: Normal, option: str, value: object, target: str) -> None:
    """Put the override `option` where the contract has it; two different values for one thing are a mistake."""
    written = f"override_settings.{option}"
    parent, _, leaf = target.rpartition(".")
    place = normal.fields
    if parent:
        inner = normal.fields.get(parent, {})
        if not isinstance(inner, dict):
            return
        place = normal.fields[parent] = dict(inner)
    if place.get(leaf) is None:
        place[leaf] = value
        normal.written[target] = written
    elif place[leaf] != value:
        normal.problems.append(Problem(written, f"says something else than {target}; send one of them"))
