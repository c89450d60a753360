"""Jobs in files: read, wrapped as the platform hands them over, and their slips told by line and column."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any

from worker.common.strict_json import RepeatedKey, unique_keys
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEST_INPUT = "test_input.json"
EXAMPLE = '{"input": {"prompt": "a lighthouse"}}'
_LONGEST_LINE = 160
_OTHER_QUOTES = ("'", "\u2018", "\u2019", "\u201c", "\u201d")
_ASK_FOR_ANOTHER = ("--rp_serve_api", "--rp_api_host", "--rp_api_port")


def read_job(text: str, name: str = "the job") -> dict[str, Any]:
    """Return the job in `text` as the platform would hand it over; a bare input is wrapped.

    Args:
        text: JSON.
        name: Of the file, for errors.

    Raises:
        InvalidInput: It is not JSON, or no job; says where and what was probably meant.
    """
    if not text.strip():
        raise InvalidInput.at("", f"{name} is empty; write a job, for example {EXAMPLE}")
    try:
        content = json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise InvalidInput.at("", f"{name} is not JSON: {_slip(text, error)}") from None
    except RepeatedKey as error:
        raise InvalidInput.at("", f"{name}: {error}") from None
    except RecursionError:
        raise InvalidInput.at("", f"{name} is nested too deeply") from None
    if isinstance(content, list) and len(content) == 1:
        raise InvalidInput.at("", f"{name} is a list with one job in it: leave the outer [ ] away")
    if not isinstance(content, dict):
        raise InvalidInput.at("", f"{name} must be a JSON object, for example {EXAMPLE}")
    job = content if isinstance(content.get("input"), dict) else {"input": content}
    return {"id": "local", **job}


def sdk_arguments(arguments: Sequence[str], folder: Path) -> list[str]:
    """Return the SDK's arguments for a local run, with the job of ``test_input.json`` written out in them.

    The SDK reads the file itself otherwise, after the WebUI has started, and ends in a traceback where it is no JSON.

    Args:
        arguments: Of the command line.
        folder: Where ``test_input.json`` is looked for.

    Raises:
        InvalidInput: There is no job, or it is not JSON.
    """
    if any(one.startswith(_ASK_FOR_ANOTHER) for one in arguments):
        return list(arguments)
    given = [at for at, one in enumerate(arguments) if one.partition("=")[0] == "--test_input"]
    if given:
        at = given[-1]
        _, inline, text = arguments[at].partition("=")
        text = text if inline else "".join(arguments[at + 1 : at + 2])
        rest = [*arguments[:at], *arguments[at + (1 if inline else 2) :]]
        return [*rest, "--test_input", json.dumps(read_job(text, "--test_input"))]
    file = folder / TEST_INPUT
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput.at(
            "", f"there is no {TEST_INPUT} in {folder}; write a job into it, for example {EXAMPLE}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.at("", f"{TEST_INPUT} can't be read: {error}") from None
    return [*arguments, "--test_input", json.dumps({"id": "local_test", **_without_id(read_job(text, TEST_INPUT))})]


def _without_id(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name != "id" or value != "local"}


def _slip(text: str, error: json.JSONDecodeError) -> str:
    """Return place, line and probable meaning of a slip in JSON."""
    lines = text.splitlines()
    line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
    start = max(0, error.colno - _LONGEST_LINE // 2)
    caret = " " * (error.colno - 1 - start) + "^"
    place = f"line {error.lineno}, column {error.colno}"
    return f"{place}: {_meant(text, error)}\n  {line[start : start + _LONGEST_LINE]}\n  {caret}"


def _meant(text: str, error: json.JSONDecodeError) -> str:
    before, here = text[: error.pos].rstrip()[-1:], text[error.pos : error.pos + 1]
    for applies, meaning in (
        (before == "," and here in ("}", "]"), "a comma too many before the closing bracket"),
        (error.msg.startswith("Illegal trailing comma"), "a comma too many before the closing bracket"),
        (here in _OTHER_QUOTES, 'quotes are " in JSON'),
        (_is_python(text), 'this is Python, not JSON: write " for quotes, true, false and null'),
        (error.msg.startswith("Extra data"), "the job ends before this"),
        (error.msg.startswith("Invalid control character"), "a quote is not closed on this line"),
        (error.msg.startswith("Unterminated string"), "this quote is never closed"),
        (not here.strip() and error.pos >= len(text.rstrip()), "the file ends too early: a closing bracket is missing"),
        (error.msg.startswith("Expecting ',' delimiter"), "a comma or a closing bracket is missing before this"),
    ):
        if applies:
            return meaning
    return f"{error.msg[0].lower()}{error.msg[1:]}"


def _is_python(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
