"""Decoding begins only after the ledger has recorded it; with the real ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from dropscribe.errors import EngineDiedError, LedgerError, StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.lone_trials import MOST_DEATHS
from dropscribe.ledger.records import JobState, JobSummary
from dropscribe.ledger.sql.ledger import SqlLedger
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.service.jobs.claimer import LEAST_AHEAD
from dropscribe.service.publishing.publisher import Published
from dropscribe.service.storage.storage_retry import RETRY_S
from tests.support.claiming import Later
from tests.support.dispatching import Turning, states
from tests.support.ledgers import admission, finish_of, transcribed

KILLED = Problem(
    "decoder_killed",
    "the decoder process was killed by SIGKILL",
    "look at the memory",
    FaultKind.DECODER_KILLED,
)


class Beginner(Turning):
    """A dispatcher whose begins are recorded when the test triggers it. `decoders`: recordings decoded at a time."""

    def __init__(self, ledger: Ledger, *, decoders: int = 2, limit: int = 512) -> None:
        self.disk = Later()
        super().__init__(ledger, limit=limit, begin=self.disk)
        self.decoders = decoders
        self.ended = 0
        self.executor.room.side_effect = lambda: self.decoders + self.ended - len(self.started())

    def started(self) -> list[str]:
        return [call.args[0].path.name for call in self.executor.start.call_args_list]

    def look(self) -> None:
        self.dispatcher.turn(0.0, (), claiming=True)

    def begin(self) -> None:
        self.disk.go()
        self.look()

    def end(self, name: str, end: Problem | None = None) -> None:
        """End the attempt: its decoder is free, and a result is with the publisher."""
        work = next(
            c.args[0] for c in reversed(self.executor.start.call_args_list) if c.args[0].path.name == name
        )
        self.ended += 1
        self.executor.turn.return_value = [
            Outcome(work.ticket, end or create_autospec(Result, instance=True))
        ]
        self.look()
        self.executor.turn.return_value = []

    def published(self, ledger: Ledger) -> None:
        put = [call.args[0].claim for call in self.publisher.put.call_args_list]
        self.publisher.put.reset_mock()
        assert ledger.finish([finish_of(claim, "一") for claim in put], self.now) == []
        self.publisher.completed.return_value = [Published(claim.job_id, None) for claim in put]
        self.look()
        self.publisher.completed.return_value = []


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    yield opened
    opened.close()


def admit(ledger: Ledger, *names: str) -> list[int]:
    return [a.job_id for a in ledger.admit([admission(n, n) for n in names], 1.0)]


def summary(ledger: Ledger, job: int) -> JobSummary:
    found = ledger.job(job)
    assert found is not None
    return found.summary


def attempts(ledger: Ledger) -> list[int]:
    return [job.attempts for job in ledger.jobs(oldest_first=True)]


def test_decoding_waits_for_its_record_and_the_main_loop_does_not(ledger: Ledger) -> None:
    admit(ledger, "a", "b", "c")
    w = Beginner(ledger)
    w.turn()
    assert (w.started(), attempts(ledger)) == ([], [0, 0, 0])
    w.dispatcher.turn(0.5, (), claiming=True)
    w.dispatcher.turn(0.5, (), claiming=True)
    assert w.executor.turn.call_args.args[0] == 0.5, "it is woken by the commit"
    woken = w.woken
    w.disk.go()
    assert (w.started(), attempts(ledger), w.woken) == ([], [1, 1, 0], woken + 1)
    w.look()
    assert w.started() == ["a", "b"]


def test_long_recordings_are_recorded_as_begun_only_when_a_decoder_is_free(ledger: Ledger) -> None:
    admit(ledger, *"abcdef")
    w = Beginner(ledger)
    w.turn()
    w.begin()
    for _ in range(3):
        w.turn(1.0)
    assert attempts(ledger) == [1, 1, 0, 0, 0, 0]
    assert not w.disk.waiting
    w.end("a")
    w.turn(1.0)
    w.begin()
    assert attempts(ledger) == [1, 1, 1, 0, 0, 0]
    assert w.started() == ["a", "b", "c"]


def test_short_recordings_are_recorded_as_begun_ahead(ledger: Ledger) -> None:
    admit(ledger, *"abcdefgh")
    w = Beginner(ledger)
    w.turn()
    w.begin()
    w.end("a")
    w.end("b")
    w.begin()
    w.begin()
    assert w.started() == ["a", "b", "c", "d"]
    assert attempts(ledger) == [1, 1, 1, 1, 1, 0, 0, 0]
    w.end("c")
    w.look()
    assert w.started() == ["a", "b", "c", "d", "e"], "no commit was waited for"


def test_short_recordings_are_recorded_as_begun_in_batches(ledger: Ledger) -> None:
    """Decoders that need milliseconds must not wait for a commit each time."""
    names = [f"{i:02d}" for i in range(40)]
    admit(ledger, *names)
    w = Beginner(ledger)
    w.turn()
    commits = 0
    while len(w.started()) < len(names):
        if w.disk.waiting:
            commits += 1
            w.begin()
        for name in w.started()[w.ended :]:
            w.end(name)
        w.look()
    assert w.started() == names
    assert commits <= len(names) // 4


def test_after_a_kill_only_what_had_begun_is_a_suspect(ledger: Ledger) -> None:
    jobs = admit(ledger, *(f"{i:02d}" for i in range(40)))
    w = Beginner(ledger)
    w.turn()
    w.begin()
    w.turn()
    claimed = states(ledger).count(JobState.RUNNING)
    recovered = ledger.recover(w.now)
    assert claimed >= LEAST_AHEAD
    assert (recovered.unbegun, recovered.suspects, recovered.failed) == (claimed - 2, 2, 0)
    assert attempts(ledger) == [0] * 40
    suspects = [job for job in jobs if (found := ledger.job(job)) is not None and found.isolate]
    assert suspects == jobs[:2]


def test_a_refused_record_is_retried_and_nothing_begins_before(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit with a late error may stand; the attempt is counted once."""
    admit(ledger, "a")
    stands, real = [False, True], SqlLedger.begin

    def begin(self: SqlLedger, ours: Sequence[tuple[int, int]]) -> set[int]:
        if not stands:
            return real(self, ours)
        if stands.pop():
            real(self, ours)
        raise StorageError("full", operation="begin decoding", path=Path("/jobs.db"))

    monkeypatch.setattr(SqlLedger, "begin", begin)
    w = Beginner(ledger)
    w.turn()
    for _ in range(2):
        w.begin()
        assert [e.operation for e in w.storage_retry.complaints()] == ["begin decoding"]
        w.look()
        assert (w.started(), len(w.disk.waiting)) == ([], 0), "not at once"
        w.turn(RETRY_S)
    w.begin()
    assert (w.started(), attempts(ledger), w.storage_retry.complaints()) == (["a"], [1], ())


