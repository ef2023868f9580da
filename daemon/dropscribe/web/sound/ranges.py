"""Byte ranges of an answer (RFC 9110, 14) and the header of a WAV file. Pure."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

#: Length of a WAV header, bytes.
HEADER = 44
RATE_HZ = 16_000
#: Most bytes of samples in a WAV file: its lengths have 32 bits.
_MOST = 0xFFFFFFFF - HEADER


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes [first, first + count) of `size`. `part`: they were asked for."""

    first: int
    count: int
    size: int
    part: bool

    @property
    def status(self) -> int:
        """Status of the answer."""
        return 206 if self.part else 200

    def headers(self, etag: str) -> dict[str, str]:
        """Headers of the answer."""
        said = {"Accept-Ranges": "bytes", "Content-Length": str(self.count), "ETag": etag}
        if self.part:
            said["Content-Range"] = f"bytes {self.first}-{self.first + self.count - 1}/{self.size}"
        return said


def bytes_of(header: str | None, size: int) -> Bytes | None:
    """What a `Range` asks for; None if there is nothing of it. Several ranges, or what is not understood, give the whole."""
    whole = Bytes(0, size, size, part=False)
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*", header or "")
    if found is None or not (found[1] or found[2]):
        return whole
    if not found[1]:
        count = min(int(found[2]), size)
        return Bytes(size - count, count, size, part=True) if count else None
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return whole
    return Bytes(first, last - first + 1, size, part=True) if first < size else None


def wav_header(samples: int) -> bytes:
    """Header of a WAV file with 16-bit samples, 16 kHz, mono."""
    length = min(2 * samples, _MOST)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + length, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", length,
    )  # fmt: skip
