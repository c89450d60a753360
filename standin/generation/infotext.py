"""The text in a picture's file: writing it as the WebUI does, and reading it back."""

from __future__ import annotations

import json
import re
from typing import Any

PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
IMAGE_SIZE = re.compile(r"^(\d+)x(\d+)$")
FEWEST_PARAMETERS = 3
NEGATIVE = "Negative prompt:"
WHEN_MISSING: dict[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}
"""Values that reading a text adds for everything it does not name."""


def compose(prompt: str, negative_prompt: str, parameters: dict[str, Any]) -> str:
    """The infotext: prompt, negative prompt if there is one, and every parameter that is not None."""
    facts = ", ".join(
        name if name == value else f"{name}: {quote(value)}" for name, value in parameters.items() if value is not None
    )
    negative = f"\n{NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{facts}".strip()


def quote(value: Any) -> str:
    """A value as it stands in the text: in JSON quotes where a comma, colon or line break would be misread."""
    text = str(value)
    return json.dumps(value, ensure_ascii=False) if any(mark in text for mark in ",\n:") else text


def parse(text: str) -> dict[str, Any]:
    """The parameters of an infotext, with the WebUI's defaults for what it does not name."""
    *lines, last = text.strip().split("\n")
    found = PARAMETER.findall(last)
    if len(found) < FEWEST_PARAMETERS:
        lines.append(last)
        found = []
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            target = negative
            target.append(line[len(NEGATIVE) :].strip())
        else:
            target.append(line)
    result: dict[str, Any] = {}
    for name, raw in found:
        value = _unquote(raw)
        size = IMAGE_SIZE.match(value)
        if size:
            result[f"{name}-1"], result[f"{name}-2"] = size[1], size[2]
        else:
            result[name] = value
    result["Prompt"] = "\n".join(prompt).strip("\n")
    result["Negative prompt"] = "\n".join(negative).strip("\n")
    for name, default in WHEN_MISSING.items():
        result.setdefault(name, default)
    return result


def _unquote(value: str) -> str:
    if value[:1] != '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
