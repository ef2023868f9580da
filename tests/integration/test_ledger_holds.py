"""Holds and delays of jobs: missing folder, clock changes, restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import AWAY, HOLD_S
from tests.support.ledgers import FOLDER, LEASE_S, admission, claim_all

DAY_S = 86_400.0


def give_back(ledger: Ledger, now: float, not_before: float, *, isolate: bool = False) -> int:
    """Claim the only job and release it with a delay until `not_before`; returns it."""
    (claim,) = claim_all(ledger, now)
    ledger.release(
        claim.job_id, claim.generation, now,
        not_before=not_before, refund=True, isolate=isolate, code="storage", reason="disk full",
    )  # fmt: skip
    return claim.job_id


def test_jobs_of_a_missing_folder_are_held_with_the_reason(ledger: Ledger) -> None:
    elsewhere = Path("/srv/drop-2")
    held, other = ledger.admit(
        [admission("a.wav", "a"), admission("b.wav", "b", folder=elsewhere, path=elsewhere / "b.wav")], 1.0
    )
    assert ledger.hold(FOLDER, 10.0, reason="it does not exist", remedy="mount it") == 1
    assert [c.job_id for c in claim_all(ledger, 11.0)] == [other.job_id]
    job = ledger.job(held.job_id)
    assert job is not None
    assert (job.summary.reason_code, job.summary.reason, job.summary.remedy) == (
        AWAY, "it does not exist", "mount it",
    )  # fmt: skip
    assert ledger.resume(FOLDER, 12.0) == 1
    assert [c.job_id for c in claim_all(ledger, 12.0)] == [held.job_id]
    job = ledger.job(held.job_id)
    assert job is not None
    assert job.summary.reason is None


def test_a_hold_is_renewed_and_ends_by_itself(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    ledger.hold(FOLDER, 10.0, reason="away", remedy="")
    # Not written at each call, since a queue may be long.
    assert ledger.hold(FOLDER, 15.0, reason="away", remedy="") == 0
    assert ledger.hold(FOLDER, 10.0 + HOLD_S * 0.6, reason="away", remedy="") == 1
    assert claim_all(ledger, 10.0 + HOLD_S + 1) == []
    assert len(claim_all(ledger, 10.0 + HOLD_S * 1.6)) == 1


@pytest.mark.parametrize("jump", [DAY_S, -DAY_S, 50 * 365 * DAY_S])
def test_a_clock_that_is_set_makes_nothing_due_and_keeps_nothing_waiting(ledger: Ledger, jump: float) -> None:
    now = 60 * 365 * DAY_S
    ledger.admit([admission("waits.wav", "1")], now)
    waiting = give_back(ledger, now, now + 30)
    running = ledger.admit([admission("runs.wav", "2")], now)[0].job_id
    (claim,) = claim_all(ledger, now)
    assert claim.job_id == running
    ledger.shift_instants(jump)
    now += jump
    # Neither the running job's lease has expired nor the other's delay.
    assert claim_all(ledger, now + 29) == []
    assert ledger.heartbeat([(claim.job_id, claim.generation)], now + 29, LEASE_S) == set()
    assert [c.job_id for c in claim_all(ledger, now + 31)] == [waiting]


def test_after_a_restart_overlong_delays_are_reset(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    job = give_back(ledger, 400 * DAY_S, 400 * DAY_S + 30)
    assert claim_all(ledger, 35 * DAY_S) == []
    assert ledger.reset_overlong_delays(35 * DAY_S, 300.0) == 1
    assert [c.job_id for c in claim_all(ledger, 35 * DAY_S)] == [job]


def test_after_a_restart_ordinary_delays_continue(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    give_back(ledger, 100.0, 330.0)
    assert ledger.reset_overlong_delays(101.0, 300.0) == 0
    assert claim_all(ledger, 329.0) == []
    assert len(claim_all(ledger, 330.0)) == 1


def test_after_a_restart_isolated_jobs_are_claimable(ledger: Ledger) -> None:
    """The claimer queries isolated jobs at its start, and then only when it knows of one."""
    ledger.admit([admission()], 1.0)
    job = give_back(ledger, 100.0, 330.0, isolate=True)
    ledger.reset_overlong_delays(101.0, 300.0)
    assert [c.job_id for c in claim_all(ledger, 101.0, isolated=True)] == [job]


@pytest.mark.parametrize("inode", [1, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("mtime_ns", [-(2**60), -1, 0, 2**63 - 1, 2**63, 15_000_000_000 * 10**9])
def test_every_inode_and_date_a_file_can_have_is_kept(ledger: Ledger, inode: int, mtime_ns: int) -> None:
    file = admission(inode=inode, mtime_ns=mtime_ns)
    ledger.admit([file], 1.0)
    ledger.admit([file], 2.0)
    (known,) = ledger.known(FOLDER)
    assert known == (str(file.path), file.size, mtime_ns, inode, True)
    (claim,) = claim_all(ledger)
    assert claim.signature[1:] == (mtime_ns, inode)
    job = ledger.job(claim.job_id)
    assert job is not None
    assert job.mtime_ns == mtime_ns
