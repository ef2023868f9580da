"""Life cycle of the process: start with existing files, kill, stop, two at once, reload.

What the words are plays no part, so there is no model, and where a job is interrupted the engine is slow.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.slow_engine import SLOW


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a slow engine, ready."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), model="null", command=SLOW) as process:
        yield process


def test_recordings_that_exist_at_the_start_are_transcribed(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null")
    target = write_speech(daemon.inbox / "early.wav", seconds=4)
    with daemon:
        daemon.wait_for(target)
    assert target.with_suffix(".txt").is_file()


def test_killed_in_the_middle_the_transcript_appears_once_and_whole(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", command=SLOW)
    target = write_speech(daemon.inbox / "long.wav", seconds=150)
    daemon.start().wait_ready()
    wait_until(lambda: daemon.rows("select 1 from jobs where begun = 1") != [], "it is being decoded")
    daemon.kill()
    assert not target.with_suffix(".txt").exists()
    with daemon:
        daemon.wait_for(target)
        attempts = daemon.rows("select number, outcome from attempts order by number")
    assert len(attempts) == 2
    document = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    assert document["media"]["duration_ms"] == 150_000
    assert sorted(p.name for p in daemon.inbox.iterdir()) == [
        "long.json", "long.srt", "long.timing.json", "long.txt", "long.vtt", "long.wav",
    ]  # fmt: skip
    assert daemon.rows("pragma integrity_check")[0][0] == "ok"


def test_sigterm_finishes_or_requeues_and_exits_clean(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", command=SLOW)
    targets = [write_speech(daemon.inbox / f"{i}.wav", seconds=20 + i) for i in range(6)]
    daemon.start().wait_ready()
    wait_until(lambda: daemon.rows("select 1 from jobs where state = 'running'") != [], "some run")
    assert daemon.stop() == 0
    assert daemon.rows("select 1 from jobs where state = 'running'") == []
    for target in targets:
        whole = [target.with_suffix(s).exists() for s in (".txt", ".srt", ".vtt", ".json")]
        assert whole in ([True] * 4, [False] * 4)
    with daemon:
        for target in targets:
            daemon.wait_for(target)


def test_a_second_daemon_on_the_same_database_is_refused(slow: DaemonProcess) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "dropscribe", "run", "--config", str(slow.config)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert second.returncode == 4
    assert slow.process is not None
    assert str(slow.process.pid) in second.stderr
    assert slow.running


def test_the_engine_is_replaced_when_it_is_killed(slow: DaemonProcess) -> None:
    target = write_speech(slow.inbox / "survivor.wav", seconds=100)
    wait_until(lambda: slow.state(target) == "running", "the job runs")
    os.kill(slow.child("ds-engine"), signal.SIGKILL)
    slow.wait_for(target)
    assert slow.actions("engine")
    document = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    assert document["media"]["duration_ms"] == 100_000


def test_recordings_are_done_after_a_decoder_is_killed(slow: DaemonProcess) -> None:
    os.kill(slow.child("ds-decoder"), signal.SIGKILL)
    targets = [write_speech(slow.inbox / f"after-{i}.wav", seconds=3 + i) for i in range(4)]
    for target in targets:
        slow.wait_for(target)


def test_reload_takes_up_a_new_folder(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null")
    other = tmp_path / "other"
    other.mkdir()
    with daemon:
        text = daemon.config.read_text(encoding="utf-8")
        daemon.config.write_text(f'{text}\n[[folder]]\npath = "{other}"\nquiet_s = 0.5\n', encoding="utf-8")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.actions("reload") != [], "reloaded")
        target = write_speech(other / "new.wav", seconds=3)
        daemon.wait_for(target)


def test_an_unwritable_folder_is_reported_with_a_remedy_and_its_job_waits(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    daemon = DaemonProcess(
        tmp_path, model="null", extra=f'[profiles.default]\noutput_dir = "{blocked}/transcripts"'
    )
    with daemon:
        blocked.write_bytes(b"a file where the folder should be")
        target = write_speech(daemon.inbox / "patient.wav", seconds=3)
        wait_until(lambda: daemon.actions("job_retry") != [], "it was tried")
        wait_until(lambda: daemon.state(target) == "queued", "it waits")
        (row,) = daemon.rows("select attempts, reason, remedy from jobs")
        assert row["attempts"] == 0
        assert str(blocked) in row["reason"]
        assert row["remedy"]
        (line,) = daemon.actions("job_retry")
        assert (line["reason"], line["remedy"]) == (row["reason"], row["remedy"])
        assert line["event"] == f"patient.wav: is tried again: {row['reason']}"
        status = subprocess.run(
            [sys.executable, "-m", "dropscribe", "status", "--config", str(daemon.config)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert f"{row['reason']} ({row['remedy']})" in status.stdout
