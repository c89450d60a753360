"""A WebUI that somebody else runs (WEBUI_URL): found, and its model put together again after a failed change.

A1111 takes the loaded model apart before it reads another checkpoint. When that can't be read, it answers on with the
model in pieces: prompts with weights or embeddings become other pictures, with status 200. A new process would help,
which is not this worker's to start. Loading another checkpoint and then the first one again helps as well.
"""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.common.clock import running
from worker.errors import BootFailed, WorkerError
from worker.telemetry.logs import get_logger
from worker.webui.liveness import Heard, ask_progress, progress
from worker.webui.result.probe import difference, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.webui.http import WebUIClient
    from worker.webui.names.catalog import Catalog, Checkpoint

LISTENER_S = 15.0
"""For a port to open: whoever waits for the worker is told soon, and the platform starts it again."""
ANSWER_LIMIT_S = 15.0
SAY_EVERY_S = 5.0
PAUSE_S = 0.5
CONNECT_S = 3.0
REST_S = 10.0
"""For a WebUI that other clients use as well to be done with a request."""
REST_PAUSE_S = 0.1
MOST_OTHERS = 3
"""Checkpoints that are tried in the place of the one that has to be loaded again."""
CANNOT = (
    "With WEBUI_URL this worker can't start, restart or end the WebUI, and does not see its log; restart the WebUI, "
    "or set WEBUI_DIR to have the worker run it."
)
_SAME = 1.0
"""Of 255, on average: no more than the rounding of weights that are written in two ways."""
_log = get_logger("webui")


def options_between_jobs(client: WebUIClient) -> Mapping[str, Any] | None:
    """Return the WebUI's options; None while a request runs there, until whose end they are as that one wants them.

    Raises what `WebUIClient.get` raises.
    """
    before = _work(client)
    options = client.get("/sdapi/v1/options")
    return options if before == _work(client) and not any(before[:2]) else None


def options_at_rest(client: WebUIClient, *, pause: Callable[[float], None]) -> Mapping[str, Any]:
    """Return the WebUI's options as soon as no request runs there; where one always does, as they are then.

    Raises what `WebUIClient.get` raises.
    """
    end = running() + REST_S
    while running() < end:
        options = options_between_jobs(client)
        if options is not None:
            return options
        pause(REST_PAUSE_S)
    _log.warning("the WebUI has no rest: its options may be those of a request that runs now")
    found: Mapping[str, Any] = client.get("/sdapi/v1/options")
    return found


def _work(client: WebUIClient) -> tuple[Any, ...]:
    """Return what tells whether a request runs, and one from the next: job, number of batches, beginning."""
    state = progress(client).get("state")
    return tuple(state.get(name) for name in ("job", "job_count", "job_timestamp")) if isinstance(state, dict) else ()


def wait_for_listener(url: str, *, left: Callable[[], float], pause: Callable[[float], None]) -> None:
    """Return when something accepts connections at `url`; say at once, and again, that nothing does.

    Args:
        url: Of the WebUI.
        left: Returns the seconds until the boot deadline.
        pause: Waits so many seconds.

    Raises:
        BootFailed: nothing does.
    """
    where = urlsplit(url)
    address = (where.hostname or "127.0.0.1", where.port or (443 if where.scheme == "https" else 80))
    end, say = running() + min(LISTENER_S, left()), 0.0
    while True:
        try:
            with socket.create_connection(address, timeout=CONNECT_S):
                return
        except OSError as error:
            why = error.strerror or str(error)
        now = running()
        if now >= end or left() <= 0:
            raise BootFailed(f"nothing accepts connections at {url} ({why})", hint=CANNOT)
        if now >= say:
            _log.warning("nothing accepts connections at WEBUI_URL yet", url=url, why=why)
            say = now + SAY_EVERY_S
        pause(PAUSE_S)


def require_answer(client: WebUIClient, *, left: Callable[[], float], pause: Callable[[float], None]) -> None:
    """Return when the WebUI answers, which it does from the moment its port opens. Raises BootFailed."""
    end = running() + min(ANSWER_LIMIT_S, left())
    while ask_progress(client) is not Heard.ANSWERED:
        if running() >= end or left() <= 0:
            raise BootFailed(f"the program at {client.url} accepts connections but answers nothing", hint=CANNOT)
        _log.warning("the program at WEBUI_URL accepts connections but does not answer yet", url=client.url)
        pause(PAUSE_S)


def is_sound(client: WebUIClient, title: str, *, timeout: float) -> bool:
    """Return whether the model reads weights in prompts, as it does unless it is in pieces.

    ``((x))`` and ``(x:1.21)`` are one prompt in two spellings. A model in pieces is given both as plain text. A word
    that was never used before keeps the WebUI from answering with what it remembers.

    Args:
        client: The WebUI.
        title: Of the checkpoint.
        timeout: Seconds for a picture.

    Raises:
        WorkerError: it makes no picture.
    """

    def pixels(house: str) -> bytes:
        body = {
            "prompt": f"a photo of a {house} by the sea, {word}",
            "steps": 4,
            "width": 64,
            "height": 64,
            "seed": 1,
            "sampler_name": "Euler",
            "override_settings": {"sd_model_checkpoint": title, "emphasis": "Original"},
        }
        return made(body, lambda path, asked: client.post(path, asked, timeout=timeout))

    word = secrets.token_hex(4)
    return difference(pixels("((house))"), pixels("(house:1.21)")) < _SAME


def reload_model(
    catalog: Catalog, wanted: Checkpoint, *, avoid: Iterable[str], load: Callable[[Checkpoint], bool]
) -> None:
    """Have another checkpoint loaded and then `wanted` again, which puts its parts together.

    Args:
        catalog: What the WebUI lists.
        wanted: The checkpoint to end with.
        avoid: Titles of checkpoints that can't be read.
        load: Has a checkpoint loaded; returns whether the WebUI says that it did.

    Raises:
        BootFailed: there is no other checkpoint that can be loaded, or the way back fails.
    """
    avoided = {wanted.title, *avoid}
    others = [each for each in catalog.checkpoints if each.title not in avoided][:MOST_OTHERS]
    failures: list[str] = []
    for other in others:
        try:
            if load(other) and load(wanted):
                _log.warning("the model was loaded again by way of another checkpoint", other=other.title)
                return
            failures.append(f"{other.title}: another model answered")
        except WorkerError as error:
            failures.append(f"{other.title}: {error.message}")
    tried = "; ".join(failures) or "the WebUI lists no other one"
    named = ", ".join(avoid)
    broken = f" since it failed to load {named}" if named else ""
    raise BootFailed(
        f"the WebUI's model {wanted.title!r} is in pieces{broken}, so its pictures would be wrong, and loading another "
        f"checkpoint and this one again did not work ({tried})",
        hint=CANNOT,
    )
