"""Prompts that the WebUI's scripts make of a job's own: what rules on prompts have to see; pure.

Of A1111 v1.10.1: the x/y/z plot's axes "Prompt S/R" (the first value is replaced by each of the others) and "Prompt
order" (the values change places), whose values are read as CSV, and the parts of the prompt matrix between ``|``. Which
text is which axis does not matter here: every text is taken for each.
"""

from __future__ import annotations

import csv
from io import StringIO
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_PROMPTS, MOST_CHARACTERS = 5000, 1_000_000
_MOST_MATRIX_PARTS = 10
_AXES = 3


class TooManyPrompts(Exception):
    """A script makes more prompts than can be judged."""


def made_by_script(args: Any, prompts: Iterable[str]) -> set[str]:
    """Return the prompts that a script with these arguments may make of `prompts`, those themselves included.

    Raises:
        TooManyPrompts: they are more than `MOST_PROMPTS`, or longer than `MOST_CHARACTERS` altogether.
    """
    made = {part for prompt in prompts for part in _bounded(_matrix(prompt))}
    axes = [axis for text in script_texts(args) if len(axis := axis_values(text)) > 1]
    for _ in range(min(_AXES, len(axes))):  # the axes apply one after the other, in an order that the script chooses
        made |= _bounded(other for axis in axes for prompt in made for other in _varied(prompt, axis))
        _bounded(made)
    return made


def script_texts(value: Any) -> Iterator[str]:
    """Yield every text inside a script's arguments, and those of a list as the one text that they may become."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from script_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from script_texts(part)
        words = [part for part in value if isinstance(part, str)]
        if words:
            out = StringIO()
            csv.writer(out, lineterminator="").writerow(words)
            yield out.getvalue()


def axis_values(text: str) -> list[str]:
    """Return the values of an axis as the script reads them."""
    try:
        rows = csv.reader(StringIO(text, newline=""), skipinitialspace=True)
        return [value.strip() for row in rows for value in row if value.strip()]
    except csv.Error:
        return []


def _varied(prompt: str, values: Sequence[str]) -> Iterator[str]:
    first, *others = values
    if first in prompt:
        yield from (prompt.replace(first, other) for other in others)
    if all(value in prompt for value in values):
        yield from (_ordered(prompt, order) for order in permutations(values))


def _ordered(prompt: str, order: Sequence[str]) -> str:
    """Return the prompt with the words of `order`, which are in it, in this order at their places."""
    places = sorted(order, key=prompt.find)
    made, rest = "", prompt
    for word, new in zip(places, order, strict=True):
        before, found, after = rest.partition(word)
        if not found:  # it overlapped the one before
            return prompt
        made, rest = f"{made}{before}{new}", after
    return made + rest


def _matrix(prompt: str) -> Iterator[str]:
    """Yield the prompt, and what the prompt matrix makes of its parts: the first, and any of the others."""
    yield prompt
    first, *others = (part.strip() for part in prompt.split("|"))
    if len(others) > _MOST_MATRIX_PARTS:
        raise TooManyPrompts
    for count in range(len(others) + 1):
        for chosen in combinations(others, count):
            yield ", ".join((first, *chosen))
            yield ", ".join((*chosen, first))  # with the option that puts the fixed part last


def _bounded(prompts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    characters = 0
    for prompt in prompts:
        if prompt not in found:
            found.add(prompt)
            characters += len(prompt)
        if len(found) > MOST_PROMPTS or characters > MOST_CHARACTERS:
            raise TooManyPrompts
    return found
