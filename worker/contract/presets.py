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

from worker.contract.jsonguard import shown
from worker.contract.suggest import nearest
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = frozenset({"about", "defaults", "forced", "limits"})
MOST_PRESETS = 8


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
    """Return `raw` with what its `preset` (a name or a list of names) says; later presets win over earlier ones."""
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
    for preset in chosen:
        for name, value in preset.defaults.items():
            if raw.get(name) is None or (isinstance(value, dict) and isinstance(raw[name], dict)):
                merged = _merged(value, raw.get(name))
                dressed.fields[name] = merged
                dressed.applied[name] = value
        for name, value in preset.forced.items():
            before = raw.get(name)
            dressed.fields[name] = _merged(before, value)
            dressed.applied[name] = value
            if before is not None and before != dressed.fields[name]:
                dressed.warnings.append(f"{name} is set by the preset {preset.name!r}")
        for name, most in preset.limits.items():
            number = raw.get(name)
            if isinstance(number, (int, float)) and not isinstance(number, bool) and number > most:
                message = f"must be at most {most:g} with the preset {preset.name!r}, not {number:g}"
                dressed.problems.append(Problem(name, message))


def _merged(under: Any, over: Any) -> Any:
    """Return `over` laid over `under`, field by field where both are objects."""
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **over}
    return under if over is None else over
