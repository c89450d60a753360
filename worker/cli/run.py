"""``python -m worker run FILE|-``: one job, pictures on disk, the answer on stdout."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.app import Worker
from worker.errors import InvalidInput, WorkerError
from worker.serving.local import leave
from worker.settings import Settings, read_settings
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.telemetry.progress import Progress, ProgressSink

JOB_ERROR = 1
USAGE = 2


def main(argv: list[str]) -> int:
    """Run one job; return 0, 1 when it failed (the error answer is on stdout), 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m worker run", description="Run one job without RunPod; the answer goes to stdout as JSON."
    )
    parser.add_argument("job", metavar="FILE", help='a job: {"input": {…}} or the input itself; - reads standard input')
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="where pictures go (default: out/)")
    options = parser.parse_args(argv)
    try:
        text = sys.stdin.read() if options.job == "-" else Path(options.job).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{options.job} can't be read: {error}")
    logs.configure(level="warning", json=False)
    host: Worker | None = None
    try:
        job = read_job(text)
        settings = read_settings(os.environ)
        if options.out is not None:
            settings = settings.model_copy(update={"out_dir": options.out})
        level = settings.log_level if "LOG_LEVEL" in os.environ else "warning"
        logs.configure_from(settings, os.environ, level=level)
        host = Worker(settings, os.environ)
        host.spawn()
        host.wait_ready()
        told = asyncio.run(_run(host, job))
        answer = told if isinstance(told, dict) else {"items": told}
        for line in leave(answer, settings.out_dir):
            print(line, file=sys.stderr)
        answer = {**answer, **_named(answer, settings)}
    except WorkerError as error:
        answer = error.to_answer()
    finally:
        if host is not None:
            host.close()
    json.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return JOB_ERROR if "error" in answer else 0


def read_job(text: str) -> dict[str, Any]:
    """Return the job in `text` as the platform would hand it over.

    Raises:
        InvalidInput: not JSON, or not an object.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput.at("", f"the job is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidInput.at("", "the job must be a JSON object")
    job = content if isinstance(content.get("input"), dict) else {"input": content}
    return {"id": "local", **job}


async def _run(host: Worker, job: Mapping[str, Any]) -> Any:
    """Run the job; Ctrl-C and SIGTERM cancel it, which interrupts the WebUI."""
    task = asyncio.ensure_future(_with_bar(host, job))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        from worker.errors import Cancelled  # noqa: PLC0415 - rare

        return Cancelled("the job was cancelled").to_answer()


async def _with_bar(host: Worker, job: Mapping[str, Any]) -> Any:
    with bar() as sink:
        return await host.run(job, on_progress=sink)


@contextlib.contextmanager
def bar() -> Iterator[ProgressSink]:
    """Yield a sink that moves a progress bar on a terminal, and does nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - only for people
    from rich.progress import Progress as Bar  # noqa: PLC0415 - only for people

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("prepare", total=100)

        def move(progress: Progress) -> None:
            steps = f" step {progress.step}/{progress.steps}" if progress.steps and progress.step else ""
            bar.update(task, completed=progress.percent, description=progress.stage + steps)

        yield move


def _named(answer: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the answer's `images` as the files they were left in: base64 is no use on a terminal."""
    if "images" not in answer:
        return {}
    left = json.loads((settings.out_dir / "answer.json").read_text(encoding="utf-8"))
    return {"images": [name if "://" in name else str(settings.out_dir / name) for name in left["images"]]}
