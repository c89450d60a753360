"""Syntax of prompts: brackets that cost minutes, comments, the syntax of other programs. Pure.

A1111 v1.10.1 reads each prompt with a grammar (`modules/prompt_parser.py`) whose time grows with about the cube of the
number of brackets side by side: 50 took 2 s on one core, 100 took 8, 200 took 40, 300 more than 2 minutes, in which
nothing moves. Brackets within brackets cost next to nothing.

Comments, ``#`` and what follows it on the line, are left out here already: what is put behind a prompt (LoRA tags,
trigger words, styles) would else be part of a comment at its end, and a tag within a comment would count as applied.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.contract.rules.pass_prompts import written_in_passes
from worker.contract.types.job import Txt2Img
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.types.job import Generation

PROMPTS = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
"""Fields of a job that are read with the WebUI's grammar."""
COMMENTS_OPTION = "enable_prompt_comments"
MANY, MOST = 80, 250
"""Brackets side by side: from here on it is worth a word, and more are refused."""
_COMMENT = re.compile(r"#[^\n]*(?:\n|$)")
_SHOWN = 60
_CHOICE = re.compile(r"(?<!\\)\{[^{}\n]{0,400}\|[^{}\n]{0,400}\}")
_WILDCARD = re.compile(r"(?<!\w)__[\w/*.-]{1,80}__(?!\w)")
NOT_FILLED_IN = "wildcards: true varies it by picture"
"""End of the warning about a template that is taken as it is."""
_LORA = "a LoRA's tag is written <lora:name:0.8>"
_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<\s*(?:lora|lyco)\s*[=\s][^<>\n]{0,100}>?", re.IGNORECASE), _LORA),
    (re.compile(r"<\s+(?:lora|lyco)\s*:[^<>\n]{0,100}>?", re.IGNORECASE), _LORA),
    (re.compile(r"<\s*(?:lora|lyco)\s*:?\s*>", re.IGNORECASE), _LORA),
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


def problems_of(job: Generation) -> Iterator[Problem]:
    """Yield a problem for each prompt that would keep the GPU waiting for minutes."""
    for field, text in (*_texts(job), *written_in_passes(job)):
        if (count := _brackets(text)) > MOST:
            message = f"has {count} parts in brackets side by side, over which the WebUI's parser takes minutes"
            yield Problem(job.path(field), f"{message}; at most {MOST} are allowed (group them within outer brackets)")


def warnings_of(job: Generation) -> Iterator[str]:
    """Yield what the writers of a job's prompts should know: comments, slow brackets, syntax of other programs."""
    texts, in_passes = list(_texts(job)), list(written_in_passes(job))
    if _are_comments(job):
        yield from (
            f"{job.path(field)}: '#' begins a comment; it and the rest of its line are left out "
            f"(override_settings.{COMMENTS_OPTION}: false has them read)"
            for field, text in texts
            if "#" in text
        )
    for field, text in (*texts, *in_passes):
        if MANY < (count := _brackets(text)) <= MOST:
            yield f"{job.path(field)}: the WebUI's parser takes seconds over {count} parts in brackets side by side"
    for field, text in (*texts, *in_passes):
        yield from (f"{job.path(field)}: {said}" for said in _foreign(text))
    if not job.wildcards:
        for field, text in texts:
            yield from (f"{job.path(field)}: {said}; {NOT_FILLED_IN}" for said in _templates(text))
    for field, text in in_passes:
        own = "wildcards are filled in in the job's own prompts alone"
        yield from (f"{job.path(field)}: {said}; {own}" for said in _templates(text))


def passes_of(job: Generation) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the prompts and negative prompts of a job's passes, ``(path, text)`` each."""
    passes = ("", "hr_") if isinstance(job, Txt2Img) and job.enable_hr else ("",)
    positive, negative = (
        [(job.path(prefix + name), getattr(job, prefix + name) or "") for prefix in passes]
        for name in ("prompt", "negative_prompt")
    )
    return positive, negative


def side_by_side(text: str) -> int:
    """Return how many brackets at most stand side by side, those within one other taken apart."""
    most, counts, escaped = 0, [0], False
    for sign in text:
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign in "([":
            counts[-1] += 1
            most = max(most, counts[-1])
            counts.append(0)
        elif sign in ")]" and len(counts) > 1:
            counts.pop()
    return most


def without_comments(text: str) -> str:
    """Return `text` as the WebUI reads it (`modules/processing_scripts/comments.py` of A1111 v1.10.1)."""
    return _COMMENT.sub("\n", text).strip() if "#" in text else text


def uncommented(job: Generation) -> Generation:
    """Return `job` without the comments in its prompts, unless it has them read."""
    if not _are_comments(job):
        return job
    texts = {name: text for name in PROMPTS if isinstance(text := getattr(job, name, None), str) and "#" in text}
    changes = {name: without_comments(text) for name, text in texts.items()}
    return job.changed(changes, {name: job.path(name) for name in changes}) if changes else job


def _texts(job: Generation) -> Iterator[tuple[str, str]]:
    """Yield field and text of every prompt that says something, those of a job's parts too."""
    for name in PROMPTS:
        if text := getattr(job, name, None):
            yield name, text
    for index, part in enumerate(job.prompts or ()):
        for name in PROMPTS:
            if text := getattr(part, name, None):
                yield f"prompts[{index}].{name}", text


def _brackets(text: str) -> int:
    return side_by_side(text) if text.count("(") + text.count("[") > MANY else 0


def _are_comments(job: Generation) -> bool:
    return bool((job.override_settings or {}).get(COMMENTS_OPTION, True))


def _foreign(text: str) -> Iterator[str]:
    """Yield a remark on each kind of syntax in a text that another program would not have read as words."""
    for pattern, here in _SIGNS:
        found = pattern.search(text)
        if found is not None:
            yield f"{_short(found.group())} is read as plain words: {here}"


def _templates(text: str) -> Iterator[str]:
    """Yield a remark on each kind of template in a text whose templates are not filled in."""
    for pattern in (_CHOICE, _WILDCARD):
        found = pattern.search(text)
        if found is not None:
            yield f"{_short(found.group())} is read as plain words"


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
