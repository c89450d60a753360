"""Facts about a picture: from the JSON beside it, else from the infotext in the file. Pure.

Both come from strangers, so that every value is checked for its type and cut to a length.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from worker.images.infotext import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_TEXT = 20_000
MOST_PARAMETERS = 200
MOST_SCORES = 50
_DEEPEST_SCORE = 3
_SHOWN_ELSEWHERE = frozenset(
    {"prompt", "negative_prompt", "job", "judged", "checks"}
    | {"schema", "index", "picture", "batch", "plain_job", "intermediates", "job_lacks", "parameters"}
)
"""Parts of a JSON that the page shows in other places, and those that tell a person nothing."""
_LORA = re.compile(r"<lora:([^:>]{1,200})")
_SIZE = re.compile(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*")
_STAGE_IN_NAME = re.compile(r"_([a-z][a-z0-9-]{0,30})_\d+x\d+(?:-\d+)?$")
_SEED_IN_NAME = re.compile(r"(?:^|[_-])s?(\d{1,20})(?=_|$)")


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Facts about the making of a picture.

    Attributes:
        prompt: As drawn; empty where unknown.
        negative_prompt: As above.
        seed: None where unknown.
        checkpoint: Its name; empty where unknown.
        loras: Their names.
        width: In pixels; 0 where unknown.
        height: In pixels; 0 where unknown.
        stage: Of a workflow: `base`, `final`, …; empty where unknown.
        job: What belongs together: the id of the job; empty where unknown.
        source: Name of the picture that this one was made from.
        key: Of the picture in the store of the worker that made it; empty where unknown.
        scores: Name of a score, such as `face.similarity`, → its value.
        parameters: Everything that is told, as names and texts.
        request: The input of the job that makes the picture again, None where it is not told.
    """

    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    checkpoint: str = ""
    loras: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    stage: str = ""
    job: str = ""
    source: str = ""
    key: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    parameters: tuple[tuple[str, str], ...] = ()
    request: Mapping[str, Any] | None = None


def read_facts(name: str, document: bytes | None, infotext: str | None, size: tuple[int, int]) -> PictureFacts:
    """Return the facts of the picture `name`.

    Args:
        name: Its path; tells stage and seed where nothing else does.
        document: The JSON beside it, None where there is none.
        infotext: From the file, None where there is none.
        size: Width and height of the file, (0, 0) where it can't be read.
    """
    told = _document(document)
    notes = parse(infotext) if infotext else parse("")
    fields = notes.fields
    prompt = _text(told.get("prompt")) or notes.prompt[:LONGEST_TEXT]
    request = told.get("job") if isinstance(told.get("job"), dict) else None
    return PictureFacts(
        prompt=prompt,
        negative_prompt=_text(told.get("negative_prompt")) or notes.negative_prompt[:LONGEST_TEXT],
        seed=_first(_whole(told.get("seed")), _whole(fields.get("Seed")), _seed_in(name)),
        checkpoint=_name(told.get("checkpoint")) or _text(fields.get("Model")),
        loras=_loras(told.get("loras")) or tuple(dict.fromkeys(_LORA.findall(prompt))),
        width=size[0] or _size(told, fields)[0],
        height=size[1] or _size(told, fields)[1],
        stage=_stage(told, name),
        job=_text(told.get("job_id")),
        source=_text(told.get("source")),
        key=_text(told.get("key")),
        scores=dict(list(_scores(told))[:MOST_SCORES]),
        parameters=tuple(itertools.islice(_parameters(told, fields, infotext), MOST_PARAMETERS)),
        request=request,
    )


def _document(data: bytes | None) -> dict[str, Any]:
    try:
        told = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _text(value: object) -> str:
    """Return a text without halves of characters, which JSON's escapes can contain; empty for anything else."""
    return value[:LONGEST_TEXT].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _name(value: object) -> str:
    """Return the name of a model that is told as text or as an object."""
    return _text(value.get("name")) if isinstance(value, dict) else _text(value)


def _whole(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value.strip()):
        return int(value)
    return value if type(value) is int and abs(value) < 2**64 else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _loras(value: object) -> tuple[str, ...]:
    names = [_name(one) for one in value[:100]] if isinstance(value, list) else []
    return tuple(name for name in names if name)


def _size(told: Mapping[str, Any], fields: Mapping[str, str]) -> tuple[int, int]:
    value = told.get("size")
    if isinstance(value, dict):
        value = f"{value.get('width')}x{value.get('height')}"
    elif isinstance(value, list):
        value = "x".join(str(one) for one in value)
    found = _SIZE.fullmatch(value if isinstance(value, str) else fields.get("Size", ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _stage(told: Mapping[str, Any], name: str) -> str:
    stage = _name(told.get("stage"))
    stages = told.get("stages")
    if not stage and isinstance(stages, list) and stages:
        stage = _name(stages[-1])
    if stage:
        return stage[:100]
    path = PurePosixPath(name)
    if "final" in path.parts[:-1]:
        return "final"
    found = _STAGE_IN_NAME.search(path.stem)
    return found[1] if found else ""


def _seed_in(name: str) -> int | None:
    found = _SEED_IN_NAME.findall(PurePosixPath(name).stem)
    return int(found[-1]) if found else None


def _scores(told: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers below `checks` and `judged`, named by their path."""
    pending = [("", told.get("judged")), ("", told.get("checks"))]
    while pending:
        path, value = pending.pop()
        if isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            if path and path.rpartition(".")[2] != "seed" and math.isfinite(value):
                yield _text(path)[:100], float(value)
        elif isinstance(value, dict) and path.count(".") < _DEEPEST_SCORE:
            pending += [(f"{path}.{key}".lstrip("."), one) for key, one in value.items()]
        elif isinstance(value, list):
            pending += [(path, one) for one in value[:20]]


def _in_words(value: object) -> str:
    """Return a value as people write it: `768x1344` for a size, `film (0.8)` for a LoRA; JSON for anything else."""
    if isinstance(value, dict) and value.keys() == {"width", "height"}:
        return f"{value['width']}x{value['height']}"
    if isinstance(value, dict) and _name(value):
        scale = value.get("scale")
        return f"{_name(value)} ({scale})" if isinstance(scale, (int, float)) else _name(value)
    if isinstance(value, list) and all(isinstance(one, (str, dict)) for one in value):
        return ", ".join(map(_in_words, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parameters(told: Mapping[str, Any], fields: Mapping[str, str], infotext: str | None) -> Iterator[tuple[str, str]]:
    """Yield what the JSON tells, then what the infotext tells; all of it where it has no known form."""
    for name, value in told.items():
        if name in _SHOWN_ELSEWHERE:
            continue
        for inner, one in value.items() if name == "applied" and isinstance(value, dict) else ((name, value),):
            if one not in (None, "", [], {}):
                yield _text(inner)[:200], _text(_in_words(one))
    for name, text in fields.items():
        yield _text(name)[:200], _text(text)
    if infotext and not fields:
        yield "infotext", _text(infotext)
