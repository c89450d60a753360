"""Supervisor of the WebUI's process: restarts it within a budget when it ends, and gives up when that is spent."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from worker.common.clock import running
from worker.errors import BootFailed, DeadlineExceeded, WebUICrashed, WebUIUnreachable, WorkerError
from worker.lifecycle import Event, State, WorkerState
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JOIN_S = 10.0
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
LOOK_S = 0.5
"""Between two looks at whether it is worth to wait on."""
SPARE = 0.5
"""Share of the budget that is kept for restarts that are needed: those that are merely wished for leave it alone."""


@dataclass(frozen=True, slots=True)
class RestartBudget:
    """Restarts within a sliding window.

    Attributes:
        limit: Most restarts within the window.
        window_s: Its length, seconds.
        spent: When restarts were begun, monotonic seconds, oldest first.
    """

    limit: int
    window_s: float
    spent: tuple[float, ...] = ()

    def at(self, now: float) -> RestartBudget:
        """Return the budget without what has left the window."""
        return replace(self, spent=tuple(moment for moment in self.spent if now - moment < self.window_s))

    def left(self, now: float) -> int:
        """Return how many restarts are left."""
        return max(0, self.limit - len(self.at(now).spent))

    def spend(self, now: float) -> RestartBudget | None:
        """Return the budget after one more restart, None when there is none left."""
        current = self.at(now)
        return replace(current, spent=(*current.spent, now)) if len(current.spent) < self.limit else None

    def delay(self) -> float:
        """Return the seconds to wait before the restart spent last: none for a first one, then 1, 2, 4 … 30."""
        earlier = len(self.spent) - 1
        return 0.0 if earlier <= 0 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (earlier - 1))


LONGEST_ERROR = 500
"""Characters of the last error that are told; torch's own words can be hundreds of thousands."""


def shortened(text: str | None) -> str | None:
    """Return the beginning of a text on one line."""
    if text is None:
        return None
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_ERROR else f"{line[:LONGEST_ERROR]} …"


class SupervisedProgram(Protocol):
    """A program that can be supervised."""

    def spawn(self) -> None:
        """Start it; raises BootFailed."""

    def wait_ready(self) -> None:
        """Block until it works; raises BootFailed."""

    def stop(self, grace: float = 0.0) -> None:
        """End it."""

    def close(self) -> None:
        """End it for good."""

    def ended(self) -> str | None:
        """Return how it ended, None while it runs."""

    def tail(self) -> Sequence[str]:
        """Return the last lines of its log."""

    def patience(self) -> float | None:
        """Return how many seconds a job waits for it to work again; None: as long as the job may take."""


