"""The timeline of a job, bars and quantiles: pure functions of the history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.ledger.control import Action
from dropscribe.ledger.histograms import BUCKETS, Durations, bounds
from dropscribe.ledger.records import AttemptSummary, JobDetail, JobState, JobSummary, JobVersion
from dropscribe.views.stats_chart import bars
from dropscribe.views.timeline import timeline

JOB = JobSummary(
    7, JobState.DONE, Path("/in/a.wav"), Path("/in"), "default", 100.0, 130.0, 140.0, 1, 3, 5.0, 4.0, 9, 42.0, 2.5, "mini",
    "cpu", None, (), None, None, None, None,
)  # fmt: skip
DETAIL = JobDetail(
    JOB, "r", "sha", 10, 0, 0.0, None, isolate=False,
    attempts=(
        AttemptSummary(1, 1, "host:1", 110.0, 120.0, "released", "no_room", "the disk is full", 4),
        AttemptSummary(1, 2, "host:1", 130.0, 140.0, "done", None, None),
    ),
    outputs=(), result=None, settle_s=2.0,
    versions=(
        JobVersion(7, 1, JobState.DONE, None, 100.0, "default"),
        JobVersion(9, 2, JobState.QUEUED, 7, 200.0, "court"),
    ),
)  # fmt: skip


def test_what_happened_in_order_of_time() -> None:
    asked = Action(125.0, "ann (1000)", "priority", 7, None, "queued", "queued")
    assert [(e.at, e.kind, e.text) for e in timeline(DETAIL, [asked])] == [
        (98.0, "seen", "seen for the first time"),
        (100.0, "admitted", "admitted"),
        (110.0, "try", "try 1 begins (host:1)"),
        (120.0, "try_ended", "try 1 released, 4 times: the disk is full"),
        (125.0, "action", "ann (1000) asked: priority (queued)"),
        (130.0, "try", "try 1 begins (host:1)"),
        (140.0, "try_ended", "try 1 done"),
        (140.0, "ended", "done, 42 s after it was first seen"),
        (200.0, "version", "job 9 makes version 2 in place of this one"),
    ]


def test_a_later_version_and_a_job_that_waits() -> None:
    later = replace(JOB, id=9, version=2, state=JobState.QUEUED, finished_at=None, admitted_at=200.0)
    events = timeline(replace(DETAIL, summary=later, attempts=(), settle_s=0.0))
    assert [(e.at, e.text) for e in events] == [(200.0, "admitted, version 2 of its transcript")]


def test_bars_end_where_they_should() -> None:
    assert bars([4.0, 2.0, 0.0, 0.001], 4, blocks=True) == ["████", "██", "", "▏"]
    assert bars([4.0, 2.0, 0.0, 0.001], 4, blocks=False) == ["####", "##", "", "#"]
    assert bars([0.0], 4, blocks=True) == bars([1.0], 0, blocks=True) == [""]


def bucket_of(seconds: float) -> int:
    return next(b for b in range(BUCKETS) if (end := bounds(b)[1]) is None or seconds < end)


@given(st.lists(st.floats(0.002, 1e5), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_right_within_a_factor_of_two(durations: list[float], share: float) -> None:
    counts: dict[int, int] = {}
    for seconds in durations:
        counts[bucket_of(seconds)] = counts.get(bucket_of(seconds), 0) + 1
    found = Durations(counts, sum(durations)).quantile_s(share)
    rank = max(0, -int(-share * len(durations) // 1) - 1)
    true = sorted(durations)[rank]
    assert found is not None
    assert true / 2 <= found <= true * 2


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_nothing_has_no_quantile(share: float) -> None:
    assert Durations({}, 0.0).quantile_s(share) is None
    assert Durations({}, 0.0).mean_s is None
