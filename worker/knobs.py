"""One environment variable each: how its text is read, what is allowed, and what the tables say of it.

Of the standard library alone: the WebUI waits for whatever is imported before it is spawned, and pydantic takes 60 ms.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})
_KEY = "knob"
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most"}
_NONE: Mapping[str, str] = {}


class Secret:
    """A text that shows itself to those only who ask for it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"


@dataclasses.dataclass(frozen=True, slots=True)
class Knob:
    """An environment variable.

    Attributes:
        names: What it is called; the first one that is set counts.
        kind: ``text``, ``path``, ``integer``, ``number``, ``bool``, ``choice`` or ``secret``.
        default: Where it is not set, as written down.
        about: One line of documentation.
        read: Turns its text into its value; raises ValueError with what it has to be.
        unit: What a number counts.
        choices: The words that are allowed, where only some are.
        limits: Of a number: ``ge``, ``gt`` and ``le``, where there are any.
    """

    names: tuple[str, ...]
    kind: str
    default: Any
    about: str
    read: Callable[[str], Any]
    unit: str = ""
    choices: tuple[str, ...] = ()
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def secret(self) -> bool:
        """Whether it is never shown."""
        return self.kind == "secret"


def of(settings: type[Any]) -> Iterator[tuple[str, Knob]]:
    """Yield name and knob of each field of `settings`, in order."""
    for field in dataclasses.fields(settings):
        yield field.name, field.metadata[_KEY]


def text(default: str | None, name: str, about: str, *, check: Callable[[str], str] = str) -> Any:
    """Return a field for a text; `check` returns it as it is kept, or raises ValueError."""
    return _field(Knob((name,), "text", default, about, check))


def path(default: Path | None, name: str, about: str) -> Any:
    """Return a field for a path."""
    return _field(Knob((name,), "path", default, about, Path))


def secret(name: str, about: str, *, also: tuple[str, ...] = (), check: Callable[[str], str] = str) -> Any:
    """Return a field for a text that is never shown, None where it is not set; `also` are its other names."""
    return _field(Knob((name, *also), "secret", None, about, lambda said: Secret(check(said))))


def flag(name: str, about: str, *, default: bool) -> Any:
    """Return a field for yes or no."""
    return _field(Knob((name,), "bool", default, about, _read_flag))


def choice(words: Any, default: str | None, name: str, about: str, *, synonyms: Mapping[str, str] = _NONE) -> Any:
    """Return a field for one of `words`, a Literal, in any case; `synonyms` are what else one may say."""
    known: tuple[str, ...] = get_args(words)

    def read(said: str) -> str:
        word = said.strip().lower()
        word = synonyms.get(word, word)
        if word not in known:
            shown = [repr(each) for each in known]
            raise ValueError(f"must be {', '.join(shown[:-1])} or {shown[-1]}")
        return word

    return _field(Knob((name,), "choice", default, about, read, choices=known))


def whole(default: int, name: str, about: str, *, unit: str = "", also: tuple[str, ...] = (), **limits: int) -> Any:
    """Return a field for a whole number within `limits`: ``ge``, ``gt``, ``le``; `also` are its other names."""

    def read(said: str) -> int:
        try:
            value = int(said)
        except ValueError:
            raise ValueError(f"must be a whole number{_within(limits)}") from None
        return int(_held(value, limits, "a whole number"))

    return _field(Knob((name, *also), "integer", default, about, read, unit, limits=limits))


def number(default: float, name: str, about: str, *, unit: str = "", **limits: float) -> Any:
    """Return a field for a number within `limits`: ``ge``, ``gt``, ``le``."""

    def read(said: str) -> float:
        try:
            value = float(said)
        except ValueError:
            value = math.nan
        return _held(value, limits, "a number")

    return _field(Knob((name,), "number", default, about, read, unit, limits=limits), float(default))


def _field(knob: Knob, default: Any = None) -> Any:
    return dataclasses.field(default=knob.default if default is None else default, metadata={_KEY: knob})


def _read_flag(said: str) -> bool:
    word = said.strip().lower()
    if word not in _YES | _NO:
        raise ValueError("must be true or false")
    return word in _YES


def _held(value: float, limits: Mapping[str, float], what: str) -> float:
    """Return `value`; raises ValueError where it is none or beyond its limits."""
    low, above, high = (limits.get(word) for word in _BOUNDS)
    fits = (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high)
    if not fits or not math.isfinite(value):
        raise ValueError(f"must be {what}{_within(limits)}")
    return value


def _within(limits: Mapping[str, float]) -> str:
    words = " and ".join(f"{word} {limits[name]}" for name, word in _BOUNDS.items() if name in limits)
    return f", {words}" if words else ""
