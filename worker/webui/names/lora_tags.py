"""Extra-network tags in prompts (``<lora:name:1>``), read as A1111 reads them (`modules/extra_networks.py`)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAG = re.compile(r"<(\w+):([^>]+)>")
_BEGUN = re.compile(r"<(?:lora|lyco):[^,\n]{1,100}")
_START = re.compile(r"<\w+:")
MOST_TAGS = 100
"""In one prompt; each is looked for on the volume and among all that is known."""
GREATEST_WEIGHT = 10.0
"""Either way; beyond it a LoRA makes noise or not-a-number of any picture."""
LORA_KINDS = frozenset({"lora", "lyco"})


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag: ``<kind:name:…>``; `positional` and `named` are what follows the name."""

    kind: str
    name: str
    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...]
    text: str

    @property
    def weights(self) -> dict[str, float | None]:
        """Multipliers by part (``te``, ``unet``, ``dyn``); None where the text is no number."""
        found: dict[str, float | None] = {}
        for place, value in zip(("te", "unet", "dyn"), self.positional, strict=False):
            found[place] = _number(value)
        for place, value in self.named:
            found[place] = _number(value)
        return found

    @property
    def scale(self) -> float:
        """The multiplier of the UNet, else of the text encoder, else 1."""
        scale = self.weights.get("unet", self.weights.get("te"))
        return 1.0 if scale is None else scale


@dataclass(frozen=True, slots=True)
class Unread:
    """The reason why the WebUI would not follow a tag, and the tag to write instead."""

    why: str
    instead: str | None = None


_BLOCK_WEIGHTS = frozenset({"lbw", "lbwe", "start", "stop", "step"})
_PARTS = ("te", "unet", "dyn")


def unread(tag: Tag) -> Unread | None:  # noqa: PLR0911 - one explanation after the other
    """Return what of a LoRA's tag the WebUI does not read, None where it reads all of it."""
    bare = f"<{tag.kind}:{tag.name}:{_weight(tag)}>"
    ours = [name for name, _ in tag.named if name in _BLOCK_WEIGHTS]
    words = [text for text in tag.positional if _number(text) is None]
    comma = next((text for text in words if _number(text.replace(",", ".")) is not None), None)
    if comma is not None:
        point = comma.replace(",", ".")
        return Unread(f"has a comma in the number {comma}; write {point}", f"<{tag.kind}:{tag.name}:{point}>")
    if any(name in {"lbw", "lbwe"} for name in ours) or (words and any(word.isupper() for word in words)):
        return Unread("has block weights, which need the extension lora-block-weight; it is not here", bare)
    if ours:
        return Unread(
            f"says {ours[0]}=, which only the extension lora-block-weight reads; it is not here (the WebUI reads te=, "
            "unet= and dyn=)",
            bare,
        )
    other = next((name for name, _ in tag.named if name not in _PARTS), None)
    if other is not None:
        return Unread(f"says {other}=, which the WebUI does not read (te=, unet= and dyn= are)", bare)
    if len(tag.positional) > len(_PARTS):
        return Unread(f"has {len(tag.positional)} weights; the WebUI reads te, unet and dyn", bare)
    if any(weight is None for weight in tag.weights.values()):
        return Unread("has a weight that is not a number")
    return None


def _weight(tag: Tag) -> str:
    first = tag.positional[0] if tag.positional else "1"
    return first if _number(first) is not None else "1"


def begun(prompt: str) -> int:
    """Return how many tags begin in `prompt`, ended or not: the WebUI follows each to the end of the text."""
    return sum(1 for _ in _START.finditer(prompt))


def closed(prompt: str) -> int:
    """Return the length of `prompt` in which tags can be: behind its last ``>`` none ends.

    Thousands that begin and never end would each be followed to the end of the text.
    """
    return prompt.rfind(">") + 1


def parse(prompt: str) -> list[Tag]:
    """Return the tags of `prompt` in order."""
    tags: list[Tag] = []
    end = closed(prompt)
    if not end:  # most prompts have none, and each is asked for them often
        return tags
    for match in _TAG.finditer(prompt, 0, end):
        name, *rest = match.group(2).split(":")
        named = [tuple(part.split("=", 1)) for part in rest if "=" in part]
        tags.append(
            Tag(
                match.group(1),
                name,
                tuple(part for part in rest if "=" not in part),
                tuple((key, value) for key, value in named),
                match.group(0),
            )
        )
    return tags


def unended(prompt: str) -> str:
    """Return the beginning of a LoRA tag that no ``>`` ends, empty where there is none."""
    start = _BEGUN.search(prompt, closed(prompt))
    return start.group(0).rstrip() if start else ""


def renamed(prompt: str, names: Mapping[str, str]) -> str:
    """Return `prompt` with the LoRA tags whose name is in `names` under their new name, all else as it was."""

    def new(match: re.Match[str]) -> str:
        name, colon, rest = match.group(2).partition(":")
        if match.group(1) not in LORA_KINDS or name not in names:
            return match.group(0)
        return f"<{match.group(1)}:{names[name]}{colon}{rest}>"

    if not names:
        return prompt
    end = closed(prompt)
    return _TAG.sub(new, prompt[:end]) + prompt[end:]


def can_name(lora: str) -> bool:
    """Return whether a tag can name this LoRA: A1111 splits at colons, and a part with one ``=`` is a setting."""
    return not set(":>#") & set(lora) and lora.count("=") != 1


def write(name: str, scale: float) -> str:
    """Return the tag that applies LoRA `name` with `scale`, as a plain decimal."""
    weight = f"{scale:.6f}".rstrip("0").rstrip(".")
    return f"<lora:{name}:{weight if weight not in {'', '-0'} else '0'}>"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
