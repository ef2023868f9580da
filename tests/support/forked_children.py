"""Start the children of multiprocessing as copies of a process that has imported what they import.

Each child is a new interpreter otherwise, whose imports take a third of a second of processor time for a decoder and three
seconds for an engine with a model. A helper process makes the copies, and the kernel makes them children of the helper's
parent, for which they are made. They get its environment, directory, standard streams, limits and signals. If anything
else that processes inherit has changed since the helper started, a new interpreter is started instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import multiprocessing.popen_spawn_posix
import multiprocessing.spawn
import multiprocessing.util
import os
import re
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

#: clone3(2), the same number on every architecture, and its flags.
_SYS_CLONE3 = 435
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
#: prctl(2): where the C library keeps the number of the thread.
_PR_GET_TID_ADDRESS = 40
#: Code that multiprocessing gives to the interpreter of a child.
_CODE = re.compile(
    r"from multiprocessing\.spawn import spawn_main; spawn_main\(tracker_fd=(\d+), pipe_handle=(\d+)\)"
)
#: Lines of /proc/self/status of what a process inherits and a copy is not given.
_INHERITED = ("Umask", "Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Cpus_allowed:")
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))

#: Makes a copy of the helper; returns its process id, 0 if it cannot. Gets a message, and descriptors for it.
Copy = Callable[[dict[str, Any], Sequence[int]], int]


class _CloneArguments(ctypes.Structure):
    """`struct clone_args` of the kernel."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")
    )


def inherited() -> tuple[object, ...]:
    """What the children of this process inherit and a copy is not given."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    names = [str(Path("/proc/self/ns", kind).readlink()) for kind in ("mnt", "net", "pid", "user")]
    return (
        *(line for line in status if line.startswith(_INHERITED)), *names, os.getpgrp(), os.getsid(0),
        os.getpriority(os.PRIO_PROCESS, 0), Path("/proc/self/oom_score_adj").read_text(encoding="ascii"),
    )  # fmt: skip


def install(choose: Callable[[str], Copy | None]) -> None:
    """From now on children of this process are copies. `choose` gets the name of a process, and says who makes the copy."""
    popen: Any = multiprocessing.popen_spawn_posix.Popen
    util: Any = multiprocessing.util
    launch, spawn = popen._launch, util.spawnv_passfds
    current = threading.local()

    def named_launch(self: Any, process: BaseProcess) -> None:
        current.name = process.name
        try:
            launch(self, process)
        finally:
            del current.name

    def spawn_copy(path: bytes, arguments: Sequence[str], passed: Sequence[int]) -> int:
        copy = choose(current.name) if hasattr(current, "name") else None
        message = None if copy is None else _message(arguments, passed)
        pid = 0 if copy is None or message is None else copy(message, [0, 1, 2, *message["descriptors"]])
        return pid or int(spawn(path, arguments, passed))

    popen._launch, util.spawnv_passfds = named_launch, spawn_copy


def _message(arguments: Sequence[str], passed: Sequence[int]) -> dict[str, Any] | None:
    """What the copy needs, beside descriptors; None for another program or options of the interpreter."""
    options, code, last = arguments[1:-3], _CODE.fullmatch(arguments[-2]), arguments[-1]
    if code is None or last != "--multiprocessing-fork" or not {*options} <= {"-B"}:
        return None
    ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
    return {
        "tracker": int(code[1]), "pipe": int(code[2]), "descriptors": sorted({int(one) for one in passed}),
        "environment": dict(os.environ), "directory": os.getcwd(),  # noqa: PTH109
        "limits": [[kind, *resource.getrlimit(kind)] for kind in _LIMITS],
        "ignored": ignored, "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    }  # fmt: skip


def fork_sibling() -> int:
    """Fork, but the copy becomes a child of this process's parent; returns as `os.fork`, and -1 if it cannot.

    This process has one thread.
    """
    libc = ctypes.PyDLL(None)
    where = ctypes.c_void_p()
    if libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(where), 0, 0, 0) != 0:
        return -1
    # As fork(3) of the C library does it, which has no way to choose a parent.
    flags = _CLONE_PARENT | _CLONE_CHILD_CLEARTID | _CLONE_CHILD_SETTID
    arguments = _CloneArguments(flags=flags, child_tid=where.value)
    libc.syscall.restype = ctypes.c_long
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = libc.syscall(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid


def become(message: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Make this copy what a new interpreter would be that multiprocessing starts. `descriptors`: 0, 1, 2 and others."""
    wanted = [0, 1, 2, *message["descriptors"]]
    free = max(*wanted, *descriptors) + 1
    moved = [fcntl.fcntl(one, fcntl.F_DUPFD, free) for one in descriptors]
    for one, other in zip(wanted, moved, strict=True):
        os.dup2(other, one)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in wanted:
            with contextlib.suppress(OSError):  # that of the listing
                os.close(int(name))
    os.environ.clear()
    os.environ.update(message["environment"])
    os.chdir(message["directory"])
    for kind, soft, hard in message["limits"]:
        if resource.getrlimit(kind) != (soft, hard):
            resource.setrlimit(kind, (soft, hard))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        default = signal.SIG_IGN if number in (signal.SIGPIPE, signal.SIGXFSZ) else signal.SIG_DFL
        with contextlib.suppress(OSError):  # those of the C library
            signal.signal(number, signal.SIG_IGN if number in message["ignored"] else default)
    if signal.SIGINT not in message["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, message["blocked"])


def run(message: dict[str, Any]) -> None:
    """Run what multiprocessing gives to the child; ends with SystemExit."""
    multiprocessing.spawn.spawn_main(tracker_fd=message["tracker"], pipe_handle=message["pipe"])
