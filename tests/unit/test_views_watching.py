"""The screen of `dropscribe status --watch`: everything that matters in 80 columns and 24 lines."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dropscribe.cli.commands.control.watch import parse_gpus
from dropscribe.columns import columns
from dropscribe.ledger.control import FolderBacklog, Pause
from dropscribe.ledger.records import HeldJobs, JobState, JobSummary
from dropscribe.views.status import Process, Queue
from dropscribe.views.watching import Gpu, Screen

NOW = datetime(2026, 11, 29, 12, 0).timestamp()  # noqa: DTZ001 - local time, as it is shown


def job(number: int, name: str) -> JobSummary:
    return JobSummary(
        number, JobState.FAILED, Path("/srv/a") / name, Path("/srv/a"), "default", NOW, NOW, NOW, 3, 3,
        None, None, None, None, None, None, None, None, (), "no_audio", "no audio in it", "record it again", None,
    )  # fmt: skip


def progress(number: int, name: str, stage: str = "recognising", position: int = 60_000) -> dict[str, Any]:
    return {
        "job": number, "recording": f"/srv/a/{name}", "stage": stage, "position_ms": position, "duration_ms": 120_000,
        "elapsed_s": 12.0,
    }  # fmt: skip


def screen(running: int = 3, **changes: Any) -> Screen:
    said = {
        "state": "ready", "since": NOW - 7_500, "in_flight": running,
        "engine": {"model": "paraformer-zh", "device": "cuda:0"},
        "load": {"recordings_per_min": 34.0, "audio_rate": 120.0, "decoders": 16, "decoders_busy": 4},
        "in_progress": [progress(n, f"recording {n}.wav") for n in range(running)],
        "waits": [{"folder": "/srv/b", "code": "hours", "reason": "its hours are 19:00-07:00", "until": NOW + 7 * 3600}],
    }  # fmt: skip
    counts = dict.fromkeys(JobState, 0) | {JobState.DONE: 12_345, JobState.FAILED: 2}
    held = (HeldJobs("folder_away", "the folder is away", "mount it", 5, 1),)
    queue = Queue(
        counts, None, None, (job(7, "broken.wav"), job(8, "长录音 的 名字 很长 很长 很长 很长.wav")), held
    )
    backlog = [
        FolderBacklog(Path("/srv/a"), 800, 5, 360_000.0),
        FolderBacklog(Path("/srv/b"), 1_234, 0, 7_200.0),
    ]
    values: dict[str, Any] = {
        "now": NOW, "process": Process(running=True, pid=1, said=said), "queue": queue, "backlog": backlog,
        "problems": ["/srv/c: it is away (mount it)"], "gpus": (Gpu("0", 97.0, 12 << 30, 139 << 30),),
    }  # fmt: skip
    return Screen(**values | changes)


def text(shown: Screen, width: int = 80, height: int = 24) -> list[str]:
    return ["".join(part.text for part in line).rstrip() for line in shown.lines(width, height)]


def test_what_people_look_for_is_there() -> None:
    lines = text(screen())
    said = "\n".join(lines)
    assert lines[0] == "dropscribe ready for 2:05 h  paraformer-zh on cuda:0  12:00:00"
    assert "2,034 recordings, about 102 h of audio; 3 in progress" in said
    assert "34 recordings a minute, 120 × real time" in said
    assert "███░░░░░░░░░  4 of 16 busy" in said
    assert "97 % busy, 12.0 of 139.0 GiB" in said
    # 100 h of the folder that does not wait, and three times a minute, at 120 times real time.
    assert "end        about 12:50, in 50 min, if nothing comes in" in said
    assert "recording 0.wav" in said
    assert "/srv/b, 1,234 recordings: its hours are 19:00-07:00, again from 19:00" in said
    assert "5 recordings: the folder is away → mount it" in said
    assert "problem    /srv/c: it is away (mount it)" in said
    assert "failed     broken.wav (job 7): no audio in it → record it again" in said


@pytest.mark.parametrize("running", [0, 1, 30, 500])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 12), (200, 60), (20, 5)])
def test_it_fits_whatever_there_is(running: int, width: int, height: int) -> None:
    lines = text(screen(running), width, height)
    assert len(lines) <= height
    assert all(columns(line) <= width for line in lines)


def test_many_recordings_in_progress_leave_room_for_what_waits_and_what_failed() -> None:
    said = "\n".join(text(screen(500)))
    assert "… and " in said
    assert "waits " in said
    assert "failed " in said


def test_without_a_daemon_it_says_so_and_shows_the_queue() -> None:
    stopped = screen(process=Process(running=False, pid=None, said=None), gpus=())
    lines = text(stopped)
    assert lines[0].startswith("dropscribe not running")
    assert "2,034 recordings" in lines[1]


def test_a_pause_of_all_counts_everything_and_no_end_is_promised() -> None:
    paused = screen(0)
    assert paused.queue is not None
    queue = Queue(paused.queue.counts, None, None, (), (), (Pause(None, "anna (1000)", NOW),))
    said = "\n".join(text(screen(0, queue=queue)))
    assert "all folders, 2,034 recordings: paused by anna (1000)" in said
    assert "\nend" not in said


def test_lengths_that_are_not_known_yet_are_not_guessed() -> None:
    said = "\n".join(text(screen(backlog=[FolderBacklog(Path("/srv/a"), 3, 0, None)])))
    assert "3 recordings; 3 in progress" in said
    assert "\nend" not in said


def test_names_cannot_write_to_the_terminal() -> None:
    said = {"in_progress": [progress(1, "a\x1b[2Jb.wav")], "in_flight": 1, "state": "ready", "since": NOW}
    lines = text(screen(process=Process(running=True, pid=1, said=said)))
    assert "\x1b" not in "".join(lines)


def test_gpus_as_nvidia_smi_prints_them() -> None:
    assert parse_gpus("0, 37, 1024, 2048\n1, [N/A], 1, 2\n\n") == [Gpu("0", 37.0, 1 << 30, 2 << 30)]
