"""The standard streams, so that commands need not care where they lead, and libraries cannot write into a command's output."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from dropscribe import escapes
from dropscribe.errors import StorageError


def prepare() -> None:
    """Before anything else is opened: every stream is there, and one that cannot be written is told as an error.

    Standard output gets a descriptor that only `sys.stdout` has, and descriptor 1 leads to standard error: what a library or
    a child process prints, at whatever level, is no part of what a command prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _leading_nowhere(number))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _checked(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        # A terminal that cannot show a character gets its number, not a traceback.
        sys.stderr.reconfigure(errors="backslashreplace")
    sys.excepthook = _report
    threading.excepthook = _report_of_thread


def _report(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """A traceback on standard error; messages of exceptions quote names."""
    with contextlib.suppress(OSError):
        sys.stderr.write(escapes.lines("".join(traceback.format_exception(kind, error, trace))))
        sys.stderr.flush()


def _report_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        _report(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _leading_nowhere(number: int) -> io.TextIOWrapper:
    """A stream that was closed when we began (`2>&-`).

    Its number would be that of the next file we open, and whatever a library or a child prints would stand in it.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)
    return os.fdopen(number, "r" if number == 0 else "w", closefd=False, encoding="utf-8")


class StandardOutput(io.FileIO):
    """Standard output, unbuffered: that it cannot be written, as on a full disk, is an error of ours, once.

    A pipe whose reader is gone stays a BrokenPipeError, by which a command ends without a word.
    """

    def write(self, data: Any) -> int:
        """Raises StorageError."""
        try:
            return super().write(data)
        except OSError as e:
            # The buffers above this try again, at the latest when the interpreter ends, and would complain again.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if isinstance(e, BrokenPipeError):
                raise
            raise StorageError(
                e.strerror or str(e),
                operation="write to standard output",
                remedy="send it to a file on another disk, or make room",
            ) from e


def _checked(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A standard output like `stream` that raises StorageError, and writes characters it does not have as escapes.

    It leads where `stream` led, by a descriptor that children do not inherit; that of `stream` leads to standard error now.
    """
    raw = StandardOutput(os.dup(stream.fileno()), "w", closefd=False)
    os.dup2(sys.stderr.fileno(), stream.fileno())
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
