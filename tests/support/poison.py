"""Recordings that crash a process, and checks of their outcome."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech

#: Number of good recordings beside a bad one.
GOOD = (15, pytest.param(63, marks=pytest.mark.soak))


#: Low limits, so that a bad recording fails within a test; the good ones are seconds long.
LIMITS = '[media]\nmax_hours = 0.2\nstall_s = 8.0\n[profiles.default]\nduplicates = "transcribe"\n'


FORMATS = ("txt", "srt", "vtt", "json")


def write_good(folder: Path, count: int) -> list[Path]:
    """Write `count` recordings of 2 to 4 s, each a different cut of the sample."""
    return [
        write_speech(folder / f"good-{i:02d}.wav", seconds=2.0 + i % 5 / 2, offset=i * 0.15)
        for i in range(count)
    ]


def said(data: bytes, form: str) -> Any:
    """Content of a transcript file without job number and instants."""
    if form != "json":
        return data
    document = json.loads(data)
    del document["job"], document["recording"]["admitted"]
    return document


@contextlib.contextmanager
def signal_decoders(daemon: DaemonProcess, bad: Path, number: signal.Signals) -> Iterator[set[int]]:
    """Send a signal to every decoder that has `bad` open; yields the set of their process ids."""
    assert daemon.process is not None
    parent, hit, over = psutil.Process(daemon.process.pid), set[int](), threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            for child in parent.children():
                with contextlib.suppress(OSError, psutil.Error):
                    if child.pid in hit or child.name() != "ds-decoder":
                        continue
                    if any(fd.readlink() == bad for fd in Path(f"/proc/{child.pid}/fd").iterdir()):
                        hit.add(child.pid)
                        os.kill(child.pid, number)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield hit
    finally:
        over.set()
        thread.join()


def drop_with(
    daemon: DaemonProcess, make: Callable[[Path], Path], name: str, count: int
) -> tuple[Path, list[Path]]:
    """Move the bad recording and `count` good ones into the inbox together; returns their paths."""
    staged = daemon.root / name
    staged.mkdir()
    bad = make(staged)
    good = write_good(staged, count)
    there = daemon.inbox / name
    staged.rename(there)
    return there / bad.name, [there / path.name for path in good]


def assert_as_alone(daemon: DaemonProcess, good: list[Path], alone: dict[str, dict[str, Any]]) -> None:
    for path in good:
        daemon.wait_for(path)
        for form in FORMATS:
            data = path.with_suffix(f".{form}").read_bytes()
            assert said(data, form) == alone[path.name][form], (path.name, form)


def reason_of(daemon: DaemonProcess, bad: Path) -> tuple[str, str, int]:
    """(code, reason, attempts) of a failed recording; asserts that it has no transcript."""
    wait_until(lambda: daemon.state(bad) == "failed" or not daemon.running, "the bad one has failed")
    (row,) = daemon.rows(
        "select j.reason_code, j.reason, j.remedy, j.attempts from jobs j"
        " join recordings r on r.id = j.recording_id where r.path_raw = ?",
        os.fsencode(bad),
    )
    assert row["remedy"]
    # Beside it is a note alone, which is written after the job is on record.
    assert {p.name for p in bad.parent.glob(f"{bad.stem}.*t*xt")} <= {f"{bad.stem}.failed.txt"}
    return row["reason_code"], row["reason"], row["attempts"]
