"""The gallery's view of an endpoint: it takes a job and tells how it goes. `worker.client.Endpoint` does both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class JobStatus(Protocol):
    """A job at one moment."""

    @property
    def status(self) -> str:
        """Its word at the endpoint: `IN_QUEUE`, `IN_PROGRESS`, `COMPLETED`, …."""

    @property
    def progress(self) -> Mapping[str, Any]:
        """Return the progress of a running job: `percent`, `stage`, `eta_s`."""

    def answer(self) -> Mapping[str, Any]:
        """Return the answer of a job that is over; raises where it has none."""


class SubmittedJob(Protocol):
    """A job on an endpoint."""

    @property
    def state(self) -> JobStatus:
        """As last heard."""

    def stream(self, timeout: float | None = None) -> Iterator[JobStatus]:
        """Yield the job's states as they change; the last one is over."""

    def cancel(self) -> JobStatus:
        """Stop it."""


class JobEndpoint(Protocol):
    """A place that runs jobs."""

    def run(self, job: Mapping[str, Any]) -> SubmittedJob:
        """Put a job in line."""
