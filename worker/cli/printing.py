"""Output of the commands: text and JSON on a standard output whose reader may go at any time."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.text import Text


class PipeConsole(Console):
    """A console for which a reader that has gone, as in ``worker models list | head``, is no failure."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as what is printed."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Go on without output, so that the command ends with the exit code of its work."""
        self.quiet = True
        discard_stdout()


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: names hold what rich takes for marks, `style_[v2]`, `a:art:b`."""
    return PipeConsole(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return `text` without the characters that a terminal obeys: servers and files say what they like."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def write(text: str) -> None:
    """Write a line, or several, to standard output; a reader that has gone is no failure."""
    try:
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def write_json(value: Any) -> None:
    """Write `value` to standard output as indented JSON."""
    write(json.dumps(value, indent=2, ensure_ascii=False))


def complain(text: str) -> None:
    """Write a line to standard error."""
    print(printable(text), file=sys.stderr)


def with_hint(error: Exception) -> str:
    """Return the message of an error, and what to do about it where the error says so."""
    hint = getattr(error, "hint", None)
    return f"{error}. {hint}" if hint else str(error)


def discard_stdout() -> None:
    """Send what is still written to standard output, the interpreter's last flush included, to nobody."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
