"""Claims: order, leases, attempts, release and expiry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dropscribe.errors import StaleLeaseError
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import HELD, Claim, JobDetail, JobState, OutputIntent
from tests.support.ledgers import LEASE_S, admission, begin, claim_all, finish_of, query, transcribed


def detail(ledger: Ledger, job: int) -> JobDetail:
    found = ledger.job(job)
    assert found is not None
    return found


def release(ledger: Ledger, claim: Claim, now: float = 101.0, **changes: object) -> JobState:
    options = {"not_before": now, "refund": False, "isolate": False, "code": "storage", "reason": "disk full"}
    return ledger.release(claim.job_id, claim.generation, now, **options | changes)  # type: ignore[arg-type]


def test_the_oldest_are_claimed_first_and_once(ledger: Ledger) -> None:
    made = ledger.admit([admission(f"{i}.wav", str(i)) for i in range(5)], 10.0)
    first = claim_all(ledger, 100.0, limit=3)
    rest = claim_all(ledger, 100.0)
    assert [c.job_id for c in first + rest] == [m.job_id for m in made]
    assert claim_all(ledger, 100.0) == []
    assert {(c.generation, c.attempt, c.waited_s) for c in first} == {(1, 1, 90.0)}


def test_a_claim_is_no_try_until_decoding_begins(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    found = detail(ledger, claim.job_id)
    assert (found.summary.state, found.summary.attempts, found.claimed_by) == (JobState.RUNNING, 0, "worker")
    assert [(a.number, a.outcome) for a in found.attempts] == [(1, None)]
    for _ in range(2):
        assert begin(ledger, claim) == set()
        assert detail(ledger, claim.job_id).summary.attempts == 1, "once, however often it is said"
    assert release(ledger, claim, refund=True, not_before=0.0) is JobState.QUEUED
    assert detail(ledger, claim.job_id).summary.attempts == 0


def test_a_job_that_ends_before_decoding_counts_an_attempt(ledger: Ledger) -> None:
    """A copy that is done by reference, or cannot be published."""
    ledger.admit([admission("a.wav", "a", max_attempts=1), admission("b.wav", "b", max_attempts=1)], 1.0)
    ledger.admit([admission("c.wav", "c")], 1.0)
    a, b, c = claim_all(ledger)
    assert release(ledger, a) is JobState.FAILED
    ledger.fail(b.job_id, b.generation, 101.0, code="c", reason="r", remedy="m")
    assert ledger.finish([finish_of(c, "一")], 102.0) == []
    assert [job.attempts for job in ledger.jobs()] == [1, 1, 1]


def test_only_current_claims_can_begin(ledger: Ledger) -> None:
    ledger.admit([admission(n, n) for n in ("a.wav", "b.wav", "c.wav")], 1.0)
    a, b, c = claim_all(ledger)
    ledger.cancel(a.job_id, 101.0, "not wanted")
    release(ledger, b, refund=True)
    (again,) = claim_all(ledger, 102.0)
    assert begin(ledger, a, b, c) == {a.job_id, b.job_id}
    assert detail(ledger, again.job_id).summary.attempts == 0
    assert begin(ledger) == set()


def test_a_released_job_has_reason_and_remedy(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    release(ledger, claim, remedy="make room on the disk")
    summary = detail(ledger, claim.job_id).summary
    assert (summary.reason, summary.remedy) == ("disk full", "make room on the disk")
    ledger.cancel(claim.job_id, 102.0, "not wanted")
    summary = detail(ledger, claim.job_id).summary
    assert (summary.reason, summary.remedy) == ("not wanted", None)


def test_a_released_job_waits_for_its_delay(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    assert release(ledger, claim, not_before=130.0) is JobState.QUEUED
    assert claim_all(ledger, 129.0) == []
    (again,) = claim_all(ledger, 131.0)
    assert (again.generation, again.attempt, again.waited_s) == (2, 2, 1.0)
    first, second = detail(ledger, claim.job_id).attempts
    assert (first.outcome, first.code, first.reason, second.outcome) == (
        "released",
        "storage",
        "disk full",
        None,
    )


def test_a_refunded_try_is_not_counted(ledger: Ledger) -> None:
    ledger.admit([admission(max_attempts=1)], 1.0)
    for generation in (1, 2, 3):
        (claim,) = claim_all(ledger)
        assert (claim.generation, claim.attempt) == (generation, 1)
        assert release(ledger, claim, refund=True, not_before=0.0) is JobState.QUEUED
    assert [(a.number, a.times) for a in detail(ledger, claim.job_id).attempts] == [(1, 3)]


def test_no_job_is_retried_forever(ledger: Ledger) -> None:
    """Releasing the last attempt without refund fails the job."""
    ledger.admit([admission(max_attempts=2)], 1.0)
    (claim,) = claim_all(ledger)
    assert release(ledger, claim) is JobState.QUEUED
    (claim,) = claim_all(ledger, 102.0)
    assert release(ledger, claim, 103.0) is JobState.FAILED
    found = detail(ledger, claim.job_id).summary
    assert (found.state, found.reason, found.finished_at) == (JobState.FAILED, "disk full", 103.0)


def test_an_expired_lease_is_taken_over_and_the_late_result_refused(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (frozen,) = claim_all(ledger, 100.0)
    begin(ledger, frozen)
    assert claim_all(ledger, 100.0 + LEASE_S) == []
    assert claim_all(ledger, 100.1 + LEASE_S) == [], "it had begun, and is tried alone"
    (taken,) = claim_all(ledger, 100.1 + LEASE_S, isolated=True)
    assert (taken.job_id, taken.generation, taken.attempt) == (frozen.job_id, 2, 1)
    assert ledger.heartbeat([(frozen.job_id, frozen.generation)], 170.0, LEASE_S) == {frozen.job_id}
    assert ledger.finish([finish_of(frozen, "迟到")], 171.0) == [frozen.job_id]
    assert ledger.finish([finish_of(taken, "准时")], 172.0) == []
    result = ledger.stored_result(taken.job_id)
    assert result is not None
    assert [s.text for s in result.segments] == ["准时"]
    assert [a.outcome for a in detail(ledger, taken.job_id).attempts] == ["lost", "done"]


def test_an_expired_lease_of_what_had_not_begun_leaves_no_trace(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    claim_all(ledger, 100.0)
    (taken,) = claim_all(ledger, 200.0)
    assert (taken.generation, taken.attempt, taken.isolate) == (2, 1, False)
    assert [(a.generation, a.outcome) for a in detail(ledger, taken.job_id).attempts] == [(2, None)]


def test_a_heartbeat_keeps_a_lease(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    a, b = claim_all(ledger, 100.0)
    assert ledger.heartbeat([(a.job_id, a.generation)], 150.0, LEASE_S) == set()
    assert [c.job_id for c in claim_all(ledger, 161.0)] == [b.job_id]
    assert ledger.heartbeat([], 150.0, LEASE_S) == set()


def test_a_worker_late_but_not_replaced_may_go_on(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger, 100.0)
    assert ledger.heartbeat([(claim.job_id, claim.generation)], 900.0, LEASE_S) == set()
    assert claim_all(ledger, 901.0) == []
    assert ledger.finish([finish_of(claim, "一")], 902.0) == []


CALLS: dict[str, Callable[[Ledger, int, int], object]] = {
    "release": lambda ledger, job, gen: ledger.release(
        job, gen, 300.0, not_before=0.0, refund=True, isolate=False, code="c", reason="r"
    ),
    "fail": lambda ledger, job, gen: ledger.fail(job, gen, 300.0, code="c", reason="r", remedy=""),
    "cancel": lambda ledger, job, gen: ledger.cancel(job, 300.0, "r", generation=gen),
    "intend": lambda ledger, job, gen: ledger.intend(
        [(job, gen, [OutputIntent("txt", Path("/o"), "h")])], 300.0
    ),
}


def refused(ledger: Ledger, call: str, job: int, generation: int) -> bool:
    """Calls for many jobs return the refused ones; calls for a single job raise."""
    try:
        return CALLS[call](ledger, job, generation) == [job]
    except StaleLeaseError:
        return True


@pytest.mark.parametrize("call", CALLS)
def test_an_older_generation_is_refused(ledger: Ledger, call: str) -> None:
    ledger.admit([admission()], 1.0)
    (old,) = claim_all(ledger, 100.0)
    (new,) = claim_all(ledger, 200.0)
    before = detail(ledger, new.job_id)
    assert refused(ledger, call, old.job_id, old.generation)
    assert detail(ledger, new.job_id) == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "queued", "absent"])
def test_jobs_that_are_not_running_are_refused(ledger: Ledger, call: str, end: str) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    job = claim.job_id
    match end:
        case "done":
            ledger.finish([finish_of(claim, "一")], 101.0)
        case "failed":
            ledger.fail(job, claim.generation, 101.0, code="c", reason="r", remedy="m")
        case "cancelled":
            ledger.cancel(job, 101.0, "r")
        case "queued":
            release(ledger, claim)
        case _:
            job = 4711
    before = ledger.job(job)
    assert refused(ledger, call, job, claim.generation)
    assert ledger.job(job) == before


def test_finish_refuses_only_the_stale(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    a, b = claim_all(ledger)
    ledger.cancel(a.job_id, 101.0, "not wanted")
    assert ledger.finish([finish_of(a, "一"), finish_of(b, "二"), finish_of(b, "二")], 102.0) == [
        a.job_id,
        b.job_id,
    ]
    assert detail(ledger, a.job_id).summary.state is JobState.CANCELLED
    assert detail(ledger, b.job_id).summary.state is JobState.DONE
    assert ledger.finish([], 103.0) == []


def test_queued_and_running_jobs_can_be_cancelled_but_not_ended_ones(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    (running,) = claim_all(ledger, limit=1)
    waiting = running.job_id + 1
    ledger.cancel(running.job_id, 101.0, "not wanted")
    ledger.cancel(waiting, 101.0, "not wanted")
    assert ledger.heartbeat([(running.job_id, running.generation)], 102.0, LEASE_S) == {running.job_id}
    with pytest.raises(StaleLeaseError, match="cancelled already"):
        ledger.cancel(waiting, 103.0, "again")


def test_the_same_content_waits_for_the_first_and_is_done_by_reference(ledger: Ledger) -> None:
    made = ledger.admit([admission(n, "same") for n in ("a.wav", "b.wav", "c.wav")], 1.0)
    (first,) = claim_all(ledger)
    assert first.job_id == made[0].job_id
    assert first.reference is None
    assert claim_all(ledger) == []
    ledger.finish([finish_of(first, "预算")], 101.0)
    (second,) = claim_all(ledger, 102.0, limit=1)
    assert second.reference == first.job_id
    ledger.finish([finish_of(second, "预算", reference=first.job_id)], 103.0)
    (third,) = claim_all(ledger, 104.0)
    assert third.reference == first.job_id, "a job done by reference must not become one itself"


def test_copies_of_a_finished_recording_do_not_wait_for_each_other(ledger: Ledger) -> None:
    ledger.admit([admission(f"{i}.wav", "same") for i in range(5)], 1.0)
    (first,) = claim_all(ledger)
    assert claim_all(ledger) == []
    ledger.finish([finish_of(first, "预算")], 101.0)
    copies = claim_all(ledger, 102.0)
    assert [c.reference for c in copies] == [first.job_id] * 4


def test_twins_in_one_batch_are_not_claimed_together(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same"), admission("b.wav", "same"), admission("c.wav", "other")], 1.0)
    assert [c.path.name for c in claim_all(ledger)] == ["a.wav", "c.wav"]


def test_when_the_first_of_the_same_content_fails_the_next_is_tried(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same"), admission("b.wav", "same")], 1.0)
    (first,) = claim_all(ledger)
    ledger.fail(first.job_id, first.generation, 101.0, code="c", reason="r", remedy="")
    (second,) = claim_all(ledger, 102.0)
    assert second.reference is None


def test_a_twin_is_held_back_while_the_first_waits_for_another_try(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same"), admission("b.wav", "same")], 1.0)
    (first,) = claim_all(ledger)
    release(ledger, first, not_before=500.0, code="decoder_died")
    assert claim_all(ledger, 200.0) == []


@pytest.mark.parametrize("code", HELD)
def test_a_twin_does_not_wait_for_one_that_is_held(ledger: Ledger, code: str) -> None:
    """The folder of the first may be away for days."""
    away = Path("/srv/away")
    ledger.admit(
        [admission("a.wav", "same", folder=away, path=away / "a.wav"), admission("b.wav", "same")], 1.0
    )
    ledger.hold(away, 10.0, reason="it does not exist", remedy="mount it", code=code)
    (second,) = claim_all(ledger, 11.0)
    assert second.path.name == "b.wav"
    ledger.finish([finish_of(second, "一")], 12.0)
    ledger.resume(away, 13.0, code=code)
    assert [c.reference for c in claim_all(ledger, 13.0)] == [second.job_id]


def test_another_recipe_is_no_twin(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same"), admission("b.wav", "same", recipe="large|vad")], 1.0)
    assert [c.reference for c in claim_all(ledger)] == [None, None]


def test_a_result_is_shared_by_profiles_with_the_same_recipe(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same"), admission("b.wav", "same", profile="court")], 1.0)
    (first,) = claim_all(ledger)
    ledger.finish([finish_of(first, "一")], 101.0)
    assert [c.reference for c in claim_all(ledger, 102.0)] == [first.job_id]


def test_results_are_not_shared_if_the_profile_forbids_it(ledger: Ledger) -> None:
    alone = [admission(n, "same", share_result=False) for n in ("a.wav", "b.wav")]
    ledger.admit(alone, 1.0)
    a, b = claim_all(ledger)
    ledger.finish([finish_of(a, "一"), finish_of(b, "一")], 101.0)
    ledger.admit([admission("c.wav", "same", share_result=False), admission("d.wav", "same")], 102.0)
    assert [c.reference for c in claim_all(ledger, 103.0)] == [None, None]


def test_an_isolated_job_is_given_alone_and_only_when_asked_for(ledger: Ledger) -> None:
    ledger.admit([admission(f"{i}.wav", str(i)) for i in range(4)], 1.0)
    for claim in claim_all(ledger, limit=2):
        release(ledger, claim, refund=True, isolate=True, not_before=0.0)
    ordinary = claim_all(ledger)
    assert [(c.path.name, c.isolate) for c in ordinary] == [("2.wav", False), ("3.wav", False)]
    (alone,) = claim_all(ledger, isolated=True)
    assert (alone.path.name, alone.isolate) == ("0.wav", True)
    (other,) = claim_all(ledger, isolated=True)
    assert other.path.name == "1.wav"


def test_without_isolated_jobs_the_others_are_given(ledger: Ledger) -> None:
    ledger.admit([admission(f"{i}.wav", str(i)) for i in range(3)], 1.0)
    assert len(claim_all(ledger, isolated=True)) == 3


def test_a_clock_set_back_makes_no_negative_wait(ledger: Ledger) -> None:
    ledger.admit([admission()], 1_000.0)
    (claim,) = claim_all(ledger, 10.0)
    assert claim.waited_s == 0.0


def test_job_numbers_are_never_used_again(ledger: Ledger, location: DatabaseLocation) -> None:
    old = transcribed(ledger, "一")
    query(location, "DELETE FROM recordings")
    assert ledger.job(old) is None
    assert ledger.search("一") == []
    assert ledger.admit([admission()], 300.0)[0].job_id > old


def test_tries_given_back_for_one_reason_are_one_row(ledger: Ledger) -> None:
    """On a full disk there is an attempt every half minute, perhaps for days."""
    ledger.admit([admission()], 1.0)
    for i in range(50):
        (claim,) = claim_all(ledger, 100.0 + 30 * i)
        release(ledger, claim, 110.0 + 30 * i, refund=True, reason=f"full, {i}")
    (claim,) = claim_all(ledger, 9_000.0)
    full, now = detail(ledger, claim.job_id).attempts
    assert (full.times, full.started_at, full.ended_at, full.reason) == (50, 100.0, 1_580.0, "full, 49")
    assert (now.times, now.outcome, now.generation) == (1, None, 51)


def test_tries_given_back_for_different_reasons_or_counted_are_kept_apart(ledger: Ledger) -> None:
    ledger.admit([admission(max_attempts=9)], 1.0)
    for code, refund in (
        ("storage", True),
        ("stopped", True),
        ("storage", True),
        ("storage", False),
        ("storage", True),
    ):
        (claim,) = claim_all(ledger, 200.0)
        release(ledger, claim, refund=refund, code=code)
    tries = [(a.number, a.code, a.times) for a in detail(ledger, claim.job_id).attempts]
    assert tries == [(1, "stopped", 1), (1, "storage", 2), (1, "storage", 1), (2, "storage", 1)]


def test_queued_jobs_are_done_under_the_recipe_in_force(ledger: Ledger) -> None:
    """The model was changed while jobs waited: only results of the new model are shared with them."""
    old = transcribed(ledger, "一", name="old.wav")
    ledger.admit([admission("new.wav", "new", recipe="large|vad")], 100.0)
    (claim,) = claim_all(ledger, 101.0)
    ledger.finish([finish_of(claim, "新")], 102.0)
    ledger.admit(
        [
            admission("a.wav", "old.wav"),
            admission("b.wav", "new"),
            admission("c.wav", "c", share_result=False),
        ],
        103.0,
    )
    assert ledger.apply_recipes(lambda profile: {"default": "large|vad"}[profile]) == 3
    assert ledger.apply_recipes(lambda _: "large|vad") == 0
    a, b, c = claim_all(ledger, 104.0)
    assert {x.recipe for x in (a, b, c)} == {"large|vad"}
    assert (a.reference, b.reference, c.reference) == (None, claim.job_id, None)
    assert detail(ledger, old).recipe == "mini|vad"
    assert not ledger.admit([admission("a.wav", "old.wav", recipe="large|vad")], 105.0)[0].created


def test_the_result_of_an_adopted_job_is_shared(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same")], 1.0)
    ledger.admit([admission("court.wav", "court", profile="court")], 1.0)
    assert ledger.apply_recipes(lambda profile: "large|vad" if profile == "default" else "mini|vad") == 1
    first, court = claim_all(ledger)
    assert (first.recipe, court.recipe) == ("large|vad", "mini|vad")
    ledger.finish([finish_of(first, "一")], 101.0)
    ledger.admit([admission("b.wav", "same", recipe="large|vad"), admission("c.wav", "same")], 102.0)
    assert [c.reference for c in claim_all(ledger, 103.0)] == [first.job_id, None]


def test_the_time_of_the_next_isolated_job_is_known(ledger: Ledger) -> None:
    assert ledger.next_isolated() is None
    ledger.admit([admission(f"{i}.wav", str(i)) for i in range(3)], 1.0)
    first, second, _ = claim_all(ledger)
    release(ledger, first, isolate=True, not_before=150.0)
    release(ledger, second, isolate=True, not_before=130.0)
    assert ledger.next_isolated() == 130.0
    assert claim_all(ledger, now=129.0, isolated=True) == []
    (alone,) = claim_all(ledger, now=130.0, isolated=True)
    assert ledger.next_isolated() == 150.0
    ledger.finish([finish_of(alone)], 131.0)
    assert ledger.next_isolated() == 150.0


def test_claims_committed_despite_an_error_are_undone(ledger: Ledger) -> None:
    ledger.admit([admission(f"{n}.wav", n) for n in "abc"], 90.0)
    (known,) = claim_all(ledger, 100.0, limit=1)
    claim_all(ledger, 100.0)
    assert ledger.return_unknown("another worker", []) == 0
    assert ledger.return_unknown("worker", [known.job_id]) == 2
    again = claim_all(ledger, 100.0)
    assert [(c.path.name, c.attempt) for c in again] == [("b.wav", 1), ("c.wav", 1)]
    # Their older claims are invalid; the known claim continues.
    assert [c.generation for c in again] == [2, 2]
    assert ledger.heartbeat([(known.job_id, known.generation)], 101.0, LEASE_S) == set()
    detail = ledger.job(again[0].job_id)
    assert detail is not None
    assert [a.outcome for a in detail.attempts] == [None]
