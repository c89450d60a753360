"""Bodies of requests to OpenAI's API: JSON, or multipart forms with files and bracketed names."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from worker.serving.http_api.api_errors import RequestRefused
from worker.serving.http_api.request_body import parse_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from starlette.requests import Request

    from worker.serving.http_api.request_body import BodyReader

MOST_FILES = 20
MOST_PARTS = 1000
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_TEXTS = frozenset({"prompt", "negative_prompt", "model", "user", "safety_identifier"})
"""Fields whose text is never read as JSON: a prompt may begin with a brace."""

Entry = tuple[tuple[str, ...], str]
"""A form's text with the steps to it: ``loras[][name]`` is ``("loras", "", "name")``."""


async def read_fields(request: Request, bodies: BodyReader) -> dict[str, Any]:
    """Return the fields of a request, files as base64.

    Raises:
        RequestRefused: the body is neither JSON nor a form, or too large.
    """
    body = await bodies.read(request)
    if not request.headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        fields = await asyncio.to_thread(parse_json, body)
        if not isinstance(fields, dict):
            raise RequestRefused(HTTPStatus.BAD_REQUEST, 'the body must be an object: {"prompt": "…"}')
        return fields
    entries = []
    for name, value in await _parts(request, body):
        text = await asyncio.to_thread(_base64, value) if isinstance(value, UploadFile) else value
        entries.append((_steps(name), text))
    return await asyncio.to_thread(fields_of, entries)


async def _parts(request: Request, body: bytes) -> Sequence[tuple[str, UploadFile | str]]:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, whole(), max_files=MOST_FILES, max_fields=MOST_PARTS, max_part_size=max(1, len(body))
    )
    try:
        return (await parser.parse()).multi_items()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"the form can't be read: {error}") from None


def _base64(file: UploadFile) -> str:
    return base64.b64encode(file.file.read()).decode()


def _steps(name: str) -> tuple[str, ...]:
    found = _NAME.fullmatch(name)
    return (name,) if found is None else (found[1], *_BRACKETS.findall(found[2]))


def fields_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return a form's fields as the JSON that they stand for. Pure.

    ``loras[][name]`` repeats a name in each of several objects; ``output[format]`` is a field of one. Text that is an
    object or a list in JSON is read as such.

    Raises:
        RequestRefused: objects of a list can't be told apart.
    """
    names = dict.fromkeys(steps[0] for steps, _ in entries)
    return {name: _value(name, [(steps[1:], text) for steps, text in entries if steps[0] == name]) for name in names}


def _value(name: str, entries: Sequence[Entry]) -> Any:
    if all(not steps for steps, _ in entries):
        values = [text if name in _TEXTS else _from_json(text) for _, text in entries]
        return values[0] if len(values) == 1 else values
    first_steps = {steps[0] if steps else None for steps, _ in entries}
    if first_steps == {""}:
        return _list(name, [(steps[1:], text) for steps, text in entries])
    if None in first_steps or "" in first_steps:
        raise _ambiguous(name)
    return {
        step: _value(f"{name}.{step}", [(steps[1:], text) for steps, text in entries if steps[0] == step])
        for step in dict.fromkeys(steps[0] for steps, _ in entries)
    }


def _list(name: str, entries: Sequence[Entry]) -> list[Any]:
    """Return a list, whose objects come as columns: first the names of all, then the scales of all."""
    if all(not steps for steps, _ in entries):
        return [_from_json(text) for _, text in entries]
    columns: dict[tuple[str, ...], list[str]] = {}
    for steps, text in entries:
        columns.setdefault(steps, []).append(text)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1 or () in columns:
        raise _ambiguous(name)
    rows = range(lengths.pop())
    return [_value(name, [(steps, column[row]) for steps, column in columns.items()]) for row in rows]


def _ambiguous(name: str) -> RequestRefused:
    message = f"{name}: a form can't carry objects with different fields; send {name} as one part with JSON text"
    return RequestRefused(HTTPStatus.BAD_REQUEST, message)


def _from_json(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
