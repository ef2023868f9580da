"""Check the size of formats that are sequences of frames: ADTS, AMR, MP3 without a frame count, TTA and WavPack.

The first three declare no total length, but each frame declares its own: a file that ends inside a frame is
truncated. Each function takes a file known to be of its kind. It may raise EOFError, ValueError or OSError for a
damaged one, which `container.inspect` converts to a result.
"""

from __future__ import annotations

from collections.abc import Callable

from dropscribe.media.container.reader import Bytes, ContainerCheck

#: Bytes at the end of the file in which frames are followed.
_TAIL = 65_536

#: Consecutive frames required to accept a position in the middle of a file as the start of a frame.
_CHAIN = 5

#: Length of a frame without its first byte, by frame type: AMR (3GPP TS 26.101) and AMR-WB (3GPP TS 26.201).
_AMR = (12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, None, None, None, 0)
_AMR_WB = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, None, None, None, None, 0, 0)

#: Bytes at the end in which WavPack's last block must begin: enough for one second of 32-bit surround sound.
_WAVPACK_TAIL = 1 << 20
_WAVPACK_RATES = (
    6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 192_000,
)  # fmt: skip

#: (bytes, offset) → length in bytes of the frame at that offset; None if there is none.
FrameLength = Callable[[bytes, int], int | None]


def follow(kind: str, file: Bytes, start: int, length: FrameLength) -> ContainerCheck:
    """Follow the frames (the first is at `start`) to the end of the file and check that the last one is complete."""
    tail_at = max(start, file.size - _TAIL)
    tail = file.at(tail_at, _TAIL)
    at = 0 if tail_at == start else _first_frame(file, tail, length)
    last = 0
    while at is not None and at < len(tail):
        file.step()
        step = length(tail, at)
        if step is None:
            # A tag, padding, or an incomplete header.
            return ContainerCheck(kind, None, None, file.size)
        last, at = at, at + step
    if at is None or at == len(tail) or not any(tail[last:]):
        # Zeros are padding; in AMR they look like a frame.
        return ContainerCheck(kind, None, None, file.size)
    return ContainerCheck(kind, False, tail_at + at, file.size, "the file ends inside a frame")


def adts(file: Bytes, start: int) -> ContainerCheck:
    """AAC in ADTS (ISO/IEC 13818-7, 6.2)."""
    return follow("adts", file, start, adts_length)


def amr(file: Bytes) -> ContainerCheck:
    """AMR and AMR-WB storage format (RFC 4867, section 5), one channel."""
    head = file.at(0, 9)
    if head == b"#!AMR-WB\n":
        return follow("amr", file, 9, _amr_length(_AMR_WB))
    if head.startswith(b"#!AMR\n"):
        return follow("amr", file, 6, _amr_length(_AMR))
    return ContainerCheck("amr", None, None, file.size)


def tta(file: Bytes) -> ContainerCheck:
    """True Audio: a table with the size of every frame follows the header; a frame is 256/245 s."""
    rate, samples = file.uint(10, 4, "little"), file.uint(14, 4, "little")
    per_frame = 256 * rate // 245
    if not per_frame or not samples:
        return ContainerCheck("tta", None, None, file.size)
    frames = -(-samples // per_frame)
    if 22 + 4 * frames > file.size:
        raise EOFError("the table of frames is cut")
    table = file.at(22, 4 * frames)
    sizes = (int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4))
    return _declared("tta", file, 22 + 4 * frames + 4 + sum(sizes), samples / rate)


def wavpack(file: Bytes) -> ContainerCheck:
    """Check that the last block is complete and reaches the number of samples that the first one declares."""
    total = file.uint(12, 4, "little")
    rate_code = file.uint(24, 4, "little") >> 23 & 15
    if total == 0xFFFF_FFFF or rate_code >= len(_WAVPACK_RATES):
        return ContainerCheck("wavpack", None, None, file.size)
    declared_s = total / _WAVPACK_RATES[rate_code]
    tail_at = max(0, file.size - _WAVPACK_TAIL)
    tail = file.at(tail_at, _WAVPACK_TAIL)
    at = len(tail)
    while (at := tail.rfind(b"wvpk", 0, at)) >= 0:
        file.step()
        block = tail[at : at + 32]
        size = int.from_bytes(block[4:8], "little") + 8
        if len(block) == 32 and block[9] == 4 and 32 <= size <= _WAVPACK_TAIL:
            if at + size > len(tail):
                return _declared("wavpack", file, tail_at + at + size, declared_s)
            samples = int.from_bytes(block[20:24], "little")
            if samples:
                whole = int.from_bytes(block[16:20], "little") + samples >= total
                detail = "" if whole else "its last blocks are missing"
                return ContainerCheck("wavpack", whole, None, file.size, detail, declared_s)
    return ContainerCheck("wavpack", None, None, file.size, "", declared_s)


def _declared(kind: str, file: Bytes, end: int, declared_s: float) -> ContainerCheck:
    whole = end <= file.size
    detail = "" if whole else f"the file has {file.size:,} of the {end:,} bytes its frames declare"
    return ContainerCheck(kind, whole, end, file.size, detail, declared_s)


def _first_frame(file: Bytes, tail: bytes, length: FrameLength) -> int | None:
    """Offset of the first frame in `tail` that is followed by enough frames to rule out a chance match."""
    for start in range(len(tail) // 2):
        file.step()
        at = start
        for _ in range(_CHAIN):
            step = length(tail, at) if at < len(tail) else None
            if step is None:
                break
            at += step
        else:
            return start
    return None


def adts_length(raw: bytes, at: int) -> int | None:
    """Bytes of the ADTS frame at this offset; None if there is none."""
    head = raw[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else None


def _amr_length(sizes: tuple[int | None, ...]) -> FrameLength:
    def length(raw: bytes, at: int) -> int | None:
        size = sizes[raw[at] >> 3 & 15] if raw[at] & 0x83 == 0 else None
        return None if size is None else 1 + size

    return length
