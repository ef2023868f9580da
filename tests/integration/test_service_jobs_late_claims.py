"""Claims by a slow thread, with the real ledger: what the dispatcher does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from structlog.testing import capture_logs

from dropscribe.config import Settings
from dropscribe.errors import LedgerError, StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Claim, JobState
from dropscribe.ledger.sql.ledger import SqlLedger
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.service.activity import Activities
from dropscribe.service.admission.folder_state import FolderConditions
from dropscribe.service.jobs.claimer import LEASE_S, POLL_S
from dropscribe.service.jobs.dispatcher import HEARTBEAT_S
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.maintenance import Maintenance
from dropscribe.service.publishing.publisher import Published
from dropscribe.service.storage.disk_space import FreeSpace
from dropscribe.service.storage.hangs import StorageHangs
from dropscribe.service.storage.storage_retry import RETRY_S
from dropscribe.service.storage.unwritable import UnwritableFolders
from tests.support.claiming import Later
from tests.support.dispatching import Turning, states
from tests.support.ledgers import FOLDER, admission

QUEUED, RUNNING = JobState.QUEUED, JobState.RUNNING
DAY_S = 86_400.0


class Late(Turning):
    """A dispatcher whose claims run when the test triggers them."""

    def __init__(self, ledger: Ledger, *, limit: int = 10, room: int = 10) -> None:
        self.thread = Later()
        super().__init__(ledger, limit=limit, room=room, thread=self.thread)

    def look(self) -> None:
        """A turn without new jobs or results."""
        self.dispatcher.turn(0.0, (), claiming=True)

    def answered(self) -> None:
        """Run one claim and handle its result."""
        self.turn()
        self.thread.go()
        self.look()

    def maintenance(self, ledger: Ledger, space: FreeSpace) -> Maintenance:
        """The periodic work of the main thread between two turns."""
        return Maintenance(
            ledger, self.wall, space, FolderConditions(ledger, ()),
            StorageHangs(ledger, Activities(), Settings, lambda: self.now),
            unwritable=UnwritableFolders(ledger, Settings, lambda: self.now),
            models=UnusableModels(ledger, Settings, lambda: self.now), storage_retry=self.storage_retry,
            clock=lambda: self.now, wake=self.dispatcher.wake, claiming=self.claiming.busy,
        )  # fmt: skip

    def started(self) -> list[str]:
        return [call.args[0].path.name for call in self.executor.start.call_args_list]

    def end(self, *names: str, end: Problem | None = None) -> None:
        """End the started attempts of these recordings, with results at the publisher or with the problem `end`."""
        result = create_autospec(Result, instance=True)
        ended = [c.args[0] for c in self.executor.start.call_args_list if c.args[0].path.name in names]
        self.executor.turn.return_value = [Outcome(work.ticket, end or result) for work in ended]
        self.look()
        self.executor.turn.return_value = []

    def published(self, ledger: Ledger) -> None:
        """Finish all jobs at the publisher."""
        put = [call.args[0].claim for call in self.publisher.put.call_args_list]
        self.publisher.put.reset_mock()
        for claim in put:
            ledger.cancel(claim.job_id, self.now, "as if it were done")
        self.publisher.completed.return_value = [Published(claim.job_id, None) for claim in put]
        self.look()
        self.publisher.completed.return_value = []


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    yield opened
    opened.close()


@pytest.fixture
def space(ledger: Ledger, tmp_path: Path) -> Iterator[FreeSpace]:
    looking = FreeSpace(ledger, Settings(database=tmp_path / "jobs.db"))
    yield looking
    looking.close()


def admit(ledger: Ledger, *names: str) -> list[int]:
    return [a.job_id for a in ledger.admit([admission(n, n) for n in names], 1.0)]


def suspect(ledger: Ledger) -> None:
    """Isolate the oldest job in the queue."""
    (claim,) = ledger.claim("w", 1, 2.0, LEASE_S, allow_isolated=True)
    ledger.release(
        claim.job_id, claim.generation, 3.0, not_before=3.0, refund=True, isolate=True, code="c", reason="r"
    )


def generations(ledger: Ledger, jobs: Sequence[int]) -> list[int]:
    return [detail.attempts[-1].generation for j in jobs if (detail := ledger.job(j)) is not None]


def test_jobs_under_way_continue_during_a_claim(ledger: Ledger) -> None:
    admit(ledger, "a", "b")
    w = Late(ledger)
    w.answered()
    admit(ledger, "c")
    w.turn()
    w.end("a")
    assert w.publisher.put.call_count == 1
    w.published(ledger)
    assert (w.dispatcher.in_flight, w.dispatcher.unpublished) == (1, 1)
    assert len(w.thread.waiting) == 1
    w.thread.go()
    assert w.started() == ["a", "b"], "it is for the main thread to start it"
    assert w.woken == 3, "by two claims, and by what was put on record as begun"
    w.look()
    assert w.started() == ["a", "b", "c"]


def test_an_answer_is_followed_by_a_turn_that_does_not_wait(ledger: Ledger) -> None:
    """There may be more to claim, and nothing else wakes the loop."""
    admit(ledger, "a")
    w = Late(ledger)
    for _ in range(3):
        w.dispatcher.turn(0.5, (), claiming=True)
    assert w.executor.turn.call_args.args[0] == 0.5
    w.thread.go()
    w.dispatcher.turn(0.5, (), claiming=True)
    assert w.executor.turn.call_args.args[0] == 0.0
    w.dispatcher.turn(0.5, (), claiming=True)
    assert w.executor.turn.call_args.args[0] == 0.5


def test_jobs_admitted_after_the_ledger_answered_are_claimed_next(
    ledger: Ledger,
) -> None:
    admit(ledger, "a")
    w = Late(ledger)
    w.look()
    w.thread.go()
    admit(ledger, "b")
    w.dispatcher.wake()
    w.look()
    w.look()
    w.thread.go()
    w.look()
    assert w.started() == ["a", "b"]
    w.look()
    assert not w.thread.waiting, "without news the next look is later"
    w.now += POLL_S
    w.look()
    assert w.thread.waiting


def test_the_limit_of_jobs_under_way_is_kept(ledger: Ledger) -> None:
    admit(ledger, *"abcdefgh")
    w = Late(ledger, limit=4)
    w.answered()
    w.end("a", "b")
    w.published(ledger)
    w.turn()
    w.end("c")
    w.published(ledger)
    for _ in range(3):
        w.turn()
    assert len(w.thread.waiting) == 1
    w.thread.go()
    w.look()
    assert w.started() == list("abcdef")
    w.answered()
    assert w.started() == list("abcdefg")
    assert w.dispatcher.in_flight == 4


def test_while_one_is_claimed_to_be_tried_alone_nothing_else_begins(ledger: Ledger) -> None:
    admit(ledger, "a", "b")
    suspect(ledger)
    w = Late(ledger)
    w.turn()
    admit(ledger, "c")
    for _ in range(3):
        w.turn()
    assert (len(w.thread.waiting), w.started()) == (1, [])
    w.thread.go()
    for _ in range(3):
        w.turn(HEARTBEAT_S)
    assert states(ledger) == [RUNNING, QUEUED, QUEUED]
    assert (len(w.thread.waiting), w.started()) == (0, ["a"])
    w.end("a")
    for _ in range(3):
        w.turn()
    assert not w.thread.waiting, "it is not published yet"
    w.published(ledger)
    w.answered()
    assert w.started() == ["a", "b", "c"]


def test_an_isolated_job_waits_for_jobs_under_way_and_blocks_new_ones(
    ledger: Ledger,
) -> None:
    admit(ledger, "a")
    w = Late(ledger)
    w.answered()
    admit(ledger, "b", "c")
    suspect(ledger)
    w.dispatcher.turn(0.0, (), claiming=False)
    w.claiming.look_again()
    w.turn()
    # It is claimed while another job is in flight, which ends before the result of the claim is handled.
    w.end("a")
    w.published(ledger)
    w.thread.go()
    w.look()
    assert states(ledger)[1:] == [QUEUED, QUEUED], "neither of them"
    w.look()
    w.thread.go()
    w.look()
    assert states(ledger)[1:] == [RUNNING, QUEUED]
    assert w.started() == ["a", "b"]


def test_a_job_isolated_meanwhile_is_claimed(ledger: Ledger) -> None:
    """The result of the claim, which has no isolated job, is older."""
    admit(ledger, "a", "b")
    w = Late(ledger, limit=2)
    w.answered()
    admit(ledger, "c")
    w.end("b")
    w.published(ledger)
    w.turn()
    w.end("a", end=Problem("engine_died", "it died", "", FaultKind.ENGINE))
    w.thread.go()
    w.look()
    w.end("c")
    w.published(ledger)
    admit(ledger, "d")
    # The first of these claims was submitted while c was under way.
    w.answered()
    w.answered()
    assert w.started() == ["a", "b", "c", "a"]


def test_stopping_releases_jobs_that_are_being_claimed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(ledger, "a")
    stopping, real = threading.Event(), SqlLedger.claim

    def late(*arguments: Any, **named: Any) -> list[Claim]:
        stopping.wait()
        return real(*arguments, **named)

    with ThreadPoolExecutor(1) as thread:
        w = Turning(ledger, room=10, thread=thread)
        w.turn()
        # Wait until the thread is idle.
        thread.submit(bool).result()
        w.turn()
        monkeypatch.setattr(SqlLedger, "claim", late)
        admit(ledger, "b", "c")
        w.turn()
        assert (w.dispatcher.in_flight, w.dispatcher.unpublished) == (1, 1)
        # `abort` is one of the first calls of a stop.
        w.executor.abort.side_effect = lambda _: stopping.set()
        assert w.dispatcher.requeue_all() == 3
    assert states(ledger) == [QUEUED, QUEUED, QUEUED]
    assert [c.attempt for c in ledger.claim("w", 3, w.now, LEASE_S, allow_isolated=True)] == [1, 1, 1]


def test_what_is_claimed_during_the_end_is_not_begun_and_given_back(ledger: Ledger) -> None:
    admit(ledger, "a")
    suspect(ledger)
    w = Late(ledger)
    w.turn()
    w.thread.go()
    w.dispatcher.turn(0.0, (), claiming=False)
    assert (w.started(), w.dispatcher.in_flight, w.dispatcher.unpublished) == ([], 1, 0)
    assert w.dispatcher.requeue_all() == 1
    assert states(ledger) == [QUEUED]
    (again,) = ledger.claim("w", 1, w.now, LEASE_S, allow_isolated=True)
    assert (again.isolate, again.attempt) == (True, 1)


def test_a_refused_claim_is_reported_once_and_retried(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim with a late error may be committed; no attempt is counted, and other jobs are not affected."""
    jobs = admit(ledger, "a")
    w = Late(ledger)
    w.answered()
    jobs += admit(ledger, "b")
    stands, real = [False, True, False], SqlLedger.claim

    def claim(*arguments: Any, **named: Any) -> list[Claim]:
        if not stands:
            return real(*arguments, **named)
        if stands.pop():
            real(*arguments, **named)
        raise StorageError("full", operation="claim jobs", path=Path("/jobs.db"))

    monkeypatch.setattr(SqlLedger, "claim", claim)
    with capture_logs() as lines:
        for _ in range(3):
            w.answered()
            assert [e.operation for e in w.storage_retry.complaints()] == ["claim jobs"]
            w.turn()
            assert not w.thread.waiting, "not at once"
            w.now += RETRY_S
        w.turn()
        assert w.storage_retry.complaints(), "asking is not having been answered"
        w.thread.go()
        w.look()
    assert w.storage_retry.complaints() == ()
    assert [line["action"] for line in lines] == ["storage", "storage"]
    assert w.started() == ["a", "b"]
    assert generations(ledger, jobs) == [1, 2]
    assert [job.attempts for job in ledger.jobs(oldest_first=True)] == [1, 1]


