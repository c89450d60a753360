"""Checks that take milliseconds and make a start hopeless when they fail: made before every start."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from worker.doctor.finding import Finding
from worker.errors import BootFailed
from worker.settings import VOLUME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings
    from worker.telemetry.gpu import Gpus

LEAST_SPACE = 100 * 2**20


ANSWERS = {"WEBUI_PORT": "/sdapi/v1/cmd-flags", "METRICS_PORT": "/health", "PORT_HEALTH": "/health"}
"""Requests that tell the worker's own server from others on the same port."""

ASK_S = 3.0


def quick(settings: Settings, *, gpu: bool = True, running: bool = False) -> Iterator[Finding]:
    """Yield the findings.

    Args:
        settings: The worker's.
        gpu: Look for one as well.
        running: A worker may run here already: its own ports are no failure.
    """
    yield from _ports(settings, running=running)
    yield _space()
    yield from _mounted(settings)
    if gpu:
        yield from gpus(settings)


def refuse_the_hopeless(settings: Settings, *, gpu: bool) -> None:
    """Raise BootFailed for the first finding that makes a start hopeless."""
    for finding in quick(settings, gpu=gpu):
        if finding.state == "fail":
            raise BootFailed(f"{finding.what}: {finding.seen}", hint=finding.fix)


def gpus(settings: Settings, library: Gpus | None = None) -> Iterator[Finding]:
    """Yield what there is to diffuse with."""
    from worker.telemetry.gpu import Gpus  # noqa: PLC0415 - only where one was promised, or asked for

    nvidia = library or Gpus()
    found, driver = nvidia.read(), nvidia.driver()
    for gpu in found:
        version = f", driver {driver.version} for CUDA {driver.cuda[0]}.{driver.cuda[1]}" if driver else ""
        yield Finding("GPU", "ok", f"{gpu.name}, {gpu.memory_total / 2**30:.0f} GiB{version}")
    if found:
        return
    if settings.gpu_promised and not settings.on_cpu and settings.webui_url is None:
        yield Finding(
            "GPU",
            "fail",
            "one was promised, but there is none or its driver does not answer",
            "Let the platform replace this machine; to run without one, set DEVICE=cpu.",
        )
    else:
        yield Finding("GPU", "warn", "no NVIDIA GPU here", "Pictures take minutes on a CPU.")


def _ports(settings: Settings, *, running: bool) -> Iterator[Finding]:
    wanted = {
        "WEBUI_PORT": settings.webui_port if settings.webui_url is None and settings.webui_dir is not None else 0,
        "METRICS_PORT": settings.metrics_port,
        "PORT_HEALTH": settings.port_health,
    }
    for name, port in wanted.items():
        if not port:
            continue
        if _is_free(port):
            yield Finding(name, "ok", f"{port} is free")
        elif running and _answers(port, ANSWERS[name]):
            yield Finding(name, "ok", f"{port} is the one of the worker that runs here")
        else:
            fix = f"End that program, or set {name} to another port."
            yield Finding(name, "fail", f"{port} is taken by another program", fix)


def _answers(port: int, path: str) -> bool:
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - not needed at a start

    connection = HTTPConnection("127.0.0.1", port, timeout=ASK_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200  # noqa: PLR2004 - HTTP's own
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _mounted(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong where models should be on a volume that is not there: its path would fill the container."""
    folder = settings.models_root
    if folder.is_relative_to(VOLUME) and not VOLUME.is_dir():
        fix = "Attach the network volume to the endpoint, or set MODELS_DIR to a folder that is there."
        yield Finding("volume", "fail", f"MODELS_DIR is {folder}, but there is no {VOLUME}", fix)


def _space() -> Finding:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_SPACE
    return Finding(
        "container disk",
        "ok" if enough else "fail",
        f"{free / 2**30:.1f} GiB free at {folder}",
        "Give the container more disk.",
    )
