"""Application of the presets that a job names: values, composed prompts and added LoRAs. Pure.

Presets add up by role: a character, a scene and a style each bring their words and LoRAs, and the client's own prompt
stands between them. Where two set the same field, the later one wins, and the client wins over both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown
from worker.contract.base.paths import as_written
from worker.contract.operator.compose import added_loras, composed_negative, composed_prompt
from worker.contract.parse.normalise import Normal, in_one_spelling, normalise
from worker.contract.types.fields import Number
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.contract.operator.presets import Preset
    from worker.contract.types.kinds import Role

MOST_PRESETS = 8
ROLE_FIELDS: tuple[Role, ...] = ("character", "scene", "style")
"""Roles that have a field of their own in a job."""
FIELDS = (*ROLE_FIELDS, "preset")
_BELONGS = {"scheduler": "sampler_name", "hr_scheduler": "hr_sampler_name"}
"""A default that belongs to another one."""
_ANY_NUMBER = Number(float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class NamedPreset:
    """A preset that a job names, and the field that names it."""

    path: str
    preset: Preset


@dataclass(slots=True)
class PresetResult:
    """A raw job with its presets applied.

    Attributes:
        fields: The job.
        applied: The values that presets added or changed, by field.
        problems: Unknown presets, values over a preset's limit, two characters.
        warnings: Values of the client's that a preset replaced.
        written: Place in `fields` → the field that named the preset which put it there.
        base_models: Field that names a preset → the base model that it is made for.
    """

    fields: dict[str, Any]
    applied: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    base_models: dict[str, str] = field(default_factory=dict)


def names_presets(raw: Mapping[str, Any]) -> bool:
    """Return whether a raw job names any preset."""
    return any(raw.get(name) is not None for name in FIELDS)


def apply_presets(raw: Mapping[str, Any], presets: Mapping[str, Preset]) -> PresetResult:
    """Return `raw` with the presets of its `character`, `scene`, `style` and `preset`.

    Args:
        raw: The job as the client wrote it, in our own form.
        presets: By name.
    """
    own = {name: value for name, value in raw.items() if name not in FIELDS}
    result = PresetResult(dict(own))
    choices = _chosen(raw, presets, result.problems)
    _apply(result, [choice.preset for choice in choices], own)
    _compose(result, choices)
    result.base_models = {each.path: each.preset.base_model for each in choices if each.preset.base_model is not None}
    return result


def _chosen(raw: Mapping[str, Any], presets: Mapping[str, Preset], problems: list[Problem]) -> list[NamedPreset]:
    """Return the presets that a job names, those of roles first; note what is wrong with the names."""
    named: list[tuple[str, Any, Role | None]] = [
        (role, raw[role], role) for role in ROLE_FIELDS if raw.get(role) is not None
    ]
    given = raw.get("preset")
    if isinstance(given, list):
        if len(given) > MOST_PRESETS:
            problems.append(Problem("preset", f"has {len(given)} names; at most {MOST_PRESETS} are allowed"))
            return []
        named += [(f"preset[{index}]", name, None) for index, name in enumerate(given)]
    elif given is not None:
        named.append(("preset", given, None))
    found: list[NamedPreset] = []
    for path, name, role in named:
        problem = _name_problem(path, name, role, presets)
        if problem is not None:
            problems.append(problem)
        elif all(choice.preset.name != name for choice in found):
            found.append(NamedPreset(path, presets[name]))
    characters = [choice for choice in found if choice.preset.role == "character"]
    problems += [
        Problem(
            choice.path,
            f"is a second character beside {characters[0].preset.name!r}; a picture shows one: both would share one "
            "prompt, and prompts for regions of a picture are not supported",
        )
        for choice in characters[1:]
    ]
    return found


def _name_problem(path: str, name: object, role: Role | None, presets: Mapping[str, Preset]) -> Problem | None:
    """Return what is wrong with the name of a preset, None if nothing."""
    what = role or "preset"
    known = sorted(each.name for each in presets.values() if role is None or each.role == role)
    if not isinstance(name, str):
        return Problem(path, f"must be a name, not {shown(name)}")
    if name not in presets:
        message = f"is not a {what} of this endpoint ({', '.join(known) or 'none'})"
        if role == "style":
            message += "; styles of the WebUI are named in styles"
        return Problem(path, message, nearest(name, known))
    own = presets[name].role
    if role is not None and own != role:
        is_a = f"a {own}" if own is not None else "a preset without a role"
        return Problem(path, f"must be a {role} ({', '.join(known) or 'none'}); {name!r} is {is_a}")
    return None


def _compose(result: PresetResult, choices: list[NamedPreset]) -> None:
    """Put the words and LoRAs of presets around the client's own, in each of several prompts too."""
    presets = [choice.preset for choice in choices]
    fields, parts = result.fields, result.fields.get("prompts")
    if any(preset.prompt.is_set for preset in presets):
        if parts is None or "prompt" in fields:
            _put(result, "prompt", composed_prompt(fields.get("prompt"), presets))
        if fields.get("hr_prompt"):
            _put(result, "hr_prompt", composed_prompt(fields["hr_prompt"], presets))
    if any(preset.negative.add for preset in presets):
        _put(result, "negative_prompt", composed_negative(fields.get("negative_prompt"), presets))
        if fields.get("hr_negative_prompt"):
            _put(result, "hr_negative_prompt", composed_negative(fields["hr_negative_prompt"], presets))
    _add_loras(result, choices)
    if isinstance(parts, list):
        fields["prompts"] = [_composed_part(part, presets) for part in parts]


