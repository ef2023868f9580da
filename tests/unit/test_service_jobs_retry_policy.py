"""What becomes of a job that did not work out: the decision, without a clock."""

from __future__ import annotations

from functools import partial

import pytest

from dropscribe.ledger.records import Killed
from dropscribe.ledger.sqlite.jobs.lone_trials import MOST_DEATHS, wait_after
from dropscribe.service.jobs.doubts import Doubts
from dropscribe.service.jobs.retry_policy import (
    BLAMELESS_WAIT_S,
    LONGEST_WAIT_S,
    Again,
    Decision,
    Drop,
    GiveUp,
    Problem,
    decide,
)

NOW = 1000.0


def of(problem: Problem, attempt: int = 1, *, alone: bool = False) -> Decision:
    return decide(problem, attempt=attempt, max_attempts=3, alone=alone, now=NOW)


def test_what_trying_again_cannot_help_fails_at_once() -> None:
    assert of(Problem("no_audio", "it holds no sound")) == GiveUp()


def test_waits_grow_and_tries_run_out() -> None:
    problem = Problem("decoder_died", "the decoder was killed", retryable=True)
    first, second = of(problem, 1), of(problem, 2)
    assert isinstance(first, Again)
    assert isinstance(second, Again)
    assert NOW < first.not_before < second.not_before
    assert not first.refund
    assert of(problem, 3) == GiveUp()


def test_a_full_disk_costs_no_try() -> None:
    problem = Problem("storage", "no space left", retryable=True, blameless=True)
    assert of(problem, 3) == Again(NOW + BLAMELESS_WAIT_S, refund=True, isolate=False)


def test_an_engine_that_died_with_many_blames_none_and_with_one_that_one() -> None:
    problem = Problem("engine_died", "it died", retryable=True, suspect=True)
    assert of(problem, 3) == Again(NOW, refund=True, isolate=True)
    again = of(problem, 2, alone=True)
    assert isinstance(again, Again)
    assert (again.refund, again.isolate) == (False, True)
    assert of(problem, 3, alone=True) == GiveUp()


def test_a_recording_that_went_is_cancelled_once_its_folder_had_the_time_to_be_seen_missing() -> None:
    problem = Problem("recording_gone", "it is no longer there")
    assert of(problem, 1) == Again(NOW + BLAMELESS_WAIT_S, refund=False, isolate=False)
    assert of(problem, 3) == Drop()


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_rewritten_recording_is_given_the_time_to_be_admitted_again(attempt: int) -> None:
    problem = Problem("recording_changed", "it was changed", retryable=True)
    assert of(problem, attempt) == Again(NOW + BLAMELESS_WAIT_S, refund=False, isolate=False)


def test_a_rewritten_recording_is_never_failed() -> None:
    """A failed job stands for its content: were that to come back, nobody would look at it."""
    assert of(Problem("recording_changed", "it was changed", retryable=True), 3) == Drop()


def test_a_device_that_fails_on_a_recording_alone_costs_it_nothing_while_there_are_doubts() -> None:
    problem = Problem("device_failed", "CUDA error", retryable=True, suspect=True, device=True)
    waits = []
    for doubts in range(1, 8):
        again = decide(problem, attempt=3, max_attempts=3, alone=True, now=NOW, doubts=doubts)
        assert isinstance(again, Again)
        assert (again.refund, again.isolate) == (True, True)
        waits.append(again.not_before - NOW)
    assert waits == sorted(waits)
    assert waits[0] == BLAMELESS_WAIT_S
    assert waits[-1] == LONGEST_WAIT_S
    assert decide(problem, attempt=3, max_attempts=3, alone=True, now=NOW, doubts=0) == GiveUp()


def test_a_device_that_fails_on_everything_makes_no_recording_the_cause() -> None:
    doubts = Doubts()
    assert [doubts.raised(job) for _ in range(4) for job in (1, 2)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_recording_is_the_cause_once_others_came_through_between_two_of_its_failures() -> None:
    doubts = Doubts()
    doubts.recognised(7)
    assert doubts.raised(1) == 1, "what came through before says nothing of the device now"
    doubts.recognised(2)
    assert [doubts.raised(1), doubts.raised(1)] == [0, 0]
    assert doubts.raised(3) == 1, "nor of another recording"


def test_a_recording_that_comes_through_is_cleared() -> None:
    doubts = Doubts()
    assert doubts.raised(1) == 1
    doubts.recognised(1)
    assert doubts.raised(1) == 1


KILLED = Problem("decoder_killed", "the decoder process was killed by SIGKILL", retryable=True, killed=True)


def test_a_decoder_that_was_killed_among_others_costs_no_try_and_the_recording_is_tried_alone() -> None:
    assert of(KILLED, 3) == Again(NOW, refund=True, isolate=True, killed=Killed.AMONG_OTHERS)


def test_a_decoder_that_is_killed_again_and_again_alone_fails_at_the_limit_of_lone_deaths() -> None:
    """Whatever `max_attempts` is: they are for what the recording itself did."""
    for before in range(MOST_DEATHS - 1):
        again = decide(
            KILLED, attempt=3, max_attempts=3, alone=True, now=NOW, lone_deaths=before, others_done=True
        )
        wait = wait_after(before + 1)
        assert again == Again(NOW + wait, refund=True, isolate=True, killed=Killed.ALONE)
    last = partial(
        decide, KILLED, attempt=1, max_attempts=3, alone=True, now=NOW, lone_deaths=MOST_DEATHS - 1
    )
    assert last(others_done=True) == GiveUp()
    assert isinstance(last(others_done=False), Again)
