"""Prompt syntax of other programs and extensions, which the WebUI reads as plain words. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.contract.rules import comments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.types.job import Generation

_SHOWN = 60
_CHOICE = re.compile(r"(?<!\\)\{[^{}\n]{0,400}\|[^{}\n]{0,400}\}")
_WILDCARD = re.compile(r"(?<!\w)__[\w/*.-]{1,80}__(?!\w)")
_LORA = "a LoRA's tag is written <lora:name:0.8>"
_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<\s*(?:lora|lyco)\s*[=\s][^<>\n]{0,100}>?", re.IGNORECASE), _LORA),
    (re.compile(r"<\s+(?:lora|lyco)\s*:[^<>\n]{0,100}>?", re.IGNORECASE), _LORA),
    (re.compile(r"[\[({]\s*lora:[^\[\](){}<>\n]{1,100}[\])}]", re.IGNORECASE), _LORA),
    (re.compile(r"<\s*break\s*>", re.IGNORECASE), "a new part is begun by BREAK, in capitals and without brackets"),
    (
        re.compile(r"<(?:fromto|alternate|alt)(?:\[[^\]\n]{0,40}\])?:[^<>\n]{0,200}>"),
        "of SwarmUI; here [cat:dog:0.5] and [cat|dog]",
    ),
    (
        re.compile(r"<(?:repeat|random|wildcard|wc)\[[^\]\n]{0,40}\]:[^<>\n]{0,200}>"),
        "of SwarmUI; here wildcards: true reads {a|b}",
    ),
    (
        re.compile(r"<(?:segment|object|region)\[[^\]\n]{0,40}\]:[^<>\n]{0,200}>"),
        "of SwarmUI; here adetailer redraws parts",
    ),
    (
        re.compile(r"(?<![\w-])embedding:[\w./\\-]{1,100}", re.IGNORECASE),
        "of ComfyUI; here an embedding's name alone is enough",
    ),
    (re.compile(r"(?<![\w)])\((?:[^():\n]{1,200})\)(?:\+\+|--)"), "of compel; here (word:1.2)"),
    (re.compile(r"\.(?:and|blend|swap)\("), "of compel; here AND, BREAK and [cat:dog:0.5]"),
)
"""Pattern → what to write here."""


def warnings_of(job: Generation) -> Iterator[str]:
    """Yield a warning for each text that another program would not have read as words."""
    texts = [(job.path(name), getattr(job, name, None)) for name in comments.FIELDS]
    for index, part in enumerate(job.prompts or ()):
        texts += [(f"prompts[{index}].{name}", getattr(part, name, None)) for name in comments.FIELDS]
    for path, text in texts:
        if not text:
            continue
        for pattern, here in _SIGNS:
            found = pattern.search(text)
            if found is not None:
                yield f"{path}: {_short(found.group())} is read as plain words: {here}"
        if not job.wildcards:
            yield from _templates(path, text)


def _templates(path: str, text: str) -> Iterator[str]:
    """Yield a warning for each kind of template in a text whose templates are not filled in."""
    for pattern in (_CHOICE, _WILDCARD):
        found = pattern.search(text)
        if found is not None:
            yield f"{path}: {_short(found.group())} is read as plain words; wildcards: true varies it by picture"


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
