"""``worker run FILE|-``: one job, pictures on disk, the answer on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app import Worker
from worker.cli.job_file import read_job
from worker.cli.printing import complain, write_json
from worker.errors import WorkerError
from worker.serving.local_result import save_locally
from worker.settings import Settings, read_settings
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.telemetry.progress import Progress, ProgressSink

JOB_ERROR = 1

app = typer.Typer(add_completion=False)
JobFile = Annotated[
    str, typer.Argument(metavar="FILE", help='A job: {"input": {…}} or the input itself; - reads standard input.')
]


@app.command()
def run(
    job: JobFile,
    *,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where pictures go (default: out/).")] = None,
) -> None:
    """Run one job without RunPod; the answer goes to standard output as JSON.

    Exit code 1 when the job failed; the error answer is on standard output then.
    """
    answer = _run_job(read_file(job), job, out)
    write_json(answer)
    raise typer.Exit(JOB_ERROR if "error" in answer else 0)


def read_file(name: str) -> str:
    """Return the text of a job's file, of standard input for ``-``.

    Raises:
        BadParameter: It cannot be read.
    """
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{name} can't be read: {error}") from error


def _run_job(text: str, name: str, out: Path | None) -> dict[str, Any]:
    logs.configure(level="warning", json=False)
    host: Worker | None = None
    try:
        job = read_job(text, "standard input" if name == "-" else name)
        settings = read_settings(os.environ)
        if out is not None:
            settings = settings.model_copy(update={"out_dir": out})
        level = settings.log_level if "LOG_LEVEL" in os.environ else "warning"
        logs.configure_from(settings, os.environ, level=level)
        host = Worker(settings, os.environ)
        host.spawn()
        host.wait_ready()
        told = asyncio.run(_until_done(host, job))
        answer = told if isinstance(told, dict) else {"items": told}
        for line in save_locally(answer, settings.out_dir):
            complain(line)
        return {**answer, **_named(answer, settings)}
    except WorkerError as error:
        return error.to_answer()
    finally:
        if host is not None:
            host.close()


async def _until_done(host: Worker, job: Mapping[str, Any]) -> Any:
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
