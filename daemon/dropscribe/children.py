"""Child processes: start one, pass it descriptors, name it, leave signals to the parent, kill it, and say how it ended."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.reduction
import multiprocessing.spawn
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
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
    target: Callable[..., None],
    arguments: tuple[Any, ...],
    name: str,
    ends: Sequence[Connection],
    *,
    spawns: bool = False,
) -> SpawnProcess:
    """Start a process that runs `target(*arguments)` and ends no later than this one.

    `ends`: the child's ends of pipes, among `arguments`. They are closed here, also on failure: a copy in this process
    would keep a pipe open after the child's death, which then would not show. `spawns`: it starts processes itself. Raises
    OSError when the operating system gives no process.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=target, args=arguments, name=name, daemon=not spawns
    )
    try:
        process.start()
    finally:
        for end in ends:
            end.close()
    if spawns:
        # multiprocessing lets only processes that it need not end at exit start others, and would wait for this one then.
        atexit.register(_kill, weakref.ref(process))
    return process


def _kill(process: weakref.ref[SpawnProcess]) -> None:
    running = process()
    if running is not None:
        with contextlib.suppress(ValueError):  # it is gone
            running.kill()


class Killed:
    """A process that was killed with all that it had started."""

    def __init__(self, process: SpawnProcess) -> None:
        """Kill them. What they start meanwhile ends by itself, because their ends of its pipes are closed."""
        self._process: SpawnProcess | None = process
        pid = process.pid or 0
        #: Descriptors of those that it had started; pids may be given to other processes at any moment.
        self._others = list(_started_by(pid))
        process.kill()
        for other in self._others:
            with contextlib.suppress(OSError):  # it is gone
                signal.pidfd_send_signal(other, signal.SIGKILL)

    def gone(self, wait_s: float = 0.0) -> bool:
        """Wait at most so long for the end of all; call it until True, which releases what is kept of them."""
        until = time.monotonic() + wait_s
        if self._process is not None and is_gone(self._process, wait_s):
            self._process = None
        for other in list(self._others):
            if multiprocessing.connection.wait([other], max(0.0, until - time.monotonic())):
                # In a container this process may be the one that orphans fall to.
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PIDFD, other, os.WEXITED | os.WNOHANG)
                self._others.remove(other)
                os.close(other)
        return self._process is None and not self._others


def _started_by(pid: int) -> Iterator[int]:
    """A descriptor of each process whose parent is `pid`; none on kernels before 5.3."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if _parent_of(status) != pid:
                continue
            descriptor = os.pidfd_open(int(status.parent.name))
            if _parent_of(status) == pid:
                yield descriptor
            else:
                os.close(descriptor)


def _parent_of(status: Path) -> int:
    # The name of the process, in parentheses, may contain any characters.
    return int(status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


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
