"""Positioned reads of a few bytes, each inspection within a fixed budget: what the size checks are made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

#: Longest single read of an inspection, bytes: WavPack's last block, or the frame table of a TTA of 70 hours.
MOST_AT_ONCE = 1 << 20
#: Bytes one inspection may read in all.
MOST_BYTES = 8 << 20
#: Reads one inspection may make: the top-level boxes of a fragmented recording of 12 hours, two a second.
MOST_READS = 100_000
#: Turns of a search through what was read (candidates for a frame or page header).
MOST_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class ContainerCheck:
    """What a container says of its own size, against what is on disk."""

    #: What the content is ("wav", "mp4", …), by its first bytes; "unknown" where nothing is recognised.
    kind: str
    #: True: all that is declared is there. False: cut, or still arriving. None: the container does not say.
    whole: bool | None
    declared_bytes: int | None  #: length the file ought to have; None where nothing says it
    present_bytes: int  #: length it has
    detail: str = ""  #: why `whole` is what it is, in words for people
    declared_s: float | None = None  #: duration the header claims, seconds; not to be believed by itself
    #: The length in the header was never filled in (recorder killed, or a live stream): decodable to its end.
    open_ended: bool = False


class TooMuchError(ValueError):
    """The check would need more than one inspection may read; whether the file is whole stays unknown."""


class Bytes:
    """A file open for positioned reads, within the budget of one inspection.

    What a header declares never decides how much is read or how often: `at` returns at most `MOST_AT_ONCE`, and beyond
    `MOST_READS`, `MOST_BYTES` or `MOST_STEPS` it is TooMuchError. The descriptor's own offset is not moved.
    """

    __slots__ = ("_bytes_left", "_reads_left", "_steps_left", "fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size  #: bytes
        self._bytes_left = MOST_BYTES
        self._reads_left = MOST_READS
        self._steps_left = MOST_STEPS

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; shorter (or empty) at the end. Raises OSError, TooMuchError."""
        if length > MOST_AT_ONCE:
            raise TooMuchError(f"it would take reading {length:,} bytes at once")
        if offset < 0 or offset >= self.size or length <= 0:
            return b""
        self._reads_left -= 1
        self._bytes_left -= min(length, self.size - offset)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise TooMuchError(f"it would take more than {MOST_READS:,} reads or {MOST_BYTES:,} bytes")
        return os.pread(self.fd, min(length, self.size - offset), offset)

    def uint(self, offset: int, length: int, order: Literal["little", "big"]) -> int:
        """An unsigned integer of `length` bytes. Raises EOFError when the file ends before it does; as `at`."""
        raw = self.at(offset, length)
        if len(raw) < length:
            raise EOFError(f"the file ends at {self.size} bytes, inside a size at {offset}")
        return int.from_bytes(raw, order)

    def step(self) -> None:
        """Count one turn of a search through bytes already read. Raises TooMuchError."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooMuchError(f"it would take more than {MOST_STEPS:,} steps")


#: Bytes before and behind the place of a supposed read error that are read again.
_SUSPECT = 1 << 20


def raise_storage_trouble(fd: int) -> None:
    """Raise OSError if the file cannot be read where a decoder stood when it reported a read error.

    Decoders report EIO for plain damage too (FFmpeg's Matroska demuxer does), and a disk is not to be
    blamed, nor a recording tried again for ever, on their word.
    """
    at = os.lseek(fd, 0, os.SEEK_CUR)
    for start in (max(0, at - _SUSPECT), at):
        os.pread(fd, _SUSPECT, start)
