"""What operators asked to see: probes, figures, pushes. Nothing of it is imported where they asked for nothing."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from worker.errors import BootFailed
from worker.lifecycle import State
from worker.telemetry.observer import NullObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.serving.probes import Probes
    from worker.settings import Settings
    from worker.telemetry.metrics import Metrics, Pusher, WorkerStats
    from worker.telemetry.observer import JobObserver


class Operating:
    """One for the worker's life.

    Args:
        settings: Say what is asked for.
        vitals: The worker.

    Attributes:
        watch: To be told of every job.

    Raises:
        BootFailed: a port is taken.
    """

    def __init__(self, settings: Settings, vitals: WorkerStats) -> None:
        self.watch: JobObserver = NullObserver()
        self._probes: list[Probes] = []
        self._pusher: Pusher | None = None
        metrics: Metrics | None = None
        if settings.metrics_port or settings.metrics_push_url is not None:
            from worker.telemetry.metrics import Metrics, Pusher  # noqa: PLC0415 - only where figures are wanted

            metrics = Metrics(vitals, states=(state.value for state in State))
            self.watch = metrics
            if settings.metrics_push_url is not None:
                self._pusher = Pusher(
                    metrics,
                    settings.metrics_push_url,
                    worker=settings.runpod_pod_id or f"{socket.gethostname()}-{os.getpid()}",
                    every_s=settings.metrics_push_every_s,
                )
        wanted = {"PORT_HEALTH": settings.port_health, "METRICS_PORT": settings.metrics_port}
        open_: set[int] = set()
        for name, port in wanted.items():
            if port and port not in open_:
                self._probes.append(_probes(name, port, vitals, metrics.text if metrics is not None else None))
                open_.add(port)

    def close(self) -> None:
        """End it; figures are pushed a last time."""
        for probes in self._probes:
            probes.close()
        if self._pusher is not None:
            self._pusher.close()


def _probes(name: str, port: int, vitals: WorkerStats, metrics: Callable[[], bytes] | None) -> Probes:
    from worker.serving.probes import Probes  # noqa: PLC0415 - only where somebody probes

    try:
        return Probes(port, vitals.health, metrics)
    except OSError as error:
        raise BootFailed(f"{name}={port} can't be listened on: {error.strerror}", hint="Choose another port.") from None
