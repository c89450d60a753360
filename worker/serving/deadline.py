"""The deadline of a job: the least of the operator's, the client's and the platform's limits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


_ENDLESS_MS = 1e15


def seconds_for(job: Mapping[str, Any], wish: float | None, limit: float) -> float:
    """Return the seconds that a job gets.

    Args:
        job: As the platform hands it over; ``policy.executionTimeout`` is in milliseconds.
        wish: The client's own.
        limit: The operator's.
    """
    seconds = [limit] if wish is None else [limit, wish]
    policy = job.get("policy")
    platform = policy.get("executionTimeout") if isinstance(policy, dict) else None
    if isinstance(platform, (int, float)) and not isinstance(platform, bool) and 0 < platform < _ENDLESS_MS:
        seconds.append(platform / 1000)
    return min(seconds)
