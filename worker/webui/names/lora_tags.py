"""LoRA tags in prompts (``<lora:name:1>``) and the LoRAs that they mean, as `modules/extra_networks.py` reads them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.common.suggestions import nearest
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.job import Generation
    from worker.webui.names.catalog import Catalog

_TAG = re.compile(r"<(\w+):([^>]+)>")
_BEGUN = re.compile(r"<(?:lora|lyco):[^,\n]{1,100}")
_START = re.compile(r"<\w+:")
MOST_TAGS = 100
"""In one prompt; each is looked for on the volume and among all that is known."""
GREATEST_WEIGHT = 10.0
"""Either way; beyond it a LoRA makes noise or not-a-number of any picture."""
LORA_KINDS = frozenset({"lora", "lyco"})


@dataclass(frozen=True, slots=True)
class ChosenLora:
    """A LoRA that will be applied: its tag's name, its scale, where the client asked for it."""

    name: str
    scale: float
    path: str


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


def style_loras(
    job: Generation, styles: Sequence[str], catalog: Catalog
) -> tuple[tuple[ChosenLora, ...], list[Problem]]:
    """Return the LoRAs that the prompts of styles name, which the WebUI puts in as they are, and what is wrong there.

    Args:
        job: The job.
        styles: By their listed names, in the job's order.
        catalog: What the WebUI lists.
    """
    chosen: list[ChosenLora] = []
    problems: list[Problem] = []
    aliases = {lora.alias: lora.name for lora in catalog.loras if lora.alias}
    for index, style in enumerate(styles):
        text = catalog.style_texts.get(style, ("", ""))[0]
        found, wrong = tagged_loras([(f"{job.path('styles')}[{index}]", text)], catalog, aliases)
        chosen += found
        problems += [Problem(each.path, f"in the style {style!r} {each.message}") for each in wrong]
    return tuple(chosen), problems


def tagged_loras(
    texts: Sequence[tuple[str, str]], catalog: Catalog, names: Mapping[str, str]
) -> tuple[tuple[ChosenLora, ...], list[Problem]]:
    """Return the LoRAs that prompts name by tag.

    Args:
        texts: ``(path in the job, prompt)`` of the positive prompts.
        catalog: What the WebUI lists.
        names: The WebUI's name by name in a tag, for those that it will list, or lists under another name.

    A tag that names none of the listed LoRAs exactly, or whose weight is no number, would silently do nothing.
    """
    chosen: list[ChosenLora] = []
    problems: list[Problem] = []
    listed = [lora.name for lora in catalog.loras]
    for path, text in texts:
        if beginning := unended(text):
            problems.append(Problem(path, f"the tag {beginning} has no end; write {beginning}>"))
        for tag in parse(text):
            if tag.kind not in LORA_KINDS:
                problems.append(_foreign_tag(tag, path))
                continue
            if tag.name not in names and catalog.lora(tag.name) is None:
                wanted = tag.name.removesuffix(".safetensors")
                message = (
                    f"the tag {tag.text} names a LoRA that is not there; known: {', '.join(listed[:40]) or 'none'}"
                )
                near = next((name for name in listed if name.casefold() == wanted.casefold()), nearest(wanted, listed))
                problems.append(Problem(path, message, near))
                continue
            wrong = unread(tag)
            if wrong is not None:
                problems.append(Problem(path, f"the tag {tag.text} {wrong.why}", wrong.instead))
                continue
            if any(abs(weight or 0.0) > GREATEST_WEIGHT for weight in tag.weights.values()):
                most = GREATEST_WEIGHT
                problems.append(Problem(path, f"the tag {tag.text} has a weight beyond {-most:g} to {most:g}"))
                continue
            chosen.append(ChosenLora(names.get(tag.name, tag.name), tag.scale, path))
    return tuple(chosen), problems


def crowded(texts: Sequence[tuple[str, str]]) -> list[Problem]:
    """Return a problem for each prompt with more tags than are looked for."""
    counted = ((path, begun(text)) for path, text in texts)
    return [
        Problem(path, f"has {count} tags like <lora:…>; at most {MOST_TAGS} are read")
        for path, count in counted
        if count > MOST_TAGS
    ]


def twice(tagged: Sequence[ChosenLora], loras: Sequence[ChosenLora]) -> list[Problem]:
    """Return a problem for each LoRA that one pass would get more than once; the WebUI would apply it only once.

    Args:
        tagged: By tag, in the prompt and in that of hires fix, of which each holds for its own pass.
        loras: Of the job's list, which hold for both.
    """
    problems: list[Problem] = []
    if len(tagged) + len(loras) <= 1:
        return problems
    seen: dict[tuple[str, str], str] = {}
    passes = dict.fromkeys(lora.path for lora in tagged) or {"": None}
    for lora, paths in [*((each, [each.path]) for each in tagged), *((each, list(passes)) for each in loras)]:
        first = next((seen[path, lora.name] for path in paths if (path, lora.name) in seen), None)
        if first is not None:
            message = f"LoRA {lora.name!r} is named twice (also at {first}); name it once with one scale"
            problems.append(Problem(lora.path, message))
        for path in paths:
            seen.setdefault((path, lora.name), lora.path)
    return problems


def negative_tags(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return warnings for tags in negative prompts, where the WebUI takes them for plain words."""
    return [
        f"{path}: the tag {tag.text} has no effect in a negative prompt; the WebUI reads it as words"
        for path, text in texts
        for tag in parse(text)
    ]


_FOREIGN_TAGS = {
    "hypernet": "asks for a hypernetwork, which are not offered by tag; send override_settings.sd_hypernetwork",
    "segment": "is SwarmUI's; here adetailer redraws what it finds",
    "object": "is SwarmUI's; here adetailer, or inpaint with a mask",
    "region": "is SwarmUI's; the WebUI has no regions",
    "clear": "is SwarmUI's; the WebUI makes no transparency",
    "random": "is SwarmUI's; here wildcards: true reads {a|b}",
    "alternate": "is SwarmUI's; here [a|b]",
    "alt": "is SwarmUI's; here [a|b]",
    "fromto": "is SwarmUI's; here [a:b:0.5]",
    "repeat": "is SwarmUI's; write the words out",
    "wildcard": "is SwarmUI's; here wildcards: true reads __name__",
    "wc": "is SwarmUI's; here wildcards: true reads __name__",
    "preset": "is SwarmUI's; here the field preset, or styles",
    "embed": "is SwarmUI's; an embedding's name alone is enough",
    "embedding": "is SwarmUI's; an embedding's name alone is enough",
    "refiner": "is SwarmUI's; here refiner_checkpoint and refiner_switch_at",
    "base": "is SwarmUI's; here hr_prompt parts the passes",
    "var": "is SwarmUI's",
    "setvar": "is SwarmUI's",
    "trigger": "is SwarmUI's; here loras[].trigger_words: true",
    "video": "is SwarmUI's; the WebUI makes no videos",
    "ppp": "is of the extension sd-webui-prompt-postprocessor, which is not here",
    "model": "is not of the WebUI; send checkpoint",
    "lbw": "is not of the WebUI",
}
"""Kind of tag in other programs → whose it is, and what does the same here."""


def _foreign_tag(tag: Tag, path: str) -> Problem:
    """Return the problem of a tag that the WebUI knows no kind of network for."""
    told = _FOREIGN_TAGS.get(tag.kind.casefold())
    if told is not None:
        return Problem(path, f"the tag {tag.text} {told}")
    near = nearest(tag.kind, sorted(LORA_KINDS), prefix=False)
    return Problem(path, f"the tag {tag.text} is of an unknown kind {tag.kind!r}", near)
