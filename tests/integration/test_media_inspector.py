"""Inspections run in limited children: one that hangs, crashes or misbehaves affects only its own result."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from dropscribe.media import confinement
from dropscribe.media.container import inspection
from dropscribe.media.inspector import Inspected, Inspector
from tests.support.daemon_process import wait_until, write_speech
from tests.support.hanging_disk import HangingDisk

DEADLINE_S = 60.0


def bad_child(pipe: Connection) -> None:
    """Misbehave as the file name says; inspect all other files."""
    pipe.send_bytes(inspection.READY)
    while True:
        _, paths = pipe.recv()
        path = max(paths, key=lambda p: p.stem == "hangs")
        if path.stem == "hangs":
            time.sleep(3600)
        elif path.stem == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif path.stem == "leaves":
            os._exit(0)
        pipe.send_bytes(b"?" * 4096 if path.stem == "talks" else inspection.WHOLE)


def limits_child(pipe: Connection) -> None:
    """Answer WHOLE if the limits of an inspection are in force."""
    confinement.attach(pipe.fileno(), "test")
    confinement.limit(inspection.MEMORY_BYTES, 32)
    pipe.send_bytes(inspection.READY)
    pipe.recv()
    bounded = resource.getrlimit(resource.RLIMIT_AS)[1] < 4 << 30
    no_core = resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    try:
        bytearray(1 << 30)
    except MemoryError:
        refused = True
    else:
        refused = False
    pipe.send_bytes(inspection.WHOLE if bounded and no_core and refused else inspection.CUT)
    pipe.recv()


@contextmanager
def inspector(
    limit_s: float = DEADLINE_S, target: Callable[[Connection], None] = inspection.main
) -> Iterator[Inspector]:
    made = Inspector(limit_s, target)
    try:
        yield made
    finally:
        assert made.close()


def test_completeness_follows_the_container(tmp_path: Path) -> None:
    whole = write_speech(tmp_path / "whole.wav", seconds=1.0)
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:9000])
    (tmp_path / "strange.wav").write_bytes(b"?" * 100)
    with inspector() as i:
        i.start()
        paths = [tmp_path / f"{name}.wav" for name in ("whole", "cut", "strange", "gone")]
        assert [i.inspect(tmp_path, path) for path in paths] == [
            Inspected.WHOLE,
            Inspected.CUT,
            Inspected.UNKNOWN,
            Inspected.UNKNOWN,
        ]
        assert list(i.inspect_each(tmp_path, paths)) == [
            Inspected.WHOLE,
            Inspected.CUT,
            Inspected.UNKNOWN,
            Inspected.UNKNOWN,
        ]


def test_of_files_inspected_together_only_the_one_that_fails_is_unknown(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.wav" for name in ("first", "hangs", "next")]
    with inspector(1.0, bad_child) as i:
        assert list(i.inspect_each(tmp_path, paths)) == [Inspected.WHOLE, Inspected.UNKNOWN, Inspected.WHOLE]


@pytest.mark.parametrize("how", ["hangs", "crashes", "leaves", "talks"])
def test_a_child_that_fails_is_replaced_and_the_file_is_unknown(tmp_path: Path, how: str) -> None:
    with inspector(1.0, bad_child) as i:
        assert i.inspect(tmp_path, tmp_path / "first.wav") is Inspected.WHOLE
        pid = i._idle[0]._process.pid
        assert pid is not None
        assert i.inspect(tmp_path, tmp_path / f"{how}.wav") is Inspected.UNKNOWN
        wait_until(lambda: not psutil.pid_exists(pid), "it is gone")
        assert i.inspect(tmp_path, tmp_path / "next.wav") is Inspected.WHOLE


def test_a_child_that_was_killed_while_idle_costs_nothing(tmp_path: Path) -> None:
    whole = write_speech(tmp_path / "whole.wav", seconds=1.0)
    with inspector() as i:
        assert i.inspect(tmp_path, whole) is Inspected.WHOLE
        (child,) = i._idle
        child._process.kill()
        child._process.join()
        assert i.inspect(tmp_path, whole) is Inspected.WHOLE


def test_the_limits_are_in_force(tmp_path: Path) -> None:
    with inspector(target=limits_child) as i:
        assert i.inspect(tmp_path, tmp_path / "a.wav") is Inspected.WHOLE


def test_a_hanging_share_blocks_one_child_and_is_not_accessed_until_it_answers(tmp_path: Path) -> None:
    with HangingDisk(tmp_path / "mounted", tmp_path / "behind") as disk, inspector(1.0) as i:
        shared = write_speech(disk.path / "a.wav", seconds=1.0)
        local = write_speech(tmp_path / "a.wav", seconds=1.0)
        assert i.inspect(disk.path, shared) is Inspected.WHOLE
        disk.hang()
        for _ in range(3):
            assert i.inspect(disk.path, shared) is Inspected.UNKNOWN
            assert i.inspect(tmp_path, local) is Inspected.WHOLE
        assert len(i._hung) <= 1
        disk.answer()
        wait_until(lambda: i.inspect(disk.path, shared) is Inspected.WHOLE, "it is inspected again")
