"""A program as a test sees it: started, read, signalled, and proven to be gone with all it started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.support.ports import listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
_MARK = "WORKERPROC_MARK"


class WorkerProcess:
    """A child process in a session of its own; use as a context manager, which leaves nothing running.

    Args:
        arguments: After the interpreter: ``["handler.py"]``.
        environment: Added to a clean one; nothing of the test's own environment but PATH and the like.
        cwd: Its working folder.
        on_exit: Called when it has closed its output.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        *,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        self._mark = uuid.uuid4().hex
        self._lines: list[tuple[float, str]] = []
        self._news = threading.Condition()
        self._on_exit = on_exit
        self._closed_at: float | None = None
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={
                **kept,
                "HOME": str(cwd),
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                _MARK: self._mark,
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started_at = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            sys.stdout.write(f"the process had written:\n{self.log}\n")  # pytest shows it with the failure
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """All it has written so far, stdout and stderr as they came."""
        with self._news:
            return "\n".join(line for _, line in self._lines)

    def wait_line(self, pattern: str, timeout: float = 30.0) -> float:
        """Return when (monotonic) a line that matches `pattern` came."""
        wanted = re.compile(pattern)
        found: list[float] = []

        def seen() -> bool:
            found[:] = [at for at, line in self._lines if wanted.search(line)]
            return bool(found) or not self._reader.is_alive()

        with self._news:
            self._news.wait_for(seen, timeout)
        if not found:
            raise AssertionError(f"no line matches {pattern!r} within {timeout} s; the log:\n{self.log}")
        return found[0]

    def terminate(self) -> None:
        """Send SIGTERM to the process alone, as a container engine does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process alone."""
        self._process.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 30.0) -> int:
        """Return the exit code (negative: the signal)."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s; the log:\n{self.log}") from None
        self._reader.join(2)
        return code

    def exited_at(self) -> float:
        """Return when (monotonic) it had closed its output, which its end does."""
        self._reader.join(10)
        assert self._closed_at is not None, "it has not ended"
        return self._closed_at

    def family(self) -> list[psutil.Process]:
        """Return every living process that it started, however deep and whatever became of those between."""
        return [process for process in psutil.process_iter() if process.pid != self.pid and self._is_ours(process)]

    def assert_nothing_left(self, timeout: float = 3.0) -> None:
        """Fail unless everything it started ends within `timeout`."""
        deadline = time.monotonic() + timeout
        left = self.family()
        while left and time.monotonic() < deadline:
            psutil.wait_procs(left, timeout=0.05)
            left = self.family()
        assert not left, f"left running: {[(process.pid, process.cmdline()) for process in left]}; the log:\n{self.log}"

    def assert_own(self, port: int) -> psutil.Process | None:
        """Fail where a stranger listens on a port; return its own process that does, None where nobody does."""
        found = listener(port)
        ours = found is None or found.pid == self.pid or self._is_ours(found)
        assert ours, f"a stranger listens on port {port}: {found}; the log:\n{self.log}"
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                with self._news:
                    self._lines.append((time.monotonic(), line.rstrip("\n")))
                    self._news.notify_all()
        self._closed_at = time.monotonic()
        with self._news:
            self._news.notify_all()
        self._on_exit()
