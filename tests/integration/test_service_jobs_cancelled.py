"""Jobs cancelled between claim and start, with the real ledger."""

from __future__ import annotations

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobState
from dropscribe.service.jobs.claimer import LEASE_S
from dropscribe.service.jobs.dispatcher import HEARTBEAT_S
from tests.support.dispatching import Turning, states
from tests.support.ledgers import admission


def test_a_cancelled_isolated_job_does_not_block_others(ledger: Ledger) -> None:
    (suspect, _) = ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    (claim,) = ledger.claim("w", 1, 2.0, LEASE_S, allow_isolated=True)
    ledger.release(
        claim.job_id, claim.generation, 3.0, not_before=3.0, refund=True, isolate=True, code="c", reason="r"
    )
    w = Turning(ledger)
    w.turn()
    assert states(ledger) == [JobState.RUNNING, JobState.QUEUED], "alone"
    ledger.cancel(suspect.job_id, w.now, "not wanted")
    w.turn(HEARTBEAT_S)
    w.turn()
    assert states(ledger) == [JobState.CANCELLED, JobState.RUNNING]


def test_the_daemon_stops_after_its_claims_were_cancelled(ledger: Ledger) -> None:
    (first, _) = ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    w = Turning(ledger)
    w.turn()
    ledger.cancel(first.job_id, w.now, "not wanted")
    w.dispatcher.requeue_all()
    assert states(ledger) == [JobState.CANCELLED, JobState.QUEUED]
