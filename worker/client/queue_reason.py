"""The reason for which a job stays in the queue, by what an endpoint's ``/health`` tells; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN = ("idle", "initializing", "ready", "running", "throttled", "unhealthy")
_NO_WORKERS = (
    "no worker is up: one is being woken, unless the endpoint has no workers. Its maximum may be 0: RunPod lowers that "
    "of endpoints without requests to 2 after three days and to 0 after seven, until it is raised again (Max workers "
    "in the endpoint's settings)"
)


def queue_reason(health: Mapping[str, Any]) -> str | None:
    """Return why no worker takes a job, and what to do; None where that can't be told.

    Args:
        health: RunPod's answer to ``/health``: counts of ``workers`` by state, and of ``jobs``. Another service's tells
            nothing.
    """
    workers = health.get("workers")
    if not isinstance(workers, dict):
        return None
    count = {state: _count(workers.get(state)) for state in _KNOWN}
    jobs = health.get("jobs")
    waiting = _count(jobs.get("inQueue")) if isinstance(jobs, dict) else 0
    if not any(count.values()):
        return _NO_WORKERS
    if count["running"] or count["ready"] or count["idle"]:
        return _busy(count["running"], waiting) if count["running"] else None
    if count["initializing"]:
        return f"{_workers(count['initializing'])} starting: the image is fetched, or the WebUI loads its model"
    if count["throttled"]:
        return (
            f"{_workers(count['throttled'])} throttled: no GPU of the endpoint's types is free; "
            "choose more GPU types or data centers, or wait"
        )
    return (
        f"{_workers(count['unhealthy'])} unhealthy: they end or do not answer; their logs in RunPod's console say why"
    )


def _busy(running: int, waiting: int) -> str:
    ahead = f", {waiting} jobs wait" if waiting > 1 else ""
    return f"{_workers(running)} busy{ahead}; more workers (Max workers) shorten the queue"


def _workers(count: int) -> str:
    return f"{count} worker{' is' if count == 1 else 's are'}"


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
