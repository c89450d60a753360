"""The plug-in point of judges: an opinion on one picture, which may be a reason to reject it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """Opinion of one judge on one picture.

    Attributes:
        accepted: None: the judge only gives a score.
        score: Higher is better; None where there is none.
        details: More figures for the answer, strict JSON.
        why: Reason for a rejection.
    """

    accepted: bool | None
    score: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    why: str | None = None


class Judge(Protocol):
    """Looks at pictures; called by several threads at once.

    An operator's own is named by ``JUDGES=package.module:factory``; `factory` is called once with the worker's
    settings. An exception from `look` rejects the picture as "judge failed"; it never fails the job.
    """

    @property
    def name(self) -> str:
        """Name in jobs and answers: lower-case letters, digits and underscores."""

    @property
    def model(self) -> str:
        """Version of the judge; scores of different models can't be compared."""

    def look(self, image: Image.Image) -> JudgeVerdict:
        """Return the opinion on an upright RGB picture."""
