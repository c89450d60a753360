"""What earlier failures have taught: which requests are not tried again, and which begin smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import NanImage, OutOfMemory, WebUICrashed, WorkerError
from worker.recovery.memory import Learned
from worker.recovery.poison import Poison, marks
from worker.recovery.policy import broke_the_process, switch_failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.recovery.policy import Action, Tries
    from worker.webui.request.body import Request


class Experience:
    """Of one worker with its WebUI; gone with it.

    Args:
        poison_s: How long it is remembered that a job killed the WebUI, seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, poison_s: float, clock: Callable[[], float]) -> None:
        self._learned = Learned()
        self._poison = Poison(poison_s, clock)

    def plan(self, request: Request) -> Request:
        """Return the request as it is likely to succeed.

        Raises:
            WebUICrashed: one like it has killed the WebUI twice.
        """
        if self._poison.knows:
            seconds = max(self._poison.refused_for(mark) for mark in marks(request))
            if seconds > 0:
                raise WebUICrashed(
                    f"a job like this one has killed the WebUI twice; it is refused for another {seconds:.0f} s",
                    hint="Change the job, or its models.",
                    details={"poison": True, "refused_for_s": round(seconds, 1)},
                )
        return self._learned.plan(request)

    def made(self, asked: Request, sent: Request, tries: Tries) -> None:
        """Take note that what was `asked` for was made by what was `sent` in the end."""
        self._learned.made(sent, after_nan=NanImage.code in tries.failures)
        if self._poison.knows:
            self._poison.forgive(marks(asked))

    def failed(self, error: WorkerError, asked: Request, sent: Request, action: Action, *, began_with: bool) -> None:
        """Take note of a failure and what was done about it; `began_with`: the WebUI started with its checkpoint."""
        known = marks(asked)
        if action.killed:
            self._poison.note(known.job)
        if switch_failed(error) and not began_with:
            self._poison.note(known.checkpoint)
        if error.details.get("half_loaded") == "vae":
            self._poison.note(known.vae)
        if isinstance(error, OutOfMemory) and not broke_the_process(error):
            self._learned.too_large(sent)

    def told(self, error: WorkerError, sent: Request, tries: Tries) -> WorkerError:
        """Return the last error as the client gets it: with what failed before, and what would fit."""
        if tries.failures:
            error.details["failed_before"] = dict(tries.failures)
        if isinstance(error, OutOfMemory):
            error.details["would_fit"] = dict(self._learned.fitting(sent))
        return error
