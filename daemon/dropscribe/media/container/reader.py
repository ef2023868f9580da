"""Positioned reads of a file within the budget of one inspection; the basis of all size checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from dropscribe.media.container.foreign import Foreign

#: Longest single read of an inspection, bytes: enough for WavPack's last block and the frame table of 70 hours of TTA.
MOST_AT_ONCE = 1 << 20
#: Bytes one inspection may read in all.
MOST_BYTES = 8 << 20
#: Reads of one inspection: enough for the top-level boxes of 12 hours of fragmented MP4, two a second.
MOST_READS = 100_000
#: Steps of a search through bytes already read (candidates for a frame or page header).
MOST_STEPS = 100_000

#: Bytes by which a declared length may exceed the file without a loss of sound: headers that were counted as data.
SLACK_BYTES = 64


@dataclass(frozen=True, slots=True)
class PcmLayout:
    """Place and encoding of plain PCM in a file whose header is wrong about its length."""

    start: int  #: offset of the first sample, bytes
    end: int  #: offset after the last sample, bytes
    encoding: str  #: libsndfile's name ("PCM_16", "FLOAT", "ULAW" …)
    order: Literal["little", "big"]
    channels: int
    rate_hz: int


@dataclass(frozen=True, slots=True)
class ContainerCheck:
    """Size that a container declares, compared with the size on disk."""

    #: Kind of content ("wav", "mp4", …), by its first bytes; "unknown" if it is not recognised.
    kind: str
    #: True: all that is declared is there. False: truncated, or still arriving. None: the container declares no size.
    whole: bool | None
    declared_bytes: int | None  #: declared length of the file; None if it is not declared
    present_bytes: int  #: actual length of the file
    detail: str = ""  #: reason for the value of `whole`, in words for people
    declared_s: float | None = None  #: duration in the header, seconds; may be wrong
    #: The length in the header was never filled in, or ends before the sound does (recorder killed, a live stream, more
    #: than 4 GiB); the file can be decoded to its end.
    open_ended: bool = False
    remark: str = ""  #: what people should know of that; empty if nothing
    pcm: PcmLayout | None = None  #: samples of an open-ended file of plain PCM
    #: Content that certainly cannot be decoded.
    foreign: Foreign | None = None


class TooMuchError(ValueError):
    """The check exceeds the budget of one inspection; whether the file is complete stays unknown."""


class Bytes:
    """A file open for positioned reads, within the budget of one inspection.

    The budget does not depend on what a header declares: reads above `MOST_AT_ONCE`, `MOST_READS`, `MOST_BYTES` or
    `MOST_STEPS` raise TooMuchError. The descriptor's own offset is not moved.
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
        """Unsigned integer of `length` bytes. Raises EOFError if the file ends inside it, and as `at`."""
        raw = self.at(offset, length)
        if len(raw) < length:
            raise EOFError(f"the file ends at {self.size} bytes, inside a size at {offset}")
        return int.from_bytes(raw, order)

    def step(self) -> None:
        """Count one step of a search through bytes already read. Raises TooMuchError."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooMuchError(f"it would take more than {MOST_STEPS:,} steps")


#: Bytes before and after the position of a reported read error that are read again.
_SUSPECT = 1 << 20


def raise_storage_trouble(fd: int) -> None:
    """Raise OSError if the file cannot be read around its current offset, where a decoder reported a read error.

    Decoders (FFmpeg's Matroska demuxer) report EIO for damaged content, too. Without this check damage would count as
    a storage failure, and the recording would be retried for ever.
    """
    at = os.lseek(fd, 0, os.SEEK_CUR)
    for start in (max(0, at - _SUSPECT), at):
        os.pread(fd, _SUSPECT, start)
