"""``GET /sdapi/v1/progress``: the progress of a client's own job in A1111's shape. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from worker.serving.sdapi.clients import ClientJob

LEAST, MOST = 0.01, 0.99
"""Progress of a job that is not over: A1111 shows 0.01 until sampling starts, and exactly 0 only when it is idle."""
_NOT_STARTED = "0"


def idle_progress() -> dict[str, Any]:
    """Return the progress of a client without a job; several clients wait for exactly this."""
    return _answer(progress=0.0, eta_relative=0.0, state=_state())


def job_progress(job: ClientJob, *, with_image: bool) -> dict[str, Any]:
    """Return the progress of `job`, with its unfinished picture if `with_image`."""
    snapshot = job.snapshot()
    progress = snapshot.progress or Progress("queued", message="waits for its turn")
    state = _state(
        job=f"Batch {job.batch + 1} out of {job.batches}",
        job_count=job.batches,
        job_no=job.batch,
        job_timestamp=time.strftime("%Y%m%d%H%M%S", time.gmtime(job.started_at)),
        sampling_step=progress.step or 0,
        sampling_steps=progress.steps or 0,
        interrupted=job.is_interrupted,
        skipped=job.skipped_batch == job.batch,
        stopping_generation=job.is_interrupted,
    )
    return _answer(
        progress=min(MOST, max(LEAST, progress.percent / 100)),
        eta_relative=float(progress.eta_s or 0.0),
        state=state,
        current_image=job.preview if with_image else None,
        textinfo=progress.message,
    )


def _state(**known: Any) -> dict[str, Any]:
    idle: dict[str, Any] = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": _NOT_STARTED,
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    return {**idle, **known}


def _answer(
    *,
    progress: float,
    eta_relative: float,
    state: dict[str, Any],
    current_image: str | None = None,
    textinfo: str | None = None,
) -> dict[str, Any]:
    return {
        "progress": progress,
        "eta_relative": eta_relative,
        "state": state,
        "current_image": current_image,
        "textinfo": textinfo,
    }
