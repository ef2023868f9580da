"""Make the n-th writing system call of one thread below one folder fail.

The kernel returns the error: a seccomp filter asks a supervisor process about each such call. So installed
libraries are tested unchanged, SQLite included. The supervisor is a separate process, because the thread may hold
the interpreter's lock while it waits. Linux on x86-64 and ARM only; skips elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

#: Calls whose first argument is the descriptor they write through: number on (x86-64, ARM 64).
CALLS = {
    "write": (1, 64),
    "pwrite64": (18, 68),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
}
#: Calls that create, rename or remove a path: number on (x86-64, ARM 64; -1: none), index of the path argument.
#: In "at" calls the argument before it is the directory of a relative path.
NAMING_CALLS = {
    "openat": ((257, 56), 1),
    "openat2": ((437, 437), 1),
    "link": ((86, -1), 1),
    "linkat": ((265, 37), 3),
    "rename": ((82, -1), 1),
    "renameat": ((264, 38), 3),
    "renameat2": ((316, 276), 3),
    "unlink": ((87, -1), 0),
    "unlinkat": ((263, 35), 1),
    "mkdir": ((83, -1), 0),
    "mkdirat": ((258, 34), 1),
}
_MACHINES = {"x86_64": 0, "aarch64": 1}
_SECCOMP = (317, 277)
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
#: _IOWR('!', 0, struct seccomp_notif) and _IOWR('!', 1, struct seccomp_notif_resp)
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE_BYTES = 80
_CONTINUE = 1
#: prctl(2): permits the supervisor to read this process's memory under Yama.
_PR_SET_PTRACER = 0x59616D61
#: Flags of openat that make it count; an open for reading changes nothing.
_OPENS = os.O_CREAT | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Call:
    """One counted system call."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Counted calls of a thread in order, the failed ones, and the exception it raised."""

    calls: tuple[Call, ...]
    failed: tuple[Call, ...]
    error: BaseException | None


class FaultyDisk:
    """Run functions with failing system calls. A context manager: it owns the supervisor process."""

    def __enter__(self) -> Self:
        if platform.machine() not in _MACHINES or platform.system() != "Linux":
            pytest.skip(f"no filter of system calls for {platform.system()} on {platform.machine()}")
        self._here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.syscall_faults", str(there.fileno())],
                pass_fds=[there.fileno()], cwd=Path(__file__).resolve().parents[2],
            )  # fmt: skip
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, self._process.pid, 0, 0, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.wait()

    def run(
        self,
        work: Callable[[], None],
        folder: Path,
        *,
        nth: int,
        error: int = errno.EIO,
        lasting: bool = False,
        naming: bool = False,
    ) -> Seen:
        """Run `work` in a thread whose `nth` (from 1; 0: none) writing call below `folder` fails with `error`.

        The same holds for threads that `work` starts, all of which must have ended when it returns. `lasting`: every
        later call fails, too. `naming`: the calls that make, rename or remove files count as well. Skips the test where
        the kernel allows no such filters.
        """
        order = {"folder": str(folder.resolve()), "nth": nth, "error": error, "lasting": lasting}
        raised: list[BaseException] = []
        forbidden: list[OSError] = []

        def run() -> None:
            try:
                listener = _install(naming=naming)
            except OSError as e:
                forbidden.append(e)
                return
            socket.send_fds(self._here, [json.dumps(order).encode()], [listener])
            os.close(listener)
            try:
                work()
            except BaseException as e:
                raised.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if forbidden:
            pytest.skip(f"the kernel allows no filter of system calls: {forbidden[0]}")
        with self._here.makefile("r", encoding="utf-8") as answers:
            answer = json.loads(answers.readline())
        calls, failed = (tuple(Call(*c) for c in answer[k]) for k in ("calls", "failed"))
        return Seen(calls, failed, raised[0] if raised else None)


def _install(*, naming: bool) -> int:
    """Install the filter in this thread, until it ends; returns the notification descriptor."""
    column = _MACHINES[platform.machine()]
    numbers = [both[column] for both in CALLS.values()]
    if naming:
        numbers += [both[column] for both, _ in NAMING_CALLS.values() if both[column] >= 0]
    program = [(_LOAD, 0, 0, 0)]
    program += [(_JUMP_IF_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ASK)]
    packed = b"".join(struct.pack("HBBI", *step) for step in program)
    steps = ctypes.create_string_buffer(packed, len(packed))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener = int(libc.syscall(_SECCOMP[column], _SET_MODE_FILTER, _NEW_LISTENER, header))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def _answer_for_the_disk(asking: socket.socket) -> None:
    """Supervisor process: handle one order with its notification descriptor after another, until the socket closes."""
    while True:
        order, listeners, _, _ = socket.recv_fds(asking, 65_536, 1)
        if not order:
            return
        calls, failed = _judge(listeners[0], json.loads(order))
        os.close(listeners[0])
        asking.sendall(json.dumps({"calls": calls, "failed": failed}).encode() + b"\n")


def _judge(listener: int, order: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Permit or fail calls until their thread has ended."""
    column = _MACHINES[platform.machine()]
    names = {both[column]: name for name, both in CALLS.items()}
    names |= {both[column]: name for name, (both, _) in NAMING_CALLS.items()}
    calls: list[Any] = []
    failed: list[Any] = []
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ((_, events),) = poll.poll()
        if not events & select.POLLIN:
            return calls, failed
        notice = bytearray(_NOTICE_BYTES)
        fcntl.ioctl(listener, _RECEIVE, notice)
        identity, thread, number, *arguments = struct.unpack_from("QI4xi12x6Q", notice)
        path = _path_of(thread, names[number], arguments)
        fails = False
        if path.startswith(order["folder"] + "/"):
            calls.append([names[number], path])
            fails = len(calls) == order["nth"] or (order["lasting"] and len(calls) > order["nth"])
            if fails:
                failed.append(calls[-1])
        answer = (identity, 0, -order["error"], 0) if fails else (identity, 0, 0, _CONTINUE)
        fcntl.ioctl(listener, _SEND, struct.pack("QqiI", *answer))


def _path_of(thread: int, name: str, arguments: list[int]) -> str:
    """Path of a call; "" if it does not count."""
    if name in CALLS:
        return str(Path(f"/proc/{thread}/fd/{arguments[0]}").readlink())
    if name == "openat" and not arguments[2] & _OPENS:
        return ""
    number = NAMING_CALLS[name][1]
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        if name == "openat2":
            memory.seek(arguments[2])
            flags: int = struct.unpack("Q", memory.read(8))[0]
            if flags & os.O_PATH or not flags & _OPENS:
                return ""
        memory.seek(arguments[number])
        path = os.fsdecode(memory.read(4096).split(b"\0", 1)[0])
    directory = struct.unpack("i", struct.pack("I", arguments[number - 1] & 0xFFFFFFFF))[0]
    if "at" in name and not path.startswith("/") and directory >= 0:
        path = str(Path(f"/proc/{thread}/fd/{directory}").readlink() / path)
    return path


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        _answer_for_the_disk(asked)
