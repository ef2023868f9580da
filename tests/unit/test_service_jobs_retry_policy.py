"""Retry policy: the decision on a failed job. No clock."""

from __future__ import annotations

from functools import partial

import pytest

from dropscribe import errors
from dropscribe.ledger.lone_trials import MOST_DEATHS, wait_after
from dropscribe.ledger.records import Killed
from dropscribe.pipeline.problem import FaultKind, Problem, kind_of
from dropscribe.service.jobs.retry_policy import (
    BLAMELESS_WAIT_S,
    LONGEST_WAIT_S,
    Again,
    Decision,
    DeviceFailures,
    Drop,
    GiveUp,
    decide,
)

NOW = 1000.0


def of(kind: FaultKind, attempt: int = 1, *, alone: bool = False) -> Decision:
    return decide(kind, attempt=attempt, max_attempts=3, alone=alone, now=NOW)


def test_faults_that_a_retry_cannot_help_fail_at_once() -> None:
    assert of(FaultKind.RECORDING) == GiveUp()


def test_retry_delays_grow_and_attempts_run_out() -> None:
    first, second = of(FaultKind.TRANSIENT, 1), of(FaultKind.TRANSIENT, 2)
    assert isinstance(first, Again)
    assert isinstance(second, Again)
    assert NOW < first.not_before < second.not_before
    assert not first.refund
    assert of(FaultKind.TRANSIENT, 3) == GiveUp()


@pytest.mark.parametrize("kind", [FaultKind.STORAGE, FaultKind.UNANSWERED, FaultKind.ENVIRONMENT])
def test_what_lies_outside_the_recording_costs_no_try(kind: FaultKind) -> None:
    assert of(kind, 3) == Again(NOW + BLAMELESS_WAIT_S, refund=True, isolate=False)


@pytest.mark.parametrize("kind", [FaultKind.ENGINE, FaultKind.DEVICE])
def test_an_engine_that_died_with_many_blames_none_and_with_one_that_one(kind: FaultKind) -> None:
    assert of(kind, 3) == Again(NOW, refund=True, isolate=True)
    again = of(kind, 2, alone=True)
    assert isinstance(again, Again)
    assert (again.refund, again.isolate) == (False, True)
    assert of(kind, 3, alone=True) == GiveUp()


@pytest.mark.parametrize("alone", [False, True])
def test_a_lost_machine_or_publishing_process_costs_no_try_and_blames_no_recording(alone: bool) -> None:
    assert of(FaultKind.NODE, 3, alone=alone) == Again(NOW, refund=True, isolate=False)
    assert of(FaultKind.PUBLISHING, 3, alone=alone) == Again(NOW, refund=True, isolate=False)


def test_a_removed_recording_is_cancelled_after_a_missing_folder_would_be_noticed() -> None:
    assert kind_of("recording_gone", retryable=False) is FaultKind.CHANGED
    assert of(FaultKind.CHANGED, 1) == Again(NOW + BLAMELESS_WAIT_S, refund=False, isolate=False)
    assert of(FaultKind.CHANGED, 3) == Drop()


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_rewritten_recording_has_time_to_be_admitted_again(attempt: int) -> None:
    assert kind_of("recording_changed", retryable=True) is FaultKind.CHANGED
    assert of(FaultKind.CHANGED, attempt) == Again(NOW + BLAMELESS_WAIT_S, refund=False, isolate=False)


def test_a_rewritten_recording_is_never_failed() -> None:
    """A failed job is final for its content, which would be ignored if it came back."""
    assert of(FaultKind.CHANGED, 3) == Drop()


def test_a_device_that_fails_on_a_recording_alone_costs_it_nothing_until_it_is_shown_to_be_the_cause() -> (
    None
):
    kind = FaultKind.DEVICE
    waits = []
    for unproven in range(1, 8):
        again = decide(kind, attempt=3, max_attempts=3, alone=True, now=NOW, unproven=unproven)
        assert isinstance(again, Again)
        assert (again.refund, again.isolate) == (True, True)
        waits.append(again.not_before - NOW)
    assert waits == sorted(waits)
    assert waits[0] == BLAMELESS_WAIT_S
    assert waits[-1] == LONGEST_WAIT_S
    assert decide(kind, attempt=3, max_attempts=3, alone=True, now=NOW, unproven=0) == GiveUp()


def test_a_device_that_always_fails_makes_no_recording_the_cause() -> None:
    failures = DeviceFailures()
    assert [failures.count(job) for _ in range(4) for job in (1, 2)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_recording_is_the_cause_if_others_succeed_between_two_of_its_failures() -> None:
    failures = DeviceFailures()
    failures.recognised(7)
    assert failures.count(1) == 1, "an earlier success does not clear a device that fails now"
    failures.recognised(2)
    assert [failures.count(1), failures.count(1)] == [0, 0]
    assert failures.count(3) == 1, "nor of another recording"


def test_a_recording_that_succeeds_is_cleared() -> None:
    failures = DeviceFailures()
    assert failures.count(1) == 1
    failures.recognised(1)
    assert failures.count(1) == 1


KILLED = FaultKind.DECODER_KILLED


def test_a_decoder_killed_among_others_costs_no_attempt_and_the_recording_is_tried_alone() -> None:
    assert of(KILLED, 3) == Again(NOW, refund=True, isolate=True, killed=Killed.AMONG_OTHERS)


def test_a_decoder_that_is_killed_again_and_again_alone_fails_at_the_limit_of_lone_deaths() -> None:
    """Independent of `max_attempts`, which limits failures caused by the recording itself."""
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.NoAudioError, FaultKind.RECORDING),
        (errors.MediaLimitError, FaultKind.RECORDING),
        (errors.EngineError, FaultKind.RECORDING),
        (errors.RecordingGoneError, FaultKind.CHANGED),
        (errors.RecordingChangedError, FaultKind.CHANGED),
        (errors.DecoderDiedError, FaultKind.TRANSIENT),
        (errors.LostSegmentError, FaultKind.TRANSIENT),
        (errors.OutputTakenError, FaultKind.TRANSIENT),
        (errors.StorageError, FaultKind.STORAGE),
        (errors.UnansweredError, FaultKind.UNANSWERED),
        (errors.OutOfDeviceMemoryError, FaultKind.ENVIRONMENT),
        (errors.DecoderKilledError, FaultKind.DECODER_KILLED),
        (errors.EngineDiedError, FaultKind.ENGINE),
        (errors.DeviceFailedError, FaultKind.DEVICE),
    ],
)
def test_every_error_that_ends_an_attempt_has_its_kind(
    error: type[errors.DropscribeError], kind: FaultKind
) -> None:
    problem = Problem.of(error("so it was", remedy="do this"))
    assert (problem.code, problem.reason, problem.remedy) == (error.code, "so it was", "do this")
    assert problem.kind is kind
    # Over a process boundary only code and retryability travel.
    assert kind_of(error.code, retryable=error.retryable) is kind
