"""What every child process does: it starts with what it is given, ends with its parent's word, and its end has words."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from dropscribe import children
from dropscribe.children import InheritedFd, Killed, how_ended

#: Far above what anything here takes; only a hang reaches it, seconds.
LONG_S = 60.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, 40])
def test_a_signal_that_a_process_does_not_send_itself_came_from_outside(number: int) -> None:
    end = how_ended(-number)
    assert end.killed
    assert "killed by" in end.how


@pytest.mark.parametrize(
    "number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGXFSZ]
)
def test_a_crash_is_the_process_s_own(number: signal.Signals) -> None:
    end = how_ended(-number)
    assert not end.killed
    assert end.how == f"was killed by {number.name}"


def test_a_signal_without_a_name_is_given_by_its_number() -> None:
    assert how_ended(-40).how == "was killed by signal 40"


def test_an_exit_is_its_own() -> None:
    assert (how_ended(1).killed, how_ended(1).how) == (False, "ended with status 1")


def test_one_whose_end_takes_long_was_killed() -> None:
    """It has closed its pipe, which the kernel does for a killed process before it is gone."""
    assert how_ended(None).killed


def _serve(pipe: Connection, file: InheritedFd) -> None:
    """A child that answers what it reads through the descriptor, its name, and every message until told to end."""
    children.set_up("ds-test")
    pipe.send((os.pread(file.fd, 100, 0), Path("/proc/self/comm").read_text(encoding="ascii").strip()))
    while (message := pipe.recv()) != "end":
        pipe.send(message)


def _start_others(pipe: Connection) -> None:
    """A child with children of its own, until the other end is closed."""
    pipe.send([subprocess.Popen(["sleep", "600"]).pid for _ in range(3)])
    pipe.poll(None)


def _fail(pipe: Connection) -> None:
    pipe.close()
    os._exit(3)


def _read_to_the_end(pipe: Connection) -> None:
    while pipe.poll(LONG_S):
        pipe.recv()


def test_a_child_has_its_descriptor_and_name_and_survives_the_signals_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "inherited"
    path.write_bytes(b"words")
    ours, theirs = multiprocessing.Pipe()
    fd = os.open(path, os.O_RDONLY)
    process = children.spawn(_serve, (theirs, InheritedFd(fd)), "dropscribe-test", [theirs])
    os.close(fd)
    with ours:
        assert ours.poll(LONG_S)
        assert ours.recv() == (b"words", "ds-test")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.pid or 0, number)
            ours.send("still there")
            assert ours.poll(LONG_S)
            assert ours.recv() == "still there"
        ours.send("end")
        assert children.is_gone(process, LONG_S)


def test_the_death_of_a_child_ends_its_pipe_and_has_words() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = children.spawn(_serve, (theirs, InheritedFd(0)), "dropscribe-test", [theirs])
    with ours:
        process.kill()
        assert ours.poll(LONG_S)
        # It may have said something before it was killed.
        with pytest.raises((EOFError, OSError)):
            _read_to_the_end(ours)
        process.join(LONG_S)
        assert how_ended(process.exitcode).how == "was killed by SIGKILL"
        assert children.is_gone(process, 0.0)


def test_one_that_is_not_gone_can_be_asked_again() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = children.spawn(_serve, (theirs, InheritedFd(0)), "dropscribe-test", [theirs])
    assert not children.is_gone(process, 0.0)
    process.kill()
    assert children.is_gone(process, LONG_S)
    ours.close()


def test_an_exit_status_reaches_the_parent() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = children.spawn(_fail, (theirs,), "dropscribe-test", [theirs])
    with ours, pytest.raises(EOFError):
        ours.recv()
    process.join(LONG_S)
    assert how_ended(process.exitcode).how == "ended with status 3"
    assert children.is_gone(process, 0.0)


def test_a_child_that_cannot_be_started_leaves_its_end_of_the_pipe_closed() -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours:
        # A function within a function cannot be pickled.
        with pytest.raises(AttributeError):
            children.spawn(lambda _: None, (theirs,), "dropscribe-test", [theirs])
        assert theirs.closed


def test_one_wait_is_for_all_that_a_process_had_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be blocked in the kernel: a stop does not wait for one after the other."""
    ours, theirs = multiprocessing.Pipe()
    process = children.spawn(_start_others, (theirs,), "dropscribe-test", [theirs], spawns=True)
    with ours:
        assert ours.poll(LONG_S)
        others = ours.recv()
        with monkeypatch.context() as blocked:
            blocked.setattr(signal, "pidfd_send_signal", lambda *_: None)
            killed = Killed(process)
    waits: list[float] = []

    def wait(_: object, timeout: float) -> list[object]:
        waits.append(timeout)
        return []

    with monkeypatch.context() as blocked:
        blocked.setattr(multiprocessing.connection, "wait", wait)
        blocked.setattr(time, "monotonic", lambda: sum(waits))
        assert not killed.gone(5.0)
    assert sum(waits) <= 5.0
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LONG_S
    while not killed.gone(0.1):
        assert time.monotonic() < deadline