def test_permanent_errors_are_raised(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any) -> set[int]:
        raise LedgerError("malformed")

    monkeypatch.setattr(SqlLedger, "begin", damaged)
    admit(ledger, "a")
    w = Beginner(ledger)
    w.turn()
    w.disk.go()
    with pytest.raises(LedgerError):
        w.look()


def test_one_that_is_cancelled_before_it_begins_is_not_started(ledger: Ledger) -> None:
    first, _ = admit(ledger, "a", "b")
    w = Beginner(ledger)
    w.turn()
    ledger.cancel(first, w.now, "not wanted")
    w.begin()
    assert w.started() == ["b"]
    assert w.dispatcher.in_flight == 1


def test_a_copy_that_is_done_by_reference_waits_for_no_record(ledger: Ledger) -> None:
    transcribed(ledger, "一", name="a.wav")
    ledger.admit([admission("copy.wav", "a.wav")], 100.0)
    w = Beginner(ledger)
    w.turn()
    assert w.publisher.put.call_count == 1
    assert not w.disk.waiting


def test_stopping_releases_jobs_that_are_about_to_begin(ledger: Ledger) -> None:
    admit(ledger, "a", "b", "c", "d")
    w = Beginner(ledger, decoders=1)
    w.turn()
    w.begin()
    w.end("a", Problem("storage", "full", "", FaultKind.STORAGE))
    w.turn()
    assert len(w.disk.waiting) == 1
    assert w.dispatcher.requeue_all() == 3
    w.disk.go()
    assert attempts(ledger) == [0, 0, 0, 0]
    assert states(ledger) == [JobState.QUEUED] * 4
    assert ledger.recover(w.now).suspects == 0


def test_a_recording_whose_decoder_is_killed_is_next_tried_alone(ledger: Ledger) -> None:
    admit(ledger, "a", "b")
    w = Beginner(ledger, limit=2)
    w.turn()
    w.begin()
    admit(ledger, "c")
    w.end("a", KILLED)
    w.turn()
    assert not w.disk.waiting, "b is still under way"
    w.end("b")
    w.published(ledger)
    w.turn()
    w.begin()
    assert w.started() == ["a", "b", "a"]
    w.turn()
    assert not w.disk.waiting, "it is alone"
    w.end("a")
    w.published(ledger)
    w.turn()
    w.begin()
    assert w.started() == ["a", "b", "a", "c"]


def test_a_recording_whose_decoder_is_always_killed_fails_and_others_are_done(
    ledger: Ledger,
) -> None:
    (bad,) = admit(ledger, "bad")
    w = Beginner(ledger)
    for i in range(1_000):
        if summary(ledger, bad).state is JobState.FAILED:
            break
        admit(ledger, f"good-{i}")
        w.turn(10.0)
        if w.disk.waiting:
            w.begin()
        for name in w.started()[w.ended :]:
            w.end(name, KILLED if name == "bad" else None)
        w.published(ledger)
    assert w.started().count("bad") == MOST_DEATHS + 1
    found = summary(ledger, bad)
    assert (found.state, found.reason_code, found.remedy) == (
        JobState.FAILED, "decoder_killed", KILLED.remedy,
    )  # fmt: skip
    counts = ledger.counts()
    assert counts[JobState.DONE] > MOST_DEATHS
    assert counts[JobState.FAILED] == 1


def test_an_attempt_that_ended_in_the_turn_in_which_the_engine_died_is_tried_again(ledger: Ledger) -> None:
    admit(ledger, "a")
    w = Beginner(ledger)
    w.turn()
    w.begin()
    assert w.dispatcher.engine_lost(EngineDiedError("was killed by SIGKILL")) == 1
    w.end("a")  # the executor kept the outcome, since `turn` raised
    w.publisher.put.assert_not_called()
    w.begin()
    assert w.started() == ["a", "a"]
