"""Logging set-up, and the list of `action` values: every log line has one.

JSON lines for journald (no terminal), else one line for people: the message, without keys. `action` and the other keys
are for machines and stay stable. Control characters and line breaks are escaped in both (`daemon/dropscribe/escapes.py`).
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO, cast

import structlog

from dropscribe import escapes


class Action(StrEnum):
    """Subject of a log line. Each job ends with one line `JOB_DONE`, `JOB_FAILED` or `JOB_CANCELLED`."""

    CONFIG = "config"
    READY = "ready"
    RELOAD = "reload"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FOLDER = "folder"
    SKIPPED = "skipped"
    ADMITTED = "admitted"
    JOB_PROGRESS = "job_progress"
    JOB_DONE = "job_done"
    JOB_FAILED = "job_failed"
    JOB_RETRY = "job_retry"
    JOB_CANCELLED = "job_cancelled"
    JOB_REFUSED = "job_refused"
    ENGINE = "engine"
    LEDGER = "ledger"
    STORAGE = "storage"
    CLOCK = "clock"
    CONTROL = "control"
    RENAMED = "renamed"
    KEEPING = "keeping"
    NOTIFY = "notify"
    WEB = "web"


Logger = structlog.stdlib.BoundLogger
#: Escape sequences of a terminal.
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


class LogStream:
    """Output stream of log lines. Lines that cannot be written are dropped; the next successful write reports how many.

    A full disk of the log or a closed pipe must not stop the daemon. structlog locks each `write` and `flush`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = 0
        self._why = ""

    def write(self, line: str) -> int:
        """Write one line, which ends with a line feed. Never raises OSError."""
        said = f"dropscribe: {self._dropped} log lines could not be written here: {self._why}\n"
        try:
            self._stream.write(said + line if self._dropped else line)
            self._stream.flush()
        except OSError as e:
            self._dropped += 1
            self._why = e.strerror or str(e)
        else:
            self._dropped = 0
        return len(line)

    def flush(self) -> None:
        """Do nothing: `write` flushes."""


def setup(*, json_lines: bool | None = None, level: str = "info") -> None:
    """Configure logging once, at the start; `json_lines=None`: JSON unless stderr is a terminal."""
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _timestamp,
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        shared += [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(serializer=escapes.dumps),
        ]
    else:
        shared += [structlog.processors.format_exc_info, _Line(terminal=sys.stderr.isatty())]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, LogStream(sys.stderr))),
        cache_logger_on_first_use=False,
    )


def are_json() -> bool:
    """Whether log lines are JSON, as they were set up."""
    processors = structlog.get_config()["processors"]
    return isinstance(processors[-1], structlog.processors.JSONRenderer)


def _timestamp(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the time, UTC, to the millisecond."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line["timestamp"] = now.replace("+00:00", "Z")
    return line


class _Line:
    """Render a log line for people: local time, level unless it is info, message, what to do."""

    def __init__(self, *, terminal: bool) -> None:
        """`terminal`: with colours, and without the date."""
        self._terminal = terminal

    def __call__(self, _: Any, __: str, line: structlog.typing.EventDict) -> str:
        """The line, with control characters escaped; a traceback follows on lines of its own."""
        local = datetime.fromisoformat(line["timestamp"]).astimezone()
        time = local.strftime("%H:%M:%S" if self._terminal else "%Y-%m-%d %H:%M:%S")
        level = line["level"]
        text = f"{level}: " if level != "info" else ""
        text += escapes.one_line(str(line["event"]))
        remedy = str(line.get("remedy") or "")
        if remedy and remedy not in line["event"]:
            text += f" ({escapes.one_line(remedy)})"
        if self._terminal:
            time, text = f"{_DIM}{time}{_PLAIN}", f"{_COLOURS.get(level, '')}{text}{_PLAIN}"
        trace = line.get("exception")
        return f"{time} {text}" + (f"\n{escapes.lines(str(trace))}" if trace else "")


def get(room: str) -> Logger:
    """Logger with the key `room`. Calls `setup` if needed, since structlog's default output is stdout."""
    if not structlog.is_configured():
        setup()
    return cast(Logger, structlog.get_logger(room=room))


def tells(log: Logger) -> bool:
    """Whether lines of level info are written: for those that take long to make."""
    return bool(log.is_enabled_for(logging.INFO))


def event(log: Logger, action: Action, message: str, **keys: Any) -> None:
    """Log at level info, with an action."""
    log.info(message, action=str(action), **keys)


def problem(log: Logger, action: Action, message: str, **keys: Any) -> None:
    """Log at level warning, with an action."""
    log.warning(message, action=str(action), **keys)
