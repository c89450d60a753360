"""Prometheus metrics of the worker: jobs are counted as they end, everything else is measured at collection.

Imported only where METRICS_PORT or METRICS_PUSH_URL is set. Names: `worker_…`, base units, as Prometheus recommends.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import pushadd_to_gateway

from worker import __version__
from worker.telemetry.gpu import Gpus
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from worker.telemetry.observer import FinishedJob

SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640)
VOLUME_EVERY_S = 60.0


class WorkerStats(Protocol):
    """Current figures of the worker; callable from any thread."""

    def health(self) -> Mapping[str, Any]:
        """Return ``state``, ``restarts`` and more."""

    def gpu_line(self) -> tuple[int, float]:
        """Return the number of jobs that wait for the GPU, and the seconds for which a job held it."""

    def webui_memory(self) -> Mapping[str, int]:
        """Return ``ram_bytes`` of the WebUI, where known."""

    def volume(self) -> Mapping[str, tuple[int, int]]:
        """Return files and bytes of models on the volume, by kind."""

    def fetched(self) -> tuple[int, int]:
        """Return files and bytes of models that this worker has fetched."""

    def cache(self) -> tuple[int, int, int, float]:
        """Return how often results came from the cache, were made, were shared, and the seconds that were saved."""


class Metrics:
    """A registry of its own, fed by jobs (`job`) and by `vitals`.

    Args:
        vitals: The worker.
        states: Every state it can be in.
        clock: Monotonic seconds.
    """

    def __init__(
        self, vitals: WorkerStats, *, states: Iterable[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = CollectorRegistry()
        self._vitals = vitals
        self._states = tuple(states)
        self._clock = clock
        self._gpus = Gpus()
        self._volume: tuple[float, Mapping[str, tuple[int, int]]] = (-VOLUME_EVERY_S, {})
        self._jobs = Counter("worker_jobs", "Jobs that ended.", ("kind", "result"), registry=self.registry)
        self._images = Counter("worker_images", "Pictures in answers.", registry=self.registry)
        self._seconds = Histogram(
            "worker_job_seconds", "Whole jobs.", ("kind",), buckets=SECONDS, registry=self.registry
        )
        self._phases = Histogram(
            "worker_phase_seconds", "Phases of jobs.", ("phase",), buckets=SECONDS, registry=self.registry
        )
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def job(self, job: FinishedJob) -> None:
        """Count a job that has ended."""
        self._jobs.labels(job.kind, job.result).inc()
        self._images.inc(job.images)
        for phase, spent in job.seconds.items():
            if phase == "total":
                self._seconds.labels(job.kind).observe(spent)
            else:
                self._phases.labels(phase).observe(spent)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what is read off when somebody asks."""
        health = self._vitals.health()
        yield InfoMetricFamily("worker", "The worker.", value={"version": __version__})
        state = GaugeMetricFamily("worker_state", "1 for the state that the worker is in.", labels=("state",))
        for name in self._states:
            state.add_metric((name,), float(name == health.get("state")))
        yield state
        yield CounterMetricFamily("worker_webui_restarts", "Times the WebUI was restarted.", value=health["restarts"])
        waiting, busy = self._vitals.gpu_line()
        yield GaugeMetricFamily("worker_queue_jobs", "Jobs in the worker that wait for the GPU.", value=waiting)
        yield CounterMetricFamily("worker_gpu_busy_seconds", "Time in which a job held the GPU.", value=busy)
        hits, misses, shared, saved_s = self._vitals.cache()
        found = CounterMetricFamily("worker_cache_results", "Requests by how they got a result.", labels=("how",))
        for how, count in (("found", hits), ("made", misses), ("shared", shared)):
            found.add_metric((how,), count)
        yield found
        yield CounterMetricFamily("worker_cache_saved_seconds", "Generation that the cache has saved.", value=saved_s)
        held = self._vitals.webui_memory().get("ram_bytes")
        if held is not None:
            yield GaugeMetricFamily("worker_webui_memory_bytes", "The WebUI's RAM after the last job.", value=held)
        yield from self._models()
        yield from self._gpus.collect()

    def _models(self) -> Iterator[Metric]:
        at, found = self._volume
        if self._clock() - at >= VOLUME_EVERY_S:
            found = self._vitals.volume()
            self._volume = (self._clock(), found)
        files = GaugeMetricFamily("worker_volume_models", "Model files on the volume.", labels=("kind",))
        size = GaugeMetricFamily("worker_volume_bytes", "Bytes of model files on the volume.", labels=("kind",))
        for kind, (count, total) in sorted(found.items()):
            files.add_metric((kind,), count)
            size.add_metric((kind,), total)
        yield files
        yield size
        count, total = self._vitals.fetched()
        yield CounterMetricFamily("worker_fetched_models", "Model files that this worker fetched.", value=count)
        yield CounterMetricFamily("worker_fetched_bytes", "Bytes of model files that it fetched.", value=total)


class Pusher:
    """Sends the figures to a Pushgateway for as long as the process lives: serverless workers come and go unscraped.

    Args:
        metrics: What is sent.
        url: The gateway.
        worker: This worker's name there.
        every_s: How often.
    """

    def __init__(self, metrics: Metrics, url: str, *, worker: str, every_s: float) -> None:
        self._metrics = metrics
        self._url = url
        self._worker = worker
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-push", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send a last time and end."""
        self._over.set()
        self._thread.join(5)

    def _run(self) -> None:
        log = get_logger("metrics")
        told = False
        while True:
            over = self._over.wait(self._every_s)
            try:
                pushadd_to_gateway(
                    self._url, "a1111-worker", self._metrics.registry, {"instance": self._worker}, timeout=3
                )
            except OSError as error:
                if not told:
                    log.warning("figures can't be pushed", url=self._url, error=str(error))
                told = True
            else:
                told = False
            if over:
                return
