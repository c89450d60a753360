"""A job's progress, and how often it is worth telling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a job.

    Attributes:
        stage: What is being done: ``prepare``, ``generate``, ``deliver``, …
        percent: Of the whole job, 0 to 100.
        step: The sampling step being done, from 1.
        steps: How many there are.
        eta_s: Seconds until the job is done, when that can be told.
        image: The picture being made, from 1.
        images: How many there will be.
        message: One sentence for a person, where the numbers don't say it.
        preview: The unfinished picture: base64 of a small JPEG, told once.
    """

    stage: str
    percent: float = 0.0
    step: int | None = None
    steps: int | None = None
    eta_s: float | None = None
    image: int | None = None
    images: int | None = None
    message: str | None = None
    preview: str | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return what is known, numbers rounded to what means something."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: round(value, 1) if isinstance(value, float) else value for name, value in known.items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Progress:
        """Return the progress that `to_json` made `told` of; names that are not known here are left out."""
        known = {each.name: told[each.name] for each in fields(cls) if each.name in told}
        return cls(**{"stage": "", **known})


ProgressSink = Callable[[Progress], None]
"""Takes a job's progress; cheap, callable from any thread, never raises."""
PieceSink = Callable[[dict[str, Any]], Awaitable[None]]
"""Posts one picture of a job that streams; raises the reason when it could not be posted."""


GENERATED = 90.0
"""Percent of a job when its pictures are made."""


def within(sink: ProgressSink, piece: int, counts: Sequence[int]) -> ProgressSink:
    """Return a sink for the `piece`-th of several requests of one job, that make `counts` pictures."""
    if len(counts) == 1:
        return sink
    before, images, is_last = sum(counts[:piece]), sum(counts), piece == len(counts) - 1

    def tell(progress: Progress) -> None:
        done = piece + min(progress.percent, GENERATED) / GENERATED
        image = None if progress.image is None else before + progress.image
        eta_s = progress.eta_s if is_last else None
        sink(replace(progress, percent=GENERATED * done / len(counts), image=image, images=images, eta_s=eta_s))

    return tell


def share_of(sink: ProgressSink, begins: float, ends: float) -> ProgressSink:
    """Return a sink for a part of a job's generation, from one share of it to another, both 0 to 1."""

    def tell(progress: Progress) -> None:
        done = begins + (ends - begins) * min(progress.percent, GENERATED) / GENERATED
        sink(replace(progress, percent=GENERATED * done, eta_s=progress.eta_s if ends == 1 else None))

    return tell


class Throttle:
    """Decides which progress is told: not too often, not for nothing, never backwards.

    Args:
        min_interval_s: Least seconds between two updates.
        min_percent: Least gain that is worth an update within one stage.
        clock: Monotonic seconds.
    """

    def __init__(self, *, min_interval_s: float, min_percent: float, clock: Callable[[], float]) -> None:
        self._min_interval_s = min_interval_s
        self._min_percent = min_percent
        self._clock = clock
        self._told: Progress | None = None
        self._told_at = 0.0

    def due_in(self, progress: Progress) -> float | None:
        """Return the seconds until `progress` may be told, 0 for now, None when it says nothing new."""
        if self._told is None:
            return 0.0
        moved = progress.percent - self._told.percent >= self._min_percent
        if not moved and progress.stage == self._told.stage and progress.preview is None:
            return None
        return max(0.0, self._told_at + self._min_interval_s - self._clock())

    def tell(self, progress: Progress) -> Progress:
        """Return `progress` as it is to be told, its percentage no lower than what was told before, and remember it."""
        floor = self._told.percent if self._told else 0.0
        self._told = replace(progress, percent=min(100.0, max(progress.percent, floor)))
        self._told_at = self._clock()
        return self._told
