"""Inspection process: checks for intake whether recordings are complete by their containers, one after another.

It parses untrusted input, so it has the same limits as a decoder process; it loads no decoder.
"""

from __future__ import annotations

import contextlib
from multiprocessing.connection import Connection
from pathlib import Path

from dropscribe.formats import TEXT_EXTENSIONS
from dropscribe.media import confinement
from dropscribe.media.container.inspect import inspect

#: Address space on top of Python's own, bytes: many times the most that an inspection reads (`reading.py`).
MEMORY_BYTES = 256 << 20
#: Open files: the pipe, the folder, the recording, and those of Python itself.
_MAX_FILES = 32

#: Answers, one byte per file. Bytes and not pickles: unpickling data of a compromised child could run code in the
#: daemon.
READY, WHOLE, CUT, UNKNOWN, TEXT = b"r", b"w", b"c", b"u", b"t"


def main(pipe: Connection) -> None:
    """Answer inspections until the other end of the pipe closes."""
    confinement.attach(pipe.fileno(), "ds-inspect")
    confinement.limit(MEMORY_BYTES, _MAX_FILES)
    with contextlib.suppress(EOFError, OSError):  # the other end is closed
        pipe.send_bytes(READY)
        while True:
            folder, paths = pipe.recv()
            pipe.send_bytes(b"".join(_answer(folder, path) for path in paths))


def _answer(folder: Path, path: Path) -> bytes:
    check = inspect(path, folder)
    if check.foreign is not None and check.foreign.text and path.suffix.lower() in TEXT_EXTENSIONS:
        return TEXT
    if check.whole is None:
        return UNKNOWN
    return WHOLE if check.whole else CUT
