"""Prompts: styles, comments, and the tags in angle brackets."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TAG = re.compile(r"<(\w+):([^>]+)>")
KNOWN_TAGS = frozenset({"lora", "lyco", "hypernet"})
COMMENT = re.compile(r"(^|\n)#[^\n]*(?=\n|$)|#[^\n]*(?=\n|$)")
ATTENTION = re.compile(r"\\.|[(\[]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:", re.DOTALL)
STRONGER = 1.1
WEIGHTED = re.compile(r"[(\[][^()\[\]]*[)\]]")


@dataclass(frozen=True, slots=True)
class Tag:
    """One `<kind:arguments>`; `arguments` as written between the colons."""

    kind: str
    arguments: tuple[str, ...]

    @property
    def positional(self) -> tuple[str, ...]:
        """The arguments without an equals sign."""
        return tuple(argument for argument in self.arguments if "=" not in argument)

    @property
    def named(self) -> dict[str, str]:
        """The arguments of the form `te=0.5`."""
        return dict(argument.split("=", 1) for argument in self.arguments if "=" in argument)


def take_tags(prompt: str) -> tuple[str, tuple[Tag, ...]]:
    """The prompt without its tags, whatever their kind, and the tags in order."""
    tags = tuple(Tag(match[1], tuple(match[2].split(":"))) for match in TAG.finditer(prompt))
    return TAG.sub("", prompt), tags


def strip_comments(text: str) -> str:
    """The prompt without `# …` to the end of each line."""
    return COMMENT.sub("", text)


def uses_weights(text: str) -> bool:
    """Return whether the prompt has attention brackets."""
    return WEIGHTED.search(text) is not None


def spelled_out(text: str) -> str:
    """The prompt with every weight written as a number: what the model gets, however the client spelled it."""
    if not uses_weights(text):
        return text
    pieces: list[tuple[str, float]] = []
    round_ones: list[int] = []
    square_ones: list[int] = []

    def scale(start: int, factor: float) -> None:
        pieces[start:] = [(words, weight * factor) for words, weight in pieces[start:]]

    for match in ATTENTION.finditer(text):
        part = match[0]
        if part == "(":
            round_ones.append(len(pieces))
        elif part == "[":
            square_ones.append(len(pieces))
        elif match[1] is not None and round_ones:
            scale(round_ones.pop(), float(match[1]))
        elif part == ")" and round_ones:
            scale(round_ones.pop(), STRONGER)
        elif part == "]" and square_ones:
            scale(square_ones.pop(), 1 / STRONGER)
        else:
            pieces.append((part, 1.0))
    for start in (*round_ones, *square_ones):
        scale(start, STRONGER if start in round_ones else 1 / STRONGER)
    return "".join(words if round(weight, 3) == 1 else f"({words}:{weight:.3f})" for words, weight in pieces)


@dataclass(frozen=True, slots=True)
class Style:
    """A row of `styles.csv`."""

    name: str
    prompt: str
    negative_prompt: str


class Styles:
    """The list behind `GET /sdapi/v1/prompt-styles`."""

    def __init__(self, files: Iterable[str]) -> None:
        self._files = [Path(file) for file in files]
        self.by_name: dict[str, Style] = {}

    def refresh(self) -> None:
        """Reads the files; a missing one has no styles."""
        self.by_name = {}
        for path in self._files:
            if not path.is_file():
                continue
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    if row.get("name"):
                        style = Style(
                            row["name"], row.get("prompt") or row.get("text") or "", row.get("negative_prompt") or ""
                        )
                        self.by_name[style.name] = style

    def apply(self, prompt: str, names: Sequence[str]) -> str:
        """The prompt with these styles merged in; unknown ones are left out."""
        for name in names:
            prompt = _merge(self.by_name[name].prompt if name in self.by_name else "", prompt)
        return prompt

    def apply_negative(self, prompt: str, names: Sequence[str]) -> str:
        """The same for the negative prompt."""
        for name in names:
            prompt = _merge(self.by_name[name].negative_prompt if name in self.by_name else "", prompt)
        return prompt


def _merge(style: str, prompt: str) -> str:
    if "{prompt}" in style:
        return style.replace("{prompt}", prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)
