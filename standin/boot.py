"""Starting: imports that take their time, the model in a background thread, the port, and the faults of a bad start."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from standin import VERSION
from standin.api.app import build
from standin.models import demo
from standin.webui import WebUI

if TYPE_CHECKING:
    import argparse

    from standin.settings import Settings

DEFAULT_PORT = 7861
"""Of `--nowebui`."""
COMMIT = "82a973c04367123ae98bd9abdf80d9eda9b910e2"


def serve(flags: argparse.Namespace, settings: Settings, arguments: list[str]) -> int:
    """Runs until it is told to stop; gives the exit status."""
    say(f"Version: {VERSION} (stand-in: pictures are drawn, not diffused)")
    say(f"Commit hash: {COMMIT}")
    say(f"Launching API server with arguments: {' '.join(arguments)}")
    if settings.demo_models or flags.demo_models:
        demo.write_all(flags)
    webui = WebUI(flags, settings)
    exiting = webui.faults.take("boot-exit")
    if exiting is not None:
        threading.Event().wait(exiting.number("seconds", 0))
        print(
            'Traceback (most recent call last):\n  File "launch.py", line 48, in <module>\n    main()', file=sys.stderr
        )
        print(exiting.text("message", "RuntimeError: Torch is not able to use GPU"), file=sys.stderr, flush=True)
        return int(exiting.number("code", 1))
    other = webui.faults.take("other-model")
    if other is not None:
        titles = [title for title in webui.checkpoints.titles() if title != webui.options.get("sd_model_checkpoint")]
        webui.options.data["sd_model_checkpoint"] = other.text("name", titles[0] if titles else "")
    if not flags.skip_load_model_at_start:
        threading.Thread(target=webui.model.ensure, daemon=True, name="load-model").start()
    threading.Event().wait(settings.import_seconds)
    if webui.faults.take("no-port"):
        threading.Event().wait()
    say(f"Startup time: {settings.import_seconds:.1f}s (import torch: {settings.import_seconds:.1f}s).")
    try:
        listener = _listen(flags)
    except OSError as error:
        print(
            f"ERROR:    [Errno {error.errno}] error while attempting to bind on address: {error.strerror}",
            file=sys.stderr,
            flush=True,
        )
        return 1
    _announce(listener, settings)
    config = uvicorn.Config(build(webui), timeout_keep_alive=flags.timeout_keep_alive, log_level="info", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def say(line: str) -> None:
    """A line on stdout, at once."""
    print(line, flush=True)


def _listen(flags: argparse.Namespace) -> socket.socket:
    host = flags.server_name or ("0.0.0.0" if flags.listen or flags.nowebui else "127.0.0.1")  # noqa: S104 # as the real one does
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio turns off Nagle's algorithm, 40 ms for each answer, only where it sees the protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, DEFAULT_PORT if flags.port is None else flags.port))
    listener.listen(2048)
    return listener


def _announce(listener: socket.socket, settings: Settings) -> None:
    host, port = listener.getsockname()[:2]
    if settings.port_file:
        path = Path(settings.port_file)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(f"{port}\n", encoding="ascii")
        temporary.replace(path)
    say(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
