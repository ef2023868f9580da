"""Log lines, for people and for machines; a log that cannot be written loses lines and has no other effect."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest
import structlog

from dropscribe import logs
from dropscribe.logs import LogStream


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was."""
    before = structlog.get_config() if structlog.is_configured() else None
    yield
    if before is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**before)


def said(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, json_lines: bool | None = None
) -> list[str]:
    """Lines of a log on `stream` with one line of each kind."""
    monkeypatch.setattr(sys, "stderr", stream)
    logs.setup(json_lines=json_lines)
    log = logs.get("service")
    logs.event(
        log,
        logs.Action.JOB_DONE,
        "a.wav: 0:05 in 1.2 s (4.2×) → a.txt",
        job=1,
        path="/in/a.wav",
        stages={"vad": 1},
    )
    logs.problem(
        log, logs.Action.JOB_FAILED, "b\x1b.wav: failed: it is empty", remedy="record it again", job=2
    )
    logs.problem(log, logs.Action.FOLDER, "/in: is gone; mount it again", remedy="mount it again")
    return stream.getvalue().splitlines()


def test_on_a_terminal_each_line_is_a_message_with_the_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in said(Terminal(), monkeypatch)]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    assert [line[9:] for line in lines] == [
        "a.wav: 0:05 in 1.2 s (4.2×) → a.txt",
        "warning: b\\x1b.wav: failed: it is empty (record it again)",
        "warning: /in: is gone; mount it again",
    ]


def test_elsewhere_text_has_the_date_and_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(io.StringIO(), monkeypatch, json_lines=False)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S", line) for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_json_lines_have_all_keys_and_the_time_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, _ = map(json.loads, said(io.StringIO(), monkeypatch))
    assert (first["action"], first["job"], first["path"], first["level"]) == (
        "job_done",
        1,
        "/in/a.wav",
        "info",
    )
    assert second["remedy"] == "record it again"
    assert re.fullmatch(r"[-\d]+T[:\d]+\.\d{3}Z", first["timestamp"])
    assert datetime.fromisoformat(first["timestamp"]).tzinfo is not None


def fail() -> None:
    raise ValueError("bad \x07 name")


def test_a_traceback_follows_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.setup(json_lines=False)
    try:
        fail()
    except ValueError:
        logs.get("service").exception("it broke", action="engine")
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith("error: it broke")
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ValueError: bad \\x07 name"


class Disk(io.StringIO):
    """File on a disk that is temporarily full."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_lines_that_cannot_be_written_are_counted_and_reported_once() -> None:
    disk = Disk()
    stream = LogStream(disk)
    stream.write("one\n")
    disk.full = True
    stream.write("two\n")
    stream.write("three\n")
    disk.full = False
    stream.write("four\n")
    stream.write("five\n")
    assert disk.getvalue().splitlines() == [
        "one",
        "dropscribe: 2 log lines could not be written here: No space left on device",
        "four",
        "five",
    ]


def test_a_buffered_stream_writes_a_retained_line_later_and_only_once() -> None:
    """A text file has a buffer, in which a line that could not be written may remain."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as file, os.fdopen(reading, encoding="utf-8") as pipe:
        good = os.dup(file.fileno())
        full = os.open("/dev/full", os.O_WRONLY)
        stream = LogStream(file)
        os.dup2(full, file.fileno())
        stream.write("lost\n")
        os.dup2(good, file.fileno())
        stream.write("seen\n")
        os.close(good)
        os.close(full)
        file.close()
        said = pipe.read().splitlines()
    assert said.count("lost") <= 1
    assert said[-2:] == ["dropscribe: 1 log lines could not be written here: No space left on device", "seen"]
