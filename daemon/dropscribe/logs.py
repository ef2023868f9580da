"""Log set-up and the list of `action` values: every log line names one.

JSON lines for journald (no terminal), readable lines on a terminal. The message is for people, the
`action` and the other keys are for machines and stay stable. Neither form holds a character that a terminal would obey or that
begins another line (`daemon/dropscribe/escapes.py`).
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import PurePath
from typing import Any, TextIO, cast

import structlog

from dropscribe import escapes


class Action(StrEnum):
    """What a log line is about; one canonical line per job is `JOB_DONE`, `JOB_FAILED` or `JOB_CANCELLED`."""

    CONFIG = "config"
    READY = "ready"
    RELOAD = "reload"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FOLDER = "folder"
    SKIPPED = "skipped"
    ADMITTED = "admitted"
    JOB_DONE = "job_done"
    JOB_FAILED = "job_failed"
    JOB_RETRY = "job_retry"
    JOB_CANCELLED = "job_cancelled"
    JOB_REFUSED = "job_refused"
    ENGINE = "engine"
    LEDGER = "ledger"
    STORAGE = "storage"
    CLOCK = "clock"


Logger = structlog.stdlib.BoundLogger


class LogStream:
    """Where log lines go. One that cannot be written is dropped, and before the next that can it is said how many.

    A full disk under the log, or a reader that is gone, must not end the work. structlog holds its lock around each
    `write` and `flush`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = 0
        self._why = ""

    def write(self, line: str) -> int:
        """One line with its end. Never raises OSError."""
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
        """Nothing is kept back: see `write`."""


def setup(*, json_lines: bool | None = None, level: str = "info") -> None:
    """Configure logging once, at start; `json_lines=None` decides by whether stderr is a terminal."""
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        shared += [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(serializer=escapes.dumps),
        ]
    else:
        shared += [_escaped, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, LogStream(sys.stderr))),
        cache_logger_on_first_use=False,
    )


def _escaped(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Every text of a line, its keys included, before colours are added."""
    return {escapes.one_line(key): _safe(value) for key, value in line.items()}


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return escapes.one_line(value)
    if isinstance(value, PurePath):
        return escapes.one_line(str(value))
    if isinstance(value, dict):
        return {_safe(k): _safe(v) for k, v in value.items()}
    return [_safe(v) for v in value] if isinstance(value, (list, tuple)) else value


def get(room: str) -> Logger:
    """A logger whose lines carry `room`. Lines go to stderr even where `setup` was not called: structlog's default is stdout."""
    if not structlog.is_configured():
        setup()
    return cast(Logger, structlog.get_logger(room=room))


def event(log: Logger, action: Action, message: str, **keys: Any) -> None:
    """One information line with its action."""
    log.info(message, action=str(action), **keys)


def problem(log: Logger, action: Action, message: str, **keys: Any) -> None:
    """One warning line with its action."""
    log.warning(message, action=str(action), **keys)
