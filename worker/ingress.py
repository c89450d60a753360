"""The ways in which jobs reach this worker, and their limits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.settings import Settings

LOAD_BALANCER_PORT = 80
LOAD_BALANCER_BYTES = 30_000_000
ENVELOPE_BYTES = 100_000
"""Around an answer within the load balancer's limit: the job's state."""
HTTP_BYTES = 100_000_000
"""Of an answer over plain HTTP, where no platform has a limit of its own."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SDK_OPTIONS = ("--test_input", "--rp_serve_api")


def is_load_balanced(environment: Mapping[str, str]) -> bool:
    """Return whether this is a worker of a load-balancing endpoint: RunPod names the endpoint, but no job queue."""
    return bool(environment.get("RUNPOD_ENDPOINT_ID")) and not environment.get("RUNPOD_WEBHOOK_GET_JOB")


def serves_http(environment: Mapping[str, str], arguments: Sequence[str]) -> bool:
    """Return whether the image's default command has to serve HTTP; options of the SDK ask for something else."""
    return is_load_balanced(environment) and not any(one.startswith(_SDK_OPTIONS) for one in arguments)


def refuse_sdk_workers(arguments: Sequence[str]) -> None:
    """Refuse the SDK's option for several processes.

    Raises:
        SettingsInvalid: ``--rp_api_concurrency`` is above 1.
    """
    import argparse  # noqa: PLC0415 - in production there are no arguments, and the WebUI waits for imports

    if not arguments:
        return
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rp_api_concurrency", default="1")
    processes = parser.parse_known_args(list(arguments))[0].rp_api_concurrency
    if processes.strip().isdecimal() and int(processes) > 1:
        raise SettingsInvalid(
            f"--rp_api_concurrency {processes} asks for several processes, and only one can have the GPU",
            hint="Use `worker serve`: CONCURRENCY jobs at once, HTTP_LINE waiting.",
        )


def http_settings(
    settings: Settings, environment: Mapping[str, str], *, host: str | None = None, port: int | None = None
) -> Settings:
    """Return `settings` for serving HTTP: address and limits are those of the way in where the operator set none.

    Args:
        settings: As read from `environment`.
        environment: Tells whether this is a load-balancing endpoint.
        host: The address to listen on; None: as the settings say.
        port: The port, likewise.

    Raises:
        SettingsInvalid: METRICS_PORT is the server's own port.
    """
    balanced = is_load_balanced(environment)

    def unset(field: str) -> bool:
        return field not in settings.model_fields_set

    changes: dict[str, Any] = {}
    if balanced and unset("max_input_bytes"):
        changes["max_input_bytes"] = LOAD_BALANCER_BYTES
    if unset("max_output_bytes"):
        changes["max_output_bytes"] = LOAD_BALANCER_BYTES - ENVELOPE_BYTES if balanced else HTTP_BYTES
    if host is not None:
        changes["http_host"] = host
    elif balanced and unset("http_host"):
        changes["http_host"] = "0.0.0.0"  # noqa: S104 - the platform's proxy comes from outside
    if port is not None:
        changes["http_port"] = port
    elif balanced and unset("http_port"):
        changes["http_port"] = LOAD_BALANCER_PORT
    own_port = changes.get("http_port", settings.http_port)
    if settings.metrics_port == own_port:
        raise SettingsInvalid(f"METRICS_PORT={own_port} is the port of the HTTP server", hint="Choose another port.")
    if settings.port_health == own_port:
        changes["port_health"] = 0  # the HTTP server answers the probes itself
    return settings.model_copy(update=changes)
