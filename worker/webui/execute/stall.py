"""Stall detection for one generation: pure, but for the lock around the GPU window.

The WebUI's progress, its log and the time go in; the verdict comes out.
"""

from __future__ import annotations

import math
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

MEGAPIXEL = 1024 * 1024
PACE_LIMIT_S = 30.0
"""Shortest limit for a step whose pace is known, unless the operator's own is shorter."""
PACE_STEPS = 10.0
"""Factor by which a step may take longer than the slowest one so far."""
_BEGAN = re.compile(r" INFO \[modules\.shared_state\] Starting job scripts_")
_ENDED = re.compile(r" INFO \[modules\.shared_state\] Ending job scripts_")


@dataclass(frozen=True, slots=True)
class StallLimits:
    """Time limits for a generation without a sign of life, in seconds.

    Attributes:
        progress: Without progress, for a batch of one megapixel or less; larger ones get more.
        load: More than that before the first step, for a model that has to be loaded; 0 where none has to be.
        silence: Without a sign of life: an answer to a question about progress, or work that is seen to be done;
            None: no such limit.
    """

    progress: float
    load: float = 0.0
    silence: float | None = None


class StallDetector:
    """The progress of one generation.

    Args:
        began: When it was sent, in seconds of a clock that stands still while the worker is frozen.
        limits: See there.
        pixels: Of one batch.
        switches_models: More than one checkpoint takes part, so a model may be loaded between two steps.
    """

    def __init__(self, *, began: float, limits: StallLimits, pixels: int = 0, switches_models: bool = False) -> None:
        self._base_limit = limits.progress * max(1.0, pixels / MEGAPIXEL)
        self._load = limits.load
        self._silence = math.inf if limits.silence is None else limits.silence
        self._switches_models = switches_models
        self._moved = began
        self._alive = began
        self._slowest_step = 0.0
        self._first_step: float | None = None
        """Seconds that one of the first steps took at most: what came before the first may be among them."""
        self._step, self._steps = 0, 0
        self._last: tuple[Any, ...] | None = None
        self._steps_seen = False
        self._over = False
        self.done: dict[str, int] = {}
        """The last known position: step, steps, batch, batches."""

    def hear(self, state: Mapping[str, Any], now: float) -> None:
        """Take in an answer of ``GET /sdapi/v1/progress``."""
        self._alive = now
        inner = state.get("state")
        if not isinstance(inner, dict) or not inner.get("job"):
            return
        seen = tuple(inner.get(name) for name in ("job_timestamp", "job_no", "sampling_step", "sampling_steps"))
        if seen == self._last:
            return
        step, steps = int(inner.get("sampling_step") or 0), int(inner.get("sampling_steps") or 0)
        if self._steps_seen and step > self._step and steps == self._steps:
            self._slowest_step = max(self._slowest_step, (now - self._moved) / (step - self._step))
        elif step > 0 and self._first_step is None:
            self._first_step = (now - self._moved) / step
        self._steps_seen = self._steps_seen or step > 0
        self._step, self._steps = step, steps
        self._last, self._moved = seen, now
        self.done = {
            "step": step,
            "steps": steps,
            "batches_done": int(inner.get("job_no") or 0),
            "batches": max(0, int(inner.get("job_count") or 0)),
        }

    def is_working(self, now: float) -> None:
        """Take note that the WebUI does not answer, but works: loading a model may keep it from answering."""
        self._alive = now

    def left_the_gpu(self) -> None:
        """Expect no more progress: only the answer is still to come."""
        self._over = True

    @property
    def limit(self) -> float:
        """Seconds without progress after which it counts as stalled."""
        if not self._steps_seen:
            return self._base_limit + self._load
        unpaced = max(self._base_limit, PACE_STEPS * self._slowest_step)
        pace = self._slowest_step or self._first_step
        if pace is None or not self._is_paced:
            return unpaced
        return min(unpaced, max(PACE_LIMIT_S, PACE_STEPS * pace))

    def left(self, now: float) -> float:
        """Return the seconds until it counts as stalled unless it moves."""
        if self._over:
            return math.inf
        return min(self._moved + self.limit, self._alive + self._silence) - now

    def silent_for(self, now: float) -> float:
        """Return the seconds since the WebUI has given a sign of life."""
        return now - self._alive

    def verdict(self, now: float) -> str | None:
        """Return what is wrong with the WebUI in words, None while it moves."""
        if self.left(now) > 0:
            return None
        if self.silent_for(now) >= self._silence:
            return f"the WebUI answered nothing for {self._silence:.0f} s"
        return f"the WebUI made no progress for {self.limit:.0f} s"

    @property
    def _is_paced(self) -> bool:
        """Return whether a step like those before comes next, not decoding, upscaling or another model."""
        return self._step < self._steps - 1 and not self._switches_models


class GpuWindow:
    """The stretch of one request in which the WebUI works on the GPU, as its log tells it.

    A1111 works on one request at a time, logs where that begins and ends (`modules/shared_state.py`, level INFO), and
    only then encodes the pictures and answers. A megapixel's PNG takes it 0.2 to 0.3 s, in which the GPU can have the
    next job. Read from the log's thread, asked from the loop's.

    Args:
        hand_over: Runs a function in the loop's thread.
        on_free: What to run there when the GPU is free.

    Attributes:
        end: The log's position at the end of the stretch, None until then (for ever where the log does not tell).
    """

    def __init__(self, hand_over: Callable[[Callable[[], None]], object], on_free: Callable[[], None]) -> None:
        self.end: int | None = None
        self._hand_over = hand_over
        self._on_free = on_free
        self._lock = threading.Lock()
        self._began = False
        self._kept = False

    @classmethod
    def of_loop(cls, loop: asyncio.AbstractEventLoop, on_free: Callable[[], None]) -> Self:
        """Return a window whose `on_free` runs in `loop`, unless that is closed."""

        def hand_over(function: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody there waits for the GPU
                loop.call_soon_threadsafe(function)

        return cls(hand_over, on_free)

    def read(self, line: str, position: Callable[[], int]) -> None:
        """Take note of a line of the log; `position` tells where it stands."""
        if self.end is not None or "modules.shared_state" not in line:
            return
        if _BEGAN.search(line):
            self._began = True
        elif self._began and _ENDED.search(line):
            with self._lock:
                self.end = position()
                kept = self._kept
            if not kept:
                self._hand_over(self._on_free)

    def keep(self) -> bool:
        """Hold the GPU until the answer has come; return False when it has been given away already."""
        with self._lock:
            self._kept = True
            return self.end is None
