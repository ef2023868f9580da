"""A log that cannot be written loses log lines and has no other effect."""

from __future__ import annotations

import errno
import io
import os

from dropscribe.logs import LogStream


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
