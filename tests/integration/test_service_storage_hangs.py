"""A hanging file system blocks only the work on its own folder: admission and publishing with real threads."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dropscribe.config import Settings
from dropscribe.errors import RecordingChangedError, RecordingGoneError
from dropscribe.files import CHECK_PIECES, PIECE_BYTES, FileSignature, content_hash, piece_memory
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.activity import HUNG_S, STUCK_S, Activities, Activity
from dropscribe.service.storage import folder_pool
from dropscribe.service.storage.folder_pool import FolderPool
from dropscribe.service.storage.hangs import StorageHangs
from tests.support.ledgers import admission

DEADLINE_S = 60.0
A, B = Path("/a"), Path("/b")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Room:
    """A pool whose tasks block on a gate per item, as on a hanging file system."""

    def __init__(
        self,
        threads: int = 2,
        batch: int = 1,
        *,
        divided: bool = False,
        in_kernel: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.clock = Clock()
        self.activities = Activities(self.clock, in_kernel)
        self.gates: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.done: dict[str, threading.Event] = {}
        self.batches: list[tuple[Path, list[str]]] = []
        self.deaths: list[BaseException] = []
        self.pool: FolderPool[str] = FolderPool(
            "room", self._run, threads=threads, batch=batch, divided=divided, activities=self.activities,
            died=self.deaths.append, clock=self.clock,
        )  # fmt: skip

    def put(self, folder: Path, name: str, *, hangs: bool = False, large: bool = False) -> None:
        self.begun[name], self.done[name] = threading.Event(), threading.Event()
        if hangs:
            self.gates[name] = threading.Event()
        self.pool.put(folder, name, large=large)

    def _run(self, folder: Path, items: list[str], activity: Activity) -> None:
        self.batches.append((folder, items))
        for name in items:
            if name in self.gates:
                with activity.storage("read", folder, folder / name):
                    # Not before the call is known: its time counts from here on.
                    self.begun[name].set()
                    self.gates[name].wait(DEADLINE_S)
            else:
                self.begun[name].set()
            self.done[name].set()


@contextmanager
def room(
    threads: int = 2, batch: int = 1, in_kernel: Callable[[int], bool] = lambda _: True
) -> Iterator[Room]:
    made = Room(threads, batch, in_kernel=in_kernel)
    made.pool.start()
    try:
        yield made
    finally:
        for gate in made.gates.values():
            gate.set()
        assert made.pool.finish(DEADLINE_S)
        assert made.deaths == []


def test_a_folder_that_hangs_keeps_no_thread_from_the_others() -> None:
    with room(threads=2) as r:
        for i in range(5):
            r.put(A, f"hung-{i}", hangs=True)
        assert r.begun["hung-0"].wait(DEADLINE_S)
        assert r.begun["hung-1"].wait(DEADLINE_S)
        r.put(B, "other")
        assert not r.begun["other"].is_set()
        r.clock.now += folder_pool.SLOW_S
        r.pool.tend()
        assert r.done["other"].wait(DEADLINE_S)
        # Further work of the hanging folder must not occupy the replacement threads either.
        for i in range(5):
            r.put(B, f"more-{i}")
        assert all(r.done[f"more-{i}"].wait(DEADLINE_S) for i in range(5))
        assert not r.begun["hung-2"].is_set()
        assert set(r.pool.slow()) == {f"hung-{i}" for i in range(5)}
        assert len(r.pool._workers) == 4
        for gate in r.gates.values():
            gate.set()
        r.pool.tend()
        assert all(r.done[f"hung-{i}"].wait(DEADLINE_S) for i in range(5))


def test_the_items_of_a_folder_are_divided_among_the_threads() -> None:
    made = Room(2, 4, divided=True)
    for i in range(11):
        made.put(A, f"{i}")
    made.pool.start()
    assert all(made.done[f"{i}"].wait(DEADLINE_S) for i in range(11))
    assert made.pool.finish(DEADLINE_S)
    # Half of what is left, but 4 at most: the last are not left to one thread.
    assert sorted(len(items) for _, items in made.batches) == [1, 2, 4, 4]


def test_a_large_file_lets_the_small_ones_of_its_folder_pass() -> None:
    with room(threads=2) as r:
        r.put(A, "huge", hangs=True, large=True)
        r.put(A, "huge too", large=True)
        r.put(B, "huge elsewhere", large=True)
        assert r.begun["huge"].wait(DEADLINE_S)
        for i in range(10):
            r.put(A, f"small-{i}")
        assert all(r.done[f"small-{i}"].wait(DEADLINE_S) for i in range(10))
        assert not r.begun["huge too"].is_set()
        r.gates["huge"].set()
        assert r.done["huge too"].wait(DEADLINE_S)
        assert r.done["huge elsewhere"].wait(DEADLINE_S)


def test_folders_take_turns_and_work_of_a_folder_keeps_its_order() -> None:
    r = Room(threads=1, batch=2)
    for i in range(4):
        r.put(A, f"a{i}")
    for i in range(3):
        r.put(B, f"b{i}")
    r.pool.start()
    assert r.pool.finish(DEADLINE_S)
    assert r.batches == [(A, ["a0", "a1"]), (B, ["b0", "b1"]), (A, ["a2", "a3"]), (B, ["b2"])]


def test_stopping_waits_for_work_and_not_for_a_file_system() -> None:
    r = Room(threads=2)
    r.put(A, "hung", hangs=True)
    r.pool.start()
    assert r.begun["hung"].wait(DEADLINE_S)
    r.clock.now += folder_pool.SLOW_S
    r.put(B, "under way", hangs=True)
    r.pool.tend()
    assert r.begun["under way"].wait(DEADLINE_S)
    r.put(B, "waiting")
    r.gates["under way"].set()
    assert r.pool.finish(3600.0) is False
    assert r.done["waiting"].is_set()
    r.gates["hung"].set()


def test_hanging_file_systems_and_stuck_threads_are_distinguished() -> None:
    blocked = threading.Event()
    with room(in_kernel=lambda _: blocked.is_set()) as r:
        blocked.set()
        r.put(A, "file", hangs=True)
        assert r.begun["file"].wait(DEADLINE_S)
        while not [w for a in r.activities._known() for w in a.waits() if w.action == "read"]:
            pass
        assert r.activities.hangs(r.clock()) == []
        r.clock.now += HUNG_S
        hang, *_ = r.activities.hangs(r.clock())
        assert (hang.room, hang.folder, hang.path, hang.since) == ("room", A, A / "file", 1000.0)
        r.clock.now += STUCK_S
        assert r.activities.stuck(r.clock()) == [], "it waits for a file system"
        blocked.clear()
        assert r.activities.stuck(r.clock()) == ["room"], "it waits for a lock, or spins"
        blocked.set()
        assert r.activities.stuck(r.clock()) == ["room"], "being in the kernel now and then is no progress"
        r.gates["file"].set()
        assert r.done["file"].wait(DEADLINE_S)
        while r.activities.stuck(r.clock()):
            pass


def test_a_thread_that_does_not_come_back_from_our_own_code_is_stuck() -> None:
    clock = Clock()
    activities = Activities(clock)
    activity = activities.enter("admission")
    clock.now += STUCK_S * 2
    assert activities.stuck(clock()) == [], "without work nothing need move on"
    activity.begin()
    clock.now += STUCK_S
    assert activities.stuck(clock()) == ["admission"]
    activity.working()
    assert activities.stuck(clock()) == []
    activities.leave(activity)


def test_a_thread_of_intake_that_waits_for_no_file_system_is_stuck() -> None:
    kernel = {7}
    activities = Activities(Clock(), kernel.__contains__)
    assert activities.stuck(0.0, [7]) == []
    assert activities.stuck(0.0, [7, 8]) == ["intake"]


def test_a_daemon_with_a_stuck_thread_is_reported_and_not_kept_alive(tmp_path: Path) -> None:
    clock = Clock()
    activities = Activities(clock, lambda _: False)
    with closing(open_ledger(DatabaseLocation(tmp_path / "jobs.db"))) as ledger:
        hangs = StorageHangs(ledger, activities, Settings, clock)
        activities.enter("publishing").begin()
        assert hangs.check() is True
        assert hangs.complaints() == []
        clock.now += STUCK_S
        assert hangs.check() is False
        assert "publishing" in hangs.complaints()[0].problem


def test_jobs_wait_while_a_file_system_does_not_answer_and_go_on_after(tmp_path: Path) -> None:
    clock = Clock()
    activities = Activities(clock, lambda _: True)
    folder, out = tmp_path / "inbox", tmp_path / "out"
    settings = Settings.model_validate(
        {"folder": [{"path": folder}], "profiles": {"default": {"output_dir": out}}}
    )
    with closing(open_ledger(DatabaseLocation(tmp_path / "jobs.db"))) as ledger:
        ledger.admit([admission("a.wav", "a", path=folder / "a.wav", folder=folder)], 100.0)
        hangs = StorageHangs(ledger, activities, lambda: settings, clock)
        activity = activities.enter("publishing")
        with activity.storage("publish", out, out / "x.txt"):
            clock.now += HUNG_S
            assert hangs.check() is True, "it is no fault of ours"
            (said,) = hangs.complaints()
            assert str(out) in said.problem
            assert "since" in said.problem
            assert said.remedy
            assert hangs.tend() == 0
            assert ledger.claim("w", 10, time.time(), 60.0, allow_isolated=False) == []
            (job,) = ledger.jobs()
            assert job.reason is not None
            assert str(out) in job.reason
        clock.now += 10.0
        assert hangs.check() is True
        assert hangs.complaints() == []
        assert hangs.tend() == 1
        assert len(ledger.claim("w", 10, time.time(), 60.0, allow_isolated=False)) == 1


def signature(path: Path) -> FileSignature:
    status = path.stat()
    return FileSignature.of(status)


class StopHereError(Exception):
    pass


def test_hashing_a_sparse_file_of_terabytes_ends_between_two_pieces(tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(4 << 40)
    calls = 0

    def between() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise StopHereError

    with pytest.raises(StopHereError):
        content_hash(path, tmp_path, signature(path), between)


@pytest.mark.parametrize("what", ["removed", "renamed", "replaced", "grown", "a pipe in its place"])
def test_changes_of_a_file_are_noticed_while_it_is_hashed(tmp_path: Path, what: str) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(4 << 40)
    meant = signature(path)
    read = 0

    def between() -> None:
        nonlocal read
        read += 1
        if read == 2:
            if what == "removed":
                path.unlink()
            elif what == "renamed":
                path.rename(tmp_path / "elsewhere.wav")
            elif what == "replaced":
                (tmp_path / "new.wav").write_bytes(b"new")
                (tmp_path / "new.wav").replace(path)
            elif what == "grown":
                os.truncate(path, (4 << 40) + 1)
            else:
                path.unlink()
                os.mkfifo(path)
        assert read <= 2 * CHECK_PIECES, "it is read on and on"

    with pytest.raises((RecordingGoneError, RecordingChangedError)):
        content_hash(path, tmp_path, meant, between)


def test_files_that_share_memory_have_hashes_of_their_own(tmp_path: Path) -> None:
    memory = piece_memory()
    for number, size in enumerate((2 * PIECE_BYTES + 5, 0, 7, PIECE_BYTES, 3)):
        path = tmp_path / f"{number}.wav"
        content = bytes([number + 1]) * size
        path.write_bytes(content)
        expected = hashlib.sha256(content).hexdigest()
        assert content_hash(path, tmp_path, signature(path), memory=memory) == expected


def test_a_pipe_or_a_device_in_the_place_of_a_recording_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(PIECE_BYTES + 1))
    meant = signature(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordingChangedError):
        content_hash(path, tmp_path, meant)
