"""Effects of a prompt that its writer may not know: its length, and embeddings that are skipped. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.webui.names.lora_tags import closed, negative_tags

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from worker.webui.names.catalog import Catalog
    from worker.webui.names.name_resolver import JobNames

CHUNK = 75
"""Tokens that the text encoder takes at once."""
_TAG = re.compile(r"<\w+:[^>]*>")
_WEIGHT = re.compile(r":\s*-?\d+(?:\.\d+)?(?=[)\]])")
_MARKS = re.compile(r"(?<!\\)[()\[\]]|\\(?=[()\[\]])")
_PART = re.compile(r"[^\W\d_]+|\d|[^\w\s]")
_LONG_WORD = 9
"""Letters up to which a word is usually one token."""


def prompt_warnings(
    names: JobNames, catalog: Catalog, brought: Sequence[tuple[str, str]], *, loaded: bool
) -> list[str]:
    """Return warnings about a job's prompts: embeddings and tags that do nothing, and texts of more than one part.

    Args:
        names: The prompts of the job and of its passes, and its styles.
        catalog: The WebUI's listings.
        brought: ``(path in the job, name)`` of the embeddings that it brings along.
        loaded: The catalog's word on embeddings holds for the job's checkpoint.
    """
    in_passes = [*names.pass_prompts, *names.negative_pass_prompts]
    others = {(each.path, each.text) for each in in_passes if each.own_checkpoint}
    negative = [*names.negative_prompts, *((each.path, each.text) for each in names.negative_pass_prompts)]
    texts = [*names.prompts, *names.negative_prompts, *((each.path, each.text) for each in in_passes)]
    texts = list(dict.fromkeys(texts))
    of_checkpoint = [each for each in texts if each not in others]
    unusable = catalog.skipped_embeddings if loaded else ()
    idle = unused(brought, [*(text for _, text in texts), *catalog.texts_of(names.styles or ())])
    there = {*catalog.embeddings, *catalog.skipped_embeddings, *(name for _, name in brought)}
    missing = absent(texts, there)
    return [*skipped(of_checkpoint, unusable), *missing, *long_ones(texts), *idle, *negative_tags(negative)]


def tokens(prompt: str) -> list[int]:
    """Return about how many tokens each part of `prompt` has; `BREAK` begins a new part.

    Tags and attention marks count nothing. The encoder's own vocabulary is not here, so long words are guessed.
    """
    end = closed(prompt)
    plain = _MARKS.sub("", _WEIGHT.sub("", _TAG.sub("", prompt[:end]) + prompt[end:]))
    return [
        sum(1 + (len(word) - 1) // _LONG_WORD for word in _PART.findall(part)) for part in re.split(r"\bBREAK\b", plain)
    ]


def long_ones(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return a warning for each prompt (path, text) that the encoder takes in more than one part."""
    said = []
    for path, text in texts:
        if len(text) <= CHUNK:
            continue  # no token is shorter than a letter
        counts = tokens(text)
        parts = sum(max(1, -(-count // CHUNK)) for count in counts)
        if max(counts) > CHUNK:
            said.append(
                f"{path}: about {sum(counts)} tokens, which the WebUI reads in {parts} parts of {CHUNK}; words in "
                "different parts hardly know of each other"
            )
    return said


def names_in(texts: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return those of the names, such as an embedding's, that stand in one of the texts as words of their own."""
    folded = [text.casefold() for text in texts]
    return sorted(name for name in names if any(_holds(text, name.casefold()) for text in folded))


def unused(named: Sequence[tuple[str, str]], texts: Sequence[str]) -> list[str]:
    """Return a warning for each embedding that a job brings along and no prompt names.

    Args:
        named: ``(path in the job, the embedding's name)``.
        texts: All prompts, those of styles too.
    """
    used = set(names_in(texts, [name for _, name in named]))
    return [
        f"{path}: {name!r} changes nothing, since no prompt names it; write it into prompt or negative_prompt"
        for path, name in named
        if name not in used
    ]


def skipped(texts: Sequence[tuple[str, str]], embeddings: Collection[str]) -> list[str]:
    """Return a warning for each embedding that a prompt names although the loaded checkpoint can't use it.

    Args:
        texts: ``(path, prompt)``.
        embeddings: Those that the WebUI skips for the loaded checkpoint.
    """
    named = sorted((name, name.casefold()) for name in embeddings)
    return [
        f"{path}: embedding {name!r} does not fit the checkpoint; its name is read as plain words"
        for path, text in texts
        for name, folded in named
        if _holds(text.casefold(), folded)
    ]


_KNOWN_EMBEDDINGS = (
    "BadDream", "BadNegAnatomyV1-neg", "CyberRealistic_Negative", "EasyNegative", "EasyNegativeV2", "FastNegativeV2",
    "UnrealisticDream", "ac_neg1", "ac_neg2", "bad-artist", "bad-artist-anime", "bad-hands-5", "bad-image-v2-39000",
    "bad-picture-chill-75v", "bad_prompt", "bad_prompt_version2", "badhandv4", "negative_hand", "negative_hand-neg",
    "negativeXL_D", "ng_deepnegative_v1_75t", "realisticvision-negative-embedding", "unaestheticXLv31",
    "verybadimagenegative_v1.3",
)  # fmt: skip
"""Embeddings whose names are pasted along with public prompts, and are hardly meant as words."""


def absent(texts: Sequence[tuple[str, str]], there: Collection[str]) -> list[str]:
    """Return a warning for each widely used embedding that a prompt names and that is not there.

    Args:
        texts: ``(path, prompt)``.
        there: Embeddings that the WebUI knows, usable or not.
    """
    folded = {name.casefold() for name in there}
    missing = [name for name in _KNOWN_EMBEDDINGS if name.casefold() not in folded]
    return [
        f"{path}: {name!r} is read as plain words: no embedding of that name is here (`embeddings` fetches one)"
        for path, text in texts
        for name in names_in([text], missing)
    ]


def _holds(text: str, word: str) -> bool:
    return word in text and re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None
