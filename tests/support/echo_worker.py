"""A worker whose jobs say what to do, behind the real adapter: for tests of the life with RunPod alone.

Input: ``sleep`` seconds with the GPU, ``after`` seconds without it, ``echo`` what to answer with, ``bytes`` of padding,
``progress`` how many updates, ``raises`` an exception's text, ``error`` an error answer's text, ``nan``, ``surrogate``
or ``raw_bytes`` a spoiled answer, ``stubborn`` seconds until a cancelled job lets go of the GPU, ``die`` the WebUI dies
after the answer, ``pieces`` how many pictures are streamed before it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from worker import runpod_adapter
from worker.errors import WebUICrashed, WorkerError
from worker.settings import read_settings
from worker.telemetry import logs
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.telemetry.progress import PieceSink, ProgressSink


def say(event: str) -> None:
    sys.stdout.write(f"@ {event}\n")
    sys.stdout.flush()


class EchoHost:
    def __init__(self) -> None:
        self._gpu = asyncio.Lock()
        self._died: Callable[[WorkerError], None] = lambda _: None

    def drain(self) -> None:
        say("drains")

    def on_death(self, callback: Callable[[WorkerError], None]) -> None:
        self._died = callback

    async def run(
        self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None
    ) -> dict[str, Any]:
        order = job["input"]
        say(f"waits {job['id']}")
        async with self._gpu:
            say(f"begins {job['id']}")
            try:
                for index in range(order.get("pieces", 0)):
                    assert on_piece is not None
                    await on_piece({"index": index, "image": "x"})
                for number in range(order.get("progress", 0)):
                    on_progress(Progress("generate", percent=100 * (number % 7), step=number))
                    await asyncio.sleep(0.02)
                await asyncio.sleep(order.get("sleep", 0))
            except asyncio.CancelledError:
                await asyncio.sleep(order.get("stubborn", 0))
                say(f"idle {job['id']}")
                raise
            say(f"ends {job['id']}")
        await asyncio.sleep(order.get("after", 0))
        on_progress(Progress("deliver", percent=99))
        if "raises" in order:
            raise ValueError(order["raises"])
        if order.get("die"):
            threading.Timer(0.05, self._died, [WebUICrashed("the WebUI ended (killed by SIGKILL)")]).start()
        spoiled = {"nan": float("nan"), "surrogate": "\ud800", "raw_bytes": b"x"}
        extra = {name: value for name, value in spoiled.items() if order.get(name)}
        if "error" in order:
            return WebUICrashed(order["error"]).to_answer()
        return {"echo": order.get("echo"), "keys": sorted(job), "padding": "x" * order.get("bytes", 0), **extra}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = read_settings(os.environ)
    logs.configure_from(settings, os.environ)
    sys.exit(runpod_adapter.serve(EchoHost(), settings))
