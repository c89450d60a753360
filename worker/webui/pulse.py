"""Does a generation still move? Pure: the WebUI's progress and the time go in, the verdict comes out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGAPIXEL = 1024 * 1024
SLACK = 10.0
"""How many times the longest step so far a step may take."""


class Pulse:
    """The progress of one generation.

    Args:
        began: When it was sent, monotonic seconds.
        limit_s: Longest time without progress for a batch of one megapixel or less; larger ones get more.
        pixels: Of one batch.
        load_s: More time before the first step, for a model that has to be loaded.
    """

    def __init__(self, *, began: float, limit_s: float, pixels: int, load_s: float) -> None:
        self._limit = limit_s * max(1.0, pixels / MEGAPIXEL)
        self._load = load_s
        self._moved = began
        self._longest = 0.0
        self._last: tuple[Any, ...] | None = None
        self._steps_seen = False
        self._over = False
        self.done: dict[str, int] = {}
        """What was done when it was last heard of: step, steps, batch, batches."""

    def hear(self, state: Mapping[str, Any], now: float) -> None:
        """Take in an answer of ``GET /sdapi/v1/progress``."""
        inner = state.get("state")
        if not isinstance(inner, dict) or not inner.get("job"):
            return
        seen = tuple(inner.get(name) for name in ("job_timestamp", "job_no", "sampling_step", "sampling_steps"))
        if seen == self._last:
            return
        if self._steps_seen:
            self._longest = max(self._longest, now - self._moved)
        self._steps_seen = self._steps_seen or bool(inner.get("sampling_step"))
        self._last, self._moved = seen, now
        self.done = {
            "step": int(inner.get("sampling_step") or 0),
            "steps": int(inner.get("sampling_steps") or 0),
            "batches_done": int(inner.get("job_no") or 0),
            "batches": max(0, int(inner.get("job_count") or 0)),
        }

    def left_the_gpu(self) -> None:
        """Only the answer is still to come: no progress is to be expected any more."""
        self._over = True

    @property
    def limit(self) -> float:
        """Seconds without progress after which it counts as stalled."""
        limit = max(self._limit, SLACK * self._longest)
        return limit if self._steps_seen else limit + self._load

    def left(self, now: float) -> float:
        """Return the seconds until it counts as stalled unless it moves."""
        return math.inf if self._over else self._moved + self.limit - now