def _put(result: PresetResult, name: str, text: Any) -> None:
    result.fields[name] = text
    result.applied[name] = text


def _add_loras(result: PresetResult, choices: list[NamedPreset]) -> None:
    own = result.fields.get("loras")
    if own is not None and not isinstance(own, list):
        return  # the job's type says so
    own = own or []
    added = added_loras(own, result.fields.get("prompt"), [choice.preset for choice in choices])
    if not added:
        return
    _put(result, "loras", [*own, *(lora for lora, _ in added)])
    paths = {choice.preset.name: choice.path for choice in choices}
    result.written |= {f"loras[{len(own) + index}]": paths[preset.name] for index, (_, preset) in enumerate(added)}


def _composed_part(part: Any, presets: list[Preset]) -> Any:
    """Return one of several prompts with the words of presets, and their LoRAs where it has LoRAs of its own."""
    if isinstance(part, str):
        return composed_prompt(part, presets)
    if not isinstance(part, dict):
        return part
    changed = dict(part)
    if isinstance(part.get("prompt"), str):
        changed["prompt"] = composed_prompt(part["prompt"], presets)
    if part.get("negative_prompt") is not None:
        changed["negative_prompt"] = composed_negative(part["negative_prompt"], presets)
    if isinstance(part.get("loras"), list):
        added = added_loras(part["loras"], part.get("prompt"), presets)
        changed["loras"] = [*part["loras"], *(lora for lora, _ in added)]
    return changed


def _apply(result: PresetResult, chosen: list[Preset], raw: Mapping[str, Any]) -> None:
    normal = normalise(raw)
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
        result.problems += _beyond(preset, normal)
    for name, value in under.items():
        result.fields[name] = _merged(value, raw.get(name))
        result.applied[name] = value
    for name, value in over.items():
        result.fields[name] = _merged(result.fields.get(name), value)
        result.applied[name] = _merged(result.applied.get(name), value)
        if _differs(raw.get(name), value):
            result.warnings.append(f"{name} is set by the preset {by[name]!r}")
    _force_parts(result, over, by)


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


def _force_parts(result: PresetResult, over: Mapping[str, Any], by: Mapping[str, str]) -> None:
    """Take what presets force out of each of several prompts."""
    parts = result.fields.get("prompts")
    if not isinstance(parts, list) or "prompts" in over:
        return
    kept = []
    for index, part in enumerate(parts):
        mine = part if isinstance(part, dict) else {}
        others = [name for name in mine if name in over and name != "prompt"]
        result.warnings += [f"prompts[{index}].{name} is set by the preset {by[name]!r}" for name in others]
        kept.append({name: value for name, value in mine.items() if name not in others} if others else part)
    result.fields["prompts"] = kept


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
