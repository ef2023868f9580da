"""Prepare the standard streams: all open, write errors reported, no output of libraries in a command's output."""

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
    """Open closed standard streams and make failed writes to standard output raise StorageError.

    To be called before any other file is opened. `sys.stdout` gets its own descriptor, and descriptor 1 is redirected
    to standard error, so that output of libraries and child processes does not mix with that of the command.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _leading_nowhere(number))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _checked(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        # Characters that the terminal's encoding lacks are escaped; otherwise printing them would raise.
        sys.stderr.reconfigure(errors="backslashreplace")
    sys.excepthook = _report
    threading.excepthook = _report_of_thread


def _report(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Print a traceback on standard error, escaped, since messages of exceptions quote file names."""
    with contextlib.suppress(OSError):
        sys.stderr.write(escapes.lines("".join(traceback.format_exception(kind, error, trace))))
        sys.stderr.flush()


def _report_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        _report(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _leading_nowhere(number: int) -> io.TextIOWrapper:
    """Stream on /dev/null for a standard stream that was closed at the start (`2>&-`).

    Otherwise the next opened file would get its number, and output of libraries and children would go into that file.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)
    return os.fdopen(number, "r" if number == 0 else "w", closefd=False, encoding="utf-8")


class StandardOutput(io.FileIO):
    """Unbuffered standard output that raises StorageError once if it cannot be written, for example on a full disk.

    A closed pipe raises BrokenPipeError, at which commands exit without a message.
    """

    def write(self, data: Any) -> int:
        """Raises StorageError."""
        try:
            return super().write(data)
        except OSError as e:
            # The buffers above this write again, at the latest at exit, and would raise a second time.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if isinstance(e, BrokenPipeError):
                raise
            raise StorageError.from_system(
                e,
                operation="write to standard output",
                remedy="send it to a file on another disk, or make room",
            ) from e


def discard_output() -> None:
    """Send standard output nowhere, so that what is buffered does not wait for a reader at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _checked(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Replacement for standard output: raises StorageError, and escapes characters that its encoding lacks.

    It writes to the target of `stream` by a descriptor that children do not inherit; the descriptor of `stream` is
    redirected to standard error.
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
