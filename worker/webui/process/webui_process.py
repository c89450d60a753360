"""The WebUI as a child process: started, watched, ended; never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import BootFailed
from worker.webui.process.log_tail import LogTail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run: arguments, working folder and the whole environment."""

    arguments: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]


class WebUIProcess:
    """One run of the WebUI, in a process group of its own.

    The process is spawned and waited for by one thread that lives as long as the child does. Linux ends the child
    when that thread dies, so even a worker that is killed with SIGKILL leaves no WebUI behind.

    Args:
        on_line: Gets each line of output.
        on_spawn: Called with the process id, in the watching thread, before the constructor returns.
        on_exit: Called once with this object and the exit code, in the watching thread, within milliseconds of the end.

    Raises:
        BootFailed: the program can't be started at all.
    """

    def __init__(
        self,
        program: Program,
        *,
        on_line: Callable[[str], None],
        on_exit: Callable[[WebUIProcess, int], None] = lambda *_: None,
        on_spawn: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._program = program
        self._on_line = on_line
        self._on_exit = on_exit
        self._on_spawn = on_spawn
        self._started = threading.Event()
        self._exited = threading.Event()
        self._failure: OSError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: LogTail | None = None
        self.told_to_end = False
        """True once `stop` was called."""
        self.spawned_at = time.monotonic()
        self._owner = threading.Thread(target=self._own, name="webui-owner", daemon=True)
        self._owner.start()
        self._started.wait()
        if self._failure is not None:
            raise BootFailed(
                f"the WebUI's program {program.arguments[0]!r} can't be run: {self._failure.strerror}",
                hint="Set WEBUI_PYTHON to the Python of the WebUI's environment.",
            )

    @property
    def pid(self) -> int:
        """The child's process id, which is also its group's."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code (negative: the signal), None while it runs."""
        return self._child.poll() if self._exited.is_set() else None

    @property
    def log(self) -> LogTail:
        """Its output."""
        if self._log is None:
            raise AssertionError("spawned in the constructor")
        return self._log

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; return whether it has come."""
        return self._exited.wait(timeout)

    def stop(self, grace: float) -> None:
        """End the whole group: SIGTERM (the WebUI finishes its running job), after `grace` seconds SIGKILL."""
        self.told_to_end = True
        if grace > 0:
            self.signal_group(signal.SIGTERM)
            self._exited.wait(grace)
        self.signal_group(signal.SIGKILL)
        if threading.current_thread() is not self._owner:
            self._exited.wait(5)

    def signal_group(self, number: int) -> None:
        """Send a signal to the child and everything it started."""
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("spawned in the constructor")
        return self._process

    def _own(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.getpid()

        def in_child() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the worker died between fork and prctl
                os._exit(1)

        try:
            self._process = subprocess.Popen(
                list(self._program.arguments),
                cwd=self._program.cwd,
                env=dict(self._program.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
                preexec_fn=in_child,  # noqa: PLW1509 - one prctl call, before the worker has many threads
            )
        except OSError as failure:
            self._failure = failure
            self._started.set()
            return
        self._on_spawn(self._process.pid)
        if self._process.stdout is None:
            raise AssertionError("stdout was asked for as a pipe")
        self._log = LogTail(self._process.stdout, self._on_line)
        self._started.set()
        code = self._process.wait()
        self._log.join(1.0)
        try:
            self._on_exit(self, code)
        finally:
            self._exited.set()


def describe_exit(code: int) -> str:
    """Return an exit code in words: ``exit code 1`` or ``killed by SIGKILL (…)``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = " (often the kernel's answer to too little memory)" if -code == signal.SIGKILL else ""
    return f"killed by {name}{why}"


def environment_for(base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the child: `base` without the worker's own Python."""
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP"}
    clean = {name: value for name, value in base.items() if name not in ours}
    clean["PYTHONUNBUFFERED"] = "1"
    return clean
