"""Logging: the standard library's, one event a line on stderr, as JSON in production and as text on a terminal.

The worker's modules log events with fields (`get_logger`); what libraries log comes out alike, from warnings on. Lines
carry the fields of the job they belong to (`bound`). Secrets and credentials in URLs are hidden in every line. The
thread that logs formats the line, another one writes it: logging never waits for the reader of stderr.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from worker.common.redaction import hide_url_credentials
from worker.settings import misspelt, secrets_in
from worker.telemetry import output
from worker.telemetry.lines import hide, json_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from worker.errors import WorkerError
    from worker.settings import Settings

_WORKER = "worker"
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_NOT_REPEATED = frozenset({"event", "level", "exception"})
_LAST_LINES = 10
"""Of the WebUI's log, that a person is shown where it did not start."""
_SHORTEST_SECRET = 4
"""Characters; shorter values occur by chance."""
_context: ContextVar[Mapping[str, Any]] = ContextVar("log", default={})  # noqa: B039 - never changed, only replaced


class StructuredLogger:
    """Logs events with fields; a thin layer over `logging.Logger`.

    Args:
        part: The part of the worker that lines name: ``service``, ``webui``.
    """

    __slots__ = ("_logger",)

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"{_WORKER}.{part}")

    def debug(self, event: str, /, **fields: Any) -> None:
        """Log a detail that helps to find a defect."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Log a normal event."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log a failure that the worker recovered from."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Log a failure that it did not recover from."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """Log an error with the traceback of the exception being handled."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(self, level: int, event: str, fields: Mapping[str, Any], *, exc_info: bool = False) -> None:
        self._logger.log(level, event, exc_info=exc_info, extra={"fields": fields}, stacklevel=3)


class JsonFormatter(logging.Formatter):
    """A JSON object a line, at most as long as the platform takes.

    Args:
        secrets: Values that are replaced by ``***`` wherever they appear.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        # Secrets are hidden before a line is shortened, which could leave half of one, …
        told = hide(_facts(record), self._secrets)
        # … and after, for values that became text only now.
        return hide_url_credentials(hide(self._line(told, record), self._secrets))

    def _line(self, told: dict[str, Any], record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="microseconds")
        return json_line({**told, "timestamp": stamp.replace("+00:00", "Z")})


class TerminalFormatter(JsonFormatter):
    """Text for people: time, level, event and fields.

    Args:
        secrets: As for `JsonFormatter`.
        colours: Whether levels are coloured.
    """

    def __init__(self, secrets: Iterable[str] = (), *, colours: bool) -> None:
        super().__init__(secrets)
        self._colours = colours

    def _line(self, told: dict[str, Any], record: logging.LogRecord) -> str:
        level = str(told["level"])
        colour, plain = (_COLOURS[level], _PLAIN) if self._colours else ("", "")
        now = datetime.fromtimestamp(record.created, timezone.utc)
        head = f"{now:%H:%M:%S} {colour}{level:<7}{plain} {told['event']:<30}"
        words = " ".join(f"{name}={_word(value)}" for name, value in told.items() if name not in _NOT_REPEATED)
        exception = told.get("exception")
        return f"{head} {words}\n{exception}" if exception else f"{head} {words}"


class _StderrHandler(logging.Handler):
    """Hands lines to the writer of stderr; never blocks, and may be called by a signal handler within itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a value that can't be shown must not end a job
            line = json_line({"event": "a log line can't be formatted", "part": record.name, "error": repr(error)})
        descriptor = output.descriptor_of(sys.stderr)
        # a stream in memory, or the one that rich puts there to keep lines and a progress bar apart
        if descriptor is None or hasattr(sys.stderr, "rich_proxied_file"):
            sys.stderr.write(f"{line}\n")
            return
        writer = output.writer_for(descriptor)
        writer.drop_notice = self._drop_notice
        writer.put(f"{line}\n".encode("utf-8", "backslashreplace"))

    def _drop_notice(self, lines: int) -> bytes:
        record = logging.LogRecord(f"{_WORKER}.logs", logging.WARNING, "", 0, "log lines were dropped", (), None)
        record.fields = {"lines": lines}
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")


def configure(*, level: str, json: bool, secrets: Iterable[str] = ()) -> None:
    """Set logging up for this process; may be called again.

    Args:
        level: The least level of the worker's own lines: ``debug`` … ``error``.
        json: A JSON object a line, else text.
        secrets: Values that are replaced by ``***`` wherever they appear in a line.
    """
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter(secrets) if json else TerminalFormatter(secrets, colours=sys.stderr.isatty()))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_WORKER).setLevel(_number(level))


def configure_from(
    settings: Settings, environment: Mapping[str, str], *, level: str | None = None, failed_jobs: bool = True
) -> None:
    """Set logging up as the settings say, and warn of misspelt variables.

    Args:
        settings: Level, format and secrets.
        environment: Of this process; the secrets in it are hidden too.
        level: In place of the settings'.
        failed_jobs: Log the failure of a job; False where a person is shown its answer.
    """
    secrets = [*settings.secrets(), *secrets_in(environment)]
    configure(level=level or settings.log_level, json=settings.logs_as_json(sys.stderr), secrets=secrets)
    logging.getLogger(f"{_WORKER}.service").setLevel(logging.NOTSET if failed_jobs else logging.ERROR)
    log = get_logger("settings")
    for warning in misspelt(environment):
        log.warning(warning)


def get_logger(part: str) -> StructuredLogger:
    """Return a logger whose lines carry ``part=<part>``."""
    return StructuredLogger(part)


def cannot_start(log: StructuredLogger, error: WorkerError) -> int:
    """Log why a worker ends before it has taken a job, in one message; return the exit status."""
    if _is_for_people():
        more = [str(line) for line in error.details.get("log", ())][-_LAST_LINES:]
        hint = [error.hint] if error.hint else []
        log.error("\n  ".join([f"the worker can't start: {error.message}", *hint, *more]))
    else:
        log.error("the worker can't start", code=error.code, error=error.message, hint=error.hint, **error.details)
    return 1


def _is_for_people() -> bool:
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, _StderrHandler)]
    return any(isinstance(each.formatter, TerminalFormatter) for each in handlers)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Have every line that is logged inside the block, in this task or thread, carry `fields`."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """Return part, context, fields, event, level and traceback of `record`."""
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    told = {
        "part": record.name.removeprefix(f"{_WORKER}."),
        **_context.get(),
        **fields,
        "event": _message(record),
        "level": _level(record.levelno),
    }
    if record.exc_info:
        told["exception"] = logging.Formatter().formatException(record.exc_info)
    return told


def _message(record: logging.LogRecord) -> str:
    """Return the message of `record`; where a library's arguments don't fit its format, both side by side."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"


def _level(number: int) -> str:
    """Return the nearest of our four levels at or below `number`."""
    return next((name for name in ("error", "warning", "info") if number >= _number(name)), "debug")


def _number(level: str) -> int:
    return int(getattr(logging, level.upper()))


def _word(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or any(sign in text for sign in " =\n\"'") else text
