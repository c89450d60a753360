"""Traces of jobs for OpenTelemetry: one span a job, its phases below it, joined to the caller's trace.

Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set; needs the extra ``otel``.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.telemetry.observer import FinishedJob

SERVICE = "a1111-worker"
EXPORT_S = 3.0
"""For one export."""
LAST_EXPORT_S = 3.0
"""At the worker's end, for what was not exported yet."""
_DONE = ("ok", "cancelled")


class JobTraces:
    """Exports a span for each finished job, over OTLP and HTTP, in a thread of its own.

    The SDK reads further variables itself: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER.

    Args:
        endpoint: Of the collector, without ``/v1/traces``.
        headers: As OTEL_EXPORTER_OTLP_HEADERS has them; None: none.
        worker: This worker's name.
        now_ns: Nanoseconds since the epoch.
    """

    def __init__(
        self, endpoint: str, headers: str | None, *, worker: str, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._now_ns = now_ns
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE),
                "service.version": __version__,
                "service.instance.id": worker,
            }
        )
        exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", headers=read_headers(headers or ""), timeout=EXPORT_S)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def job(self, job: FinishedJob) -> None:
        """Note a finished job; a caller's context that can't be read counts as none."""
        end = self._now_ns()
        start = end - _ns(job.seconds.get("total", 0.0))
        caller = self._propagator.extract({"traceparent": job.traceparent})
        attributes: dict[str, str | int | float] = {
            "job.id": job.id,
            "job.kind": job.kind,
            "job.result": job.result,
            "job.images": job.images,
            **{f"job.{phase}_ms": round(spent * 1000, 1) for phase, spent in job.seconds.items()},
        }
        span = self._tracer.start_span(
            f"job {job.kind}", caller, kind=SpanKind.CONSUMER, attributes=attributes, start_time=start
        )
        below = set_span_in_context(span)
        for name, after_s, spent_s in job.stretches:
            phase_start = start + _ns(after_s)
            self._tracer.start_span(name, below, start_time=phase_start).end(phase_start + _ns(spent_s))
        if job.result not in _DONE:
            span.set_status(Status(StatusCode.ERROR, job.result))
        span.end(end)

    def close(self) -> None:
        """Export what is left, as far as that takes no longer than `LAST_EXPORT_S`."""
        last = threading.Thread(target=self._provider.shutdown, name="traces-shutdown", daemon=True)
        last.start()
        last.join(LAST_EXPORT_S)


def read_headers(text: str) -> dict[str, str]:
    """Return the headers in ``name=value,name=value``; values may be percent-encoded."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip().lower(): unquote(value.strip()) for name, equals, value in pairs if equals and name.strip()}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
