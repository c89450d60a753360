"""Traces as an OpenTelemetry collector gets them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.loopback_http import Reply, serve
from tests.support.webui_dir import running_host
from worker.errors import BootFailed
from worker.serving.http_api.trace_header import TraceHeader, current_traceparent
from worker.serving.observability import Observability
from worker.settings import read_settings, without_secrets
from worker.telemetry.observer import FinishedJob
from worker.telemetry.traces import JobTraces, read_headers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.loopback_http import Request

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
JOB = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


def spans(requests: list[Request]) -> list[Any]:
    told = [ExportTraceServiceRequest.FromString(request.body) for request in requests]
    return [
        span
        for one in told
        for resource in one.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_job_is_a_span_with_its_phases_below_it_in_the_trace_of_its_caller(tmp_path: Path) -> None:
    with serve(lambda _: Reply()) as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=pictures,authorization=Bearer%20sesame",
        }
        with running_host(tmp_path, variables) as host:
            whole = {"id": "fox-1", "input": JOB, "traceparent": TRACEPARENT}
            asyncio.run(host.run(whole, on_progress=lambda _: None))
            wrong = {"id": "fox-2", "input": {**JOB, "stepz": 1}, "traceparent": "nonsense"}
            asyncio.run(host.run(wrong, on_progress=lambda _: None))
        seen = list(collector.seen)
    assert {request.path for request in seen} == {"/v1/traces"}
    assert seen[0].headers["authorization"] == "Bearer sesame"
    found = spans(seen)
    job, failed = (span for span in found if span.name.startswith("job "))
    assert (job.name, job.trace_id.hex(), job.parent_span_id.hex()) == ("job txt2img", TRACE, CALLER)
    told = attributes(job)
    assert (told["job.id"], told["job.result"], told["job.images"]) == ("fox-1", "ok", 1)
    assert told["job.total_ms"] == pytest.approx((job.end_time_unix_nano - job.start_time_unix_nano) / 1e6, abs=0.1)
    below = [span for span in found if span.parent_span_id == job.span_id]
    assert {"accept", "prepare", "queue", "generate", "deliver"} <= {span.name for span in below}
    assert all(
        job.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= job.end_time_unix_nano
        for span in below
    )
    assert (attributes(failed)["job.result"], failed.status.message) == ("invalid_input", "invalid_input")
    assert failed.trace_id.hex() != TRACE
    assert b"a cat" not in b"".join(request.body for request in seen)


def test_a_collector_that_is_gone_costs_no_job_and_little_time_at_the_end() -> None:
    traces = JobTraces("http://127.0.0.1:9", None, worker="w")
    traces.job(FinishedJob("1", "txt2img", "ok", {"total": 1.0}, 1))
    traces.close()


def test_the_collectors_address_without_its_packages_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    monkeypatch.delitem(sys.modules, "worker.telemetry.traces")
    settings = read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    with pytest.raises(BootFailed, match=r"'opentelemetry\.sdk.*' is not installed") as caught:
        Observability(settings, None)  # type: ignore[arg-type]  # it is never asked
    assert "extra otel" in str(caught.value.hint)


def test_the_trace_of_a_request_is_kept_while_it_is_served() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await asyncio.to_thread(current_traceparent))

    async def request(header: str) -> None:
        scope = {"type": "http", "headers": [(b"traceparent", header.encode())]}
        await TraceHeader(app)(scope, None, None)  # type: ignore[arg-type]  # the application above asks for neither

    for header in (TRACEPARENT, "nonsense", f"{TRACEPARENT}-more", "00-" + "x" * 5000):
        asyncio.run(request(header))
    assert seen == [TRACEPARENT, "", f"{TRACEPARENT}-more", ""]
    assert current_traceparent() == ""


def test_the_webui_gets_nothing_of_the_collector() -> None:
    variables = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20sesame", "OTEL_SERVICE_NAME": "x", "A": "b"}
    settings = read_settings(variables)
    assert without_secrets(settings, variables) == {"A": "b"}
    assert "sesame" not in repr(settings)


def test_headers_are_read_as_the_variable_has_them() -> None:
    assert read_headers("X-Team=a, authorization=Bearer%20b=c,,=d,e") == {"x-team": "a", "authorization": "Bearer b=c"}
