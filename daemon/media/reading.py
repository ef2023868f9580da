"""Positioned reads of a few bytes: what the size checks are made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file open for positioned reads; the descriptor's own offset is never moved."""

    fd: int
    size: int  #: bytes

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; shorter (or empty) at the end. Raises OSError."""
        if offset < 0 or offset >= self.size:
            return b""
        return os.pread(self.fd, min(length, self.size - offset), offset)

    def uint(self, offset: int, length: int, order: Literal["little", "big"]) -> int:
        """An unsigned integer of `length` bytes. Raises EOFError when the file ends before it does."""
        raw = self.at(offset, length)
        if len(raw) < length:
            raise EOFError(f"the file ends at {self.size} bytes, inside a size at {offset}")
        return int.from_bytes(raw, order)


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
