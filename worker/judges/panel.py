"""Judging of several pictures by several judges, near-duplicates included, and the summary for the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.judges.judge import JudgeVerdict
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

    from worker.judges.judge import Judge

DUPLICATE_BITS = 8
"""Two pictures whose perceptual hashes differ in at most so many bits are near-duplicates."""
FAILED = "judge failed"


@dataclass(frozen=True, slots=True)
class LeastScore:
    """A judge with the least score that a job asks for; None: the judge's own opinion counts."""

    judge: Judge
    least: float | None = None

    def look(self, image: Image.Image) -> JudgeVerdict:
        """Return the verdict; an exception of the judge rejects the picture."""
        try:
            verdict = self.judge.look(image)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises: the picture is not lost over it
            get_logger("judges").warning("a judge failed", judge=self.judge.name, why=type(error).__name__)
            return JudgeVerdict(accepted=False, why=FAILED)
        if self.least is None:
            return verdict
        if verdict.score is None or verdict.score < self.least:
            score = "none" if verdict.score is None else f"{verdict.score:.2f}"
            why = f"{self.judge.name} {score}, at least {self.least:g} is asked for"
            return JudgeVerdict(accepted=False, score=verdict.score, details=verdict.details, why=why)
        return JudgeVerdict(accepted=True, score=verdict.score, details=verdict.details)


@dataclass(frozen=True, slots=True)
class Looked:
    """The judges' opinions on one picture, without regard to the others.

    Attributes:
        verdicts: By the judge's name, in the order of the panel.
        hash: Perceptual hash; None: blank pictures are all alike and get none.
    """

    verdicts: Mapping[str, JudgeVerdict]
    hash: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for one picture.

    Attributes:
        accepted: No judge rejected it.
        verdicts: By the judge's name.
        duplicate_of: Place of an accepted picture that it is a near-duplicate of.
        why: Reason for the rejection.
    """

    accepted: bool
    verdicts: Mapping[str, JudgeVerdict]
    duplicate_of: int | None = None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return ``{accepted, <judge>: {score, …}, duplicate_of?, why?}``."""
        return {
            "accepted": self.accepted,
            **{name: _details(verdict) for name, verdict in self.verdicts.items()},
            **({"duplicate_of": self.duplicate_of} if self.duplicate_of is not None else {}),
            **({"why": self.why} if self.why is not None else {}),
        }


def _details(verdict: JudgeVerdict) -> dict[str, Any]:
    if verdict.details or verdict.why == FAILED:
        return dict(verdict.details)
    return {"score": None if verdict.score is None else round(verdict.score, 4)}


@dataclass(frozen=True, slots=True)
class Panel:
    """The judges of one job.

    Attributes:
        judges: In the order in which they look; the first rejection is the reason.
        distinct: Near-duplicates of accepted pictures are rejected.
        hashed: Returns the perceptual hash of a picture.
    """

    judges: Sequence[LeastScore]
    distinct: bool
    hashed: Callable[[Image.Image], int | None]

    def look(self, image: Image.Image) -> Looked:
        """Return what the judges say about an upright RGB picture. Blocking; from any thread."""
        return Looked({one.judge.name: one.look(image) for one in self.judges}, self.hashed(image))

    @property
    def models(self) -> dict[str, str]:
        """Version of each judge, by name."""
        return {one.judge.name: one.judge.model for one in self.judges}


@dataclass(slots=True)
class JudgedPictures:
    """Pictures judged one after the other, each with regard to those before it.

    Attributes:
        distinct: Near-duplicates of accepted pictures are rejected.
        judgements: In order.
    """

    distinct: bool
    judgements: list[Judgement] = field(default_factory=list)
    _hashes: dict[int, int] = field(default_factory=dict)

    def add(self, looked: Looked) -> Judgement:
        """Return the outcome for the next picture."""
        place = len(self.judgements)
        rejections = [verdict for verdict in looked.verdicts.values() if verdict.accepted is False]
        twin = self._twin(looked.hash)
        why = next((verdict.why or "rejected" for verdict in rejections), None)
        if why is None and twin is not None and self.distinct:
            why = "near-duplicate"
        judgement = Judgement(why is None, looked.verdicts, twin, why)
        if judgement.accepted and looked.hash is not None:
            self._hashes[place] = looked.hash
        self.judgements.append(judgement)
        return judgement

    def refuse(self, why: str) -> Judgement:
        """Return the outcome for a next picture that no judge may see."""
        judgement = Judgement(accepted=False, verdicts={}, why=why)
        self.judgements.append(judgement)
        return judgement

    @property
    def accepted(self) -> int:
        """Pictures that were accepted."""
        return sum(judgement.accepted for judgement in self.judgements)

    def average(self) -> dict[str, float]:
        """Return the mean score of the accepted pictures by judge."""
        scores: dict[str, list[float]] = {}
        for judgement in self.judgements:
            for name, verdict in judgement.verdicts.items() if judgement.accepted else ():
                if verdict.score is not None:
                    scores.setdefault(name, []).append(verdict.score)
        return {name: round(sum(values) / len(values), 4) for name, values in scores.items()}

    def _twin(self, own: int | None) -> int | None:
        if own is None:
            return None
        near = (place for place, other in self._hashes.items() if (own ^ other).bit_count() <= DUPLICATE_BITS)
        return next(near, None)
