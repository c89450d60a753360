"""``worker run FILE|-``: one job, its pictures on disk, and the answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app import Worker
from worker.cli.printing import complain, write, write_json
from worker.cli.single_job.job_file import read_job
from worker.cli.single_job.progress_bar import progress_bar
from worker.doctor.quick import refuse_unwritable
from worker.errors import Cancelled, InternalError, WorkerError
from worker.serving.local_result import SavedResult, lines_for_people, save_locally
from worker.settings import Settings, read_settings
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.telemetry.progress import ProgressSink

JOB_ERROR = 1
INTERRUPTED = 130

app = typer.Typer(add_completion=False)
JobFile = Annotated[
    str, typer.Argument(metavar="FILE", help='A job: {"input": {…}} or the input itself; - reads standard input.')
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole answer on a terminal too.")]


@app.command()
def run(
    job: JobFile,
    *,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where pictures go (default: out/).")] = None,
    in_full: AsJson = False,
) -> None:
    """Run one job without RunPod, and leave its pictures and its answer in a folder.

    Where standard output is no terminal, the answer goes there as JSON. Exit code 1 when the job failed, 130 after
    Ctrl-C; the error answer is on standard output then.
    """
    answer, saved = _run_job(read_file(job), job, out)
    show(answer, saved, in_full=in_full)


def read_file(name: str) -> str:
    """Return the text of a job's file, of standard input for ``-``.

    Raises:
        BadParameter: It cannot be read.
    """
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{name} can't be read: {error}") from error


def show(answer: dict[str, Any], saved: SavedResult | None, *, in_full: bool) -> None:
    """Print an answer and end with its exit code: on a terminal the lines that matter, elsewhere JSON.

    Args:
        answer: Of the job.
        saved: Its files; None: there are none.
        in_full: Print JSON on a terminal too.
    """
    lines = lines_for_people(answer, saved)
    for_people = sys.stdout.isatty() and not in_full
    if not for_people or ("error" not in answer and (saved is None or not saved.images)):
        write_json({**answer, "images": list(saved.images)} if saved is not None and "images" in answer else answer)
    if for_people:
        for line in lines:
            write(line)
    elif "error" not in answer:
        for line in lines:
            complain(line)
    if "error" not in answer:
        raise typer.Exit(0)
    raise typer.Exit(INTERRUPTED if answer.get("error_code") == Cancelled.code else JOB_ERROR)


def _run_job(text: str, name: str, out: Path | None) -> tuple[dict[str, Any], SavedResult | None]:
    logs.configure(level="warning", json=not sys.stderr.isatty())
    with ExitStack() as at_end:
        try:
            job = read_job(text, "standard input" if name == "-" else name)
            settings = read_settings(os.environ)
            if out is not None:
                settings = settings.model_copy(update={"out_dir": out})
            is_told = "LOG_LEVEL" in os.environ
            level = settings.log_level if is_told else "warning"
            logs.configure_from(settings, os.environ, level=level, failed_jobs=is_told)
            refuse_unwritable(settings.out_dir)
            on_progress = at_end.enter_context(progress_bar())
            worker = Worker(settings, os.environ)
            at_end.callback(worker.close)
            worker.spawn()
            worker.wait_ready()
            told = asyncio.run(_until_done(worker, job, on_progress))
            answer = told if isinstance(told, dict) else {"items": told}
            return answer, _save(answer, settings)
        except WorkerError as error:
            return error.to_answer(), None


def _save(answer: dict[str, Any], settings: Settings) -> SavedResult:
    try:
        return save_locally(answer, settings.out_dir)
    except OSError as error:
        message = f"the answer can't be written to {settings.out_dir}: {error.strerror}"
        raise InternalError(message, hint="Set OUT_DIR, or --out, to a folder with room in it.") from error


async def _until_done(worker: Worker, job: Mapping[str, Any], on_progress: ProgressSink) -> Any:
    """Run the job; Ctrl-C and SIGTERM cancel it, which interrupts the WebUI."""
    task = asyncio.ensure_future(worker.run(job, on_progress=on_progress))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return Cancelled("the job was cancelled").to_answer()
