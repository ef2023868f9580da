"""What people ask of the queue: pauses, priorities, retries; each answers with the states found and made."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.ledger.control import FolderTerms, Selection, Terms, Verb
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.dialect import spelt
from dropscribe.ledger.sql.jobs import claims
from dropscribe.ledger.sql.sqlite.functions import FUNCTIONS
from tests.support.ledgers import LEASE_S, admission, claim_all, finish_of, transcribed

A, B = Path("/srv/a"), Path("/srv/b")


def admit(
    ledger: Ledger, folder: Path, *names: str, content: str | None = None, priority: int = 0
) -> list[int]:
    admissions = [
        admission(n, content or f"{folder}/{n}", path=folder / n, folder=folder, priority=priority)
        for n in names
    ]
    return [one.job_id for one in ledger.admit(admissions, 1.0)]


def failed(ledger: Ledger, name: str = "a.wav") -> int:
    (job,) = admit(ledger, A, name)
    (claim,) = claim_all(ledger)
    ledger.begin([(claim.job_id, claim.generation)])
    ledger.fail(job, claim.generation, 101.0, code="no_audio", reason="no audio", remedy="record again")
    return job


def folders_claimed(ledger: Ledger, limit: int, terms: Terms | None = None) -> Counter[str]:
    claims = ledger.claim("w", limit, 100.0, LEASE_S, allow_isolated=False, terms=terms or Terms())
    return Counter(c.folder.name for c in claims)


@pytest.mark.costly
def test_a_folder_of_thousands_does_not_starve_another(ledger: Ledger) -> None:
    admit(ledger, A, *(f"{n}.wav" for n in range(3_000)))
    admit(ledger, B, *(f"{n}.wav" for n in range(5)))
    assert folders_claimed(ledger, 10) == {"a": 5, "b": 5}


def test_a_paused_folder_is_not_claimed_and_its_copies_elsewhere_are(ledger: Ledger) -> None:
    (first,) = admit(ledger, A, "x.wav", content="same")
    (copy,) = admit(ledger, B, "x.wav", content="same")
    assert ledger.pause(A, 2.0, "anna") is None
    found = ledger.pause(A, 3.0, "bert")
    assert found is not None
    assert (found.who, found.since) == ("anna", 2.0)
    assert [c.job_id for c in claim_all(ledger)] == [copy]
    assert ledger.resume_folder(A, 4.0, "anna") is not None
    assert ledger.resume_folder(A, 5.0, "anna") is None
    ledger.cancel(copy, 6.0, "not wanted")
    assert [c.job_id for c in claim_all(ledger)] == [first]
    assert [(a.verb, a.found, a.made) for a in reversed(ledger.actions())] == [
        ("pause", "working", "paused"), ("pause", "paused", "paused"),
        ("resume", "paused", "working"), ("resume", "working", "working"),
    ]  # fmt: skip


def test_a_pause_of_all_holds_for_isolated_jobs_and_outlives_the_daemon(ledger: Ledger) -> None:
    (job,) = admit(ledger, A, "x.wav")
    (claim,) = claim_all(ledger)
    ledger.release(
        job, claim.generation, 101.0, not_before=101.0, refund=True, isolate=True, code="c", reason="r"
    )
    ledger.pause(None, 102.0, "anna")
    ledger.recover(103.0)
    assert ledger.next_isolated() is None
    assert claim_all(ledger, 200.0, isolated=True) == []
    ledger.resume_folder(None, 201.0, "anna")
    assert ledger.next_isolated() == 101.0
    assert [c.job_id for c in claim_all(ledger, 202.0, isolated=True)] == [job]


def test_a_limit_of_a_folder_is_kept_and_other_folders_have_the_rest(ledger: Ledger) -> None:
    admit(ledger, A, *"123")
    admit(ledger, B, *"123")
    terms = Terms({A: FolderTerms(most=1), B: FolderTerms(most=0)})
    assert folders_claimed(ledger, 9, terms) == {"a": 1}
    assert folders_claimed(ledger, 9, Terms({A: FolderTerms(most=0)})) == {"b": 3}


def test_priorities_of_folders_and_of_persons(ledger: Ledger) -> None:
    low, raised = admit(ledger, A, "low.wav", "raised.wav")
    (high,) = admit(ledger, B, "high.wav", priority=5)
    (change,) = ledger.prioritise([raised], 9, 2.0, "anna")
    assert (change.found, change.made) == ("queued, priority 0", "queued, priority 9")
    assert ledger.apply_priorities({A: 7, B: 5}) == 1
    ledger.apply_priorities({A: -1})
    assert [c.job_id for c in claim_all(ledger)] == [raised, high, low]


def test_a_raised_copy_does_not_wait_for_an_older_one_that_nobody_raised(ledger: Ledger) -> None:
    (older,) = admit(ledger, A, "old.wav", content="same")
    (copy,) = admit(ledger, B, "copy.wav", content="same")
    ledger.prioritise([copy], 1, 2.0, "anna")
    (claim,) = claim_all(ledger)
    assert claim.job_id == copy
    ledger.finish([finish_of(claim, "一")], 102.0)
    (later,) = claim_all(ledger)
    assert (later.job_id, later.reference) == (older, copy)


def test_a_retried_job_has_all_its_attempts_and_an_entry_in_the_history(ledger: Ledger) -> None:
    job = failed(ledger)
    (change,) = ledger.retry([job], 110.0, "anna (1000)")
    assert (change.found, change.made, change.changed) == ("failed", "queued", True)
    (again,) = ledger.retry([job], 111.0, "anna (1000)")
    assert (again.found, again.made, again.changed) == ("queued", "queued", False)
    assert again.reason
    (claim,) = claim_all(ledger)
    assert (claim.job_id, claim.attempt) == (job, 1)
    (entry, _) = reversed(ledger.actions(job_id=job))
    assert (entry.at, entry.who, entry.verb, entry.found, entry.made) == (
        110.0, "anna (1000)", Verb.RETRY, "failed", "queued",
    )  # fmt: skip


def test_a_late_call_of_a_worker_does_not_bring_an_ended_job_back(ledger: Ledger) -> None:
    """Only a person may: the edge from failed to queued is none of the workers'."""
    job = failed(ledger)
    with pytest.raises(Exception, match="is failed"):
        ledger.release(job, 1, 102.0, not_before=0.0, refund=True, isolate=False, code="c", reason="r")
    ledger.unclaim([(job, 1)])
    assert ledger.counts()[JobState.FAILED] == 1


