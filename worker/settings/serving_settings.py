"""Settings of metrics, traces and probes, and of `worker serve`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, SecretStr

from worker.settings.env_fields import HeaderSecret, Seconds, Unit, Url
from worker.settings.settings_group import SettingsGroup


def _url_path(value: str) -> str:
    if "?" in value or "{" in value or any(letter.isspace() for letter in value):
        raise ValueError("must be a path such as /health")
    return value if value.startswith("/") else f"/{value}"


class MetricsSettings(SettingsGroup):
    """Metrics, traces and probes."""

    metrics_port: int = Field(
        0, ge=0, le=65535, description="Serve figures for Prometheus at /metrics on this port; 0: not at all."
    )
    metrics_push_url: Url | None = Field(
        None, description="Pushgateway that gets the figures: serverless workers go before they are scraped."
    )
    metrics_push_every_s: Seconds = Field(15, ge=1, le=3600, description="How often figures are pushed.")
    otel_exporter_otlp_endpoint: Url | None = Field(
        None,
        description=(
            "OpenTelemetry collector (OTLP over HTTP, such as http://collector:4318) that gets a trace of each job; "
            "needs the extra `otel`. Other OTEL_ variables count as everywhere."
        ),
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="Headers for the collector, `name=value`, separated by commas."
    )
    port_health: int = Field(
        0,
        ge=0,
        le=65535,
        description=(
            "Answer /ping on this port: 200 when jobs can be taken, 204 while starting; 0: not at all. RunPod "
            "sets it for load-balancing endpoints."
        ),
    )
    health_check_path: Annotated[str, AfterValidator(_url_path)] = Field(
        "/ping", description="One more path that is answered as /ping is; RunPod sets it."
    )


class HttpSettings(SettingsGroup):
    """Plain HTTP (`worker serve`)."""

    http_port: int = Field(
        8000,
        validation_alias=AliasChoices("HTTP_PORT", "PORT"),
        ge=1,
        le=65535,
        description="Port of `worker serve`; on a load-balancing endpoint of RunPod 80 where nothing is set.",
    )
    http_host: str = Field(
        "127.0.0.1",
        description=(
            "Address that it listens on; 0.0.0.0 for every interface, which wants HTTP_API_KEY. On a load-balancing "
            "endpoint 0.0.0.0 where nothing is set."
        ),
    )
    http_api_key: HeaderSecret | None = Field(
        None,
        description=(
            "Key that its clients send as `Authorization: Bearer …`, as the password of Basic, or as `X-API-Key`; "
            "default: none is asked for. None is needed behind RunPod's load balancing, which asks for RunPod's key."
        ),
    )
    http_key_in_url: bool = Field(
        default=False,
        description=(
            "Clients may also send that key as `?api_key=…` or `?key=…`, or as the first part of the path "
            "(`https://host/<key>`), which ends up in logs of proxies."
        ),
    )
    http_cors_origins: str = Field(
        "",
        description=(
            "Origins of the web pages that may use the HTTP API, separated by commas; `*`: all. Default: all where "
            "HTTP_API_KEY is set, else pages of this machine (localhost)."
        ),
    )
    gallery: str | None = Field(
        None,
        description="Folder or `s3://bucket/prefix` whose pictures `/gallery` of `serve` shows; default: no gallery.",
    )
    http_line: Annotated[int, Unit("jobs")] = Field(
        100, ge=1, le=100000, description="Jobs that may wait there; more get 429."
    )
    http_keep_s: Seconds = Field(1800, ge=1, le=86400, description="How long it keeps an answer.")
    webhook_secret: SecretStr | None = Field(
        None, description="Signs what it posts to a job's `webhook`, by Standard Webhooks (`whsec_…`)."
    )

    @property
    def cors_origins(self) -> tuple[str, ...] | None:
        """The entries of HTTP_CORS_ORIGINS; None where it is not set."""
        return tuple(entry.strip() for entry in self.http_cors_origins.split(",") if entry.strip()) or None
