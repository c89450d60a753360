"""Three workers on one volume, a platform, a store, a source of models, and everything that happens to them."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import psutil
import requests

from tests.chaos.asks import CONTROL, DEPOT, FETCHED
from tests.chaos.depot import Depot
from tests.chaos.doomed import DOOMS, DoomedStart
from tests.chaos.hostile import MOST_RESIDENT_BYTES
from tests.chaos.plan import BROKEN_MODELS
from tests.chaos.store import HopStore, hop_store
from tests.support import disks, models
from tests.support.jobsource import JobSource
from tests.support.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from tests.chaos.plan import Fault, Job

WORKERS = 3
FROZEN_S, FULL_S = 3.0, 2.0
SETTINGS = {
    "RESTARTS": "30",
    "STALL_TIMEOUT_S": "3",
    "IDLE_TIMEOUT_S": "3",
    "JOB_TIMEOUT_S": "60",
    "BOOT_TIMEOUT_S": "30",
    "STANDIN_STEP_SECONDS": "0.005",
    "STANDIN_EXTENSIONS": "controlnet",
    "STOP_GRACE_S": "20",
    "POISON_S": "20",
    "RECYCLE_MEMORY_SHARE": "0.9",
    "MAX_OUTPUT_BYTES": "60000",
    "BUCKET_LINK_CHECK": "always",
    "MODEL_LEASE_S": "2",
    "MODEL_FREE_BYTES": "0",
    "RESULT_CACHE": "volume",
    "ALLOW_HOSTS": "127.0.0.1",
    "LOG_LEVEL": "info",
}


class World:
    """Use as a context manager; `do` makes something happen, `tick` lets the platform do its part.

    Args:
        folder: Empty.
        referees_loras: A folder that gets what jobs have fetched, for whoever judges them.
    """

    def __init__(self, folder: Path, referees_loras: Path) -> None:
        self.folder = folder
        self.source = JobSource(hold_s=1.0)
        self.workers: list[Rig] = []
        self.doomed: list[DoomedStart] = []
        self.orphans: list[str] = []
        self.flaws: list[str] = []
        self.started = 0
        self.peak_bytes = 0
        """The most memory that a worker's own process was seen to hold."""
        self.happened: dict[str, tuple[float, str]] = {}
        """When, by the job that came with it, something was made to happen, and to which worker."""
        self.ended: list[Rig] = []
        self._jobs: dict[str, Job] = {}
        self._stack = contextlib.ExitStack()
        self._reoffered: set[tuple[str, float]] = set()
        self._later: list[threading.Timer] = []
        self._to_strike: list[Job] = []
        self._depot = Depot(referees_loras, FETCHED)
        self.volume = folder / "volume"
        self._filling = self.volume / "filling"
        self.records = folder / "requests"
        """Folder of the files with the requests that the WebUIs got."""
        self.store: HopStore

    def __enter__(self) -> Self:
        self._stack.enter_context(self.source)
        self.store = self._stack.enter_context(hop_store())
        self._depot.server.start()
        self._stack.callback(self._depot.server.stop)
        self._limited = self._stack.enter_context(disks.mounted(self.volume, "size=96m"))
        self.records.mkdir()
        models.model_folders(self.volume / "models")
        models.checkpoint(self.volume / "controlnet" / f"{CONTROL}.safetensors")
        (self.folder / "webui/extensions/sd-webui-controlnet").mkdir(parents=True)
        for _ in range(WORKERS):
            self.workers.append(self._start())
        return self

    def __exit__(self, *why: object) -> None:
        for rig in [*self.workers, *(one.rig for one in self.doomed)]:
            rig.worker.__exit__(None)
        self._stack.__exit__(*why)  # type: ignore[arg-type]  # as it came

    def wait_ready(self) -> None:
        """Return when every worker asks for jobs."""
        self.source.wait_event("take", timeout=90, count=WORKERS)

    def offer(self, job: Job) -> None:
        self._jobs[job.id] = job
        if job.strike is not None:
            self._to_strike.append(job)
        self.source.offer(self.whole(job))

    def do(self, fault: Fault | str, worker: int, job: Job) -> None:
        """Make something happen to one worker, or to what is around them all."""
        rig = self.workers[worker % len(self.workers)]
        self.happened[job.id] = (
            time.monotonic(),
            "" if isinstance(fault, str) and fault in DOOMS else rig.environment["RUNPOD_POD_ID"],
        )
        with contextlib.suppress(requests.RequestException, psutil.Error, AssertionError):  # it may be down already
            if isinstance(fault, dict):
                rig.fault(**fault)
            elif fault in DOOMS:
                self.doomed.append(DoomedStart(fault, self._start(**DOOMS[fault].settings)))
            else:
                self._happenings(rig, worker, job)[fault]()

    def _happenings(self, rig: Rig, number: int, job: Job) -> dict[str, Callable[[], object]]:
        spoil = self.store.spoil
        return {
            "kill-webui": lambda: rig.webui().kill(),
            "stop-webui": lambda: rig.webui().suspend(),
            "interrupt-webui": lambda: requests.post(f"{rig.url}/sdapi/v1/interrupt", timeout=5),
            "kill-restart": lambda: self._kill_twice(rig),
            "kill-worker": rig.worker.kill,
            "end-worker": rig.worker.terminate,
            "end-recovering": lambda: self._end_recovering(rig),
            "freeze-worker": lambda: self._freeze(rig),
            "lose-result": lambda: self.source.spoil_postings("refuse"),
            "cut-result": lambda: self.source.spoil_postings("drop"),
            "break-platform": self._break_platform,
            "cancel": lambda: self._soon(0.5, partial(self.source.cancel, job.id)),
            "deadline": lambda: rig.fault("slow-step", seconds=0.1),
            "platform-deadline": lambda: rig.fault("slow-step", seconds=0.1),
            "busy-store": lambda: spoil("busy", 3),
            "deny-store": lambda: spoil("deny"),
            "slow-store": lambda: spoil("slow", 2),
            "damage-store": lambda: spoil("damage"),
            "forget-store": lambda: spoil("forget"),
            "hide-store": lambda: spoil("hide"),
            "cut-store": lambda: spoil("cut", 2),
            "mute-store": lambda: spoil("mute"),
            "remove-model": lambda: self._remove_models(number),
            "tear-model": lambda: self._write("tear-model", lambda path: models.truncated(models.checkpoint(path))),
            "unfit-model": lambda: self._write("unfit-model", models.bad_shape_checkpoint),
            "fill-volume": self._fill,
            "break-depot": lambda: self._depot.spoil("busy", 3),
            "cut-depot": lambda: self._depot.spoil("cut", 2),
            "damage-cache": lambda: self._spoil_cache(_damaged),
            "clear-cache": lambda: self._spoil_cache(lambda _: None),
        }

    def tick(self) -> None:
        """Strike whom it is time for; replace workers that ended; hand out again what they held or was refused."""
        for job in [job for job in self._to_strike if self._is_time_for(job)]:
            self._to_strike.remove(job)
            self._strike(job)
        for rig in [rig for rig in self.workers if not rig.worker.alive]:
            self.workers.remove(rig)
            self._bury(rig)
            self._hand_out_again(rig.environment["RUNPOD_POD_ID"])
            self.workers.append(self._start())
        for one in [one for one in self.doomed if one.tick()]:
            self.doomed.remove(one)
            self._bury(one.rig)
            self.flaws += one.flaws(self.source)
        for event in self.source.events("failed"):
            if event.data == "refuse" and event.job_id is not None:
                self._again(event.job_id, event.at)

    def _is_time_for(self, job: Job) -> bool:
        taken = self.source.events("taken", job.id)
        return bool(taken) and time.monotonic() >= taken[0].at + job.strike_s

    def _strike(self, job: Job) -> None:
        """Let happen to the worker that has a job what is to happen while it runs."""
        pod = self.source.events("taken", job.id)[-1].data["pod"]
        for number, rig in enumerate(self.workers):
            if rig.environment["RUNPOD_POD_ID"] == pod and job.strike is not None:
                self.do(job.strike, number, job)

    def measure(self) -> None:
        """Take note of the workers' memory."""
        for rig in self.workers:
            with contextlib.suppress(psutil.Error):
                self.peak_bytes = max(self.peak_bytes, psutil.Process(rig.worker.pid).memory_info().rss)

    def end(self) -> None:
        """Let everything that goes wrong end, then stop every worker as the platform does."""
        if self.peak_bytes > MOST_RESIDENT_BYTES:
            self.flaws.append(f"a worker held {self.peak_bytes / 1e6:.0f} MB")
        for timer in self._later:
            timer.join()
        deadline = time.monotonic() + 40
        while self.doomed and time.monotonic() < deadline:
            self.tick()
            time.sleep(0.05)  # other processes' ends wake nobody here
        self.flaws += [f"{one.name}: a worker that can not work does not end" for one in self.doomed]
        self.store.mend()
        for rig in self.workers:
            rig.worker.terminate()
        for rig in self.workers:
            code = rig.worker.wait(40)  # raises where one does not end within its grace
            if code != 0:
                self.flaws.append(f"a worker ended with {code} after SIGTERM")
            self._look_for_orphans(rig)

    def write_down(self, place: Path) -> None:
        """Write every worker's log, and everything that the platform saw, for whoever has to find out what happened."""
        place.mkdir(parents=True, exist_ok=True)
        for number, rig in enumerate([*self.ended, *self.workers, *(one.rig for one in self.doomed)]):
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

    def _start(self, **settings: str) -> Rig:
        self.started += 1
        places = {
            "MODELS_DIR": str(self.volume / "models"),
            "CONTROLNET_DIR": str(self.volume / "controlnet"),
            "RESULTS_DIR": str(self.volume / "kept"),
            "STANDIN_RECORD_FILE": str(self.records / f"{self.started}.jsonl"),
        }
        return Rig(self.folder, self.source, **{**SETTINGS, **places, **self.store.environment(), **settings})

    def whole(self, job: Job) -> dict[str, object]:
        """Return a job as the platform hands it out."""
        asked = dict(job.input)
        if "loras" in asked and isinstance(asked["loras"][0], dict) and "url" in asked["loras"][0]:
            url = asked["loras"][0]["url"].replace(DEPOT, self._depot.server.url)
            asked["loras"] = [{**asked["loras"][0], "url": url}]
        return {"id": job.id, "input": asked, **({"policy": job.policy} if job.policy else {})}

    def _bury(self, rig: Rig) -> None:
        self.ended.append(rig)
        self._look_for_orphans(rig)
        rig.worker.__exit__(None)

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
            self.source.offer(self.whole(self._jobs[job_id]))

    def _look_for_orphans(self, rig: Rig) -> None:
        left = rig.worker.family()
        psutil.wait_procs(left, timeout=3)
        self.orphans += [str(process) for process in rig.worker.family()]

    def _soon(self, seconds: float, what: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, what)
        self._later.append(timer)
        timer.start()

    def _freeze(self, rig: Rig) -> None:
        process = psutil.Process(rig.worker.pid)
        process.suspend()

        def thaw() -> None:
            with contextlib.suppress(psutil.Error):  # it was killed meanwhile
                process.resume()

        self._soon(FROZEN_S, thaw)

    def _kill_twice(self, rig: Rig) -> None:
        """Kill the WebUI, and the one that comes after it while it starts."""
        rig.webui().kill()

        def again() -> None:
            for process in rig.worker.family():
                with contextlib.suppress(psutil.Error):
                    process.kill()

        self._soon(1.0, again)

    def _end_recovering(self, rig: Rig) -> None:
        """Kill the WebUI, and stop the worker while the next one starts."""
        rig.webui().kill()
        self._soon(0.3, rig.worker.terminate)

    def _break_platform(self) -> None:
        self.source.spoil_postings("error", "reset")
        self.source.spoil_takes(500, 400, 429)

    def _remove_models(self, number: int) -> None:
        """A checkpoint goes away, and another with its name comes; a LoRA that was fetched has to be fetched again."""
        passing = self._checkpoint("Passing_v1")
        if passing.exists():
            passing.unlink()
        elif not self._filling.exists():
            models.checkpoint(passing)
        fetched = self.volume / "models" / "loras" / f"{FETCHED[number % len(FETCHED)]}.safetensors"
        fetched.unlink(missing_ok=True)

    def _write(self, fault: str, write: Callable[[Path], object]) -> None:
        """Write a broken model, where there is room for it."""
        if not self._filling.exists():
            write(self._checkpoint(BROKEN_MODELS[fault]))

    def _checkpoint(self, name: str) -> Path:
        return self.volume / "models" / "checkpoints" / f"{name}.safetensors"

    def _spoil_cache(self, spoilt: Callable[[bytes], bytes | None]) -> None:
        """Write other bytes in the place of every result that the cache keeps, or remove it."""
        for path in (self.volume / "result-cache").rglob("*.zip"):
            with contextlib.suppress(OSError):  # a worker has removed it, or there is no room
                found = spoilt(path.read_bytes())
                path.unlink() if found is None else path.write_bytes(found)

    def _fill(self) -> None:
        """Leave not a byte on the volume for a while, where it is one of its own."""
        if not self._limited:
            return
        disks.fill(self._filling)
        self._soon(FULL_S, partial(self._filling.unlink, missing_ok=True))


def _damaged(data: bytes) -> bytes:
    """Return bytes with one in their middle changed; of every other file the second half is gone."""
    middle = len(data) // 2
    return data[:middle] if data[middle] % 2 else data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
