"""Limit processes that parse untrusted input (memory, files, core dumps, signals) and tie them to their parent."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

from dropscribe import children

_NICENESS = 5

#: Parameters of glibc's mallopt(3), and free memory that a process keeps, bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


def attach(pipe_fd: int, name: str) -> None:
    """Tie this process to its parent: exit when the other end of the pipe closes, ignore termination signals.

    `name`: shown by `ps` and `top`.
    """
    children.set_up(name)
    children.exit_with_parent(pipe_fd)
    os.nice(_NICENESS)


def limit(memory_bytes: int, files: int) -> None:
    """Set the resource limits; `memory_bytes` is on top of the current address space (interpreter, libraries)."""
    wanted = {
        resource.RLIMIT_AS: statm(0) + memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: files,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def keep_memory() -> None:
    """Keep freed memory for the next block of audio, where the C library is glibc.

    By default it is returned to the system and has to be mapped and cleared again for each block, which doubles the time
    for a WAV at 48 kHz and takes a tenth of that for AAC.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def statm(field: int) -> int:
    """Field of /proc/self/statm (proc_pid_statm(5)), bytes."""
    return int(Path("/proc/self/statm").read_bytes().split()[field]) * resource.getpagesize()
