"""Claims of a killed daemon: counting, isolation, and the limit of lone deaths."""

from __future__ import annotations

import random

import pytest

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.lone_trials import MOST_DEATHS, MOST_DEATHS_UNPROVEN, wait_after
from dropscribe.ledger.records import Claim, JobState, JobSummary, Killed, Recovered
from tests.support.ledgers import LEASE_S, admission, begin, claim_all, finish_of

DONE, FAILED, QUEUED = JobState.DONE, JobState.FAILED, JobState.QUEUED


def admit(ledger: Ledger, *names: str) -> list[int]:
    return [a.job_id for a in ledger.admit([admission(n, n) for n in names], 1.0)]


def summary(ledger: Ledger, job: int) -> JobSummary:
    found = ledger.job(job)
    assert found is not None
    return found.summary


def outcomes(ledger: Ledger, job: int) -> list[str | None]:
    found = ledger.job(job)
    assert found is not None
    return [a.outcome for a in found.attempts]


def lone_trial(ledger: Ledger, now: float) -> Claim:
    """Claim and begin the next isolated job."""
    (claim,) = claim_all(ledger, now, isolated=True)
    assert claim.isolate
    begin(ledger, claim)
    return claim


def suspect(ledger: Ledger, name: str = "bad.wav") -> int:
    """Admit a recording and interrupt its attempt; returns its isolated job."""
    (job,) = admit(ledger, name)
    (claim,) = claim_all(ledger, 2.0)
    begin(ledger, claim)
    ledger.recover(3.0)
    return job


def another_comes_through(ledger: Ledger, name: str, now: float) -> None:
    admit(ledger, name)
    (claim,) = claim_all(ledger, now)
    begin(ledger, claim)
    assert ledger.finish([finish_of(claim, "一")], now) == []


def test_a_backlog_that_was_only_claimed_costs_nothing_however_often_the_daemon_dies(ledger: Ledger) -> None:
    admit(ledger, *(f"{i:02d}.wav" for i in range(40)))
    for death in range(1, 6):
        claims = claim_all(ledger, 100.0 * death)
        assert len(claims) == 40
        assert {(c.attempt, c.isolate) for c in claims} == {(1, False)}
        assert ledger.recover(100.0 * death + 1) == Recovered(unbegun=40, suspects=0, failed=0)
    assert {(j.state, j.attempts, j.reason_code) for j in ledger.jobs()} == {(QUEUED, 0, None)}
    assert {outcome for c in claims for outcome in outcomes(ledger, c.job_id)} == set()


def test_begun_jobs_are_isolated_uncounted_and_the_others_are_not(ledger: Ledger) -> None:
    jobs = admit(ledger, "a", "b", "c", "d")
    a, b, *_ = claim_all(ledger, 100.0)
    begin(ledger, a, b)
    assert ledger.recover(200.0) == Recovered(unbegun=2, suspects=2, failed=0)
    assert [summary(ledger, j).attempts for j in jobs] == [0, 0, 0, 0]
    assert [outcomes(ledger, j) for j in jobs] == [["interrupted"], ["interrupted"], [], []]
    assert summary(ledger, jobs[0]).reason_code == "interrupted"
    assert "alone" in (summary(ledger, jobs[0]).reason or "")
    assert [c.job_id for c in claim_all(ledger, 200.0, isolated=True)] == [jobs[0]], "at once"
    assert [c.job_id for c in claim_all(ledger, 200.0)] == jobs[2:]
    assert ledger.recover(201.0) == Recovered(3, 0, 0)


def test_an_isolated_job_that_had_not_begun_stays_isolated_without_a_lone_death(ledger: Ledger) -> None:
    job = suspect(ledger)
    for _ in range(2 * MOST_DEATHS):
        (claim,) = claim_all(ledger, 100.0, isolated=True)
        assert (claim.job_id, claim.isolate, claim.lone_deaths) == (job, True, 0)
        assert ledger.recover(100.0) == Recovered(1, 0, 0)


def test_a_recording_that_kills_every_daemon_fails_once_others_are_done(ledger: Ledger) -> None:
    job, now = suspect(ledger), 100.0
    for death in range(1, MOST_DEATHS + 1):
        claim = lone_trial(ledger, now)
        assert (claim.attempt, claim.lone_deaths) == (1, death - 1)
        failed = int(death == MOST_DEATHS)
        assert ledger.recover(now) == Recovered(0, 1 - failed, failed)
        if not failed:
            assert claim_all(ledger, now + wait_after(death) - 0.1, isolated=True) == []
            now += wait_after(death)
        if death == 1:
            another_comes_through(ledger, "good.wav", now - 0.1)
    found = summary(ledger, job)
    assert (found.state, found.reason_code) == (FAILED, "worker_lost")
    assert f"{MOST_DEATHS} times" in (found.reason or "")
    assert found.remedy
    assert outcomes(ledger, job) == ["interrupted"] * (MOST_DEATHS + 1)


