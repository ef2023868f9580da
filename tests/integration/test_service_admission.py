"""Admission with a real ledger and real files: order, batches, and files that are skipped by the thousand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from dropscribe.config import Settings
from dropscribe.errors import StorageError
from dropscribe.files import FileSignature
from dropscribe.intake.types import Arrival, FolderHealth, Gone, Notice, Skip
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Admission, Admitted, JobState, SkippedFile
from dropscribe.service.activity import Activities
from dropscribe.service.admission import admitter as admitter_module
from dropscribe.service.admission.admitter import Admitter, _Hashed
from dropscribe.service.admission.renames import RenameFinder
from dropscribe.service.storage.storage_retry import StorageRetry
from tests.support.intake import wait_until

CODE, REASON = "extension", ".dat is no recording extension"


class Desk:
    """An admitter on `root/inbox`, started by `start`; the calls of its ledger are recorded in order."""

    def __init__(self, root: Path) -> None:
        self.inbox = root / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.ledger: Ledger = open_ledger(DatabaseLocation(root / "jobs.db"))
        self.calls: list[tuple[str, int]] = []
        self.unreadable: list[tuple[Path, str]] = []
        settings = Settings.model_validate({"folder": [{"path": self.inbox}]})
        self.admitter = Admitter(
            Recording(self.ledger, self.calls), lambda: settings, StorageRetry(0.01),
            admitted=lambda: None, folder=_ignore, activities=Activities(),
            renames=RenameFinder(self.ledger, lambda: settings, lambda _: True),
        )  # fmt: skip

    def start(self) -> None:
        self.admitter.start(
            forget=lambda _: None, unreadable=lambda path, reason: self.unreadable.append((path, reason))
        )

    def arrival(self, name: str, data: bytes = b"sound") -> Arrival:
        path = self.inbox / name
        path.write_bytes(data)
        return Arrival(self.inbox, path, FileSignature.of(path.stat()), 0.0, 0.0)

    def skips(self, count: int, *, at_start: bool = True) -> list[Skip]:
        return [Skip(self.inbox, self.inbox / f"{i}.dat", CODE, REASON, 0.0, at_start) for i in range(count)]

    def take(self, *notices: Notice) -> None:
        for notice in notices:
            self.admitter.take(notice)

    def close(self) -> None:
        self.admitter.stop()
        assert self.admitter.failure is None
        self.ledger.close()


class Recording:
    """A ledger whose calls are recorded; passes everything on."""

    def __init__(self, ledger: Ledger, calls: list[tuple[str, int]]) -> None:
        self._ledger = ledger
        self._calls = calls

    def admit(self, admissions: Sequence[Admission], now: float) -> list[Admitted]:
        self._calls.append(("admit", len(admissions)))
        return self._ledger.admit(admissions, now)

    def skip(self, skipped: Sequence[SkippedFile], now: float) -> None:
        self._calls.append(("skip", len(skipped)))
        self._ledger.skip(skipped, now)

    def cancel_gone(self, path: Path, now: float, reason: str) -> list[int]:
        self._calls.append(("gone", 1))
        return self._ledger.cancel_gone(path, now, reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def _ignore(_: FolderHealth) -> None:
    pass


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Log lines of the test, debug lines left out."""
    monkeypatch.setattr(admitter_module, "TICK_S", 0.01)
    monkeypatch.setattr("dropscribe.service.admission.skip_report.COLLECT_S", 0.05)
    with structlog.testing.capture_logs() as captured:
        yield captured


def said(lines: list[Any]) -> list[str]:
    return [
        line["event"] for line in lines if line["log_level"] == "info" and line.get("action") == "skipped"
    ]


def test_recordings_are_admitted_before_thousands_of_skipped_files(desk: Desk, lines: list[Any]) -> None:
    desk.take(*desk.skips(3000))
    desk.take(*(desk.arrival(f"{i}.wav", b"%d" % i) for i in range(20)))
    desk.start()
    wait_until(lambda: len(desk.ledger.recent_skips(5000)) == 3000, "all are on record")
    wait_until(lambda: desk.ledger.counts()[JobState.QUEUED] == 20, "all are admitted")
    batches = [n for name, n in desk.calls if name == "skip"]
    assert sum(batches) == 3000
    assert len(batches) <= 3000 / admitter_module.SKIPS_AT_ONCE + 2
    last = max(i for i, (name, _) in enumerate(desk.calls) if name == "admit")
    assert sum(n for name, n in desk.calls[:last] if name == "skip") < 3000, (
        "none waits for all of the others"
    )
    wait_until(lambda: bool(said(lines)), "the log says it")
    assert said(lines) == [
        f"{desk.inbox}: 3,000 files skipped: {REASON}; 'dropscribe jobs skipped' lists them"
    ]


