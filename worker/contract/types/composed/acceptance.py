"""Judging of pictures: what has to be right in them, and how many a job is to make until enough are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError, core_schema

from worker.contract.base.json_guard import LONGEST_TEXT, shown
from worker.contract.types.base_model import Name, Ratio, StrictModel, Switch, optional
from worker.contract.types.fields import Choice, Number, Whole, mistake
from worker.contract.types.picture_ref import source_of

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MOST_CANDIDATES = 200
MOST_REFERENCES = 16
MOST_JUDGES = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class PersonOrPictures:
    """The name of somebody who was enrolled, or pictures of somebody: base64, data URL, https URL, s3:// or key:."""

    def read(self, value: object) -> str | list[str]:
        """Return the name or the pictures in `value`; raise a `mistake` otherwise."""
        if isinstance(value, str):
            return value if _NAME.fullmatch(value) else [self._picture(value)]
        if isinstance(value, list) and 0 < len(value) <= MOST_REFERENCES:
            return [self._picture(one) for one in value]
        raise mistake(
            f"must be the name of somebody who was enrolled, or 1 to {MOST_REFERENCES} pictures, not {shown(value)}"
        )

    def _picture(self, value: object) -> str:
        if not isinstance(value, str):
            raise mistake(f"has {shown(value)} for a picture")
        try:
            source_of(value)
        except PydanticCustomError as error:
            raise mistake(f"is neither a name that was enrolled nor pictures: one {error.message()}") from None
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(min_length=1, max_length=LONGEST_TEXT)
        pictures = core_schema.list_schema(text, min_length=1, max_length=MOST_REFERENCES)
        either = core_schema.union_schema([text, pictures])
        return core_schema.no_info_before_validator_function(self.read, either)


class FaceCriterion(StrictModel):
    """A face has to be that of the references."""

    references: Annotated[str | list[str], PersonOrPictures()] = Field(
        description="The name of somebody who was enrolled or of a character, or pictures of one person.",
        json_schema_extra={"group": "judging", "plain": False},
    )
    threshold: Ratio | None = optional(
        "Least similarity; default: as enrolled, else 0.45 (0.363 is loose, 0.55 strict).", group="judging", plain=False
    )
    against: Annotated[Literal["mean", "best", "worst"], Choice({"max": "best", "min": "worst"})] | None = optional(
        "What a face is compared with: the mean of the references (default), the most or the least similar one.",
        group="judging",
        plain=False,
    )


class QualityCriterion(StrictModel):
    """A picture must not be blank, noise, dark, blurred or badly exposed."""

    least: Ratio | None = optional(
        "Least score, 0 to 1; default 0.4. For photographic pictures.", group="judging", plain=False
    )


class JudgeCriterion(StrictModel):
    """A judge of this endpoint has to accept the picture."""

    name: Name = Field(
        description="`aesthetic`, or a judge of the operator's.", json_schema_extra={"group": "judging", "plain": False}
    )
    least: Annotated[float, Number(-1_000_000, 1_000_000)] | None = optional(
        "Least score; default: the judge decides.", group="judging", plain=False
    )


class Criteria(StrictModel):
    """Criteria that a picture has to meet."""

    face: FaceCriterion | None = optional("A face like that of the references.", group="judging", plain=False)
    quality: QualityCriterion | None = optional("Plain quality, without a model.", group="judging", plain=False)
    judges: list[JudgeCriterion] | None = optional(
        "Judges of this endpoint.", group="judging", plain=False, min_length=1, max_length=MOST_JUDGES
    )
    distinct: Switch | None = optional(
        "Reject near-duplicates of accepted pictures; default: they are only told.", group="judging", plain=False
    )

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is asked for."""
        return not (self.face or self.quality or self.judges or self.distinct)


class Acceptance(Criteria):
    """Pictures are made and judged until enough are accepted."""

    count: Annotated[int, Whole(1, MOST_CANDIDATES)] | None = optional(
        "How many accepted pictures are wanted; default 1.", group="judging", plain=False
    )
    at_most: Annotated[int, Whole(1, MOST_CANDIDATES)] | None = optional(
        "How many pictures are made for that at most; default four times `count`.", group="judging", plain=False
    )
    on_too_few: Annotated[Literal["error", "warn"], Choice({"warning": "warn"})] | None = optional(
        "When fewer were accepted: deliver those with a warning (default), or fail.", group="judging", plain=False
    )

    @property
    def wanted(self) -> int:
        """Accepted pictures that are wanted."""
        return self.count or 1

    @property
    def most(self) -> int:
        """Pictures that are made for them at most."""
        return self.at_most or min(4 * self.wanted, MOST_CANDIDATES)
