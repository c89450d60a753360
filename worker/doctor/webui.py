"""The WebUI: where it is, what its Python can import, whether that fits the driver."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from worker.doctor.finding import Finding
from worker.errors import WorkerError
from worker.settings import without_secrets
from worker.telemetry.gpu import Gpus
from worker.webui.http import WebUIClient
from worker.webui.process import launch_plan
from worker.webui.process.environment import find_python
from worker.webui.process.webui_process import environment_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.settings import Settings

IMPORT_S = 120
ASK = """
import importlib.util, json, platform
told = {"python": platform.python_version()}
if importlib.util.find_spec("torch"):
    import torch
    told |= {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.is_available()}
if importlib.util.find_spec("xformers"):
    import importlib.metadata
    told["xformers"] = importlib.metadata.version("xformers")
print("@" + json.dumps(told))
"""


def webui(settings: Settings) -> Iterator[Finding]:
    """Yield whether there is one, and how it will run."""
    try:
        kind = launch_plan.kind(settings)
    except WorkerError as error:
        yield Finding("WebUI", "fail", error.message, error.hint or "")
        return
    folder = launch_plan.webui_dir(settings)
    if settings.webui_url is not None:
        yield from _running(settings.webui_url)
    elif folder is None:
        yield Finding("WebUI", "warn", f"none; the {kind} draws pictures", "Set WEBUI_DIR or WEBUI_URL for real ones.")
    elif launch_plan.wrong_checkout(settings) is None:  # else the quick part has said so
        yield Finding("WebUI", "ok", f"A1111{_version(folder)} in {folder}, port {settings.webui_port}")
        yield from _python(settings, folder)


def _running(url: str) -> Iterator[Finding]:
    client = WebUIClient(url)
    try:
        models = client.get("/sdapi/v1/sd-models", timeout=10.0)
    except WorkerError as error:
        yield Finding("WebUI", "fail", error.message, "Start it with --api --nowebui, or correct WEBUI_URL.")
    else:
        yield Finding("WebUI", "ok", f"running at {url} with {len(models)} checkpoints")
    finally:
        client.close()


def _version(folder: Path) -> str:
    try:
        lines = (folder / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((f" {line.removeprefix('## ')}" for line in lines if line.startswith("## ")), "")


def _python(settings: Settings, folder: Path) -> Iterator[Finding]:
    try:
        python = find_python(settings, folder)
    except WorkerError as error:
        yield Finding("WebUI's Python", "fail", error.message, error.hint or "")
        return
    told = asked(python, without_secrets(settings, os.environ))
    if isinstance(told, str):
        yield Finding("WebUI's Python", "fail", f"{python}: {told}", "Install the WebUI's packages for it.")
        return
    yield Finding("WebUI's Python", "ok", f"{told['python']} at {python}")
    driver = Gpus().driver()
    wish = "off" if settings.on_cpu and settings.webui_xformers == "auto" else settings.webui_xformers
    yield from judge(told, driver.cuda if driver is not None and not settings.on_cpu else None, xformers=wish)


def asked(python: Path, environment: Mapping[str, str]) -> dict[str, Any] | str:
    """Return what `python` can import; as text, why it can't even be asked."""
    try:
        done = subprocess.run(
            [python, "-c", ASK],
            capture_output=True,
            text=True,
            timeout=IMPORT_S,
            check=False,
            env=environment_for(environment),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    line = next((line for line in done.stdout.splitlines() if line.startswith("@")), None)
    if line is None:
        return (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    told: dict[str, Any] = json.loads(line[1:])
    return told


def judge(told: dict[str, Any], driver: tuple[int, int] | None, *, xformers: str) -> Iterator[Finding]:
    """Yield the findings about what the WebUI's Python told.

    Args:
        told: ``python``, and where installed ``torch``, ``cuda``, ``gpu``, ``xformers``.
        driver: The CUDA version that the driver supports; None without one.
        xformers: The setting WEBUI_XFORMERS.
    """
    if "torch" not in told:
        yield Finding("torch", "fail", "not installed", "Install the WebUI's requirements into its own environment.")
        return
    built = told.get("cuda")
    seen = f"{told['torch']}, built for {f'CUDA {built}' if built else 'the CPU'}"
    if driver is None or not built:
        yield Finding("torch", "ok", seen)
    else:
        major, minor = (int(part) for part in str(built).split(".")[:2])
        can = f"the driver supports CUDA {driver[0]}.{driver[1]}"
        if major > driver[0]:
            yield Finding(
                "torch", "fail", f"{seen}; {can}", "Choose a machine with a newer driver, or the older image."
            )
        elif (major, minor) > driver:
            yield Finding("torch", "warn", f"{seen}; {can}", "It mostly works within one major version.")
        elif not told.get("gpu"):
            yield Finding(
                "torch", "fail", f"{seen}, but it finds no GPU", "Start the container with the GPU passed in."
            )
        else:
            yield Finding("torch", "ok", f"{seen}; {can}")
    there = told.get("xformers")
    if xformers == "on" and there is None:
        yield Finding("attention", "fail", "WEBUI_XFORMERS=on, but it is not installed", "Install it, or set auto.")
    elif there is not None and xformers != "off":
        yield Finding("attention", "ok", f"xformers {there}")
    else:
        yield Finding("attention", "ok", "torch's scaled dot product (--opt-sdp-attention)")
