"""Child processes: start one, pass it descriptors, name it, leave signals to the parent, and say how it ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.reduction
import multiprocessing.spawn
import os
import select
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

#: The parent decides when a child stops: the service manager and Ctrl-C signal the whole group.
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Signals that a process brings on itself; every other one was sent by another process or the kernel.
_OWN_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS,
     signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE}
)  # fmt: skip


def _leave_directory_out(data: dict[str, Any]) -> dict[str, Any]:
    """Without the directory that a spawned child changes to. It is the one it starts in, and need not allow that:
    under `sudo -u` or `runuser` a command may begin in a directory that its user cannot enter.
    """
    data.pop("dir", None)
    return data


_preparation_data = multiprocessing.spawn.get_preparation_data
multiprocessing.spawn.get_preparation_data = lambda name: _leave_directory_out(_preparation_data(name))


class InheritedFd:
    """A descriptor that a spawned child gets a copy of. Pickle it only as an argument of `spawn`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (multiprocessing.reduction.DupFd(self.fd),)


def _arrived(handle: Any) -> InheritedFd:
    return InheritedFd(handle.detach())


def spawn(
    target: Callable[..., None], arguments: tuple[Any, ...], name: str, ends: Sequence[Connection]
) -> SpawnProcess:
    """Start a process that runs `target(*arguments)` and ends no later than this one.

    `ends`: the child's ends of pipes, among `arguments`. They are closed here, also on failure: a copy in this process
    would keep a pipe open after the child's death, which then would not show. Raises OSError when the operating system
    gives no process.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=target, args=arguments, name=name, daemon=True
    )
    try:
        process.start()
    finally:
        for end in ends:
            end.close()
    return process


def set_up(name: str) -> None:
    """To be called first in a child: take a name, as `ps` and `top` show it, and ignore the signals meant for the parent.

    `name`: at most 15 bytes of ASCII.
    """
    for number in _PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # only a name for people
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def exit_with_parent(pipe_fd: int) -> None:
    """To be called in a child: exit at once, whatever it is doing, when the other end of the pipe closes."""
    threading.Thread(target=_exit_on_hangup, args=(pipe_fd,), daemon=True).start()


def _exit_on_hangup(fd: int) -> None:
    hangup = select.poll()
    hangup.register(fd, 0)
    hangup.poll()
    os._exit(0)


def is_gone(process: SpawnProcess, wait_s: float) -> bool:
    """Wait at most so long for the end of a process that was killed; its resources are released once it is gone.

    A process that waits for a file system or a driver in the kernel outlives even SIGKILL. Call again until True.
    """
    process.join(wait_s)
    if process.exitcode is None:
        return False
    process.close()
    return True


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: in words ("was killed by SIGKILL"), and whether another process or the kernel killed it."""

    how: str
    killed: bool


def how_ended(exitcode: int | None) -> Ended:
    """The end of a process by its exit status: negative for a signal, None while it has closed its pipe and is not gone."""
    if exitcode is None:
        # No child closes its pipe by itself: while memory is short, the end of a killed process takes long.
        return Ended("closed its pipe and did not end", killed=True)
    if exitcode >= 0:
        return Ended(f"ended with status {exitcode}", killed=False)
    killed = -exitcode not in _OWN_SIGNALS
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:  # a number without a name
        name = f"signal {-exitcode}"
    return Ended(f"was killed by {name}", killed=killed)
