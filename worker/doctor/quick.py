"""Checks that take milliseconds and make a start hopeless when they fail: made before every start."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from worker.doctor.finding import Finding
from worker.errors import BootFailed, SettingsInvalid
from worker.settings import VOLUME
from worker.webui.process.launch_plan import wrong_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings
    from worker.telemetry.gpu import Gpus

LEAST_SPACE = 100 * 2**20


ANSWERS = {
    "WEBUI_PORT": "/sdapi/v1/cmd-flags",
    "METRICS_PORT": "/health",
    "PORT_HEALTH": "/health",
    "HTTP_PORT": "/health",
}
"""Requests that tell the worker's own server from others on the same port."""

ASK_S = 3.0


def quick(settings: Settings, *, gpu: bool = True, running: bool = False) -> Iterator[Finding]:
    """Yield the findings.

    Args:
        settings: The worker's.
        gpu: Look for one as well.
        running: A worker may run here already: its own ports are no failure.
    """
    yield from _checkout(settings)
    yield from _store(settings)
    yield from _ports(settings, running=running)
    if running:
        yield from _http_port(settings)
        yield from _out_dir(settings)
    yield _space()
    yield from _mounted(settings)
    if gpu:
        yield from gpus(settings)


def refuse_the_hopeless(settings: Settings, *, gpu: bool) -> None:
    """Raise BootFailed with every finding that makes a start hopeless."""
    failed = [finding for finding in quick(settings, gpu=gpu) if finding.state == "fail"]
    if failed:
        message = "; ".join(f"{finding.what}: {finding.seen}" for finding in failed)
        raise BootFailed(message, hint=" ".join(dict.fromkeys(finding.fix for finding in failed)))


def refuse_unwritable(folder: Path) -> None:
    """Refuse a local run whose pictures could not be written, before the WebUI is started for them.

    Raises:
        SettingsInvalid: Nothing can be written to `folder`, or it can't be made.
    """
    why = _unwritable(folder)
    if why is not None:
        raise SettingsInvalid(f"OUT_DIR: {why}", hint=_WRITABLE)


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


def _checkout(settings: Settings) -> Iterator[Finding]:
    wrong = wrong_checkout(settings)
    if wrong is not None:
        yield Finding("WebUI", "fail", *wrong)


def _store(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with the variables of the store; nothing is sent."""
    if settings.bucket_endpoint_url is None:
        return
    from worker.storage.target import from_settings, key_template  # noqa: PLC0415 - not where there is no store

    try:
        from_settings(settings)
        key_template(settings)
    except SettingsInvalid as error:
        yield Finding("delivery", "fail", error.message, error.hint or "Set it, or leave BUCKET_ENDPOINT_URL away.")


_WRITABLE = "Make the folder writable, or set OUT_DIR (--out) to another one."


def _out_dir(settings: Settings) -> Iterator[Finding]:
    """Yield whether a local run can leave its pictures; other jobs write nothing there."""
    if settings.in_production:
        return
    why = _unwritable(settings.out_dir)
    if why is None:
        yield Finding("OUT_DIR", "ok", f"{settings.out_dir} can be written to")
    else:
        yield Finding("OUT_DIR", "fail" if "out_dir" in settings.model_fields_set else "warn", why, _WRITABLE)


def _unwritable(folder: Path) -> str | None:
    """Return why no picture can be written to `folder`, which need not be there yet; None: one can."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"nothing can be written to {folder} ({error.strerror})"


def _http_port(settings: Settings) -> Iterator[Finding]:
    """Yield whether `serve` can have its port; a worker that takes jobs from a queue does without."""
    port = settings.http_port
    if _is_free(port):
        yield Finding("HTTP_PORT", "ok", f"{port} is free")
    elif _answers(port, ANSWERS["HTTP_PORT"]):
        yield Finding("HTTP_PORT", "ok", f"{port} is the one of the worker that runs here")
    else:
        fix = "End that program, or give `serve` another port: HTTP_PORT or --port."
        was_asked_for = "http_port" in settings.model_fields_set
        yield Finding("HTTP_PORT", "fail" if was_asked_for else "warn", f"{port} is taken by another program", fix)


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
