"""A program on a terminal of its own: what a person sees, and the keys that they press."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

_TOKENS = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])|([\r\n])|([^\x1b\r\n]+)")
PATIENCE_S = 60.0


class Terminal:
    """Runs a program; use as a context manager.

    Args:
        argv: The program and its arguments.
        cwd: Where it runs.
        environment: All of its variables.
    """

    def __init__(self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        ours, theirs = pty.openpty()
        self._ours = ours
        variables = {"TERM": "xterm-256color", "COLUMNS": "200", **environment}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], cwd=cwd, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)

    @property
    def screen(self) -> str:
        """What is on the screen, without colours and without what was erased or written over."""
        rows, row, column = [""], 0, 0
        for count, command, move, text in _TOKENS.findall(self.everything):
            if move == "\r":
                column = 0
            elif move == "\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif command == "A":
                row = max(0, row - int(count or 1))
            elif command == "K":
                rows[row] = ""
            elif text:
                rows[row] = rows[row][:column].ljust(column) + text + rows[row][column + len(text) :]
                column += len(text)
        return "\n".join(rows)

    @property
    def everything(self) -> str:
        """All that was written, what was erased again too."""
        return self._seen.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty."""
        return [line.rstrip() for line in self.screen.splitlines() if line.strip()]

    def wait_for(self, text: str) -> None:
        """Wait until `text` was written."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.everything:
            assert self._read(deadline), f"{text!r} never came:\n{self.screen}"

    def press_ctrl_c(self) -> None:
        """Interrupt whatever runs in the foreground."""
        os.write(self._ours, b"\x03")

    def exit_code(self) -> int:
        """Wait for the program's end and return its exit code; negative: the signal."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self, deadline: float) -> bool:
        """Read what comes next; return False at the end."""
        readable, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"nothing more came:\n{self.screen}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the last one that had the terminal open is gone
            return False
        self._seen += data
        return bool(data)
