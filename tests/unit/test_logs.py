"""A log that cannot be written costs lines of the log, nothing else."""

from __future__ import annotations

import errno
import io
import os

from dropscribe.logs import LogStream


class Disk(io.StringIO):
    """A file on a disk that is full at times."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_lines_that_cannot_be_written_are_counted_and_told_once() -> None:
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


def test_a_real_stream_that_keeps_what_it_could_not_write_says_it_later_and_not_twice() -> None:
    """Text files have a buffer of their own: what a full disk refused may still lie in it."""
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