def test_a_failed_check_of_free_space_is_reported_until_it_succeeds(ledger: Ledger) -> None:
    admit(ledger, "a")
    w = Late(ledger)

    def refused() -> bool:
        raise StorageError("no space left on device", operation="hold jobs")

    w.has_room = refused
    w.turn()
    assert [e.operation for e in w.storage_retry.complaints()] == ["hold jobs"]
    w.has_room = lambda: False
    w.turn(RETRY_S)
    assert w.storage_retry.complaints() == (), "it could be looked for, and there is none"
    assert not w.thread.waiting


def test_a_job_admitted_while_its_folder_is_being_held_for_lack_of_space_is_not_claimed(
    ledger: Ledger,
) -> None:
    w = Late(ledger)

    def look() -> bool:
        # After the jobs that were there have been held.
        admit(ledger, "a")
        w.full = [FOLDER]
        return True

    w.has_room = look
    w.turn()
    w.thread.go()
    w.look()
    assert w.started() == []
    w.has_room, w.full = (lambda: True), []
    w.turn(POLL_S)
    w.thread.go()
    w.look()
    assert w.started() == ["a"]


def test_a_job_claimed_during_a_profile_change_uses_the_new_profile(ledger: Ledger, space: FreeSpace) -> None:
    admit(ledger, "a")
    w = Late(ledger)
    maintenance = w.maintenance(ledger, space)
    w.turn()
    w.settings = w.settings.model_copy(
        update={
            "profiles": {
                "default": w.settings.profile("default").model_copy(update={"hotwords": ("达摩院",)})
            }
        }
    )
    maintenance.adopt(w.settings.recipe)
    maintenance.tend()
    w.thread.go()
    w.look()
    assert (w.started(), w.outdated) == ([], 1)
    maintenance.tend()
    w.answered()
    assert w.started() == ["a"]
    (work,) = (call.args[0] for call in w.executor.start.call_args_list)
    assert work.options.hotwords == ("达摩院",)
    (record,) = ledger.jobs()
    assert record.attempts == 1, "what was not begun is no try"
    (claim,) = w.dispatcher._held()
    assert claim.recipe == w.settings.recipe("default")


