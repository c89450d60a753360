"""Presets: named sets of fields that an operator offers, from YAML. Pure.

A preset gives defaults for what the client leaves out, forces what the client may not choose, and caps numbers::

    draft:
      about: Fast and rough.
      defaults: {steps: 12, sampler_name: DPM++ 2M Karras}
      forced: {output: {format: jpeg}}
      limits: {steps: 20}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from pydantic_core import PydanticCustomError

from worker.contract.base.json_guard import shown
from worker.contract.base.paths import as_written
from worker.contract.parse.normalise import Normal, in_one_spelling, normalise
from worker.contract.types.fields import Number
from worker.errors import Problem
from worker.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEYS = frozenset({"about", "defaults", "forced", "limits"})
MOST_PRESETS = 8
_BELONGS = {"scheduler": "sampler_name", "hr_scheduler": "hr_sampler_name"}
"""A default that belongs to another one."""
_ANY_NUMBER = Number(float("-inf"), float("inf"))


class PresetsInvalid(ValueError):
    """The YAML is not a set of presets; the message names the preset and what is wrong."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One preset; the values are a job's fields."""

    name: str
    about: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    forced: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Dressed:
    """A raw job with its presets applied.

    Attributes:
        fields: The job.
        applied: What the presets added or changed, by field.
        problems: Unknown presets, values over a preset's limit.
        warnings: Values of the client's that a preset replaced.
    """

    fields: dict[str, Any]
    applied: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_presets(text: str) -> dict[str, Preset]:
    """Return the presets in a YAML text.

    Raises:
        PresetsInvalid: not YAML, or not of this shape.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PresetsInvalid(f"not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PresetsInvalid("must be a mapping of names to presets")
    return {str(name): _read_one(str(name), body) for name, body in content.items()}


def _read_one(name: str, body: object) -> Preset:
    if not isinstance(body, dict):
        raise PresetsInvalid(f"{name}: must be a mapping")
    unknown = [str(key) for key in body if key not in _KEYS]
    if unknown:
        raise PresetsInvalid(f"{name}: unknown key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    parts: dict[str, dict[str, Any]] = {}
    for key in ("defaults", "forced", "limits"):
        part = body.get(key) or {}
        if not isinstance(part, dict):
            raise PresetsInvalid(f"{name}: {key} must be a mapping of fields")
        parts[key] = {str(field_name): value for field_name, value in part.items()}
    for limited, value in parts["limits"].items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise PresetsInvalid(f"{name}: the limit of {limited} must be a number")
    return Preset(name, str(body.get("about") or ""), **parts)


def dress(raw: Mapping[str, Any], presets: Mapping[str, Preset]) -> Dressed:
    """Return `raw` with what its `preset` (a name or a list of names) says.

    Later presets win over earlier ones; what any of them forces wins over every default.
    """
    given = raw.get("preset")
    dressed = Dressed({name: value for name, value in raw.items() if name != "preset"})
    if given is None:
        return dressed
    names = given if isinstance(given, list) else [given]
    if len(names) > MOST_PRESETS:
        dressed.problems.append(Problem("preset", f"has {len(names)} names; at most {MOST_PRESETS} are allowed"))
        return dressed
    chosen: list[Preset] = []
    for index, name in enumerate(names):
        path = f"preset[{index}]" if isinstance(given, list) else "preset"
        if not isinstance(name, str):
            dressed.problems.append(Problem(path, f"must be a name, not {shown(name)}"))
        elif name not in presets:
            known = ", ".join(sorted(presets)) or "none"
            dressed.problems.append(
                Problem(path, f"is not a preset of this endpoint ({known})", nearest(name, presets))
            )
        else:
            chosen.append(presets[name])
    _apply(dressed, chosen, raw)
    return dressed


def _apply(dressed: Dressed, chosen: list[Preset], raw: Mapping[str, Any]) -> None:
    normal = normalise({name: value for name, value in raw.items() if name != "preset"})
    under: dict[str, Any] = {}
    over: dict[str, Any] = {}
    by: dict[str, str] = {}
    for preset in chosen:
        for name, value in preset.defaults.items():
            left = _left_open(name, value, normal.fields)
            goes_with = _BELONGS.get(name, "")
            if goes_with in preset.defaults and normal.fields.get(goes_with) is not None:
                continue  # what fits the preset's own value need not fit the client's
            if left is not None:
                under[name] = _merged(under.get(name), left)
        for name, value in preset.forced.items():
            over[name] = _merged(over.get(name), value)
            by[name] = preset.name
        dressed.problems += _beyond(preset, normal)
    for name, value in under.items():
        dressed.fields[name] = _merged(value, raw.get(name))
        dressed.applied[name] = value
    for name, value in over.items():
        dressed.fields[name] = _merged(dressed.fields.get(name), value)
        dressed.applied[name] = _merged(dressed.applied.get(name), value)
        if _differs(raw.get(name), value):
            dressed.warnings.append(f"{name} is set by the preset {by[name]!r}")
    _force_parts(dressed, over, by)


def _left_open(name: str, value: Any, given: Mapping[str, Any]) -> Any:
    """Return what of a default the client has not said in this or another spelling, None where it has said all of it.

    Args:
        name: The preset's field.
        value: Its default.
        given: The client's fields in one spelling.
    """
    if isinstance(value, dict):
        implied = {other: part for other, part in in_one_spelling({name: {}}).fields.items() if other != name}
        if any(given.get(other) not in (None, part) for other, part in implied.items()):
            return None  # the client wants none of it
        left = {key: part for key, part in value.items() if not _is_given({name: {key: part}}, given, implied)}
        return left or None
    return None if _is_given({name: value}, given, {}) else value


def _is_given(default: Mapping[str, Any], given: Mapping[str, Any], implied: Mapping[str, Any]) -> bool:
    for name, value in normalise(default).fields.items():
        said = given.get(name)
        if isinstance(value, dict) and isinstance(said, dict):
            if any(said.get(key) is not None for key in value):
                return True
        elif said is not None and name not in implied:
            return True
    return False


def _beyond(preset: Preset, normal: Normal) -> Iterator[Problem]:
    """Yield a problem for each number of the client's that is over the preset's limit, in whatever spelling."""
    parts = normal.fields.get("prompts")
    places: list[tuple[str, Any]] = [("", normal.fields)]
    places += [(f"prompts[{index}].", part) for index, part in enumerate(parts if isinstance(parts, list) else ())]
    for prefix, fields in places:
        for name, most in preset.limits.items():
            number = _number(fields.get(name)) if isinstance(fields, dict) else None
            if number is not None and number > most:
                path = prefix + name if prefix else as_written(name, normal.written)
                yield Problem(path, f"must be at most {most:g} with the preset {preset.name!r}, not {number:g}")


def _number(value: object) -> float | None:
    """Return the number that `value` is read as, None where it is none."""
    try:
        return _ANY_NUMBER.read(value)
    except PydanticCustomError:
        return None


def _force_parts(dressed: Dressed, over: Mapping[str, Any], by: Mapping[str, str]) -> None:
    """Take what presets force out of each of several prompts."""
    parts = dressed.fields.get("prompts")
    if not isinstance(parts, list) or "prompts" in over:
        return
    kept = []
    for index, part in enumerate(parts):
        mine = part if isinstance(part, dict) else {}
        others = [name for name in mine if name in over and name != "prompt"]
        dressed.warnings += [f"prompts[{index}].{name} is set by the preset {by[name]!r}" for name in others]
        kept.append({name: value for name, value in mine.items() if name not in others} if others else part)
    dressed.fields["prompts"] = kept


def _differs(said: Any, forced: Any) -> bool:
    """Return whether the client has said something else than what is forced."""
    if isinstance(said, dict) and isinstance(forced, dict):
        return any(said.get(key) not in (None, value) for key, value in forced.items())
    return said is not None and said != forced


def _merged(under: Any, over: Any) -> Any:
    """Return `over` laid over `under`, field by field where both are objects."""
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **{name: value for name, value in over.items() if value is not None}}
    return under if over is None else over
