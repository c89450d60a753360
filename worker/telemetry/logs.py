"""Logging: one event a line, JSON in production, readable on a terminal; always on stderr."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from worker.telemetry.lines import hide, json_line

if TYPE_CHECKING:
    from collections.abc import Iterable


class LineLogger:
    """Writes each line with one system call, without a lock and without Python's buffers.

    A signal's handler may log while it interrupts a line being logged in the same thread: a lock would wait for itself
    for ever, a buffered stream would refuse the second call.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write `message` and a line's end."""
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # a stream in memory
            self._stream.write(f"{message}\n")
            return
        left = f"{message}\n".encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):  # a full disk, a closed pipe: no line is worth a job
            while left:
                left = left[os.write(number, left) :]

    log = debug = info = warn = warning = error = critical = fatal = exception = msg


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


def configure(*, level: str, json: bool, secrets: Iterable[str] = ()) -> None:
    """Set structlog up for this process.

    Args:
        level: ``debug`` … ``error``.
        json: A JSON object a line, else coloured text.
        secrets: Values that are replaced by ``***`` wherever they appear in a line.
    """
    hidden = sorted((secret for secret in secrets if len(secret) >= 4), key=len, reverse=True)  # noqa: PLR2004 - shorter ones occur by chance

    def hidden_in(_logger: Any, _method: str, event: Any) -> Any:
        return hide(event, hidden) if hidden else event

    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=lambda event, **_: json_line(event))
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer() if json else structlog.processors.StackInfoRenderer(),
            hidden_in,  # before a line is shortened, which could leave half a secret, …
            renderer,
            hidden_in,  # … and after, for what the renderer has made
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: LineLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[Libraries()], level=logging.WARNING, force=True)


class Libraries(logging.Handler):
    """What libraries say through the standard library's logging becomes lines like the worker's own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        try:
            get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a library's wrong format must not end a job
            self.handleError(record)


def get_logger(name: str) -> Any:
    """Return a logger whose lines carry ``part=name``."""
    return structlog.get_logger(part=name)
