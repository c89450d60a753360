"""Liveness of the WebUI: it is asked for its progress, which it answers at once, also during a job."""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from worker.common.clock import running
from worker.errors import WebUIUnreachable, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
ANSWER_S = 3.0
"""For what the WebUI answers at once: questions about progress, and interrupts."""
WATCH_EVERY_S = 1.0


class ProgressClient(Protocol):
    """The part of the WebUI's client that is needed here."""

    def get(self, path: str, *, timeout: float, tries: int) -> Any:
        """Return the JSON at `path`."""

    def abort(self) -> None:
        """Break every request off."""


class Heard(Enum):
    """The WebUI's reaction to a request that it should answer at once."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """Nothing listens at its address."""
    SILENT = "silent"


def progress(client: ProgressClient) -> Mapping[str, Any]:
    """Return what the WebUI says of what runs now. Raises what `WebUIClient.get` raises."""
    state = client.get("/sdapi/v1/progress?skip_current_image=true", timeout=ANSWER_S, tries=1)
    return state if isinstance(state, dict) else {}


def heard_of(error: WorkerError) -> Heard:
    """Return what an error says of whether the WebUI is there; an error answer is an answer."""
    if not isinstance(error, WebUIUnreachable):
        return Heard.ANSWERED
    return Heard.REFUSED if error.details.get("refused") else Heard.SILENT


def ask_progress(client: ProgressClient) -> Heard:
    """Return whether the WebUI answers. Blocking, for at most some seconds."""
    try:
        progress(client)
    except WorkerError as error:
        return heard_of(error)
    return Heard.ANSWERED


def while_answering(client: ProgressClient, work: Callable[[], T], *, silence_s: float) -> T:
    """Return what `work` returns, which waits for the WebUI; blocking.

    Raises:
        WebUIUnreachable: the WebUI answered no question about its progress for `silence_s` seconds.
        WorkerError: as `work` does.
    """
    done, silent = threading.Event(), threading.Event()

    def watch() -> None:
        answered = running()
        while not done.wait(WATCH_EVERY_S):
            if ask_progress(client) is Heard.ANSWERED:
                answered = running()
            elif running() - answered >= silence_s:
                silent.set()
                client.abort()
                return

    threading.Thread(target=watch, name="webui-watch", daemon=True).start()
    try:
        return work()
    except WebUIUnreachable as error:
        if not silent.is_set():
            raise
        raise WebUIUnreachable(
            f"the WebUI answered nothing for {silence_s:.0f} s", details={"sent": True, "timeout": True}
        ) from error
    finally:
        done.set()
