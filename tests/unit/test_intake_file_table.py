"""State of files between two scans."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dropscribe.files import FileSignature
from dropscribe.intake.file_table import FileTable
from dropscribe.intake.scan import Scan
from dropscribe.intake.settling import EMPTY, Settling
from dropscribe.intake.types import Known
from tests.support.intake import folder_of

A, B = "/in/a.wav", "/in/sub/b.wav"
QUIET = 2.0


@pytest.fixture
def book() -> FileTable:
    return new_book()


def new_book() -> FileTable:
    return FileTable(Settling(folder_of(Path("/in"), quiet_s=QUIET)))


def known(path: str, signature: FileSignature, *, unfinished: bool = False) -> Known:
    return Known(path, signature, unfinished)


def test_due_once_though_it_changed_twice_at_one_instant(book: FileTable) -> None:
    book.saw(A, FileSignature(0, 1, 1), 10.0)
    book.saw(A, FileSignature(5, 1, 1), 10.0)
    assert book.take_due(10.0 + QUIET) == [A]
    assert book.take_due(10.0 + QUIET) == []


def test_a_change_restarts_the_quiet_period(book: FileTable) -> None:
    book.saw(A, FileSignature(1, 1, 1), 10.0)
    book.saw(A, FileSignature(2, 1, 1), 11.0)
    assert book.take_due(12.5) == []
    assert book.take_due(13.0) == [A]


def test_waiting_indefinitely_takes_no_memory(book: FileTable) -> None:
    """Files without their marker are found by every scan, for months."""
    for now in range(1000):
        book.saw(A, FileSignature(1, 1, 1), float(now))
        for path in book.take_due(float(now)):
            candidate = book.candidate(path)
            assert candidate is not None
            book.wait(path, candidate, math.inf)
    assert len(book) == 1
    assert book.next_due() is None
    assert len(book._queue) <= 1


def test_an_empty_file_is_refused_once_and_reconsidered_on_change(book: FileTable) -> None:
    book.saw(A, FileSignature(0, 1, 1), 0.0)
    assert book.take_due(QUIET) == [A]
    assert book.refuse(A, EMPTY, FileSignature(0, 1, 1))
    book.saw(A, FileSignature(0, 1, 1), 5.0)
    assert len(book) == 0
    book.saw(A, FileSignature(0, 2, 1), 6.0)
    assert book.take_due(6.0 + QUIET) == [A]
    assert not book.refuse(A, EMPTY, FileSignature(0, 2, 1)), "said already"


def test_a_file_that_returns_is_reported_as_refused_again(book: FileTable) -> None:
    assert book.refuse(A, EMPTY, None)
    book.close_walk(Scan(refused=[(A, EMPTY)]), 1.0)
    assert not book.refuse(A, EMPTY, None)
    book.close_walk(Scan(), 1.0)
    assert book.refuse(A, EMPTY, None)


def test_only_files_seen_in_this_directory_can_be_missing() -> None:
    book = new_book()
    book.settle(A, FileSignature(1, 1, 1))
    book.settle(B, FileSignature(2, 2, 2))
    book.disown("/in/sub")
    book.close_walk(Scan(), 7.0)
    assert book.take_missing(6.9) == []
    assert book.take_missing(7.0) == [A]
    book.disown()
    book.close_walk(Scan(), 9.0)
    assert book.take_missing(100.0) == []


def test_only_existing_files_of_a_long_history_are_kept_in_memory(book: FileTable) -> None:
    walk = Scan(found={A: FileSignature(1, 1, 1), B: FileSignature(9, 9, 9)})
    history = [known(f"/in/{i}.wav", FileSignature(1, 1, 1)) for i in range(1000)]
    book.learn(
        walk, [*history, known(A, FileSignature(1, 1, 1)), known(B, FileSignature(2, 2, 2))], trusting=True
    )
    assert book.settled == {A: FileSignature(1, 1, 1), B: FileSignature(2, 2, 2)}
    assert walk.found == {B: FileSignature(9, 9, 9)}, "it changed"
    book.take_walk(walk, 10.0)
    book.close_walk(walk, 12.0)
    assert book.take_missing(100.0) == [], "nobody needs to hear that what was done is not there"
    assert book.take_due(10.0 + QUIET) == [B]


@pytest.mark.parametrize("trusting", [True, False])
def test_an_absent_file_with_unfinished_work_is_missing_in_a_trusted_folder(
    book: FileTable, *, trusting: bool
) -> None:
    book.learn(Scan(), [known(A, FileSignature(1, 1, 1), unfinished=True)], trusting=trusting)
    book.close_walk(Scan(), 12.0)
    assert book.take_missing(12.0) == ([A] if trusting else [])


class Life(RuleBasedStateMachine):
    """Files appear, change, vanish and are checked in any order: each content is passed on once, after it was quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.book = new_book()
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
            self.book.saw(path, self.disk[path][0], self.now)

    @rule()
    def scan(self) -> None:
        found = {p: s for p, (s, _) in self.disk.items() if self.book.settled.get(p) != s}
        walk = Scan(found=found, seen=self.disk.keys() & self.book.settled.keys())
        self.book.take_walk(walk, self.now)
        self.book.close_walk(walk, self.now + QUIET)

    @rule(after=st.sampled_from([0.0, 0.5, QUIET, 50.0]))
    def look(self, after: float) -> None:
        self.now += after
        for path in self.book.take_due(self.now):
            before = self.book.candidate(path)
            assert before is not None
            signature, written = self.disk[path]
            candidate = self.book.settling.observe(before, signature, self.now)
            if self.now < self.book.settling.ripe(candidate):
                self.book.wait(path, candidate, self.book.settling.ripe(candidate))
                continue
            assert self.now >= written + QUIET
            self.book.settle(path, signature)
            self.handed.append((path, signature))

    @invariant()
    def never_twice(self) -> None:
        assert len(self.handed) == len(set(self.handed))

    def teardown(self) -> None:
        """After any history, a scan and a quiet period pass on all remaining files."""
        self.scan()
        for _ in range(2):
            self.look(QUIET)
        assert {p: s for p, (s, _) in self.disk.items()}.items() <= self.book.settled.items()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
