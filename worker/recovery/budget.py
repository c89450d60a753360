"""How often the WebUI may be restarted, and how long to wait before it: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Restarts within a sliding window.

    Attributes:
        limit: Most restarts within the window.
        window_s: Its length, seconds.
        spent: When restarts were begun, monotonic seconds, oldest first.
    """

    limit: int
    window_s: float
    spent: tuple[float, ...] = ()

    def at(self, now: float) -> Budget:
        """Return the budget without what has left the window."""
        return replace(self, spent=tuple(moment for moment in self.spent if now - moment < self.window_s))

    def left(self, now: float) -> int:
        """Return how many restarts are left."""
        return max(0, self.limit - len(self.at(now).spent))

    def spend(self, now: float) -> Budget | None:
        """Return the budget after one more restart, None when there is none left."""
        current = self.at(now)
        return replace(current, spent=(*current.spent, now)) if len(current.spent) < self.limit else None

    def delay(self) -> float:
        """Return the seconds to wait before the restart spent last: none for a first one, then 1, 2, 4 … 30."""
        earlier = len(self.spent) - 1
        return 0.0 if earlier <= 0 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (earlier - 1))
