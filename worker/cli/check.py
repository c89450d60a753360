"""``python -m worker check``: what is configured, found and missing; every line with what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from worker import __version__
from worker.errors import WorkerError
from worker.settings import Settings, read_settings
from worker.webui import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOW_SPACE = 10 * 1024**3
_SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, what was seen, and what to do when it is not well."""

    what: str
    state: Literal["ok", "warn", "fail"]
    seen: str
    fix: str = ""


def main(argv: list[str]) -> int:
    """Print what is configured, found and missing; return 1 when the worker could not start."""
    parser = argparse.ArgumentParser(prog="python -m worker check", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="a JSON array in place of lines")
    options = parser.parse_args(argv)
    try:
        settings = read_settings(os.environ)
    except WorkerError as error:
        findings = [Finding("settings", "fail", error.message, error.hint or "")]
    else:
        findings = [Finding("settings", "ok", f"worker {__version__}"), *examine(settings)]
    if options.json:
        json.dump([asdict(finding) for finding in findings], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for finding in findings:
            fix = f" → {finding.fix}" if finding.fix and finding.state != "ok" else ""
            print(f"{_SIGNS[finding.state]} {finding.what}: {finding.seen}{fix}")
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about a machine with these settings; nothing is started or changed."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_webui, _models, _space, _delivery, _tokens)
    for check in checks:
        yield from check(settings)


def _webui(settings: Settings) -> Iterator[Finding]:
    try:
        kind = launch.kind(settings)
    except WorkerError as error:
        yield Finding("WebUI", "fail", error.message, error.hint or "")
        return
    folder = launch.webui_dir(settings)
    if settings.webui_url is not None:
        yield from _running(settings.webui_url)
    elif folder is None:
        yield Finding("WebUI", "warn", f"none; the {kind} draws pictures", "Set WEBUI_DIR or WEBUI_URL for real ones.")
    elif not (folder / "launch.py").is_file():
        yield Finding("WebUI", "fail", f"{folder} has no launch.py", "Point WEBUI_DIR at an A1111 checkout.")
    else:
        yield Finding("WebUI", "ok", f"A1111 in {folder}, port {settings.webui_port}")
        try:
            yield Finding("WebUI's Python", "ok", str(launch.python(settings, folder)))
        except WorkerError as error:
            yield Finding("WebUI's Python", "fail", error.message, error.hint or "")


def _running(url: str) -> Iterator[Finding]:
    from worker.webui.client import WebUIClient  # noqa: PLC0415 - only with WEBUI_URL

    client = WebUIClient(url)
    try:
        models = client.get("/sdapi/v1/sd-models", timeout=10.0)
    except WorkerError as error:
        yield Finding("WebUI", "fail", error.message, "Start it with --api --nowebui, or correct WEBUI_URL.")
    else:
        yield Finding("WebUI", "ok", f"running at {url} with {len(models)} checkpoints")
    finally:
        client.close()


def _models(settings: Settings) -> Iterator[Finding]:
    from worker.models.volume import Volume  # noqa: PLC0415 - not needed to tell bad settings

    volume = Volume.of(settings)
    checkpoints = sorted(volume.names("checkpoint"))
    where = settings.folder("checkpoint")
    if settings.webui_url is not None:
        return
    if not checkpoints:
        yield Finding(
            "checkpoints",
            "warn",
            f"none in {where}",
            "Put one there, or `python -m worker models pull 'Deliberate v6'`.",
        )
    else:
        yield Finding("checkpoints", "ok", f"{len(checkpoints)} in {where}: {', '.join(checkpoints[:10])}")
    yield Finding("LoRAs", "ok", f"{len(volume.names('lora'))} in {settings.folder('lora')}")


def _space(settings: Settings) -> Iterator[Finding]:
    folder = settings.models_root
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    usage = shutil.disk_usage(folder)
    free = f"{usage.free / 1024**3:.1f} GiB free of {usage.total / 1024**3:.1f} at {folder}"
    state: Literal["ok", "warn"] = "ok" if usage.free >= LOW_SPACE else "warn"
    yield Finding("space for models", state, free, "A checkpoint takes 2 to 7 GB; make room.")
    if folder.exists() and not os.access(folder, os.W_OK):
        yield Finding("models folder", "warn", f"{folder} is read-only", "Nothing can be downloaded to it.")


def _delivery(settings: Settings) -> Iterator[Finding]:
    if settings.bucket_endpoint_url is None:
        yield Finding("delivery", "ok", f"inline, up to {settings.max_output_bytes / 1e6:.1f} MB an answer")
    elif settings.bucket_access_key_id is None or settings.bucket_secret_access_key is None:
        yield Finding(
            "delivery",
            "fail",
            "BUCKET_ENDPOINT_URL without keys",
            "Set BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY.",
        )
    else:
        yield Finding("delivery", "ok", f"{settings.delivery}, store {settings.bucket_endpoint_url}")


def _tokens(settings: Settings) -> Iterator[Finding]:
    for name, token in (("CivitAI", settings.civitai_token), ("Hugging Face", settings.hf_token)):
        yield Finding(f"{name} token", "ok", "set" if token is not None else "not set; public models only")