def test_while_no_recording_is_done_the_limit_of_lone_deaths_is_higher(ledger: Ledger) -> None:
    job, now = suspect(ledger), 100.0
    for _ in range(MOST_DEATHS_UNPROVEN - 1):
        lone_trial(ledger, now)
        assert ledger.recover(now).failed == 0
        now += 1_000.0
    lone_trial(ledger, now)
    assert ledger.recover(now).failed == 1, "but there is an end to it"
    assert summary(ledger, job).state is FAILED


def test_a_daemon_death_without_the_recording_resets_its_lone_deaths(ledger: Ledger) -> None:
    suspect(ledger)
    now = 100.0
    for _ in range(5):
        lone_trial(ledger, now)
        ledger.recover(now)
        now += 100.0
    admit(ledger, "good.wav")
    (good,) = claim_all(ledger, now)
    begin(ledger, good)
    ledger.recover(now)
    assert [claim.lone_deaths for claim in (lone_trial(ledger, now),)] == [0]


def test_after_a_lone_death_each_daemon_must_live_for_a_while_first(ledger: Ledger) -> None:
    """More frequent kills hit no lone trial, so none is counted."""
    suspect(ledger)
    lone_trial(ledger, 100.0)
    ledger.recover(100.0)
    for start in range(101, 120):
        ledger.recover(float(start))
        ledger.defer_lone_trials(float(start))
        assert claim_all(ledger, start + wait_after(1) - 0.1, isolated=True) == []
    assert ledger.next_isolated() == 119.0 + wait_after(1)


def test_a_clean_stop_during_a_lone_trial_is_no_death(ledger: Ledger) -> None:
    job = suspect(ledger)
    claim = lone_trial(ledger, 100.0)
    ledger.release(
        job, claim.generation, 101.0,
        not_before=101.0, refund=True, isolate=claim.isolate, code="stopped", reason="the daemon stopped",
    )  # fmt: skip
    again = lone_trial(ledger, 102.0)
    assert (again.attempt, again.isolate, again.lone_deaths) == (1, True, 0)


def test_a_frozen_worker_is_like_a_killed_one(ledger: Ledger) -> None:
    jobs = admit(ledger, "a", "b")
    a, _ = claim_all(ledger, 100.0)
    begin(ledger, a)
    assert [c.job_id for c in claim_all(ledger, 101.0 + LEASE_S)] == jobs[1:]
    assert outcomes(ledger, jobs[0]) == ["lost"]
    assert [c.job_id for c in claim_all(ledger, 101.0 + LEASE_S, isolated=True)] == jobs[:1]
    assert [summary(ledger, j).attempts for j in jobs] == [0, 0]


def test_a_decoder_that_is_killed_is_counted_with_the_daemons_deaths(ledger: Ledger) -> None:
    job = suspect(ledger)
    claim = lone_trial(ledger, 100.0)
    ledger.release(
        job, claim.generation, 100.0,
        not_before=100.0, refund=True, isolate=True, code="decoder_killed", reason="r", killed=Killed.ALONE,
    )  # fmt: skip
    claim = lone_trial(ledger, 101.0)
    assert (claim.attempt, claim.lone_deaths, claim.others_done) == (1, 1, False)
    ledger.recover(102.0)
    another_comes_through(ledger, "good.wav", 103.0)
    for before in (2, 3):
        claim = lone_trial(ledger, 200.0 * before)
        assert (claim.lone_deaths, claim.others_done) == (before, True)
        ledger.recover(200.0 * before)


@pytest.mark.costly
def test_a_hundred_kills_at_random_over_a_backlog_fail_nothing(ledger: Ledger) -> None:
    """A worker with two decoders, and recordings longer than the interval of kills."""
    chance, now, trial_s = random.Random(7), 100.0, 8.0
    jobs = admit(ledger, *(f"{i:03d}.wav" for i in range(64)))
    for _ in range(100):
        dies = now + chance.expovariate(1 / 10.0)
        held: list[Claim] = []
        while now < dies:
            if not held:
                due = ledger.next_isolated()
                held = claim_all(ledger, now, limit=64, isolated=due is not None and due <= now)
            if not held:
                now += 1.0
                continue
            begin(ledger, *held[:2])
            now += trial_s
            if now < dies:
                assert ledger.finish([finish_of(c, "一") for c in held[:2]], now) == []
                held = held[2:]
        now = dies + 1.0
        assert ledger.recover(now).failed == 0
        now += 1.0
        ledger.defer_lone_trials(now)
    states = {summary(ledger, j).state for j in jobs}
    assert states <= {DONE, QUEUED}
    assert DONE in states
    assert max(j.attempts for j in ledger.jobs(limit=1_000)) <= 1
