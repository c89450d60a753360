"""Logging: one event a line, JSON in production, readable on a terminal; always on stderr.

Of its own because the WebUI waits for whatever is imported before it is spawned (the usual library takes 60 ms), and
because a line is written without a lock: a signal's handler may log while it interrupts a line being logged.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO

from worker.telemetry.lines import hide, json_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.errors import WorkerError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_SAID = frozenset({"event", "level", "exception"})
_LEAST_SECRET = 4
"""Characters; shorter values occur by chance."""
_context: ContextVar[Mapping[str, Any]] = ContextVar("log", default={})  # noqa: B039 - never changed, only replaced


@dataclass(frozen=True, slots=True)
class _Config:
    least: int = LEVELS["info"]
    json: bool = True
    hidden: list[str] = field(default_factory=list)


class _State:
    """What `configure` sets for this process."""

    config = _Config()


class Logger:
    """Writes lines that carry ``part=<name>``; safe in every thread and in a signal's handler."""

    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        self._part = part

    def hears(self, level: str) -> bool:
        """Whether lines of `level` are written at all."""
        return LEVELS[level] >= _State.config.least

    def debug(self, event: str, /, **fields: Any) -> None:
        """For whoever looks for a defect."""
        self._write("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """What happens."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """What was got over."""
        self._write("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """What was not."""
        self._write("error", event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._write("error", event, {**fields, "exception": traceback.format_exc().rstrip()})

    def _write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        config = _State.config
        if LEVELS[level] < config.least:
            return
        now = datetime.now(timezone.utc)
        told: dict[str, Any] = {"part": self._part, **_context.get(), **fields, "event": event, "level": level}
        if config.hidden:  # before a line is shortened, which could leave half a secret, …
            told = hide(told, config.hidden)
        stamped = {**told, "timestamp": now.isoformat(timespec="microseconds").replace("+00:00", "Z")}
        line = json_line(stamped) if config.json else _as_text(told, now)
        # … and after, for what was made a text only now.
        _put(sys.stderr, hide(line, config.hidden) if config.hidden else line)


def configure(*, level: str, json: bool, secrets: Iterable[str] = ()) -> None:
    """Set logging up for this process.

    Args:
        level: ``debug`` … ``error``.
        json: A JSON object a line, else text.
        secrets: Values that are replaced by ``***`` wherever they appear in a line.
    """
    hidden = sorted((secret for secret in secrets if len(secret) >= _LEAST_SECRET), key=len, reverse=True)
    _State.config = _Config(LEVELS[level], json, hidden)


def configure_libraries() -> None:
    """Have what libraries say through the standard library's logging become such lines, from warnings on."""
    import logging  # noqa: PLC0415 - takes 5 ms that the WebUI's spawn would wait for

    class Libraries(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                tell(record.name, record.levelname.lower(), record.getMessage(), record.exc_info)
            except Exception:  # noqa: BLE001 - a library's wrong format must not end a job
                self.handleError(record)

    root = logging.getLogger()
    if not any(type(handler).__name__ == Libraries.__name__ for handler in root.handlers):
        root.addHandler(Libraries())
        root.setLevel(logging.WARNING)


def tell(part: str, level: str, event: str, failure: Any = None) -> None:
    """Write a line of `part` at `level`, with the traceback of `failure` (as ``sys.exc_info`` gives it)."""
    fields = {"exception": "".join(traceback.format_exception(*failure)).rstrip()} if failure else {}
    known = {"critical": "error", "notset": "debug"}.get(level, level)
    Logger(part)._write(known if known in LEVELS else "info", event, fields)  # noqa: SLF001 - of the same module


def get_logger(name: str) -> Logger:
    """Return a logger whose lines carry ``part=name``."""
    return Logger(name)


def cannot_start(log: Logger, error: WorkerError) -> int:
    """Tell why a worker ends before it has taken a job, in one message; return the exit status."""
    log.error("the worker can't start", code=error.code, error=error.message, hint=error.hint, **error.details)
    return 1


class bound:  # noqa: N801 - used as a function
    """Have every line that is logged inside the block, in this task or thread, carry `fields`."""

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _context.set({**_context.get(), **self._fields})

    def __exit__(self, *_: object) -> None:
        _context.reset(self._token)


def _as_text(told: Mapping[str, Any], now: datetime) -> str:
    level = str(told["level"])
    colour, plain = (_COLOURS[level], _PLAIN) if sys.stderr.isatty() else ("", "")
    head = f"{now:%H:%M:%S} {colour}{level:<7}{plain} {told['event']:<30}"
    words = " ".join(f"{name}={_word(value)}" for name, value in told.items() if name not in _SAID)
    error = told.get("exception")
    return f"{head} {words}\n{error}" if error else f"{head} {words}"


def _word(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or any(sign in text for sign in " =\n\"'") else text


def _put(stream: TextIO, line: str) -> None:
    """Write `line` with one system call, without a lock and without Python's buffers.

    A signal's handler may log while it interrupts a line being logged in the same thread: a lock would wait for itself
    for ever, a buffered stream would refuse the second call.
    """
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        stream.write(f"{line}\n")
        return
    left = f"{line}\n".encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):  # a full disk, a closed pipe: no line is worth a job
        while left:
            left = left[os.write(number, left) :]


class _Lossy(io.RawIOBase):
    """A file descriptor to which every write succeeds: what can't be written is left out."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def fileno(self) -> int:
        return self._number

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return os.write(self._number, data)
        return len(data)


def spare_stdout() -> None:
    """Let no `print` fail any more because the log's disk is full or its reader gone: the SDK would end with it."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream in memory
        return
    buffered = io.BufferedWriter(_Lossy(number))
    sys.stdout = io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)
