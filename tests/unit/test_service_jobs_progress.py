"""Progress of running jobs: what is stated of each, and which appear in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe import logs
from dropscribe.columns import columns
from dropscribe.pipeline.attempt import Progress
from dropscribe.service.jobs.progress import (
    LOG_S,
    LOGGED,
    MESSAGE_COLUMNS,
    JobProgress,
    ProgressLog,
    Stage,
    position_text,
)

TALK = Path("/in/talk.m4a")


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress(0, 0, None), (Stage.DECODING, 0, None)),
        (Progress(40_000, 0, 60_000), (Stage.DECODING, 40_000, 60_000)),
        (Progress(60_000, 30_000, 60_000), (Stage.RECOGNISING, 30_000, 60_000)),
        # It waits for the engine.
        (Progress(59_990, 0, 60_000), (Stage.RECOGNISING, 0, 60_000)),
        # The container declares less than there is.
        (Progress(90_000, 80_000, 60_000), (Stage.RECOGNISING, 80_000, None)),
        (Progress(90_000, 80_000, None), (Stage.RECOGNISING, 80_000, None)),
        (None, (Stage.RECOGNISING, 0, None)),
    ],
)
def test_stage_and_position_of_a_job(
    progress: Progress | None, expected: tuple[Stage, int, int | None]
) -> None:
    job = JobProgress.of(7, TALK, progress, 12.0)
    assert (job.stage, job.position_ms, job.duration_ms) == expected
    assert job.elapsed_s == 12.0


@pytest.mark.parametrize(
    ("values", "long", "short"),
    [
        (("recognising", 760_000, 3_071_000), "recognising 12:40 of 51:11 (24 %)", "recognising 24 %"),
        (("decoding", 4_000_000, None), "decoding, 1:06:40 so far", "decoding 1:06:40"),
        (("publishing", 0, None), "publishing", "publishing"),
        (("recognising", 60_000, 60_000), "recognising 1:00 of 1:00 (100 %)", "recognising 100 %"),
    ],
)
def test_the_position_in_words(values: tuple[str, int, int | None], long: str, short: str) -> None:
    assert position_text(*values) == long
    assert position_text(*values, short=True) == short


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(action, message) of each log line."""
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(logs, "event", lambda _, action, message, **__: lines.append((str(action), message)))
    return lines


def test_jobs_that_take_long_are_logged_at_intervals(said: list[tuple[str, str]]) -> None:
    log = ProgressLog()

    def running(elapsed_s: float) -> list[JobProgress]:
        brief = JobProgress(8, Path("/in/brief.wav"), Stage.RECOGNISING, 1000, 2000, elapsed_s - 5)
        return [JobProgress(7, TALK, Stage.RECOGNISING, 30_000, 60_000, elapsed_s), brief]

    for now in range(100, 131):
        log.tend(float(now), lambda now=now: running(now - 100.0))  # type: ignore[misc]
    assert [message for _, message in said] == [
        "talk.m4a: recognising 0:30 of 1:00 (50 %), 10 s",
        "talk.m4a: recognising 0:30 of 1:00 (50 %), 20 s",
        "brief.wav: recognising 0:01 of 0:02 (50 %), 15 s",
        "talk.m4a: recognising 0:30 of 1:00 (50 %), 30 s",
        "brief.wav: recognising 0:01 of 0:02 (50 %), 25 s",
    ]
    assert {action for action, _ in said} == {"job_progress"}


def test_of_many_jobs_the_longest_are_logged_and_the_others_counted(said: list[tuple[str, str]]) -> None:
    name = "会议录音" * 20
    many = [
        JobProgress(i, Path(f"/in/{i} {name}.wav"), Stage.RECOGNISING, 9_000_000, 10_800_000, LOG_S + i)
        for i in range(40)
    ]
    ProgressLog().tend(0.0, lambda: many)
    *jobs, rest = [message for _, message in said]
    assert [int(message.split()[0]) for message in jobs] == list(range(39, 39 - LOGGED, -1))
    assert rest.startswith(f"{40 - LOGGED} more recordings")
    assert all(columns(message) <= MESSAGE_COLUMNS for message in jobs)
