"""A ledger open for months: no memory grows with the number of jobs."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import psutil
import pytest

from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState, OutputIntent
from tests.support.ledgers import FOLDER, LEASE_S, admission, claim_all, finish_of, open_ledger

#: Jobs per round (each in a new thread), rounds before the first measurement, rounds after it.
JOBS, WARM_UP, ROUNDS = 100, 5, [15, pytest.param(45, marks=pytest.mark.soak)]
#: Tolerated growth for 4,500 jobs, bytes: caches, less than 1 KB per job.
MOST_GROWTH = 4 * 2**20


def one_round(ledger: Ledger, number: int) -> None:
    """Call every method that the daemon uses for `JOBS` recordings."""
    names = [f"{number}-{i}.wav" for i in range(JOBS)]
    ledger.admit([admission(n, n) for n in names], 1.0)
    claims = claim_all(ledger, limit=JOBS)
    ledger.heartbeat([(c.job_id, c.generation) for c in claims], 101.0, LEASE_S)
    for claim in claims[:10]:
        ledger.intend_partial(
            (claim.job_id, claim.generation), claim.path.with_suffix(".partial.txt"), "h", (), 101.0
        )
    ledger.forget_partials(ledger.partials())
    ledger.intend(
        [(c.job_id, c.generation, [OutputIntent("txt", c.path.with_suffix(".txt"), "h")]) for c in claims],
        101.0,
    )
    assert ledger.finish([finish_of(c, "今天讨论预算", "你好") for c in claims], 102.0) == []
    ledger.owned([c.path.with_suffix(".txt") for c in claims])
    ledger.outputs_of(FOLDER / names[0])
    ledger.job(claims[0].job_id)
    ledger.jobs()
    ledger.search("预算")
    ledger.search("讨论预算")


def footprint() -> tuple[int, int, int]:
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds(), threading.active_count()


def rounds(ledger: Ledger, first: int, count: int) -> None:
    for number in range(first, first + count):
        thread = threading.Thread(target=one_round, args=(ledger, number))
        thread.start()
        thread.join()


@pytest.mark.costly
@pytest.mark.parametrize("number", ROUNDS)
def test_nothing_grows_with_the_number_of_jobs(
    location: DatabaseLocation, tmp_path: Path, number: int
) -> None:
    ledger = open_ledger(location)
    rounds(ledger, 0, WARM_UP)
    resident, handles, threads = footprint()
    rounds(ledger, WARM_UP, number)
    assert footprint()[1:] == (handles, threads)
    assert footprint()[0] - resident < MOST_GROWTH
    assert ledger.counts()[JobState.DONE] == JOBS * (WARM_UP + number)
    ledger.close()
    # The write-ahead log was moved into the database and removed.
    assert [p.name for p in tmp_path.iterdir()] == ([] if location.server else ["jobs.db"])