class Supervisor:
    """Supervisor of one program. Every method may be called from any thread.

    Args:
        program: The WebUI.
        budget: How often it may be restarted.
        on_death: Called once, with the last error, when it will not come back.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        program: SupervisedProgram,
        *,
        budget: RestartBudget,
        on_death: Callable[[WorkerError], None] = lambda _: None,
        clock: Callable[[], float] = running,
    ) -> None:
        self._program = program
        self._budget = budget
        self._on_death = on_death
        self._clock = clock
        self._log = get_logger("life")
        self._lock = threading.RLock()
        self._life = WorkerState()
        self._up: Future[None] = Future()
        self._closing = threading.Event()
        self._recovering: threading.Thread | None = None
        self._restarts = 0
        self._last_error: str | None = None
        self._excused = False

    # Reports --------------------------------------------------------------------------------------------

    def wait_ready(self) -> None:
        """Block until the program that was spawned works for the first time. Raises BootFailed."""
        self._program.wait_ready()
        self._came_up()

    def lost(self, why: str) -> None:
        """Take note that the program is gone or can't be trusted; restart it, unless it is being started already."""
        with self._lock:
            if not self._life.up or self._life.over is not None:
                return
            self._up = Future()
            self._last_error = why
            self._to(Event.LOST, why=why)
            self._recovering = threading.Thread(target=self._recover, args=(why,), name="webui-supervisor", daemon=True)
            self._recovering.start()

    def excuse_restart(self) -> None:
        """Have the next restart cost nothing: the model of a job made it necessary, and nothing is wrong here."""
        with self._lock:
            self._excused = True

    def begun(self) -> None:
        """Take note that a job has got the GPU."""
        self._to(Event.BEGUN)

    def ended(self) -> None:
        """Take note that a job has given the GPU back."""
        self._to(Event.ENDED)

    def drain(self) -> None:
        """Take note that no more jobs come."""
        self._to(Event.DRAIN)

    def close(self) -> None:
        """End the program, and any restart of it."""
        self._closing.set()
        self._to(Event.CLOSED)
        self._program.close()
        if self._recovering is not None:
            self._recovering.join(JOIN_S)

    # Questions ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The worker's state."""
        return self._life.state

    def health(self) -> dict[str, Any]:
        """Return state, jobs on the GPU, restarts so far and left, and the last error."""
        with self._lock:
            return {
                "state": self._life.state.value,
                "jobs": self._life.jobs,
                "restarts": self._restarts,
                "restarts_left": self._budget.left(self._clock()),
                "last_error": shortened(self._last_error),
            }

    def may_restart(self) -> bool:
        """Return whether the budget allows a restart that is wished for but not needed."""
        with self._lock:
            return self._budget.left(self._clock()) - 1 >= SPARE * self._budget.limit

    async def wait_up(self, deadline: float) -> None:
        """Return when the program works; at once if it does.

        Raises:
            WebUICrashed: it will not come back.
            WebUIUnreachable: nobody knows when it will come back.
            DeadlineExceeded: not by `deadline` (monotonic).
        """
        life = self._life
        if life.up and life.over is None:  # asked twice a job, so without the future's locks
            return
        up = self._up
        if not up.done():
            import asyncio  # noqa: PLC0415 - after the WebUI was spawned

            waiting = asyncio.ensure_future(asyncio.shield(asyncio.wrap_future(up)))
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            began = self._clock()
            try:
                while not up.done() and self._clock() < deadline:
                    self._refuse_when_hopeless(self._clock() - began)
                    await asyncio.wait({waiting}, timeout=max(0.001, min(LOOK_S, deadline - self._clock())))
            finally:
                waiting.cancel()
        if not up.done():
            raise DeadlineExceeded("the job's time was over before the WebUI was restarted")
        up.result()

    def _refuse_when_hopeless(self, waited_s: float) -> None:
        """Raise what is wrong where a job has waited for long enough for a program that may never come back."""
        patience = self._program.patience()
        if patience is not None and waited_s >= patience:
            raise WebUIUnreachable(f"the WebUI does not work: {self._last_error}", details={"final": True})

    # Restarting -----------------------------------------------------------------------------------------------------

    def _recover(self, why: str) -> None:
        """Restart the program until it works or the budget is spent. Runs in a thread of its own."""
        while not self._closing.is_set():
            with self._lock:
                excused, self._excused = self._excused, False
                budget = self._budget if excused else self._budget.spend(self._clock())
                if budget is None:
                    break
                self._budget = budget
                self._restarts += 1
            delay_s = 0.0 if excused else budget.delay()
            self._log.warning("restarting the WebUI", why=shortened(why), restart=self._restarts, wait_s=delay_s)
            self._program.stop()
            if self._closing.wait(delay_s):
                return
            try:
                self._program.spawn()
                self._program.wait_ready()
            except BootFailed as error:
                why = error.message
            except Exception as defect:  # noqa: BLE001 - a thread that died here would leave every job waiting
                self._log.exception("a defect in starting the WebUI")
                why = f"a defect in the worker ({type(defect).__name__})"
            else:
                self._came_up()
                return
            self._last_error = why
        if not self._closing.is_set():
            self._give_up(why)

    def _came_up(self) -> None:
        with self._lock:
            if self._life.over is not None:
                return
            self._to(Event.UP)
            self._up.set_result(None)
        how = self._program.ended()
        if how is not None:  # in the moment between its proof and our taking note of it
            self.lost(f"it ended ({how})")

    def _give_up(self, why: str) -> None:
        death = WebUICrashed(
            f"the WebUI does not come back after {len(self._budget.spent)} restarts: {why}",
            details={"final": True},
        )
        with self._lock:
            self._to(Event.GIVEN_UP, why=why)
            self._up.set_exception(death)
            self._up.exception()  # seen, though no job may wait for it
        self._program.stop()
        self._on_death(death)

    def _to(self, event: Event, **facts: Any) -> None:
        with self._lock:
            before = self._life.state
            self._life = self._life.after(event)
            after = self._life.state
        if after is not before:
            twice_a_job = {before, after} == {State.READY, State.BUSY}
            tell = self._log.debug if twice_a_job else self._log.info
            tell("state", state=after.value, was=before.value, trigger=event.value, **facts)
