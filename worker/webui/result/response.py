"""A1111's answer to a generation, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from worker.errors import WrongResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SCHEDULE = re.compile(r"\bSchedule type: ([^,\n]+)")


@dataclass(frozen=True, slots=True)
class WebUIResponse:
    """The response of ``/sdapi/v1/txt2img`` and ``img2img``.

    Attributes:
        images: Base64 texts as they came, grids and maps included.
        info: The parsed ``info``.
    """

    images: tuple[str, ...]
    info: Mapping[str, Any]

    @property
    def first(self) -> int:
        """Index of the first picture; before it stand grids."""
        index = self.info.get("index_of_first_image")
        return index if isinstance(index, int) else 0

    @property
    def size(self) -> int:
        """Characters of all pictures."""
        return sum(map(len, self.images))

    @property
    def seeds(self) -> list[int]:
        """The seed of each picture."""
        return [int(seed) for seed in self.info.get("all_seeds") or ()]

    @property
    def prompts(self) -> list[str]:
        """The prompt of each picture as the WebUI read it: styles put in, comments left out, tags still there."""
        return [str(prompt) for prompt in self.info.get("all_prompts") or ()]

    @property
    def negative_prompts(self) -> list[str]:
        """The negative prompt of each picture, likewise."""
        return [str(prompt) for prompt in self.info.get("all_negative_prompts") or ()]

    @property
    def infotexts(self) -> Sequence[str]:
        """The parameters of each picture (and grid) as text."""
        return [str(text) for text in self.info.get("infotexts") or ()]

    def schedule(self) -> str | None:
        """The label of the scheduler as the infotext has it."""
        extra = self.info.get("extra_generation_params") or {}
        if extra.get("Schedule type"):
            return str(extra["Schedule type"])
        texts = self.infotexts
        match = _SCHEDULE.search(texts[0].rpartition("\n")[2]) if texts else None
        return match.group(1) if match else None

    def parameter(self, name: str) -> Any:
        """A value of ``extra_generation_params``."""
        return (self.info.get("extra_generation_params") or {}).get(name)


@dataclass(frozen=True, slots=True)
class Findings:
    """Models that had no effect on tiny test pictures (`worker/webui/result/probe.py`).

    Attributes:
        unfit: LoRAs; how many of their layers do not fit is not known, hence 0.
        idle: Upscalers that only resize.
        stopped: LoRAs that had an effect before.
    """

    unfit: Mapping[str, int] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationResponse:
    """An answer, what the WebUI's log said meanwhile, and what tiny pictures showed where there is no log.

    Attributes:
        is_cut_short: The client has ended it, or one of its batches, early.
    """

    answer: WebUIResponse
    log: tuple[str, ...]
    found: Findings = field(default_factory=Findings)
    is_cut_short: bool = False


def read_info(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parsed ``info`` of an answer; ``{}`` when there is none."""
    info = content.get("info")
    if isinstance(info, dict):
        return info
    try:
        parsed = orjson.loads(info) if isinstance(info, str) else {}
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def read(content: Any) -> WebUIResponse:
    """Return the answer in `content`.

    Raises:
        WrongResult: it has not the shape of A1111's answers.
    """
    images = content.get("images") if isinstance(content, dict) else None
    info = read_info(content) if isinstance(content, dict) else {}
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images) or not info:
        raise WrongResult("the WebUI's answer has no pictures or no info")
    return WebUIResponse(tuple(images), info)
