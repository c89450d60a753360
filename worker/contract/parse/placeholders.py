"""Values of the API documentation's example body (``"string"``) that somebody sent without changing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.contract.parse.unknown_fields import is_read
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.contract.parse.normalise import Normal

_PLACEHOLDER = "string"
_TEXTS = frozenset({"prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"})


def replace_placeholders(normal: Normal, raw: Mapping[str, Any]) -> None:
    """Take the example's values out of the fields and note where they stand, in one line and each at its place."""
    if not any(True for _ in _placed(normal.fields)):
        return
    everywhere = [path for path, _ in _placed(raw)]
    message = "values of the documentation's example ('string') are still in it"
    normal.problems.insert(0, Problem("", f"{message}, at {', '.join(everywhere)}"))
    for path, name in list(_placed(normal.fields)):
        normal.problems.append(Problem(path, "is 'string', the documentation's example; leave it out or send a value"))
        normal.fields.pop(name, None)
    script = normal.fields.get("script")
    if isinstance(script, dict) and script.get("name") == _PLACEHOLDER:
        normal.problems.append(Problem("script_name", "is 'string', the documentation's example; leave it out"))
        del normal.fields["script"]


def _placed(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and field of each placeholder."""
    for name, value in fields.items():
        is_list = isinstance(value, list) and bool(value) and all(part == _PLACEHOLDER for part in value)
        if (is_list or value == _PLACEHOLDER) and name not in _TEXTS and is_read(name):
            yield f"{name}[0]" if is_list else name, name
