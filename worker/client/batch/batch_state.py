"""State of a batch, running or ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """A job that was not made.

    Attributes:
        job: Its input.
        message: Why.
        source: The candidate that it was to finish.
    """

    job: Mapping[str, Any]
    message: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class BatchState:
    """The course of a batch, running or ended.

    Attributes:
        jobs: How many there are; None: without end.
        there: Jobs that an earlier run had made.
        done: Jobs that this run has made.
        pictures: That this run has written, by their paths below the folder.
        failures: Jobs that were given up.
        running: Jobs on endpoints now.
        job_s: Seconds that the jobs of this run took on their endpoints.
        trouble: What was last wrong with an endpoint that is asked again later.
        ended_by: Why it ended before its last job, empty where it did not.
        is_interrupted: Whether somebody cancelled it.
    """

    jobs: int | None = 0
    there: int = 0
    done: int = 0
    pictures: tuple[str, ...] = ()
    failures: tuple[BatchFailure, ...] = ()
    running: int = 0
    job_s: float = 0.0
    trouble: str = ""
    ended_by: str = ""
    is_interrupted: bool = False
