"""Parameters that A1111 says a picture was made with, compared with those of the request. Pure.

An infotext names every parameter that is not at its default, for each picture; `info` repeats the most important ones.
Sources: `create_infotext` and `Processed` in `modules/processing.py`, `merge_prompts` in `modules/styles.py` and
`modules/processing_scripts/comments.py` of A1111 v1.10.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.contract.parse.alwayson_scripts import SELECTABLE
from worker.contract.rules.prompt_syntax import without_comments
from worker.images import infotext

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from worker.webui.request.parameters import Parameters

_IN_INFO = {
    "Steps": "steps",
    "CFG scale": "cfg_scale",
    "Denoising strength": "denoising_strength",
    "Variation seed strength": "subseed_strength",
}
"""Name in the infotext → key of `info`."""
_PROMPT = "{prompt}"
"""The place of the prompt in a style."""
_LEAVES_PROMPTS = SELECTABLE | {
    "adetailer",
    "controlnet",
    "controlnet m2m",
    "demofusion",
    "extra options",
    "hypertile",
    "reactor",
    "refiner",
    "sampler",
    "seed",
    "soft inpainting",
    "tiled diffusion",
    "tiled vae",
}
_SWITCHED_OFF = "dynamic prompts"
"""Begins the name of an extension that every request switches off."""


class Difference(NamedTuple):
    """One parameter that is not as asked for."""

    what: str
    asked: Any
    got: Any


def reads_prompts_as_sent(scripts: Collection[str]) -> bool:
    """Return whether none of the WebUI's scripts is known, or has to be feared, to write prompts anew."""
    return all(name in _LEAVES_PROMPTS or name.startswith(_SWITCHED_OFF) for name in map(str.lower, scripts))


def info_differences(
    asked: Parameters, info: Mapping[str, Any], styles: Mapping[str, tuple[str, str]], *, with_prompts: bool
) -> Iterator[Difference]:
    """Yield the parameters in which `info` differs from the request.

    Args:
        asked: The request's.
        info: The answer's.
        styles: Prompt and negative prompt of each style that the WebUI lists.
        with_prompts: Nothing in the WebUI writes prompts anew.
    """
    for name, key in _IN_INFO.items():
        said = info.get(key)
        if name in asked.numbers and said is not None and not _equal(asked.numbers[name], said):
            yield Difference(name, asked.numbers[name], said)
    said_subseeds = info.get("all_subseeds")
    if asked.subseed is not None and said_subseeds:
        subseeds = [asked.subseed + index for index in range(len(said_subseeds))]
        if list(said_subseeds) != subseeds:
            yield Difference("subseeds", subseeds, list(said_subseeds))
    if "styles" in info and tuple(info["styles"] or ()) != asked.styles:
        yield Difference("styles", list(asked.styles), info["styles"])
    if not with_prompts:
        return
    texts = [styles.get(name, ("", "")) for name in asked.styles]
    for what, key, sent, written in (
        ("prompt", "all_prompts", asked.prompt, [positive for positive, _ in texts]),
        ("negative prompt", "all_negative_prompts", asked.negative_prompt, [negative for _, negative in texts]),
    ):
        forms = _as_read(sent, written)
        wrong = next((said for said in info.get(key) or () if _plain(str(said)) not in forms), None)
        if wrong is not None:
            yield Difference(what, sent, wrong)


def text_differences(
    asked: Parameters, text: str, said: Mapping[str, str], *, seed: int, index: int, prompts: tuple[str, str] | None
) -> Iterator[Difference]:
    """Yield the parameters in which the infotext of one picture differs from the request.

    Args:
        asked: The request's.
        text: The infotext; an empty one is not judged.
        said: Its fields.
        seed: Of the picture.
        index: Its place among the pictures.
        prompts: The positive and the negative prompt as `info` has them; None: not compared.
    """
    if not text:
        return
    if prompts is not None and not _plain(text).startswith(_plain(_head(*prompts))):
        yield Difference("prompts", _head(*prompts), text[: len(_head(*prompts))])
    for name, number in asked.numbers.items():
        if not _equal(number, said.get(name)):
            yield Difference(name, number, said.get(name))
    texts = {**asked.texts, "Seed": str(seed)}
    if asked.varied and asked.subseed is not None:
        texts["Variation seed"] = str(asked.subseed + index)
    for name, value in texts.items():
        if said.get(name) != value:
            yield Difference(name, value, said.get(name))


def notes_differences(notes: str, text: str) -> Iterator[Difference]:
    """Yield the fields in which a picture's own notes differ from its infotext in `info`, which A1111 writes alike."""
    if _plain(notes) == _plain(text):
        return
    own, told = infotext.parse(notes), infotext.parse(text)
    for what, asked, got in (
        ("prompt", told.prompt, own.prompt),
        ("negative prompt", told.negative_prompt, own.negative_prompt),
    ):
        if _plain(asked) != _plain(got):
            yield Difference(what, asked, got)
    for name in dict.fromkeys((*told.fields, *own.fields)):
        if told.fields.get(name) != own.fields.get(name):
            yield Difference(name, told.fields.get(name), own.fields.get(name))


def _as_read(sent: str, styles: Sequence[str]) -> set[str]:
    """Return the forms in which the WebUI may read a prompt: with its styles, comments left out or not."""
    text = sent
    for style in styles:
        text = (
            style.replace(_PROMPT, text) if _PROMPT in style else ", ".join(filter(None, (text.strip(), style.strip())))
        )
    return {_plain(text), _plain(without_comments(text))}


def _head(prompt: str, negative: str) -> str:
    return f"{prompt}\nNegative prompt: {negative}" if negative else prompt


def _plain(text: str) -> str:
    return " ".join(text.split())


def _equal(asked: float, said: Any) -> bool:
    try:
        return math.isclose(asked, float(said), rel_tol=1e-6, abs_tol=1e-9)
    except (TypeError, ValueError):
        return False
