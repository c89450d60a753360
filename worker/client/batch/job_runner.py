"""The part of an endpoint that a batch needs: it takes jobs, and tells how they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.client.job_state import JobState


class SentJob(Protocol):
    """A job on an endpoint; `worker.client.EndpointJob` is one."""

    worker: str | None

    @property
    def id(self) -> str:
        """Its name at the endpoint."""

    @property
    def state(self) -> JobState:
        """As last heard."""

    def stream(self, timeout: float | None = None) -> Iterator[JobState]:
        """Yield its states as they change, the last one over."""

    def cancel(self) -> JobState:
        """Stop it."""


class JobRunner(Protocol):
    """A place that runs jobs; `worker.client.Endpoint` is one."""

    @property
    def url(self) -> str:
        """Its name, the same in every run."""

    def run(self, job: Mapping[str, Any]) -> SentJob:
        """Put a job in line."""

    def job(self, job_id: str, *, worker: str | None = None) -> SentJob:
        """Return the job with this id. Raises EndpointError where there is none."""
