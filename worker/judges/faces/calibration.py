"""Calibration: the threshold that parts persons best, measured on pictures of several. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worker.judges.faces.enrolment import DEFAULT_THRESHOLD, normalised

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.judges.faces.enrolment import FaceReference

THRESHOLDS = (0.30, 0.363, 0.40, DEFAULT_THRESHOLD, 0.50, 0.55, 0.65)


@dataclass(frozen=True, slots=True)
class ThresholdErrors:
    """Errors at one threshold.

    Attributes:
        threshold: Least similarity.
        refused: Share of the comparisons with the same person that fall below.
        accepted: Share of those with other persons that do not.
    """

    threshold: float
    refused: float
    accepted: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Similarities of pictures to means of references.

    Attributes:
        same: To the mean of the same person's other pictures.
        different: To the mean of another person.
    """

    same: Sequence[float]
    different: Sequence[float]

    @property
    def proposed(self) -> float:
        """The middle of the gap; where there is none, the threshold with the fewest errors of both kinds."""
        lowest, highest = min(self.same), max(self.different)
        if lowest > highest:
            return round((lowest + highest) / 2, 2)
        rows = [self._errors(value) for value in sorted({*self.same, *self.different})]
        return round(min(rows, key=lambda row: row.refused + row.accepted).threshold, 2)

    def rows(self) -> Iterator[ThresholdErrors]:
        """Yield the errors at common thresholds and the proposed one."""
        for threshold in sorted({*THRESHOLDS, self.proposed}):
            yield self._errors(threshold)

    def _errors(self, threshold: float) -> ThresholdErrors:
        refused = sum(value < threshold for value in self.same) / len(self.same)
        return ThresholdErrors(
            threshold, refused, sum(value >= threshold for value in self.different) / len(self.different)
        )


def measure_thresholds(persons: Mapping[str, Sequence[FaceReference]]) -> Calibration | None:
    """Return the similarities within and between persons; None where there is nothing to compare."""
    same: list[float] = []
    different: list[float] = []
    for name, members in persons.items():
        for member in members:
            rest = [other.vector for other in members if other is not member]
            if rest:
                same.append(float(normalised(np.mean(rest, axis=0)) @ member.vector))
            for other, others in persons.items():
                if other != name:
                    mean = normalised(np.mean([one.vector for one in others], axis=0))
                    different.append(float(mean @ member.vector))
    return Calibration(same, different) if same and different else None
