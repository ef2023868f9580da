"""What becomes of a job that did not work out: the decision, without a clock."""

from __future__ import annotations

import pytest

from daemon.service.retry import BLAMELESS_WAIT_S, Again, Decision, Drop, GiveUp, Problem, decide

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
