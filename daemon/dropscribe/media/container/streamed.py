"""Check the size of formats that are streams with a declared length or end: FLAC, MP3 (Xing, Info, VBRI) and Ogg.

Each function takes a file known to be of its kind. It may raise EOFError, ValueError or OSError for a damaged one,
which `container.inspect` converts to a result.
"""

from __future__ import annotations

from functools import reduce

from dropscribe.media.container.framed import follow
from dropscribe.media.container.reader import MOST_AT_ONCE, Bytes, ContainerCheck

#: Bytes at the end in which the last frame or page must begin; an Ogg page has at most 65,307.
_TAIL = 65_536

#: kbit/s by index; rows: MPEG-1 layers I, II, III, then MPEG-2/2.5 layer I, layers II and III.
_KBPS = (
    (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_RATES = (44_100, 48_000, 32_000)

#: Detail of a whole FLAC whose last frame has lost its end.
CUT_FRAME = "its last frame is cut"
_CRC16 = [
    reduce(lambda crc, _: crc << 1 ^ (0x18005 if crc & 0x8000 else 0), range(8), i << 8) & 0xFFFF
    for i in range(256)
]


def flac(file: Bytes, start: int) -> ContainerCheck:
    """Compare STREAMINFO's total samples with the sample number in the last frame header of the file.

    `start` is the offset of "fLaC". Frame and header layout: RFC 9639, sections 8.2 and 9.1.
    """
    info = file.at(start + 8, 34)
    if len(info) < 34:
        return ContainerCheck("flac", False, None, file.size, "the file ends inside its first header")
    packed = int.from_bytes(info[10:18], "big")
    rate, total = packed >> 44, packed & ((1 << 36) - 1)
    least, most = int.from_bytes(info[:2], "big"), int.from_bytes(info[2:4], "big")
    if not total or not rate:
        return ContainerCheck(
            "flac", None, None, file.size, "its header does not say how long it is", open_ended=True
        )
    declared_s = total / rate
    # A frame may declare up to 16 MiB; if it is longer than one read, the end stays unknown.
    tail_at = max(
        start + 42, file.size - min(MOST_AT_ONCE, max(_TAIL, int.from_bytes(info[7:10], "big") + 16))
    )
    tail = file.at(tail_at, file.size - tail_at)
    found = _last_flac_frame(file, tail, least if least == most else 0)
    if found is None:
        return ContainerCheck("flac", None, None, file.size, "no frame was found near its end", declared_s)
    at, end = found
    # A part of a frame is no loss: the last one may be shorter than the header says.
    if end + most > total:
        detail = "" if _crc16(tail[at:]) == 0 else CUT_FRAME
        return ContainerCheck("flac", True, None, file.size, detail, min(end, total) / rate)
    detail = f"its last frame ends at {end / rate:.1f} s, its header declares {declared_s:.1f} s"
    return ContainerCheck("flac", False, None, file.size, detail, declared_s)


def mp3(file: Bytes, start: int) -> ContainerCheck:
    """Compare the byte count of a Xing, Info or VBRI header with the file size; without one, check the last frame."""
    head = file.at(start, 4)
    frame = _Mp3Frame.parse(head)
    if frame is None:
        return ContainerCheck("mp3", None, None, file.size)
    body = file.at(start, 256)
    frames = stream = 0
    tag = body[frame.side :]
    if tag[:4] in (b"Xing", b"Info"):
        flags = int.from_bytes(tag[4:8], "big")
        at = 8
        if flags & 1:
            frames = int.from_bytes(tag[at : at + 4], "big")
            at += 4
        if flags & 2:
            stream = int.from_bytes(tag[at : at + 4], "big")
    elif body[36:40] == b"VBRI":
        stream = int.from_bytes(body[46:50], "big")
        frames = int.from_bytes(body[50:54], "big")
    declared_s = frames * frame.samples / frame.rate if frames else None
    if not stream and not frames:
        return follow("mp3", file, start, mp3_length)
    if not stream:
        return ContainerCheck("mp3", None, None, file.size, "", declared_s)
    missing = start + stream - file.size
    # Encoders disagree on whether the count includes the frame of the header, so one missing frame is tolerated.
    if missing > frame.length + 1 + stream // 200:
        detail = f"the file has {file.size:,} of the {start + stream:,} bytes its header declares"
        return ContainerCheck("mp3", False, start + stream, file.size, detail, declared_s)
    return ContainerCheck("mp3", True, start + stream, file.size, "", declared_s)


def ogg(file: Bytes) -> ContainerCheck:
    """Check that the last page is complete, and the packet at its end (RFC 3533, section 6).

    Recorders and streams often leave out the mark of the end (flag 4), so its absence says nothing.
    """
    tail_at = max(0, file.size - 2 * _TAIL)
    tail = file.at(tail_at, 2 * _TAIL)
    at = tail.rfind(b"OggS")
    while at >= 0:
        file.step()
        header = tail[at : at + 27]
        if len(header) < 27 or len(tail) < at + 27 + header[26]:
            return ContainerCheck("ogg", False, None, file.size, "the file ends inside a page header")
        if header[4] == 0:
            length = 27 + header[26] + sum(tail[at + 27 : at + 27 + header[26]])
            if at + length > len(tail):
                declared = tail_at + at + length
                return ContainerCheck("ogg", False, declared, file.size, "the file ends inside a page")
            if header[5] & 4:
                return ContainerCheck("ogg", True, tail_at + at + length, file.size)
            if tail[at + 26 + header[26]] == 255 and header[26]:
                return ContainerCheck("ogg", False, None, file.size, "the file ends inside a packet")
            return ContainerCheck("ogg", None, None, file.size)
        at = tail.rfind(b"OggS", 0, at)
    return ContainerCheck("ogg", None, None, file.size, "no page was found near its end")


class _Mp3Frame:
    """Fields of the four-byte header of an MPEG audio frame."""

    __slots__ = ("length", "rate", "samples", "side")

    def __init__(self, length: int, rate: int, samples: int, side: int) -> None:
        self.length = length  # bytes; 0 if the header does not have it (free format)
        self.rate = rate  # Hz
        self.samples = samples
        self.side = side  # offset of a Xing header in the frame, bytes

    @classmethod
    def parse(cls, head: bytes) -> _Mp3Frame | None:
        if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
            return None
        version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
        kbps, rate = head[2] >> 4, head[2] >> 2 & 3
        if version == 1 or layer == 4 or kbps == 15 or rate == 3:
            return None
        first = version == 3
        hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
        samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
        bits = _KBPS[layer - 1 if first else 3 if layer == 1 else 4][kbps] * 1000
        mono = head[3] >> 6 == 3
        side = (21 if mono else 36) if first else (13 if mono else 21)
        slot = 4 if layer == 1 else 1
        slots = samples // 8 * bits // (hertz * slot) + (head[2] >> 1 & 1)
        return cls(slots * slot if bits else 0, hertz, samples, side)


def mp3_length(raw: bytes, at: int) -> int | None:
    """Bytes of the MPEG audio frame at this offset; None if there is none."""
    frame = _Mp3Frame.parse(raw[at : at + 4])
    return frame.length or None if frame else None


def _last_flac_frame(file: Bytes, tail: bytes, block: int) -> tuple[int, int] | None:
    """Last frame with an intact header: offset in `tail`, and its end (exclusive) in samples.

    `block`: the fixed block size, or 0.
    """
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1 : at + 2] in (b"\xf8", b"\xf9"):
            file.step()
            found = _flac_header(tail[at : at + 16])
            if found is not None:
                number, size, counts_samples = found
                return at, (number if counts_samples else number * (block or size)) + size
    return None


def _flac_header(raw: bytes) -> tuple[int, int, bool] | None:
    """(sample or frame number, block size, true if it counts samples); None if there is no frame header."""
    if len(raw) < 6 or raw[2] >> 4 == 0 or raw[2] & 15 == 15 or raw[3] & 1:
        return None
    ones = 8 - (raw[4] ^ 0xFF).bit_length()
    if ones in (1, 8):
        return None
    length = max(1, ones)
    number = raw[4] if length == 1 else raw[4] & ((1 << (7 - length)) - 1)
    for byte in raw[5 : 4 + length]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 63
    at = 4 + length
    code = raw[2] >> 4
    extra = {6: 1, 7: 2}.get(code, 0)
    if extra:
        size = int.from_bytes(raw[at : at + extra], "big") + 1
    else:
        size = 192 if code == 1 else 144 << code if code < 6 else 1 << code
    at += extra + {12: 1, 13: 2, 14: 2}.get(raw[2] & 15, 0)
    if len(raw) <= at or _crc8(raw[:at]) != raw[at]:
        return None
    return number, size, raw[1] & 1 == 1


def _crc16(raw: bytes) -> int:
    """CRC-16 with polynomial x^16 + x^15 + x^2 + 1, initial value 0 (RFC 9639, section 9.3): 0 of a whole frame."""
    crc = 0
    for byte in raw:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _crc8(raw: bytes) -> int:
    """CRC-8 with polynomial x^8 + x^2 + x + 1, initial value 0 (RFC 9639, section 9.1.8)."""
    crc = 0
    for byte in raw:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc
