"""A backlog of long recordings and few decoders, while the daemon or a decoder is killed repeatedly."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from dropscribe.ledger.lone_trials import MOST_DEATHS
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.long_forms import IN_SOAK
from tests.support.poison import reason_of, signal_decoders

DECODERS = "[media]\ndecoders = 2\n"
#: Deaths alone at which a recording fails in these tests; how many they are is tested without a daemon.
FEW_DEATHS = 4


def with_short_limits(most_deaths: int = MOST_DEATHS) -> tuple[str, ...]:
    """`dropscribe` with short delays between lone trials, of which there are `most_deaths`."""
    program = f"""
from dropscribe.ledger import lone_trials
lone_trials.LONGEST_WAIT_S = 0.5
lone_trials.MOST_DEATHS = {most_deaths}
from dropscribe.cli.app import main
main()
"""
    return sys.executable, "-c", program


def write_backlog(folder: Path, count: int, seconds: float) -> list[Path]:
    """Write recordings with different contents."""
    return [
        write_speech(folder / f"{i:03d}.wav", seconds=seconds + i, offset=i % 20 * 0.2) for i in range(count)
    ]


def begun(daemon: DaemonProcess, recording: Path | None = None) -> bool:
    """True if this recording (default: any) is being decoded or recognised."""
    which = "" if recording is None else " and r.path_raw = ?"
    values = () if recording is None else (os.fsencode(recording),)
    return bool(
        daemon.rows(
            "select 1 from jobs j join recordings r on r.id = j.recording_id"
            f" where j.state = 'running' and j.begun = 1{which}",
            *values,
        )
    )


def assert_done_once(daemon: DaemonProcess, recordings: list[Path]) -> None:
    for path in recordings:
        daemon.wait_for(path)
        assert path.with_suffix(".txt").read_text(encoding="utf-8")
    found = daemon.rows("select state, attempts, count(*) as n from jobs group by state, attempts")
    assert [(row["state"], row["attempts"], row["n"]) for row in found] == [("done", 1, len(recordings))]
    twice = "select path from outputs where published = 1 group by path having count(*) > 1"
    assert daemon.rows(twice) == []
    names = {p.name.split(".")[0] for p in daemon.inbox.iterdir()}
    assert names == {p.stem for p in recordings}, "no second names, nothing half written"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("recordings", "kills"), [(24, 3), pytest.param(40, 6, marks=pytest.mark.soak)])
def test_a_daemon_killed_many_times_over_a_backlog_fails_nothing(
    tmp_path: Path, recordings: int, kills: int
) -> None:
    daemon = DaemonProcess(tmp_path, model="null", extra=DECODERS)
    backlog = write_backlog(daemon.inbox, recordings, 300)
    waiting = "select 1 from jobs where state = 'running'"
    for _ in range(kills):
        daemon.start().wait_ready()
        wait_until(lambda: daemon.rows(waiting) != [] or not daemon.running, "jobs are claimed")
        wait_until(lambda: begun(daemon) or daemon.rows(waiting) == [], "some have begun")
        daemon.kill()
        assert daemon.rows("select 1 from jobs where state not in ('queued', 'running', 'done')") == []
    with daemon:
        assert_done_once(daemon, backlog)
        interrupted = daemon.rows("select 1 from attempts where outcome = 'interrupted'")
        assert interrupted, "there were kills in the middle of it"
        assert len(interrupted) < len(backlog), "what was only claimed left no trace"


@IN_SOAK
@pytest.mark.timeout(600)
def test_kills_of_a_decoder_from_outside_do_not_fail_its_recording(tmp_path: Path) -> None:
    """More kills than attempts allowed, as when memory is short for a while."""
    daemon = DaemonProcess(tmp_path, model="null", extra=DECODERS, command=with_short_limits())
    victim = daemon.inbox / "victim.wav"
    with daemon:
        with signal_decoders(daemon, victim, signal.SIGKILL) as hit:
            write_speech(tmp_path / "victim.wav", seconds=600).rename(victim)
            others = write_backlog(daemon.inbox, 8, 20)
            wait_until(lambda: len(hit) >= 5 or not daemon.running, "five decoders were killed")
        assert_done_once(daemon, [victim, *others])
        released = daemon.rows("select code, reason from attempts where outcome = 'released'")
        assert {row["code"] for row in released} == {"decoder_killed"}
        assert "SIGKILL" in released[0]["reason"]


@IN_SOAK
@pytest.mark.timeout(600)
def test_a_recording_whose_decoder_is_always_killed_from_outside_fails_by_itself(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", extra=DECODERS, command=with_short_limits(FEW_DEATHS))
    bad = daemon.inbox / "bad.wav"
    with daemon, signal_decoders(daemon, bad, signal.SIGKILL):
        write_speech(tmp_path / "bad.wav", seconds=600).rename(bad)
        others = write_backlog(daemon.inbox, 8, 20)
        for path in others:
            daemon.wait_for(path)
        late = write_backlog(tmp_path, 9, 30)[-1].rename(daemon.inbox / "late.wav")
        code, reason, _ = reason_of(daemon, bad)
        daemon.wait_for(late)
    assert code == "decoder_killed"
    assert "SIGKILL" in reason


@pytest.mark.timeout(600)
def test_a_recording_that_brings_down_the_daemon_fails_by_itself(tmp_path: Path) -> None:
    """Simulated: the test kills the daemon whenever that recording is being decoded or recognised."""
    daemon = DaemonProcess(tmp_path, model="null", extra=DECODERS, command=with_short_limits(FEW_DEATHS))
    bad = write_speech(daemon.inbox / "bad.wav", seconds=900)
    deaths = 0
    daemon.start().wait_ready()
    wait_until(lambda: daemon.state(bad) is not None, "it is the oldest in the queue")
    others = write_backlog(daemon.inbox, 12, 60)
    while (state := daemon.state(bad)) != "failed":
        assert state != "done", "it was never caught"
        if not daemon.running:
            daemon.start().wait_ready()
        if begun(daemon, bad):
            daemon.kill()
            deaths += 1
            assert deaths <= FEW_DEATHS + 3
        time.sleep(0.01)
    for path in others:
        daemon.wait_for(path)
    assert daemon.stop() == 0
    (row,) = daemon.rows("select reason_code, reason, remedy from jobs where state = 'failed'")
    assert row["reason_code"] == "worker_lost"
    assert "alone" in row["reason"]
    assert row["remedy"]
    assert daemon.rows("select 1 from jobs where state not in ('done', 'failed')") == []
    shown = daemon.rows(
        "select outcome, count(*) as n from attempts where outcome <> 'done' group by outcome"
    )
    assert [row["outcome"] for row in shown] == ["interrupted"]
