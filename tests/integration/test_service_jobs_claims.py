"""Number of jobs claimed at once, with the real ledger: each claim is a commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.service.jobs.claimer import CLAIM_BATCH, LEAST_AHEAD
from dropscribe.service.publishing.publisher import Published
from tests.support.dispatching import Turning
from tests.support.ledgers import admission


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    yield opened
    opened.close()


def running(ledger: Ledger) -> int:
    return sum(job.state is JobState.RUNNING for job in ledger.jobs(limit=10_000))


def end(w: Turning, ledger: Ledger, count: int) -> None:
    """Recognise and publish this many of the jobs under way."""
    started = [call.args[0] for call in w.executor.start.call_args_list if isinstance(call.args[0], Work)]
    w.executor.turn.return_value = [
        Outcome(work.ticket, create_autospec(Result, instance=True)) for work in started[:count]
    ]
    w.publisher.put.reset_mock()
    w.turn()
    w.executor.turn.return_value = []
    put = [call.args[0].claim for call in w.publisher.put.call_args_list]
    for claim in put:
        ledger.cancel(claim.job_id, w.now, "as if it were done")
    w.publisher.completed.return_value = [Published(claim.job_id, None) for claim in put]
    w.turn()
    w.publisher.completed.return_value = []


def filled(w: Turning, ledger: Ledger) -> int:
    """Turn until nothing more is claimed; returns the number of jobs in flight."""
    ledger.admit([admission(f"{i}.wav", str(i)) for i in range(400)], 1.0)
    for _ in range(20):
        w.turn()
    return running(ledger)


def test_jobs_are_claimed_up_to_the_limit(ledger: Ledger) -> None:
    w = Turning(ledger, limit=3 * CLAIM_BATCH, room=1_000)
    # But for a few places, which are not worth a commit.
    assert 2.5 * CLAIM_BATCH < filled(w, ledger) <= 3 * CLAIM_BATCH


def test_few_jobs_are_claimed_ahead_of_those_that_can_start(ledger: Ledger) -> None:
    """A job that is claimed keeps its place, whatever comes in with a higher priority."""
    w = Turning(ledger, limit=3 * CLAIM_BATCH, room=0)
    assert filled(w, ledger) <= 2 * LEAST_AHEAD
    w.now += 100.0
    (urgent,) = ledger.admit([admission("urgent.wav", "urgent", priority=1)], 2.0)
    w.executor.room.return_value = 2
    w.turn()
    w.turn()
    assert urgent.job_id in {claim.job_id for claim in w.dispatcher.claims()}


def test_with_a_high_limit_single_free_places_are_not_filled(ledger: Ledger) -> None:
    w = Turning(ledger, limit=3 * CLAIM_BATCH, room=1_000)
    before = filled(w, ledger)
    end(w, ledger, 1)
    w.turn()
    assert running(ledger) == before - 1


def test_with_a_high_limit_many_free_places_are_filled_together(ledger: Ledger) -> None:
    w = Turning(ledger, limit=3 * CLAIM_BATCH, room=1_000)
    before = filled(w, ledger)
    end(w, ledger, CLAIM_BATCH)
    w.turn()
    assert running(ledger) == before


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_with_a_low_limit_every_free_place_is_filled(ledger: Ledger, limit: int) -> None:
    ledger.admit([admission(f"{i}.wav", str(i)) for i in range(10)], 1.0)
    w = Turning(ledger, limit=limit, room=10)
    w.turn()
    end(w, ledger, 1)
    w.turn()
    assert running(ledger) == limit
