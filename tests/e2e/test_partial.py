"""Partial texts of long recordings, through the real daemon: growing with the real model, and gone after every end, with
an engine that is slow instead of busy.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until, write_speech
from tests.support.slow_engine import SLOW

#: Partial text as soon as there is any, regardless of the machine's speed.
EARLY = "[profiles.default]\npartial_after_s = 0.01\n"
#: Of a recording that is recognised in several batches, for seconds on a fast machine, too; of one that a slow engine has; and
#: of one that is short for either.
MINUTES_9, MINUTES_5, MINUTES_3 = 540.0, 300.0, 180.0


def slow(root: Path, extra: str = EARLY) -> DaemonProcess:
    """A daemon without a model that has a recording of minutes under way for seconds."""
    return DaemonProcess(root, model="null", extra=extra, command=SLOW)


def spoken(file: Path) -> list[str]:
    """Lines of a text file without remarks."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("[")]


def partial_of(recording: Path) -> Path:
    return recording.with_suffix(".partial.txt")


def read(partial: Path) -> str | None:
    """Content of a partial text; None if it does not exist."""
    try:
        return partial.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def records(daemon: DaemonProcess) -> list[str]:
    return [r["path"] for r in daemon.rows("select path from outputs where format = 'partial'")]


def test_text_grows_and_is_removed_with_the_transcript(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, extra=EARLY) as daemon:
        target = write_speech(daemon.inbox / "meeting.wav", seconds=MINUTES_9)
        seen: list[str] = []

        def done() -> bool:
            over = daemon.state(target) == "done"
            text = read(partial_of(target))
            if text is not None and (not seen or seen[-1] != text):
                assert not over
                seen.append(text)
            return over

        # More often than `wait_until` looks after a while: a text is there for a short time.
        until = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < until, "the recording is not done"
            time.sleep(0.01)
        assert not partial_of(target).exists()
        assert records(daemon) == []
        names = [Path(r["path"]).name for r in daemon.rows("select path from outputs order by path")]
        history = daemon.rows("select outputs from job_history")[0]["outputs"]
    assert len(seen) >= 2
    # The transcript has marks and paragraphs, the text so far has neither.
    whole = re.sub(r"[\W]", "", "".join(spoken(target.with_suffix(".txt"))))
    counts = []
    for text in seen:
        *lines, last = text.splitlines()
        shown = [line for line in lines if line and not line.startswith("[")]
        assert whole.startswith("".join(shown))
        assert last.startswith("[unfinished: ")
        assert "of 00:09:00" in last
        counts.append(len(shown))
    assert counts == sorted(set(counts))
    assert 0 < counts[0] < len(whole)
    assert "partial" not in history
    assert names == ["meeting.json", "meeting.srt", "meeting.timing.json", "meeting.txt", "meeting.vtt"]


def test_a_short_recording_has_no_partial_text(tmp_path: Path) -> None:
    with slow(tmp_path, "[profiles.default]\npartial_after_s = 3600\n") as daemon:
        target = write_speech(daemon.inbox / "short.wav", seconds=MINUTES_3)
        daemon.wait_for(target)
        assert records(daemon) == []
        assert not partial_of(target).exists()


def test_the_next_start_removes_partial_texts_of_a_killed_daemon(tmp_path: Path) -> None:
    daemon = slow(tmp_path)
    target = write_speech(daemon.inbox / "meeting.wav", seconds=MINUTES_5)
    daemon.start().wait_ready()
    wait_until(lambda: partial_of(target).exists(), "there is text")
    daemon.kill()
    assert partial_of(target).exists()
    # Without a job for this recording only the start of the next daemon can remove the file.
    target.unlink()
    with daemon:
        wait_until(lambda: not partial_of(target).exists(), "the text is gone")
        wait_until(lambda: records(daemon) == [], "the record is gone")


def test_after_a_kill_and_a_restart_only_the_transcript_remains(tmp_path: Path) -> None:
    daemon = slow(tmp_path)
    target = write_speech(daemon.inbox / "meeting.wav", seconds=MINUTES_5)
    daemon.start().wait_ready()
    wait_until(lambda: partial_of(target).exists(), "there is text")
    daemon.kill()
    with daemon:
        daemon.wait_for(target)
        assert sorted(p.name for p in daemon.inbox.iterdir()) == [
            "meeting.json", "meeting.srt", "meeting.timing.json", "meeting.txt", "meeting.vtt", "meeting.wav",
        ]  # fmt: skip
        assert records(daemon) == []


def test_a_strangers_file_is_left_alone_and_no_partial_is_written(tmp_path: Path) -> None:
    daemon = slow(tmp_path)
    target = write_speech(daemon.inbox / "x.wav", seconds=120)
    partial_of(target).write_text("not yours\n", encoding="utf-8")
    before = partial_of(target).stat()
    with daemon:
        daemon.wait_for(target)
        assert records(daemon) == []
    assert partial_of(target).read_text(encoding="utf-8") == "not yours\n"
    assert partial_of(target).stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(p.name for p in daemon.inbox.iterdir()) == [
        "x.json", "x.partial.txt", "x.srt", "x.timing.json", "x.txt", "x.vtt", "x.wav",
    ]  # fmt: skip


def test_sigterm_leaves_no_partial_text(tmp_path: Path) -> None:
    daemon = slow(tmp_path)
    target = write_speech(daemon.inbox / "meeting.wav", seconds=MINUTES_5)
    daemon.start().wait_ready()
    wait_until(lambda: partial_of(target).exists(), "there is text")
    assert daemon.stop() == 0
    assert not partial_of(target).exists()
    assert records(daemon) == []


def test_a_cancelled_job_leaves_no_partial_text(tmp_path: Path) -> None:
    with slow(tmp_path) as daemon:
        target = write_speech(daemon.inbox / "meeting.wav", seconds=MINUTES_5)
        wait_until(lambda: partial_of(target).exists(), "there is text")
        target.unlink()
        daemon.wait_for(target, "cancelled")
        wait_until(lambda: not any(daemon.inbox.iterdir()), "the folder is empty")
        wait_until(lambda: records(daemon) == [], "the record is gone")


def test_a_dead_engine_leaves_no_partial_text(tmp_path: Path) -> None:
    with slow(tmp_path) as daemon:
        target = write_speech(daemon.inbox / "meeting.wav", seconds=MINUTES_5)
        wait_until(lambda: partial_of(target).exists(), "there is text")
        os.kill(daemon.child("ds-engine"), signal.SIGKILL)
        daemon.wait_for(target)
        assert not partial_of(target).exists()
        assert records(daemon) == []
    assert daemon.rows("select count(*) as n from attempts")[0]["n"] == 2
