"""The workers of an endpoint after a deployment: their states, and why one does not come up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.cli.deploy.rest import Rest

EVERY_S = 10.0
GRACE_S = 60.0
"""An endpoint without a worker for so long has none until its first job."""

LOG_LINES = 20
_READY = {"RUNNING", "IDLE"}
MEANING = {
    "INITIALIZING": "the image is fetched, or the worker boots",
    "THROTTLED": "waits for capacity: no GPU of these pools is free; more pools or data centers help",
    "UNHEALTHY": "ended or does not answer; its log says why",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of an endpoint's workers.

    Attributes:
        state: ``ready`` once a worker of the current release runs or idles; ``none`` without workers.
        line: In words.
        unwell: Ids of workers of the current release that do not run.
    """

    state: Literal["ready", "waiting", "unhealthy", "none"]
    line: str
    unwell: tuple[str, ...] = ()


def judge(answer: Mapping[str, Any]) -> Verdict:
    """Return the verdict on RunPod's answer to ``serverless/{id}/workers``."""
    workers = [worker for worker in answer["workers"] if isinstance(worker, dict)]
    current = [worker for worker in workers if not worker.get("isStale")]
    counts = Counter(str(worker.get("status", "?")) for worker in current)
    parts = [f"{count} {status.lower()}" for status, count in sorted(counts.items())]
    stale = len(workers) - len(current)
    if stale:
        parts.append(f"{stale} of an older release")
    reasons = [f"{status.lower()}: {MEANING[status]}" for status in sorted(counts) if status in MEANING]
    line = "workers: " + (", ".join(parts) or "none") + "".join(f"\n  {reason}" for reason in reasons)
    unwell = tuple(str(worker.get("id")) for worker in current if str(worker.get("status")) not in _READY)
    if any(str(worker.get("status")) in _READY for worker in current):
        return Verdict("ready", line, unwell)
    if counts["UNHEALTHY"]:
        sick = tuple(str(worker.get("id")) for worker in current if worker.get("status") == "UNHEALTHY")
        return Verdict("unhealthy", line, sick)
    return Verdict("waiting" if workers else "none", line, unwell)


def follow(
    rest: Rest,
    endpoint_id: str,
    *,
    wait_s: float,
    say: Callable[[str], None],
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> bool:
    """Tell the states of the workers as they change until one is ready; return whether the endpoint can take jobs.

    A worker that does not come up ends the waiting with the last lines of its log.
    """
    began, told = now(), ""
    while True:
        verdict = judge(rest.workers(endpoint_id))
        if verdict.line != told:
            say(verdict.line)
            told = verdict.line
        if verdict.state == "ready":
            return True
        waited = now() - began
        if verdict.state == "none" and waited >= min(GRACE_S, wait_s):
            say("no worker runs yet; the first job starts one")
            return True
        if verdict.state == "unhealthy" or waited >= wait_s:
            if verdict.state != "unhealthy":
                say(f"no worker is ready after {wait_s:g} s; `deploy status` looks again")
            for worker_id in verdict.unwell:
                _tell_log(rest, endpoint_id, worker_id, say)
            return False
        sleep(EVERY_S)


def _tell_log(rest: Rest, endpoint_id: str, worker_id: str, say: Callable[[str], None]) -> None:
    lines = rest.log(endpoint_id, worker_id, LOG_LINES)
    say(f"worker {worker_id}, the last lines of its log:" if lines else f"worker {worker_id} has no log yet")
    for line in lines:
        say(f"  {line}")
