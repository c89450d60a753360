"""Probes, figures, pushes and traces, as far as the operator asked for them. Nothing else of it is imported."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from worker.errors import BootFailed
from worker.lifecycle import State
from worker.telemetry.observer import JobObservers

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.serving.http_api.server import HttpServer
    from worker.settings import Settings
    from worker.telemetry.metrics import Metrics, Pusher, WorkerStats
    from worker.telemetry.observer import JobObserver
    from worker.telemetry.traces import JobTraces


class Observability:
    """The operator's view of one worker.

    Args:
        settings: Say what is asked for.
        vitals: The worker.

    Attributes:
        watch: Is told of every job.

    Raises:
        BootFailed: a port is taken, or a package is missing.
    """

    def __init__(self, settings: Settings, vitals: WorkerStats) -> None:
        observers: list[JobObserver] = []
        self._servers: dict[int, HttpServer] = {}
        self._pusher: Pusher | None = None
        metrics: Metrics | None = None
        if settings.metrics_port or settings.metrics_push_url is not None:
            from worker.telemetry.metrics import Metrics, Pusher  # noqa: PLC0415 - only where figures are wanted

            metrics = Metrics(vitals, states=(state.value for state in State))
            observers.append(metrics)
            if settings.metrics_push_url is not None:
                self._pusher = Pusher(
                    metrics,
                    settings.metrics_push_url,
                    worker=_worker_name(settings),
                    every_s=settings.metrics_push_every_s,
                )
        self._traces = _traces(settings)
        if self._traces is not None:
            observers.append(self._traces)
        self.watch: JobObserver = JobObservers(*observers)
        for name, port in {"PORT_HEALTH": settings.port_health, "METRICS_PORT": settings.metrics_port}.items():
            if port and port not in self._servers:
                self._servers[port] = _serve(name, port, settings, vitals, metrics.text if metrics else None)

    def close(self) -> None:
        """Close the ports; figures are pushed a last time."""
        for server in self._servers.values():
            server.stop()
        for server in self._servers.values():
            server.close()
        if self._pusher is not None:
            self._pusher.close()
        if self._traces is not None:
            self._traces.close()


def _worker_name(settings: Settings) -> str:
    return settings.runpod_pod_id or f"{socket.gethostname()}-{os.getpid()}"


def _traces(settings: Settings) -> JobTraces | None:
    """Return the exporter of traces, None where none are wanted.

    Raises:
        BootFailed: its packages are missing.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    try:
        from worker.telemetry.traces import JobTraces  # noqa: PLC0415 - only where traces are wanted
    except ModuleNotFoundError as missing:
        raise BootFailed(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but the package {missing.name!r} is not installed",
            hint="Install the extra otel (docs/operating.md, Traces), or leave the variable away.",
        ) from None
    headers = settings.otel_exporter_otlp_headers
    plain = headers.get_secret_value() if headers is not None else None
    return JobTraces(settings.otel_exporter_otlp_endpoint, plain, worker=_worker_name(settings))


def _serve(
    name: str, port: int, settings: Settings, vitals: WorkerStats, figures: Callable[[], bytes] | None
) -> HttpServer:
    from worker.serving.http_api.listener import listen  # noqa: PLC0415 - as above
    from worker.serving.http_api.probes import probe_app  # noqa: PLC0415 - only where somebody probes
    from worker.serving.http_api.server import HttpServer  # noqa: PLC0415 - as above

    try:
        listener = listen("0.0.0.0", port)  # noqa: S104 - probes come from other machines
    except OSError as error:
        raise BootFailed(f"{name}={port} can't be listened on: {error.strerror}", hint="Choose another port.") from None
    server = HttpServer(probe_app(vitals.health, figures=figures, check_path=settings.health_check_path), listener)
    server.start_thread()
    return server
