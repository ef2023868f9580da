"""State of files between two scans."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dropscribe.files import FileSignature
from dropscribe.intake.file_table import Access, FileTable
from dropscribe.intake.scan import Scan
from dropscribe.intake.settling import EMPTY, OPEN, REREAD_MOST_S, REREAD_S, Refuse, Settling
from dropscribe.intake.types import Known
from tests.support.intake import folder_of

A, B = "/in/a.wav", "/in/sub/b.wav"
QUIET = 2.0


@pytest.fixture
def table() -> FileTable:
    return new_table()


def new_table() -> FileTable:
    return FileTable(Settling(folder_of(Path("/in"), quiet_s=QUIET)))


def known(path: str, signature: FileSignature, *, unfinished: bool = False) -> Known:
    return Known(path, signature, unfinished)


def test_due_once_though_it_changed_twice_at_one_instant(table: FileTable) -> None:
    table.saw(A, FileSignature(0, 1, 1), 10.0)
    table.saw(A, FileSignature(5, 1, 1), 10.0)
    assert table.take_due(10.0 + QUIET) == [A]
    assert table.take_due(10.0 + QUIET) == []


def test_a_change_restarts_the_quiet_period(table: FileTable) -> None:
    table.saw(A, FileSignature(1, 1, 1), 10.0)
    table.saw(A, FileSignature(2, 1, 1), 11.0)
    assert table.take_due(12.5) == []
    assert table.take_due(13.0) == [A]


def test_waiting_indefinitely_takes_no_memory(table: FileTable) -> None:
    """Files without their marker are found by every scan, for months."""
    for now in range(1000):
        table.saw(A, FileSignature(1, 1, 1), float(now))
        for path in table.take_due(float(now)):
            candidate = table.candidate(path)
            assert candidate is not None
            table.wait(path, candidate, math.inf, OPEN)
    assert len(table) == 1
    assert table.next_due() is None
    assert len(table._queue) <= 1


def test_an_empty_file_is_refused_once_and_reconsidered_on_change(table: FileTable) -> None:
    table.saw(A, FileSignature(0, 1, 1), 0.0)
    assert table.take_due(QUIET) == [A]
    assert table.refuse(A, EMPTY, FileSignature(0, 1, 1))
    table.saw(A, FileSignature(0, 1, 1), 5.0)
    assert len(table) == 0
    table.saw(A, FileSignature(0, 2, 1), 6.0)
    assert table.take_due(6.0 + QUIET) == [A]
    assert not table.refuse(A, EMPTY, FileSignature(0, 2, 1)), "said already"


def test_a_file_that_returns_is_reported_as_refused_again(table: FileTable) -> None:
    assert table.refuse(A, EMPTY, None)
    table.close_walk(Scan(refused=[(A, EMPTY)]), 1.0)
    assert not table.refuse(A, EMPTY, None)
    table.close_walk(Scan(), 1.0)
    assert table.refuse(A, EMPTY, None)


def test_only_files_seen_in_this_directory_can_be_missing() -> None:
    table = new_table()
    table.settle(A, FileSignature(1, 1, 1))
    table.settle(B, FileSignature(2, 2, 2))
    table.disown("/in/sub")
    table.close_walk(Scan(), 7.0)
    assert table.take_missing(6.9) == []
    assert table.take_missing(7.0) == [A]
    table.disown()
    table.close_walk(Scan(), 9.0)
    assert table.take_missing(100.0) == []


def test_only_existing_files_of_a_long_history_are_kept_in_memory(table: FileTable) -> None:
    walk = Scan(found={A: FileSignature(1, 1, 1), B: FileSignature(9, 9, 9)})
    history = [known(f"/in/{i}.wav", FileSignature(1, 1, 1)) for i in range(1000)]
    table.learn(
        walk, [*history, known(A, FileSignature(1, 1, 1)), known(B, FileSignature(2, 2, 2))], trusting=True
    )
    assert table.settled == {A: FileSignature(1, 1, 1), B: FileSignature(2, 2, 2)}
    assert walk.found == {B: FileSignature(9, 9, 9)}, "it changed"
    table.take_walk(walk, 10.0)
    table.close_walk(walk, 12.0)
    assert table.take_missing(100.0) == [], "a missing file whose job is done is not reported"
    assert table.take_due(10.0 + QUIET) == [B]


@pytest.mark.parametrize("trusting", [True, False])
def test_an_absent_file_with_unfinished_work_is_missing_in_a_trusted_folder(
    table: FileTable, *, trusting: bool
) -> None:
    table.learn(Scan(), [known(A, FileSignature(1, 1, 1), unfinished=True)], trusting=trusting)
    table.close_walk(Scan(), 12.0)
    assert table.take_missing(12.0) == ([A] if trusting else [])


class Life(RuleBasedStateMachine):
    """Files appear, change, vanish and are checked in any order: each content is passed on once, after it was quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.table = new_table()
        self.now = 0.0
        self.disk: dict[str, tuple[FileSignature, float]] = {}
        self.handed: list[tuple[str, FileSignature]] = []
        self.writes = 0

    @rule(path=st.sampled_from([A, B]))
    def write(self, path: str) -> None:
        self.writes += 1
        self.disk[path] = (FileSignature(1, self.writes, 1), self.now)

    @rule(path=st.sampled_from([A, B]))
    def hint(self, path: str) -> None:
        if path in self.disk:
            self.table.saw(path, self.disk[path][0], self.now)

    @rule()
    def scan(self) -> None:
        found = {p: s for p, (s, _) in self.disk.items() if self.table.settled.get(p) != s}
        walk = Scan(found=found, seen=self.disk.keys() & self.table.settled.keys())
        self.table.take_walk(walk, self.now)
        self.table.close_walk(walk, self.now + QUIET)

    @rule(after=st.sampled_from([0.0, 0.5, QUIET, 50.0]))
    def look(self, after: float) -> None:
        self.now += after
        for path in self.table.take_due(self.now):
            before = self.table.candidate(path)
            assert before is not None
            signature, written = self.disk[path]
            candidate = self.table.settling.observe(before, signature, self.now)
            if self.now < self.table.settling.ripe(candidate):
                self.table.wait(path, candidate, self.table.settling.ripe(candidate), OPEN)
                continue
            assert self.now >= written + QUIET
            self.table.settle(path, signature)
            self.handed.append((path, signature))

    @invariant()
    def never_twice(self) -> None:
        assert len(self.handed) == len(set(self.handed))

    def teardown(self) -> None:
        """After any history, a scan and a quiet period pass on all remaining files."""
        self.scan()
        for _ in range(2):
            self.look(QUIET)
        assert {p: s for p, (s, _) in self.disk.items()}.items() <= self.table.settled.items()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