def test_what_cannot_be_retried_says_why(ledger: Ledger) -> None:
    done = transcribed(ledger, "一", name="done.wav")
    job = failed(ledger)
    ledger.admit([admission("a.wav", "changed", path=A / "a.wav", folder=A)], 120.0)
    reasons = [c.reason for c in ledger.retry([done, job, 99], 130.0, "anna")]
    assert "redo" in reasons[0]
    assert reasons[1] == "the recording has other content by now"
    assert reasons[2] == "there is no such job"


def test_a_cancelled_running_job_is_lost_to_its_worker_and_can_be_taken_back(ledger: Ledger) -> None:
    (job,) = admit(ledger, A, "x.wav")
    (claim,) = claim_all(ledger)
    (change,) = ledger.cancel_jobs([job], 101.0, "anna")
    assert (change.found, change.made) == ("running", "cancelled")
    assert ledger.heartbeat([(job, claim.generation)], 102.0, LEASE_S) == {job}
    assert [c.made for c in ledger.retry([job], 103.0, "anna")] == ["queued"]


def test_claims_that_are_given_back_leave_no_attempt(ledger: Ledger) -> None:
    (job,) = admit(ledger, A, "x.wav")
    (claim,) = claim_all(ledger)
    ledger.begin([(job, claim.generation)])
    ledger.unclaim([(job, claim.generation)])
    detail = ledger.job(job)
    assert detail is not None
    assert (detail.summary.state, detail.summary.attempts, detail.attempts) == (JobState.QUEUED, 0, ())


def test_jobs_are_selected_by_path_state_and_reason(ledger: Ledger) -> None:
    one = failed(ledger, "Interview 1.wav")
    two, three = admit(ledger, B, "interview 2.wav", "talk.wav")

    def selected(**conditions: object) -> list[int]:
        return ledger.select(Selection(**conditions))  # type: ignore[arg-type]

    assert selected(match="INTERVIEW") == [one, two]
    assert selected(match="interview", states=frozenset({JobState.FAILED})) == [one]
    assert selected(paths=[B / "interview 2.wav"]) == [two]
    assert selected(paths=[A]) == [one]
    assert selected(paths=[Path("/srv/b/inter")]) == []
    assert selected(reason_code="no_audio") == [one]
    assert selected(profile="other") == []
    many = [*(A / f"{n}.wav" for n in range(2_500)), B / "talk.wav", B]
    assert selected(paths=[B, *many], jobs=[one]) == [one, two, three]


@pytest.mark.sqlite
def test_a_claim_reads_no_more_of_the_queue_than_it_takes(location: DatabaseLocation, ledger: Ledger) -> None:
    """By the plan of its statement: copies are looked up by their content, and the queue is read in its own order."""
    admit(ledger, A, "1.wav")
    with closing(sqlite3.connect(location.file)) as connection:
        values = {"folder": b"/srv/a", "now": 100.0, "closed": "[]", "here": '[""]', "limit": 8}
        plan = [
            row[3]
            for row in connection.execute(
                f"EXPLAIN QUERY PLAN {spelt(claims._QUEUE.text, FUNCTIONS)}", values
            )
        ]
    searched = [step.split(" USING ")[1] for step in plan if step.startswith("SEARCH")]
    assert all(
        step.startswith(("INDEX ix_jobs_queue", "INDEX ix_jobs_twins", "INDEX ix_jobs_results"))
        for step in searched
    )
    assert not any("TEMP B-TREE" in step for step in plan)
