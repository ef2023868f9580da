"""Log set-up and the list of `action` values: every log line names one.

JSON lines for journald (no terminal), readable lines on a terminal. The message is for people, the
`action` and the other keys are for machines and stay stable.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Any, cast

import structlog


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
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        shared += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def get(room: str) -> Logger:
    """A logger whose lines carry `room`."""
    return cast(Logger, structlog.get_logger(room=room))


def event(log: Logger, action: Action, message: str, **keys: Any) -> None:
    """One information line with its action."""
    log.info(message, action=str(action), **keys)


def problem(log: Logger, action: Action, message: str, **keys: Any) -> None:
    """One warning line with its action."""
    log.warning(message, action=str(action), **keys)
