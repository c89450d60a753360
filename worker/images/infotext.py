"""A1111's infotext: the text that tells how a picture was made.

    <prompt, any number of lines>
    Negative prompt: <any number of lines>
    Steps: 20, Sampler: Euler a, …, Lora hashes: "name: 0123, other: 4567", Version: v1.10.1

Values that hold a comma, a colon or a line break are JSON strings; some extensions write bare JSON objects.
`format_infotext` writes what `parse` read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_NEGATIVE = "Negative prompt:"
_FIRST_FIELD = "Steps: "
_BEGIN_INSIDE = re.compile(r"(?:^|\s)(Steps: ?\d+, ?(?:Sampler|Schedule type|CFG scale|Seed|Size|Model)\b)")
"""Start of the fields within a line."""
_TEMPLATES = ("Template", "Negative Template")
_NOTHING = frozenset({"", "none", "null", "undefined", "{}", "[]", "nan"})
"""Texts that programs write where there is nothing to write."""
_LEAST_FIELDS = 3
_MOST_FIELDS = 1000
_KEY = re.compile(r"\s*(\w[\w \-/()+.]*):\s*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BARE = re.compile(r"[^,]*")


@dataclass(frozen=True, slots=True)
class Infotext:
    """The contents of an infotext.

    Attributes:
        prompt: As written, without the line break that ends it.
        negative_prompt: Empty when there is none.
        fields: `Steps`, `Sampler`, … in order, values unquoted.
    """

    prompt: str
    negative_prompt: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> Infotext:
    """Return what `text` says; text in no known form is all prompt. Never fails."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if text.casefold() in _NOTHING:
        return Infotext("")
    head, fields = _parted(text)
    lines = head.split("\n") if head else []
    for index, line in enumerate(lines):
        if line.startswith(_NEGATIVE):
            negative = "\n".join([line[len(_NEGATIVE) :], *lines[index + 1 :]])
            return Infotext("\n".join(lines[:index]), negative.removeprefix(" "), fields)
    if fields and f" {_NEGATIVE}" in head:
        prompt, _, negative = head.partition(f" {_NEGATIVE}")
        return Infotext(prompt, negative.removeprefix(" "), fields)
    return Infotext(head, "", fields)


def _parted(text: str) -> tuple[str, dict[str, str]]:
    """Return the prompts of `text`, and its fields: of the last line, or from where they begin if that is elsewhere.

    Values with line breaks, templates behind the fields, and programs that lose line breaks spread or join the lines.
    """
    above, _, last = text.rpartition("\n")
    inside = _BEGIN_INSIDE.search(last)
    if inside is None or last.startswith(_FIRST_FIELD):
        fields = _fields(last)
        if fields and (last.startswith(_FIRST_FIELD) or f"\n{_FIRST_FIELD}" not in text):
            return above, fields
    start = text.rfind(f"\n{_FIRST_FIELD}")
    if start >= 0:
        rest, templates = _without_templates(text[start + 1 :])
        return text[:start], {**_fields(rest), **templates}
    if inside is not None:
        begin = len(text) - len(last) + inside.start(1)
        return text[:begin].rstrip(), _fields(text[begin:])
    return text, {}


def _without_templates(text: str) -> tuple[str, dict[str, str]]:
    """Return the fields without the templates that Dynamic Prompts writes on lines of their own, and those."""
    kept: list[str] = []
    templates: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        found = next((each for each in _TEMPLATES if line.startswith(f"{each}: ")), None)
        if found is not None:
            name = found
            templates[name] = line[len(found) + 2 :]
        elif name:
            templates[name] += f"\n{line}"
        else:
            kept.append(line)
    return "\n".join(kept), templates


def fields_of(value: str) -> dict[str, str]:
    """Return the fields inside one field's value, as ControlNet writes each unit: ``Module: canny, Model: …``."""
    return {
        name.strip(): text.strip() for name, colon, text in (part.partition(":") for part in value.split(",")) if colon
    }


def format_infotext(infotext: Infotext) -> str:
    """Return `infotext` as A1111 writes it."""
    parts = [infotext.prompt]
    if infotext.negative_prompt:
        parts.append(f"{_NEGATIVE} {infotext.negative_prompt}")
    parts.append(", ".join(f"{key}: {_quoted(value)}" for key, value in infotext.fields.items()))
    return "\n".join(parts).strip()


def _fields(line: str) -> dict[str, str]:
    """Return the fields of the last line; {} when it is prompt: no `Steps`, and few fields or other text between."""
    found: dict[str, str] = {}
    clean = objects = True
    at = 0
    for _ in range(_MOST_FIELDS):
        key = _KEY.match(line, at)
        start = key.end() if key else at
        end: int | None = None
        if objects and line.startswith("{", start):
            end = _end_of_object(line, start)
            objects = end is not None  # of many that never end, each would be read to the end of the line
        text, at = (line[start:end], end + 1) if end is not None else _value(line, start)
        if key:
            found[key.group(1).rstrip()] = text
        else:
            clean = False
        if at >= len(line):
            break
    else:
        return {}
    return found if "Steps" in found or (clean and len(found) >= _LEAST_FIELDS) else {}


def _end_of_object(line: str, at: int) -> int | None:
    """Return the place behind the JSON object that starts at `at` and fills a value, None where there is none."""
    try:
        end = json.JSONDecoder().raw_decode(line, at)[1]
    except (ValueError, RecursionError):
        return None
    return end if line[end : end + 1] in ("", ",") else None


def _value(line: str, at: int) -> tuple[str, int]:
    """Return the value that starts at `at`, and the place behind its comma."""
    quoted = _QUOTED.match(line, at)
    if quoted is not None and line[quoted.end() : quoted.end() + 1] in ("", ","):
        return _unquoted(quoted.group()), quoted.end() + 1
    bare = _BARE.match(line, at)
    end = bare.end() if bare else len(line)
    return line[at:end].strip(), end + 1


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _quoted(value: str) -> str:
    plain = not any(sign in value for sign in ",\n:") and not value.startswith('"')
    return value if plain or _is_object(value) else json.dumps(value, ensure_ascii=False)


def _is_object(value: str) -> bool:
    if not value.startswith("{") or "\n" in value:
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True