def test_permanent_errors_are_raised(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object, **__: object) -> list[Claim]:
        raise LedgerError("malformed")

    monkeypatch.setattr(SqlLedger, "claim", damaged)
    w = Late(ledger)
    w.turn()
    w.thread.go()
    with pytest.raises(LedgerError):
        w.look()


def test_claims_from_before_a_long_pause_are_not_claimed_twice(ledger: Ledger) -> None:
    """The process was stopped, or an engine loaded, between the claim and the next turn."""
    jobs = admit(ledger, "a")
    w = Late(ledger, room=0)
    w.turn()
    w.thread.go()
    w.now += LEASE_S + 1.0
    w.look()
    w.turn()
    w.thread.go()
    w.look()
    assert generations(ledger, jobs) == [1]
    assert w.dispatcher.in_flight == 1


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_clock_set_during_a_claim_is_followed_afterwards(
    ledger: Ledger, space: FreeSpace, jump_s: float
) -> None:
    jobs = admit(ledger, "a")
    w = Late(ledger, room=0)
    maintenance = w.maintenance(ledger, space)
    w.answered()
    jobs += admit(ledger, "b")
    w.turn()
    w.ahead += jump_s
    maintenance.tend()
    w.thread.go()
    # Before the claim is handled, as while an engine is loading.
    maintenance.tend()
    assert w.wall.now() == w.now + jump_s
    w.look()
    w.answered()
    assert generations(ledger, jobs) == [1, 1]
