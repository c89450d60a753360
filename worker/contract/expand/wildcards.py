"""Prompts that vary: ``{a|b|c}`` chooses one, ``{2$$a|b|c}`` two, ``__name__`` a line of the list of that name.

``{2-4$$__name__}`` chooses two to four different lines of a list; such a list may stand beside other options.

The choice follows from the picture's seed alone, so the same seed gives the same prompt.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from worker.common.suggestions import nearest
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME = re.compile(r"__([\w./*-]{1,100}?)__")
_COUNT = re.compile(r"\s*(?:(\d{1,18})(?:-(\d{1,18}))?\$\$)(?:([^|{}$]{0,20})\$\$)?")
_WEIGHT = re.compile(r"\s*(\d{1,4}(?:\.\d{1,4})?)::")
_MOST_STEPS = 2000
LONGEST = 20_000
_UNMATCHED = "has { and } that don't match"


class _Template:
    """One template being filled in; counts its steps so that no template runs for ever."""

    def __init__(self, seed: int, lists: Mapping[str, Sequence[str]], path: str) -> None:
        self.random = random.Random(str(seed))  # noqa: S311 - chooses words, guards nothing
        self.lists = lists
        self.path = path
        self.steps = 0

    def fill(self, text: str) -> str:
        while True:
            self._step()
            text = self._names(text)
            inner = _innermost(text)
            if inner is None:
                if "{" in text or "}" in text:
                    raise InvalidInput.at(self.path, _UNMATCHED)
                return text
            start, end = inner
            text = f"{text[:start]}{self._choose(text[start + 1 : end])}{text[end + 1 :]}"
            if len(text) > LONGEST:
                raise InvalidInput.at(self.path, f"grows over {LONGEST} characters when its wildcards are filled in")
        return text

    def _names(self, text: str) -> str:
        """Return `text` with a line for each name, but for the lists from which a counted choice takes several."""
        while any(not _is_counted_list(match) for match in _NAME.finditer(text)):
            self._step()
            text = _NAME.sub(lambda match: match[0] if _is_counted_list(match) else self._line(match[1]), text)
            if len(text) > LONGEST:
                raise InvalidInput.at(self.path, f"grows over {LONGEST} characters when its wildcards are filled in")
        return text

    def _line(self, name: str) -> str:
        return self.random.choice(self._lines(name))

    def _lines(self, name: str) -> Sequence[str]:
        self._step()
        lines = self.lists.get(name)
        if not lines:
            known = f"; there are {', '.join(sorted(self.lists)[:20])}" if self.lists else "; none is installed"
            raise InvalidInput.at(
                self.path, f"names the wildcard __{name}__, which does not exist{known}", nearest(name, self.lists)
            )
        return lines

    def _choose(self, inside: str) -> str:
        if count := _COUNT.match(inside):
            options = self._options(inside[count.end() :].split("|"))
            least = int(count[1])
            most = int(count[2]) if count[2] else least
            number = min(self.random.randint(min(least, most), max(least, most)), len(options))
            joint = count[3] if count[3] is not None else ", "
            return joint.join(part.strip() for part in self.random.sample(options, number))
        options = inside.split("|")
        weights = [_WEIGHT.match(option) for option in options]
        if not any(weights):
            return self.random.choice(options)
        numbers = [float(weight[1]) if weight else 1.0 for weight in weights]
        texts = [option[weight.end() :] if weight else option for option, weight in zip(options, weights, strict=True)]
        return self.random.choices(texts, numbers)[0] if any(numbers) else texts[0]

    def _options(self, written: Sequence[str]) -> list[str]:
        """Return the options of a counted choice: those written, and every line of the lists among them, once."""
        lists = [_NAME.fullmatch(option.strip()) for option in written]
        if not any(lists):
            return list(written)
        every = [
            line
            for option, name in zip(written, lists, strict=True)
            for line in (self._lines(name[1]) if name else [option])
        ]
        return list(dict.fromkeys(line.strip() for line in every))

    def _step(self) -> None:
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise InvalidInput.at(self.path, f"has more than {_MOST_STEPS} wildcards or lists that name each other")


def expand_text(text: str, seed: int, lists: Mapping[str, Sequence[str]], *, path: str = "prompt") -> str:
    """Return `text` with its templates filled in by `seed`.

    Raises:
        InvalidInput: braces that don't match, an unknown wildcard, too many of them.
    """
    if "{" not in text and "}" not in text and "__" not in text:
        return text
    if text.count("{") != text.count("}"):
        raise InvalidInput.at(path, _UNMATCHED)
    return _Template(seed, lists, path).fill(text)


def _innermost(text: str) -> tuple[int, int] | None:
    """Return the places of the first pair of braces that has no other inside, None when there is none."""
    end = text.find("}")
    if end < 0:
        return None
    start = text.rfind("{", 0, end)
    return (start, end) if start >= 0 else None


def _is_counted_list(name: re.Match[str]) -> bool:
    """Return whether a list's name is a whole option of a choice of several: ``{2$$__name__|…}``."""
    text, depth = name.string, 0
    for place in range(name.start() - 1, -1, -1):
        depth += {"}": 1, "{": -1}.get(text[place], 0)
        if depth < 0:
            before, after = text[place + 1 : name.start()].rstrip(), text[name.end() :].lstrip()
            return bool(_COUNT.match(before)) and before.endswith(("|", "$$")) and after.startswith(("|", "}"))
    return False
