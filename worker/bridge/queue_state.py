"""Reasons why a job waits at an endpoint, in words for the person who waits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def describe_workers(health: Mapping[str, Any]) -> str:
    """Return what an endpoint's ``/health`` says about a job that no worker has taken yet."""
    counts = health.get("workers")
    workers = {name: count for name, count in (counts or {}).items() if type(count) is int and count > 0}
    if not workers:
        return "no worker is up; one is being woken"
    if workers.keys() <= {"throttled"}:
        return f"{_count(workers['throttled'])} throttled: no GPU of the endpoint's types is free; allow further types"
    if workers.keys() <= {"throttled", "unhealthy"}:
        return f"{_count(workers['unhealthy'])} unhealthy; the endpoint's log says why"
    if workers.get("initializing"):
        return f"{_count(workers['initializing'])} starting"
    if workers.get("running"):
        return f"{_count(workers['running'])} busy with other jobs; raise the endpoint's most workers, or wait"
    return "a worker is idle and should take it at once"


def _count(number: int) -> str:
    return f"{number} worker{' is' if number == 1 else 's are'}"
