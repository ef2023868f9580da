"""The inspection child: a spawned process that checks recordings' own sizes for intake, one after another.

It meets hostile input as the decoders do, and is limited as they are; it loads no decoder.
"""

from __future__ import annotations

import contextlib
from multiprocessing.connection import Connection
from pathlib import Path

from dropscribe.media import confinement
from dropscribe.media.container.inspect import inspect

#: Address space beyond what Python itself takes, bytes: many times the most that an inspection reads (`reading.py`).
MEMORY_BYTES = 256 << 20
#: Open files: its pipe, the folder and the recording, and what Python keeps.
_MAX_FILES = 32

#: The answers, one byte for each file; bytes rather than pickles, because a hijacked child must not reach into the daemon.
READY, WHOLE, CUT, UNKNOWN = b"r", b"w", b"c", b"u"


def main(pipe: Connection) -> None:
    """Answer inspections until the other end of the pipe closes."""
    confinement.attach(pipe.fileno(), "ds-inspect")
    confinement.limit(MEMORY_BYTES, _MAX_FILES)
    with contextlib.suppress(EOFError, OSError):  # the other end is closed: there is nobody left to answer
        pipe.send_bytes(READY)
        while True:
            folder, paths = pipe.recv()
            pipe.send_bytes(b"".join(_answer(folder, path) for path in paths))


def _answer(folder: Path, path: Path) -> bytes:
    whole = inspect(path, folder).whole
    if whole is None:
        return UNKNOWN
    return WHOLE if whole else CUT
