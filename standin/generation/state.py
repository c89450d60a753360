"""The current work: the queue's lock, and the state that `GET /sdapi/v1/progress` reads."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

    from standin.options import Options

SPANS = 1000
BEFORE_SAMPLING = 0.01
"""The progress that is reported as soon as a job runs."""


class FifoLock:
    """A lock that is taken in order of arrival."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._held = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Waits for this caller's turn; the next in line goes when the block ends."""
        turn = threading.Event()
        with self._guard:
            if self._held or self._waiting:
                self._waiting.append(turn)
            else:
                self._held = True
                turn.set()
        turn.wait()
        try:
            yield
        finally:
            with self._guard:
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._held = False


class State:
    """The running job as other requests see it; written by the job's thread only, except for the two flags.

    `says`: jobs' begin and end are logged, as with `--loglevel INFO` or `DEBUG`.
    """

    def __init__(self, *, says: bool = False) -> None:
        self._says = says
        self.skipped = False
        self.interrupted = False
        self.stopping_generation = False
        self.job = ""
        self.job_count = 0
        self.job_timestamp = "0"
        self.job_no = 0
        self.sampling_step = 0
        self.sampling_steps = 0
        self.current_image: Image.Image | None = None
        self.latent: Callable[[], Image.Image] | None = None
        """Decodes what there is of the running batch."""
        self.shown_step = 0
        self.hires_counted = False
        self.spans: deque[tuple[float, float]] = deque(maxlen=SPANS)
        """Beginnings and ends of jobs (Unix seconds), oldest first."""
        self._started = 0.0
        self._began = 0.0

    def begin(self, job: str) -> None:
        """A job starts: counters and flags are fresh, so an interrupt before it has no effect."""
        self.skipped = self.interrupted = self.stopping_generation = False
        self.job = job
        self.job_count = -1
        self.job_no = 0
        self.sampling_step = 0
        self.current_image = self.latent = None
        self.shown_step = 0
        self.hires_counted = False
        self.job_timestamp = dt.datetime.now().strftime("%Y%m%d%H%M%S")  # noqa: DTZ005 # the real one shows local time
        self._started = time.monotonic()
        self._began = time.time()
        self._say(f"Starting job {job}")

    def interrupt(self) -> None:
        """The running job ends at its next step; said in the log, as everything about jobs."""
        self.interrupted = True
        self._say("Received interrupt request")

    def end(self) -> None:
        """The job is over; its counters stay readable."""
        self.spans.append((self._began, time.time()))
        self._say(f"Ending job {self.job} ({time.monotonic() - self._started:.2f} seconds)")
        self.job = ""
        self.job_count = 0

    def _say(self, text: str) -> None:
        if self._says:
            now = dt.datetime.now().strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ005 # the real one shows local time
            print(f"{now} INFO [modules.shared_state] {text}", file=sys.stderr, flush=True)

    def nextjob(self) -> None:
        """A picture (or a pass of it) is done."""
        self.job_no += 1
        self.sampling_step = self.shown_step = 0

    def show(self, options: Options) -> None:
        """Decode a preview, as the real one does for whoever asks for the progress, wanted or not."""
        every = options.get("show_progress_every_n_steps")
        due = every != -1 and self.sampling_step - self.shown_step >= every
        latent = self.latent
        if latent is not None and due and options.get("live_previews_enable"):
            self.current_image = latent()
            self.shown_step = self.sampling_step

    def fields(self) -> dict[str, Any]:
        """The `state` object of the progress answer."""
        return {
            "skipped": self.skipped,
            "interrupted": self.interrupted,
            "stopping_generation": self.stopping_generation,
            "job": self.job,
            "job_count": self.job_count,
            "job_timestamp": self.job_timestamp,
            "job_no": self.job_no,
            "sampling_step": self.sampling_step,
            "sampling_steps": self.sampling_steps,
        }

    def progress(self) -> tuple[float, float]:
        """Share done (0 to 1) and estimated seconds left, by the WebUI's formula; zeros when idle."""
        if self.job_count == 0:
            return 0.0, 0.0
        share = BEFORE_SAMPLING
        if self.job_count > 0:
            share += self.job_no / self.job_count
        if self.sampling_steps > 0:
            share += self.sampling_step / self.sampling_steps / self.job_count
        elapsed = time.monotonic() - self._started
        return min(share, 1.0), elapsed / share - elapsed
