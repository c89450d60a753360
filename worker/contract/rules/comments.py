"""Comments in prompts: ``#`` and what follows it on the line, which the WebUI leaves out.

They are left out here already: what is put behind a prompt (LoRA tags, trigger words, styles) would else be part of a
comment at its end, and a tag within a comment would count as applied. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.types.job import Generation

FIELDS = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
OPTION = "enable_prompt_comments"
_COMMENT = re.compile(r"#[^\n]*(?:\n|$)")


def without_comments(text: str) -> str:
    """Return `text` as the WebUI reads it (`modules/processing_scripts/comments.py` of A1111 v1.10.1)."""
    return _COMMENT.sub("\n", text).strip() if "#" in text else text


def uncommented(job: Generation) -> Generation:
    """Return `job` without the comments in its prompts, unless it has them read."""
    if not _are_comments(job):
        return job
    texts = {name: text for name in FIELDS if isinstance(text := getattr(job, name, None), str) and "#" in text}
    changes = {name: without_comments(text) for name, text in texts.items()}
    return job.changed(changes, {name: job.path(name) for name in changes}) if changes else job


def warnings_of(job: Generation) -> Iterator[str]:
    """Yield a warning for each prompt of `job` that has a comment."""
    if not _are_comments(job):
        return
    commented = [job.path(name) for name in FIELDS if "#" in (getattr(job, name, None) or "")]
    for index, part in enumerate(job.prompts or ()):
        commented += [f"prompts[{index}].{name}" for name in FIELDS if "#" in (getattr(part, name, None) or "")]
    for path in commented:
        yield (
            f"{path}: '#' begins a comment; it and the rest of its line are left out "
            f"(override_settings.{OPTION}: false has them read)"
        )


def _are_comments(job: Generation) -> bool:
    return bool((job.override_settings or {}).get(OPTION, True))