ACCESS = Access(1, 0o100000, 0, 0)


def settle(table: FileTable, path: str, now: float) -> None:
    """Pass `path` on, as the folder's thread does."""
    table.saw(path, FileSignature(1, 1, 1), now - QUIET)
    assert path in table.take_due(now)
    table.settle(path, FileSignature(1, 1, 1))


def test_attempts_to_read_a_file_become_rarer(table: FileTable) -> None:
    attempts, now = 0, 0.0
    settle(table, A, now)
    while now < 86_400.0:
        table.unreadable(A, ACCESS, now)
        due = table.next_due()
        assert due is not None
        assert now < due <= now + REREAD_MOST_S
        now = due
        assert table.take_retries(now, 10) == [A]
        settle(table, A, now)
        attempts += 1
    assert 86_400 / REREAD_MOST_S < attempts < 86_400 / REREAD_MOST_S + 10


def test_a_changed_access_causes_an_attempt_at_once_and_short_delays_again(table: FileTable) -> None:
    for _ in range(5):
        settle(table, A, 0.0)
        table.unreadable(A, ACCESS, 0.0)
        assert table.take_retries(1e6, 10) == [A]
    settle(table, A, 0.0)
    assert not table.retry_changed(A, ACCESS), "an attempt is under way"
    table.unreadable(A, ACCESS, 0.0)
    assert table.waiting_unreadable() == [A]
    assert not table.retry_changed(A, ACCESS)
    assert table.retry_changed(A, ACCESS._replace(mode=0o100644))
    assert A not in table.settled
    settle(table, A, 10.0)
    table.unreadable(A, ACCESS._replace(mode=0o100644), 10.0)
    assert table.next_due() == 10.0 + REREAD_S


def test_a_turn_takes_a_part_of_the_unreadable_files(table: FileTable) -> None:
    for i in range(10):
        settle(table, f"/in/{i}.wav", 0.0)
        table.unreadable(f"/in/{i}.wav", ACCESS, 0.0)
    assert len(table.take_retries(REREAD_S, 4)) == 4
    assert len(table.take_retries(REREAD_S, 100)) == 6
    assert table.take_retries(REREAD_S, 100) == []


def test_an_unreadable_file_that_disappears_is_forgotten(table: FileTable) -> None:
    for path in (A, B):
        settle(table, path, 0.0)
        table.unreadable(path, ACCESS, 0.0)
        assert table.refuse(path, Refuse("unreadable", "permission denied"), None)
    table.close_walk(Scan(seen={A}), 1.0)
    assert table.waiting_unreadable() == [A]
    assert not table.refuse(A, Refuse("unreadable", "permission denied"), None), "said already"
    assert table.refuse(B, Refuse("unreadable", "permission denied"), None)
    table.forget(A)
    assert table.waiting_unreadable() == []
    assert table.take_retries(1e9, 10) == []
