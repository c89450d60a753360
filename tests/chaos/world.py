"""Three workers on one volume, a platform, a store, and everything that happens to them."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import psutil
import requests

from tests.support import models
from tests.support.fake_s3 import FakeStore, error, fake_store
from tests.support.jobsource import JobSource
from tests.support.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from tests.chaos.plan import Job
    from tests.support.loopback_http import Reply, Request

WORKERS = 3
SETTINGS = {
    "RESTARTS": "30",
    "STALL_TIMEOUT_S": "3",
    "IDLE_TIMEOUT_S": "3",
    "JOB_TIMEOUT_S": "60",
    "STANDIN_STEP_SECONDS": "0.005",
    "STOP_GRACE_S": "20",
    "LOG_LEVEL": "info",
}


class World:
    """Use as a context manager; `do` makes something happen, `tick` lets the platform do its part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = JobSource(hold_s=1.0)
        self.workers: list[Rig] = []
        self.orphans: list[str] = []
        self.started = 0
        self.ended: list[Rig] = []
        self._jobs: dict[str, Job] = {}
        self._fail_store = 0
        self._deny_store = 0
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._reoffered: set[tuple[str, float]] = set()
        self.store: FakeStore

    def __enter__(self) -> Self:
        self._stack.enter_context(self.source)
        self.store = self._stack.enter_context(fake_store(self._store_fault))
        for _ in range(WORKERS):
            self._start()
        return self

    def __exit__(self, *why: object) -> None:
        for rig in self.workers:
            rig.worker.__exit__(None)
        self._stack.__exit__(*why)  # type: ignore[arg-type]  # as it came

    def wait_ready(self) -> None:
        """Return when every worker asks for jobs."""
        self.source.wait_event("take", timeout=90, count=WORKERS)

    def offer(self, job: Job) -> None:
        self._jobs[job.id] = job
        self.source.offer({"id": job.id, "input": job.input})

    def do(self, fault: dict[str, object] | str, worker: int, job: Job) -> None:
        """Make something happen to one worker, or to what is around them all."""
        rig = self.workers[worker % len(self.workers)]
        if isinstance(fault, dict):
            with contextlib.suppress(requests.RequestException, AssertionError):  # its WebUI may be down already
                rig.fault(**fault)  # type: ignore[arg-type]  # as the plan has it
            return
        happenings: dict[str, Callable[[], object]] = {
            "kill-webui": lambda: rig.webui().kill(),
            "stop-webui": lambda: rig.webui().suspend(),
            "kill-worker": rig.worker.kill,
            "end-worker": rig.worker.terminate,
            "lose-result": lambda: self.source.spoil_postings("refuse"),
            "cut-result": lambda: self.source.spoil_postings("drop"),
            "break-platform": self._break_platform,
            "cancel": threading.Timer(0.5, self.source.cancel, [job.id]).start,
            "remove-model": self._remove_model,
            "break-store": lambda: self._spoil_store(failing=3),
            "deny-store": lambda: self._spoil_store(denying=1),
        }
        with contextlib.suppress(requests.RequestException, psutil.Error):  # as above
            happenings[fault]()

    def tick(self) -> None:
        """Replace workers that ended; hand out again what they held, and what was refused."""
        for rig in list(self.workers):
            if rig.worker.alive:
                continue
            self.workers.remove(rig)
            self.ended.append(rig)
            self._look_for_orphans(rig)
            rig.worker.__exit__(None)
            self._hand_out_again(rig.environment["RUNPOD_POD_ID"])
            self._start()
        for event in self.source.events("failed"):
            if event.data == "refuse" and event.job_id is not None:
                self._again(event.job_id, event.at)

    def end(self) -> None:
        """Stop every worker as the platform does."""
        for rig in self.workers:
            rig.worker.terminate()
        for rig in self.workers:
            rig.worker.wait(40)
            self._look_for_orphans(rig)

    def write_down(self, place: Path) -> None:
        """Write every worker's log, and everything that the platform saw, for whoever has to find out what happened."""
        place.mkdir(parents=True, exist_ok=True)
        for number, rig in enumerate([*self.ended, *self.workers]):
            name = f"{number}-{rig.environment['RUNPOD_POD_ID']}-{rig.worker.pid}.log"
            (place / name).write_text(rig.worker.log, encoding="utf-8")
        lines = (f"{event.at:.3f} {event.kind} {event.job_id} {event.data}\n" for event in self.source.events())
        (place / "platform.log").write_text("".join(lines), encoding="utf-8")

    def settled(self, job: Job) -> bool:
        """Whether nothing more is to come for a job."""
        if self.source.events("done", job.id):
            return True
        return job.fault == "cancel" and bool(self.source.events("stopped", job.id)) and self._idle_for(job.id)

    def _idle_for(self, job_id: str) -> bool:
        stopped = self.source.events("stopped", job_id)
        return time.monotonic() - stopped[0].at > 8

    def _start(self) -> None:
        self.started += 1
        store = {
            "BUCKET_ENDPOINT_URL": f"{self.store.server.url}",
            "BUCKET_NAME": "pics",
            "BUCKET_ACCESS_KEY_ID": "chaos-key",
            "BUCKET_SECRET_ACCESS_KEY": "chaos-secret",
        }
        self.workers.append(Rig(self.folder, self.source, RESULTS_DIR=str(self.folder / "kept"), **SETTINGS, **store))

    def _hand_out_again(self, pod: str) -> None:
        for event in self.source.events("taken"):
            if event.data["pod"] == pod and event.job_id is not None:
                self._again(event.job_id, event.at)

    def _again(self, job_id: str, at: float) -> None:
        if (job_id, at) in self._reoffered or job_id not in self._jobs:
            return
        self._reoffered.add((job_id, at))
        if any(event.at > at for event in self.source.events("offered", job_id)):
            return  # it waits already, or another worker has it: no platform hands a job to two
        cancelled = bool(self.source.events("stop", job_id))
        if not self.source.events("done", job_id) and not cancelled:
            self.source.offer({"id": job_id, "input": self._jobs[job_id].input})

    def _look_for_orphans(self, rig: Rig) -> None:
        left = rig.worker.family()
        psutil.wait_procs(left, timeout=3)
        self.orphans += [str(process) for process in rig.worker.family()]

    def _break_platform(self) -> None:
        self.source.spoil_postings("error", "reset")
        self.source.spoil_takes(500, 400, 429)

    def _spoil_store(self, *, failing: int = 0, denying: int = 0) -> None:
        with self._lock:
            self._fail_store += failing
            self._deny_store += denying

    def _remove_model(self) -> None:
        """A checkpoint that workers have seen goes away, and another with its name comes."""
        path = self.folder / "models" / "checkpoints" / "Passing_v1.safetensors"
        if path.exists():
            path.unlink()
        else:
            models.checkpoint(path)

    def _store_fault(self, request: Request, _number: int) -> Reply | None:
        if request.method != "PUT":
            return None
        with self._lock:
            if self._deny_store > 0:
                self._deny_store -= 1
                return error(403, "AccessDenied")
            if self._fail_store > 0:
                self._fail_store -= 1
                return error(503, "SlowDown")
        return None
