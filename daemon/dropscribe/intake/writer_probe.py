"""Does somebody have a file open for writing? Asked of the kernel through a read lease.

A read lease (`fcntl(2)`, F_SETLEASE) is granted only while nobody has the file open for writing. It needs the
file to be our own, or CAP_LEASE; everything but a clear answer is `Writer.UNKNOWN`.

Holding a lease is not free of consequences: a process that opens the file for writing meanwhile waits until we
let go, and we are sent a signal, by default SIGIO, whose default action is to end the process. So it is held for
microseconds, and the signal is set to SIGURG first, which is ignored unless somebody asks for it: no
process-wide handler is touched, and this works from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
from pathlib import Path

from dropscribe.files import open_recording
from dropscribe.intake.settling import Writer

#: Harmless where nobody handles it; SIGIO, the default, ends the process.
_BREAK_SIGNAL = signal.SIGURG


def probe(path: Path, folder: Path) -> Writer:
    """Whether somebody has a recording in `folder` open for writing, as far as this machine's kernel knows.

    Never raises OSError. On a network file system only BUSY means anything: writers on other machines are not seen.
    """
    try:
        fd = open_recording(path, folder)
    except BlockingIOError:
        # Another process holds a lease for writing on it.
        return Writer.BUSY
    except OSError:
        return Writer.UNKNOWN
    try:
        return _ask(fd)
    finally:
        os.close(fd)


def _ask(fd: int) -> Writer:
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Writer.UNKNOWN
        fcntl.fcntl(fd, fcntl.F_SETSIG, _BREAK_SIGNAL)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as e:
        return Writer.BUSY if e.errno == errno.EAGAIN else Writer.UNKNOWN
    # EAGAIN on release: the lease was being broken and is gone already; somebody began to write this instant,
    # which the next change of the signature shows.
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.FREE
