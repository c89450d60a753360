"""The bare body of the WebUI's API as the input itself: our own fields are a superset of it.

The answer is ours, which has the WebUI's `images`, `parameters` and `info`. With ``compat: "a1111"`` it is the WebUI's
own shape, where `info` is a JSON text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPAT = "a1111"


def matches(raw: Mapping[str, Any]) -> bool:
    """Whether `raw` asks for the WebUI's own shape of answer."""
    return raw.get("compat") == COMPAT


def to_job(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw` without the mark."""
    return {name: value for name, value in raw.items() if name != "compat"}


def to_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return `answer` in the WebUI's own shape."""
    if "images" not in answer:
        return dict(answer)
    info = answer.get("info", {})
    return {
        "images": answer["images"],
        "parameters": answer.get("parameters", {}),
        "info": info if isinstance(info, str) else json.dumps(info),
    }
