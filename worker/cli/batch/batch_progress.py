"""Progress of a batch: a bar on a terminal, a line for each picture elsewhere, and the summary at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from worker.cli.printing import complain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.client import BatchState

SECONDS_PER_HOUR = 3600.0
MOST_LISTED = 50
_LONGEST_PROMPT = 60


def cost_so_far(state: BatchState, price: float | None) -> str:
    """Return what the jobs took on their endpoints: seconds, and dollars where an hour has a price."""
    spent = f"job time: {state.job_s:.0f} s"
    return spent if price is None else f"{spent}, ${state.job_s / SECONDS_PER_HOUR * price:.3f}"


def rate_and_eta(state: BatchState, elapsed_s: float) -> str:
    """Return the jobs a minute, and how long the others will take at that rate."""
    if not state.done or elapsed_s <= 0:
        return ""
    rate = f"{state.done / elapsed_s * 60:.1f}/min"
    if state.jobs is None:
        return rate
    left = max(0, state.jobs - state.there - state.done - len(state.failures))
    minutes, seconds = divmod(round(left * elapsed_s / state.done), 60)
    return f"{rate}, {minutes}:{seconds:02} left"


def summary(state: BatchState, price: float | None) -> str:
    """Return how a batch ended, in one line."""
    told = [f"pictures made: {len(state.pictures)}"]
    told += [f"jobs already done: {state.there}"] if state.there else []
    told += [f"failed: {len(state.failures)}"] if state.failures else []
    told += [cost_so_far(state, price)] if state.done else []
    told += ["cancelled"] if state.is_interrupted else []
    return ", ".join(told)


def failure_lines(state: BatchState) -> list[str]:
    """Return a line for each job that failed, and for the batch where it ended early."""
    lines = []
    for failure in state.failures[:MOST_LISTED]:
        prompt = str(failure.job.get("prompt", ""))[:_LONGEST_PROMPT]
        about = failure.source or f"seed {failure.job.get('seed')}: {prompt}"
        lines.append(f"failed: {about}: {failure.message}")
    left = len(state.failures) - MOST_LISTED
    lines += [f"and {left} more failed"] if left > 0 else []
    return [*lines, *([f"ended early: {state.ended_by}"] if state.ended_by else [])]


@contextlib.contextmanager
def batch_progress(price: float | None) -> Iterator[Callable[[BatchState], None]]:
    """Yield a function that shows the state of a batch on standard error."""
    if not sys.stderr.isatty():
        shown, trouble = 0, ""

        def tell(state: BatchState) -> None:
            nonlocal shown, trouble
            if state.trouble not in ("", trouble):
                trouble = state.trouble
                complain(f"Trying again: {trouble}")
            for name in state.pictures[shown:]:
                complain(f"Picture: {name}")
            shown = max(shown, len(state.pictures))

        yield tell
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 - only for people

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    began, trouble = time.monotonic(), ""
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def move(state: BatchState) -> None:
            nonlocal trouble
            parts = [rate_and_eta(state, time.monotonic() - began), cost_so_far(state, price)]
            parts += [f"{state.running} running"]
            parts += [f"{len(state.failures)} failed"] if state.failures else []
            if state.trouble not in ("", trouble):
                trouble = state.trouble
                bar.console.print(f"Trying again: {trouble}", markup=False, highlight=False)
            bar.update(
                task,
                total=state.jobs,
                completed=state.there + state.done,
                description=", ".join(part for part in parts if part),
            )

        yield move
