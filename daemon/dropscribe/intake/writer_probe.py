"""Detect whether a process has a file open for writing, by a read lease.

The kernel grants a read lease (`fcntl(2)`, F_SETLEASE) only while no process has the file open for writing. It
requires ownership of the file or CAP_LEASE; any unclear result is `Writer.UNKNOWN`.

A lease has side effects: a process that opens the file for writing blocks until the lease is released, and the holder
gets a signal, by default SIGIO, which terminates the process by default. So the lease is held for microseconds, and
the signal is first set to SIGURG, which is ignored by default: no process-wide handler is changed, and the probe works
from any thread.
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

#: Ignored by default, whereas SIGIO, the kernel's default, terminates the process.
_BREAK_SIGNAL = signal.SIGURG


def probe(path: Path, folder: Path) -> Writer:
    """Detect whether a process of this machine has a recording in `folder` open for writing.

    Never raises OSError. On a network file system only BUSY is significant: writers on other machines are invisible.
    """
    try:
        fd = open_recording(path, folder)
    except BlockingIOError:
        # Another process holds a write lease on it.
        return Writer.BUSY
    except OSError:
        return Writer.UNKNOWN
    try:
        return _probe_open(fd)
    finally:
        os.close(fd)


def _probe_open(fd: int) -> Writer:
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Writer.UNKNOWN
        fcntl.fcntl(fd, fcntl.F_SETSIG, _BREAK_SIGNAL)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as e:
        return Writer.BUSY if e.errno == errno.EAGAIN else Writer.UNKNOWN
    # EAGAIN on release: a process has just opened the file for writing and broken the lease. The change of the
    # signature will show that.
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.FREE
