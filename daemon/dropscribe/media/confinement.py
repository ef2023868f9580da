"""Limits of the processes that meet hostile input: memory, files, core dumps, signals, and no life without the parent."""

from __future__ import annotations

import os
import resource
import select
import threading
from pathlib import Path

from dropscribe import children

#: Work on recordings yields to the engine, which feeds the GPU from the same cores.
_NICENESS = 5


def attach(pipe_fd: int, name: str) -> None:
    """Tie this process to its parent: it ends at once when the other end of the pipe closes, and leaves signals to the parent.

    `name`: shown by `ps` and `top`.
    """
    children.set_up(name)
    threading.Thread(target=_die_with, args=(pipe_fd,), daemon=True).start()
    os.nice(_NICENESS)


def limit(memory_bytes: int, files: int) -> None:
    """Put the limits in force; memory counts from what the libraries themselves have taken by now."""
    wanted = {
        resource.RLIMIT_AS: statm(0) + memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: files,
        resource.RLIMIT_FSIZE: 0,
    }
    for what, most in wanted.items():
        _, hard = resource.getrlimit(what)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (value, value))


def statm(field: int) -> int:
    """A field of /proc/self/statm (proc_pid_statm(5)), in bytes."""
    return int(Path("/proc/self/statm").read_bytes().split()[field]) * resource.getpagesize()


def _die_with(fd: int) -> None:
    """Wait until the other end of the pipe is closed, then end the process, whatever it is at."""
    hangup = select.poll()
    hangup.register(fd, 0)
    hangup.poll()
    os._exit(0)