def test_a_restart_writes_nothing_about_files_on_record(tmp_path: Path, lines: list[Any]) -> None:
    for run in range(2):
        desk = Desk(tmp_path)
        before = {s.path: s for s in desk.ledger.recent_skips(5000)}
        changed = {p: p.stat().st_mtime_ns for p in tmp_path.glob("jobs.db*") if p.suffix != ".db-shm"}
        desk.take(*desk.skips(1200))
        desk.start()
        wait_until(lambda desk=desk: sum(n for _, n in desk.calls) == 1200, "all were looked at")  # type: ignore[misc]
        wait_until(lambda run=run: len(said(lines)) == run + 1, "each run says so")  # type: ignore[misc]
        if run:
            assert {s.path: s for s in desk.ledger.recent_skips(5000)} == before
            now = {p: p.stat().st_mtime_ns for p in tmp_path.glob("jobs.db*") if p.suffix != ".db-shm"}
            assert now.get(tmp_path / "jobs.db-wal") == changed.get(tmp_path / "jobs.db-wal")
        desk.close()


def test_a_file_that_comes_again_or_has_another_reason_is_renewed(desk: Desk) -> None:
    one = SkippedFile(desk.inbox / "a.dat", desk.inbox, CODE, REASON)
    at_start = SkippedFile(desk.inbox / "a.dat", desk.inbox, CODE, REASON, at_start=True)
    reworded = SkippedFile(desk.inbox / "a.dat", desk.inbox, CODE, "other words", at_start=True)
    for number, (file, last, reason) in enumerate(
        [(one, 0.0, REASON), (at_start, 0.0, REASON), (one, 2.0, REASON), (reworded, 3.0, "other words")]
    ):
        desk.ledger.skip([file], float(number))
        (found,) = desk.ledger.recent_skips(10)
        assert (found.first_seen, found.last_seen, found.reason) == (0.0, last, reason)


@pytest.mark.parametrize("order", ["removed and dropped again", "dropped and removed"])
def test_the_job_of_a_file_follows_what_happened_last(desk: Desk, order: str) -> None:
    """All of it is recorded in one batch, as after the database was locked."""
    arrival = desk.arrival("a.wav")
    beside = desk.arrival("b.wav")
    hashed, other = _Hashed(arrival, "sha"), _Hashed(beside, "other")
    gone = Gone(desk.inbox, arrival.path, 0.0)
    for record in (other, gone, hashed) if order.startswith("removed") else (other, hashed, gone):
        desk.admitter._records.put(record)
    desk.start()
    wait_until(lambda: sum(n for _, n in desk.calls) == 3, "all is taken")
    # A call is noted before it writes; after the stop all of them have.
    assert desk.admitter.stop()
    states = {
        j.recording.name: j.state for j in desk.ledger.jobs(state=None, folder=None, since=None, limit=9)
    }
    expected = JobState.QUEUED if order.startswith("removed") else JobState.CANCELLED
    assert states == {"b.wav": JobState.QUEUED, "a.wav": expected}


def test_renamed_recordings_among_others_keep_their_jobs(desk: Desk) -> None:
    """Three are renamed, a copy with the same time and a new file come with them: one batch of one thread."""
    first = [desk.arrival(f"{i}.wav", b"%d" % i) for i in range(4)]
    desk.take(*first)
    desk.start()
    wait_until(lambda: desk.ledger.counts()[JobState.QUEUED] == 4, "all are admitted")
    jobs = {j.recording: j.id for j in desk.ledger.jobs(state=None, folder=None, since=None, limit=9)}
    again = []
    for arrival in first[:3]:
        path = arrival.path.rename(arrival.path.with_name(f"new-{arrival.path.name}"))
        again.append(replace(arrival, path=path))
    copy = replace(first[3], path=first[3].path.with_name("copy.wav"))
    shutil.copy2(first[3].path, copy.path)
    copy = replace(copy, signature=FileSignature.of(copy.path.stat()))
    desk.take(*again, copy, desk.arrival("new.wav", b"another"))
    names = {first[3].path, copy.path, desk.inbox / "new.wav", *(a.path for a in again)}

    def now() -> dict[Path, int]:
        return {j.recording: j.id for j in desk.ledger.jobs(state=None, folder=None, since=None, limit=9)}

    wait_until(lambda: now().keys() == names, "three have another name, and two are new")
    for arrival in first[:3]:
        assert now()[arrival.path.with_name(f"new-{arrival.path.name}")] == jobs[arrival.path]
    assert now()[first[3].path] == jobs[first[3].path]


def test_a_stop_leaves_skipped_files_to_the_next_start(desk: Desk) -> None:
    desk.take(*desk.skips(50_000))
    desk.start()
    assert desk.admitter.stop()
    assert len(desk.calls) < 50_000 / admitter_module.SKIPS_AT_ONCE


def test_a_file_that_cannot_be_read_goes_back_to_intake(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: Any) -> str:
        raise StorageError("Permission denied", operation="hash", path=path, remedy="make it readable")

    monkeypatch.setattr(admitter_module, "content_hash", refuse)
    arrival = desk.arrival("a.wav")
    desk.take(arrival)
    desk.start()
    wait_until(lambda: bool(desk.unreadable), "intake knows it")
    assert desk.unreadable == [(arrival.path, "it cannot be read (Permission denied); make it readable")]
    assert desk.calls == []
