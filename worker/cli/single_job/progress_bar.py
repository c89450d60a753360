"""A progress bar on a terminal, from the start of the WebUI to the end of a job."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.telemetry.progress import Progress, ProgressSink


def is_watched() -> bool:
    """Return whether a person sees what is written to standard error."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(first: str = "starting the WebUI") -> Iterator[ProgressSink]:
    """Yield a sink that moves a progress bar on a terminal, and does nothing elsewhere.

    Args:
        first: Shown until there is any progress.
    """
    if not is_watched():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - only for people
    from rich.progress import Progress as Bar  # noqa: PLC0415 - only for people

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(first, total=None)

        def move(progress: Progress) -> None:
            bar.update(task, total=100, completed=progress.percent, description=described(progress))

        yield move


def described(progress: Progress) -> str:
    """Return what is being done: ``generate 2 of 6, step 7 of 20``."""
    picture = f" {progress.image} of {progress.images}" if progress.image and (progress.images or 0) > 1 else ""
    step = f", step {progress.step} of {progress.steps}" if progress.steps and progress.step else ""
    return f"{progress.stage}{picture}{step}" if progress.message is None else progress.message
