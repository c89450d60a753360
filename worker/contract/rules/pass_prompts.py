"""Prompts of ADetailer's passes, in the parts that the extension takes for one detection after the other. Pure.

ADetailer 25.3 parts a pass's prompt at ``[SEP]``, puts the job's prompt in the place of ``[PROMPT]`` and of a part that
is empty, and reads the LoRA tags of each part even where the job has `disable_extra_networks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.types.job import Generation

SEPARATOR = "[SEP]"
MAIN_PROMPT = "[PROMPT]"
PASS_PROMPTS = ("prompt", "negative_prompt")


@dataclass(frozen=True, slots=True)
class PassPrompt:
    """One part of a pass's prompt, or of its negative prompt.

    Attributes:
        path: Where the client wrote the prompt.
        text: The part, empty where the job's own prompt is taken.
        unit: The place of the pass in the job's `adetailer`.
        own_checkpoint: The pass has another checkpoint than the job's, perhaps.
    """

    path: str
    text: str
    unit: int
    own_checkpoint: bool = False

    @property
    def takes_main(self) -> bool:
        """True where the job's own prompt is part of it."""
        return not self.text or MAIN_PROMPT in self.text


def written_in_passes(job: Generation) -> Iterator[tuple[str, str]]:
    """Yield field and text of each prompt that the job writes for a pass that runs."""
    for index, unit in enumerate(job.adetailer or ()):
        for name in PASS_PROMPTS:
            if unit.is_on and (text := getattr(unit, name)):
                yield f"adetailer[{index}].{name}", text


def pass_prompts(job: Generation) -> tuple[list[PassPrompt], list[PassPrompt]]:
    """Return the parts of the prompts, and of the negative prompts, of the passes that run."""
    positive, negative = (
        [
            PassPrompt(job.path(f"adetailer[{index}].{name}"), part.strip(), index, unit.checkpoint is not None)
            for index, unit in enumerate(job.adetailer or ())
            if unit.is_on
            for part in (getattr(unit, name) or "").split(SEPARATOR)
        ]
        for name in PASS_PROMPTS
    )
    return positive, negative
