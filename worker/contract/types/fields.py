"""The kinds of values a field can have, each with its own reading, its own words for a mistake and its JSON Schema.

Numbers may arrive as the text of a number, true/false as text, and an integer as 20.0, because the WebUI's own API
takes them and clients send them; everything else must have the right JSON type. Used as annotations::

    steps: Annotated[int, Whole(1, 150)] | None = None
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import PydanticCustomError, core_schema

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown, word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?", re.ASCII)
_LONG = 10**20
_FLAGS = {"true": True, "false": False}


def mistake(message: str, suggestion: object = None) -> PydanticCustomError:
    """Return the error that `worker.contract.parse.job_parser` turns into a problem with these words."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "suggestion": suggestion})


def _between(low: float, high: float) -> str:
    return f"{low:.10g} to {high:.10g}" if high < 1e15 else f"{low:.10g} or more"  # noqa: PLR2004 - no one types that number


def _short(number: int) -> str:
    return str(number) if abs(number) < _LONG else f"{number:g}"


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer from `low` to `high`, a multiple of `step`; `words` are names for some of them."""

    low: int
    high: int
    step: int = 1
    words: Mapping[str, int] = field(default_factory=dict, hash=False)

    def read(self, value: object) -> int:
        """Return the integer in `value`; raise a `mistake` otherwise."""
        number = value if type(value) is int else self._number(value)
        if not self.low <= number <= self.high:
            raise mistake(f"must be {self._range()}, not {_short(number)}", min(max(number, self.low), self.high))
        if number % self.step:
            near = min(max(round(number / self.step) * self.step, self.low), self.high)
            raise mistake(f"must be a multiple of {self.step}, not {_short(number)}", near)
        return number

    def _number(self, value: object) -> int:
        if type(value) is float and value.is_integer():
            return int(value)
        if isinstance(value, bool) and (self.low, self.high) == (0, 1):
            return int(value)
        text = word(value)
        if text in self.words:
            return self.words[text]
        if _WHOLE.fullmatch(text):
            return int(text.partition(".")[0])
        raise mistake(f"must be a whole number, {self._range()}, not {shown(value)}")

    def _range(self) -> str:
        return f"{self.low} to {self.high}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        multiple = self.step if self.step > 1 else None
        inner = core_schema.int_schema(ge=self.low, le=self.high, multiple_of=multiple)
        return core_schema.no_info_before_validator_function(self.read, inner)


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`."""

    low: float
    high: float

    def read(self, value: object) -> float:
        """Return the number in `value`; raise a `mistake` otherwise."""
        number = self._number(value)
        if not self.low <= number <= self.high:
            raise mistake(f"must be {_between(self.low, self.high)}, not {number:g}")
        return number

    def _number(self, value: object) -> float:
        number: float | None = None
        if type(value) is int or type(value) is float:
            number = float(value)
        elif _NUMBER.fullmatch(text := word(value)):
            number = float(text)
        if number is None or not math.isfinite(number):
            raise mistake(f"must be a number, {_between(self.low, self.high)}, not {shown(value)}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.float_schema(ge=self.low, le=self.high)
        return core_schema.no_info_before_validator_function(self.read, inner)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; also 1, 0 and the words."""

    def read(self, value: object) -> bool:
        """Return the truth value in `value`; raise a `mistake` otherwise."""
        if isinstance(value, bool):
            return value
        if type(value) in {int, float} and value in (0, 1):
            return bool(value)
        if word(value) in _FLAGS:
            return _FLAGS[word(value)]
        raise mistake(f"must be true or false, not {shown(value)}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, core_schema.bool_schema())


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most `longest` characters; not empty unless `empty`."""

    longest: int = 200
    empty: bool = False

    def read(self, value: object) -> str:
        """Return the text in `value`; raise a `mistake` otherwise."""
        if not isinstance(value, str):
            raise mistake(f"must be text, not {shown(value)}")
        if len(value) > self.longest:
            raise mistake(f"must have at most {self.longest} characters, not {len(value)}")
        if not self.empty and not value.strip():
            raise mistake("must not be empty; leave it out for the default")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.str_schema(max_length=self.longest, min_length=None if self.empty else 1)
        return core_schema.no_info_before_validator_function(self.read, inner)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the words of the annotated Literal, in any case; `also` are other words for them."""

    also: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        words = {str(word).lower(): word for word in get_args(source)}
        allowed = ", ".join(str(word) for word in words.values())

        def read(value: object) -> object:
            if isinstance(value, str):
                wanted = word(value)
                found = words.get(self.also.get(wanted, wanted))
                if found is not None:
                    return found
                raise mistake(f"must be one of {allowed}, not {shown(value)}", nearest(value, words.values()))
            raise mistake(f"must be one of {allowed}, not {shown(value)}")

        return core_schema.no_info_before_validator_function(read, handler(source))
