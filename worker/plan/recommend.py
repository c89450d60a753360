"""Recommended settings for a given load: a few endpoints are simulated, the cheapest that is fast enough wins. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from worker.plan.simulate import Load, Result, SimulatedEndpoint, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE_S = (1.0, 5.0, 15.0, 60.0, 300.0)
AT_ONCE = (1, 2)
MOST_WORKERS = 500
ROOM = (1.15, 1.4, 2.0)
"""Workers, as a multiple of what the load needs at least."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to set an endpoint, and what came of it."""

    endpoint: SimulatedEndpoint
    result: Result


def options(load: Load, base: SimulatedEndpoint, *, seed: int = 1) -> list[Option]:
    """Return what was played through, the cheapest first."""
    found = [Option(endpoint, simulate(load, endpoint, seed=seed)) for endpoint in _candidates(load, base)]
    return sorted(found, key=lambda option: (option.result.paid_s, option.result.p95_s))


def recommend(tried: list[Option], *, p95_s: float) -> Option:
    """Return the cheapest that answers 95 of 100 jobs within `p95_s`; where none does, the fastest."""
    fast = [option for option in tried if option.result.p95_s <= p95_s]
    return fast[0] if fast else min(tried, key=lambda option: (option.result.p95_s, option.result.paid_s))


def _candidates(load: Load, base: SimulatedEndpoint) -> Iterator[SimulatedEndpoint]:
    shares = [share / sum(load.models) for share in load.models]
    # how often a job wants another checkpoint than the one before it
    switches = 1 - sum(share**2 for share in shares)
    least = max(1, ceil(load.rate * (load.generate_s + switches * base.switch_s)))
    counts = sorted(
        {min(MOST_WORKERS, max(least, ceil(least * room))) for room in ROOM} | {min(MOST_WORKERS, least + 1)}
    )
    actives = sorted({0, min(least, 1), max(1, least // 2), least})
    for workers in counts:
        for active in actives:
            for idle_s in IDLE_S:
                for at_once in AT_ONCE:
                    yield replace(base, workers=workers, active=min(active, workers), idle_s=idle_s, at_once=at_once)
