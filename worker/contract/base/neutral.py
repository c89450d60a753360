"""Removal of empty values: they leave a job, under whatever name, before anything reads it.

Clients send the whole state of their screens: nulls, empty texts and lists, switches that are off. The WebUI does
without such a value what it does with it, so a job is read as if it had not been sent. Lists that are read by position
(arguments of scripts) keep their places, and so do texts in which emptiness is a wish (a prompt).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.base.json_guard import word

if TYPE_CHECKING:
    from collections.abc import Mapping

_POSITIONAL = frozenset({"args", "script_args"})
_EMPTY_IS_A_WISH = frozenset({"prompt", "prompts"})
_AS_SENT = frozenset({"job"})
"""A job inside a job, which is read by itself."""
_NONE_IS_EMPTY = frozenset({"styles"})
"""Lists whose entries are chosen from menus that begin with None."""
_CRITERIA = frozenset({"accept", "face", "quality"})
"""Objects that ask for something also when they are empty: a judge with its defaults."""
_SWITCHES = ("enabled", "enable", "is_enabled", "ad_tab_enable", "active")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A job's fields that say something.

    Attributes:
        fields: Without what is empty.
        written: Entry of a list → where it stood before empty ones left that list.
        empty: Names of those that say nothing.
    """

    fields: dict[str, Any]
    written: dict[str, str] = field(default_factory=dict)
    empty: tuple[str, ...] = ()


def without_empty(raw: Mapping[str, Any]) -> Cleaned:
    """Return the fields of `raw` that say something; `raw` is left as it is."""
    written: dict[str, str] = {}
    fields = _object(raw, "", written)
    return Cleaned(fields, written, tuple(name for name in raw if name not in fields))


def is_empty(value: object) -> bool:
    """Return whether `value` says nothing under any name: null, an empty text, or a container of nothing else."""
    if value is None:
        return True
    if isinstance(value, str):
        return len(value) < 100 and not value.strip()  # noqa: PLR2004 - a text of megabytes is not even copied
    if isinstance(value, list):
        return all(is_empty(part) for part in value)
    if isinstance(value, dict):
        return all(is_empty(part) for part in value.values())
    return False


def is_off(value: object) -> bool:
    """Return whether `value` is a switch that is off, or something with one: a unit, a list of units, arguments."""
    if value is False or (isinstance(value, str) and word(value) == "false"):
        return True
    if isinstance(value, dict):
        return any(is_off(value[name]) or _is_zero(value[name]) for name in _SWITCHES if name in value)
    return False


def are_off(values: object) -> bool:
    """Return whether a list of units, or of a script's arguments that begin with its switch, is off."""
    if not isinstance(values, list):
        return False
    first = next(iter(values), None)
    return is_off(first) if not isinstance(first, dict) else all(is_empty(unit) or is_off(unit) for unit in values)


def says_nothing(value: object) -> bool:
    """Return whether `value` of a field that nobody here reads says nothing: empty, zero, or switched off."""
    return is_empty(value) or _is_zero(value) or is_off(value) or are_off(value)


def _is_zero(value: object) -> bool:
    return type(value) in {int, float} and value == 0


def _object(raw: Mapping[str, Any], path: str, written: dict[str, str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in raw.items():
        if name in _EMPTY_IS_A_WISH:
            if value is not None and value not in ([], {}) and (name == "prompt" or value != ""):
                kept[name] = value
        elif name in _AS_SENT or (name == "args" and isinstance(value, list) and not value):
            kept[name] = value
        elif name == "alwayson_scripts" and isinstance(value, dict):
            if scripts := {key: _value(key, part, "", written) for key, part in value.items() if part}:
                kept[name] = scripts
        elif name in _CRITERIA and isinstance(value, dict):
            kept[name] = _object(value, f"{path}.{name}" if path else name, written)
        else:
            cleaned = _value(name, value, f"{path}.{name}" if path else name, written)
            if not is_empty(cleaned):
                kept[name] = cleaned
    return kept


def _value(name: str, value: Any, path: str, written: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return _object(value, path, written)
    if not isinstance(value, list) or is_empty(value):
        return value
    if name in _POSITIONAL:
        places = enumerate(value)
        return [_object(part, f"{path}[{i}]", written) if isinstance(part, dict) else part for i, part in places]
    kept: list[Any] = []
    for index, part in enumerate(value):
        if is_empty(part) or (name in _NONE_IS_EMPTY and word(part) == "none"):
            continue
        if len(kept) != index:
            written[f"{path}[{len(kept)}]"] = f"{path}[{index}]"
        kept.append(_object(part, f"{path}[{index}]", written) if isinstance(part, dict) else part)
    return kept
