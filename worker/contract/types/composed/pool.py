"""A pool of prompt lines, and the ranges from which a picture's seed draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic_core import core_schema

from worker.contract.base.json_guard import shown
from worker.contract.types.base_model import LONGEST_PROMPT, StrictModel
from worker.contract.types.fields import Number, Text, Whole, mistake

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MOST_LINES = 50
"""Lines that one picture draws from one pool."""
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Range:
    """One number, or a pair ``[least, most]`` to draw from."""

    number: Whole | Number

    def read(self, value: object) -> float | tuple[float, float]:
        """Return the number or the pair in `value`; raise a `mistake` otherwise."""
        if not isinstance(value, (list, tuple)):
            return self.number.read(value)
        if len(value) != _PAIR:
            raise mistake(f"must be a number or a pair [least, most], not {shown(value)}")
        least, most = self.number.read(value[0]), self.number.read(value[1])
        if least > most:
            raise mistake(f"must have the smaller number first, not [{least:g}, {most:g}]", f"[{most:g}, {least:g}]")
        return least, most

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        one: CoreSchema = core_schema.float_schema(ge=self.number.low, le=self.number.high)
        if isinstance(self.number, Whole):
            one = core_schema.int_schema(ge=self.number.low, le=self.number.high)
        either = core_schema.union_schema([one, core_schema.tuple_schema([one, one])])
        return core_schema.no_info_before_validator_function(self.read, either)


@dataclass(frozen=True, slots=True)
class NameOrTexts:
    """The name of a list, or the texts of a list."""

    name: Text
    line: Text

    def read(self, value: object) -> str | list[str]:
        """Return the name or the texts in `value`; raise a `mistake` otherwise."""
        if not isinstance(value, list):
            return self.name.read(value)
        if not value:
            raise mistake("must not be an empty list")
        return [self.line.read(line) for line in value]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        texts = core_schema.list_schema(core_schema.str_schema(), min_length=1)
        either = core_schema.union_schema([core_schema.str_schema(min_length=1), texts])
        return core_schema.no_info_before_validator_function(self.read, either)


class Pool(StrictModel):
    """Lines of which each picture draws some, all different, by its seed; they are joined after its prompt."""

    source: Annotated[str | list[str], NameOrTexts(Text(200), Text(LONGEST_PROMPT))] = Field(
        validation_alias="from", description="The name of one of the endpoint's lists, or lines."
    )
    count: Annotated[int | tuple[int, int], Range(Whole(0, MOST_LINES))] = Field(
        1, description="How many; a pair `[least, most]`: each number equally often over consecutive seeds."
    )

    @property
    def counts(self) -> tuple[int, int]:
        """The least and the largest number of lines."""
        return self.count if isinstance(self.count, tuple) else (self.count, self.count)
