"""Main function of a process that decodes one excerpt of a recording into a pipe. Its input may be hostile: it has limits.

Large libraries are imported inside `main`, since the parent, which must not load them, imports this module.
"""

from __future__ import annotations

import contextlib
import os
from multiprocessing.connection import Connection

from dropscribe.children import InheritedFd
from dropscribe.errors import DropscribeError
from dropscribe.media import confinement

#: Address space on top of that of Python and the libraries, bytes, and open files.
_MEMORY_BYTES, _FILES = 1 << 30, 32
#: Longest recording that is played, hours.
_MOST_HOURS = 1000.0


def main(orders: Connection, samples: InheritedFd) -> None:
    """Wait for an order, write its samples, end. The parent kills this process when nobody listens any more."""
    confinement.attach(orders.fileno(), "ds-sound")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read when numpy is loaded
    from dropscribe.media.sources import source_av, source_soundfile  # noqa: F401, PLC0415  see the module's docstring
    from dropscribe.media.sources.playback import play  # noqa: PLC0415  the same

    confinement.limit(_MEMORY_BYTES, _FILES)

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(samples.fd, left) :]

    # What cannot be decoded is silent: the length was told before.
    with contextlib.suppress(EOFError, OSError, MemoryError, DropscribeError):
        play(orders.recv(), _MOST_HOURS, write)
