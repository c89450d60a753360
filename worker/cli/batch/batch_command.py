"""``worker batch PLAN``: many pictures over one endpoint or several, into a folder that is looked through later."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.batch.batch_progress import batch_progress, failure_lines, summary
from worker.cli.batch.batch_report import write_report
from worker.cli.batch.gallery_decisions import chosen, decisions_in
from worker.cli.embedded_worker import embedded_worker
from worker.cli.endpoint_option import LOCAL, named_endpoint
from worker.cli.printing import complain, with_hint, write
from worker.client import Batch, BatchFolderError, InvalidPlan, read_plan
from worker.client.batch.batch_folder import BatchFolder
from worker.client.batch.batch_items import check_counts
from worker.client.batch.batch_run import IN_FLIGHT
from worker.errors import SettingsInvalid, WorkerError
from worker.gallery.store.picture_store import StoreUnavailable
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.client import BatchPlan, BatchState
    from worker.client.batch.job_runner import JobRunner

FAILED = 1
MOST_IN_FLIGHT = 200
ONE_PRESS_S = 1.0

app = typer.Typer(add_completion=False)


@app.command()
def batch(
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="PLAN", help="A job or a list of jobs (YAML, JSON), or a table of jobs (CSV, JSONL)."),
    ] = None,
    *,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHERE",
            help="Runs the jobs: a RunPod endpoint's id, a worker's URL, or local. May be given several times.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Stop workflows after this stage; their pictures are candidates."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Make every job N times, each with its own seed.")
    ] = None,
    endless: Annotated[bool, typer.Option("--endless", help="Make every job again and again until Ctrl-C.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Make every job once (the default).")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the pictures.")] = Path("batch"),
    unfinished: Annotated[
        Path | None,
        typer.Option("--continue", metavar="DIR", help="Finish the candidates in DIR instead of making new ones."),
    ] = None,
    in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_IN_FLIGHT, help="Jobs at once on each endpoint.")
    ] = IN_FLIGHT,
    price: Annotated[
        float | None, typer.Option(metavar="$", min=0, help="Price of an hour of the GPU in dollars, to show the cost.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML report about the whole batch.")
    ] = None,
) -> None:
    """Make the pictures of a plan; the same command again goes on where it ended.

    Without --endpoint the jobs run on a worker in this process. Pictures go to DIR/stage1 (candidates, with --until)
    and DIR/final, their JSON to DIR/metadata; deleting a picture rejects it. API keys are read from the same variables
    as in `submit`. Exit code 1 when a job failed or the batch ended early.
    """
    if (plan is None) == (unfinished is None):
        raise typer.BadParameter("give a PLAN, or --continue DIR")
    if (count is not None) + endless + once > 1:
        raise typer.BadParameter("--count, --endless and --once exclude each other")
    if unfinished is not None and (until is not None or count is not None or endless or once):
        raise typer.BadParameter("--until, --count, --endless and --once belong to a PLAN, not to --continue")
    times = None if endless else count or 1
    wanted = None if plan is None else _read(plan, until, times)
    if unfinished is not None and not unfinished.is_dir():
        raise typer.BadParameter(f"--continue {unfinished}: there is no such folder")
    logs.configure(level="warning", json=False)
    try:
        folder = BatchFolder(unfinished or out)
        places = list(dict.fromkeys(endpoint or (folder.endpoints() if unfinished else []) or [LOCAL]))
        with _interruptible(), _runners(places) as runners, batch_progress(price) as tell:
            work = Batch(folder.root, runners, in_flight=in_flight, on_change=tell, names=places)
            state = _make(work, wanted, times)
    except (BatchFolderError, StoreUnavailable, WorkerError, OSError) as error:
        if isinstance(error, SettingsInvalid):
            raise typer.BadParameter(with_hint(error)) from error
        complain(f"batch: {with_hint(error)}")
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        complain("batch: cancelled")
        raise typer.Exit(FAILED) from None
    for line in failure_lines(state):
        complain(line)
    write(f"{folder.root}: {summary(state, price)}")
    is_reported = report is None or _report(folder, report)
    is_whole = not (state.failures or state.ended_by) and (endless or not state.is_interrupted)
    raise typer.Exit(0 if is_whole and is_reported else FAILED)


def _report(folder: BatchFolder, path: Path) -> bool:
    """Write the report; return whether that went well."""
    try:
        write_report(folder, decisions_in(folder.root), path)
    except (StoreUnavailable, OSError) as error:
        complain(f"the report can't be written to {path}: {getattr(error, 'strerror', None) or error}")
        return False
    return True


def _read(path: Path, until: str | None, count: int | None) -> BatchPlan:
    try:
        plan = read_plan(path)
        plan = plan if until is None else plan.until(until)
        check_counts(plan, count)
    except InvalidPlan as error:
        raise typer.BadParameter(str(error)) from error
    return plan


def _make(work: Batch, plan: BatchPlan | None, count: int | None) -> BatchState:
    if plan is not None:
        return work.run(plan, count=count)
    return work.finish(lambda candidates: chosen(candidates, decisions_in(work.folder.root)))


@contextlib.contextmanager
def _runners(places: Sequence[str]) -> Iterator[list[JobRunner]]:
    with contextlib.ExitStack() as stack:
        found: list[JobRunner] = [named_endpoint(where) for where in places if where != LOCAL]
        if LOCAL in places:
            found.append(stack.enter_context(embedded_worker()))
        yield found


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the batch as Ctrl-C does, and Ctrl-C also where a shell has it ignored in the background.

    A signal that comes twice at once, to the process and to its group, counts once: else the second would interrupt
    the cancelling of the jobs.
    """
    last = -math.inf

    def interrupt(*_: Any) -> None:
        nonlocal last
        is_new, last = time.monotonic() - last > ONE_PRESS_S, time.monotonic()
        if is_new:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
