"""Check the declared size of formats made of chunks (RIFF, RF64/BW64, W64, AIFF, AVI, CAF), and of AU and SPHERE.

Each function takes a file known to be of its kind. It may raise EOFError, ValueError or OSError for a damaged one,
which `container.inspect` converts to a result.
"""

from __future__ import annotations

from typing import Literal

from dropscribe.media.container.reader import Bytes, ContainerCheck

#: Most chunks read: recorders write dozens, a malicious file any number.
_MAX_CHUNKS = 2000

#: Data sizes that mean "unknown": streams written to a pipe have the largest unsigned or signed value, less the header.
_PLACEHOLDERS = (range(0xFFFF_FF00, 0x1_0000_0000), range(0x7FFF_F000, 0x8000_0000))

#: Chunks after an audio chunk of size 0 that show that it is really empty.
_NO_AUDIO_AFTER = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"fact", b"cue ", b"JUNK", b"PEAK", b"COMM", b"iXML")


def wav(file: Bytes) -> ContainerCheck:
    """RIFF/RIFX/RF64/BW64 WAVE: compare the end of the `data` chunk with the file size."""
    magic = file.at(0, 4)
    order: Literal["little", "big"] = "big" if magic == b"RIFX" else "little"
    size64: int | None = None
    bytes_per_s = 0
    at = 12
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 4)
        if len(name) < 4:
            return _no_data("wav", file, file.uint(4, 4, order) + 8 if magic == b"RIFF" else None)
        size = file.uint(at + 4, 4, order)
        if name == b"ds64":
            size64 = file.uint(at + 16, 8, "little")
        elif name == b"fmt ":
            bytes_per_s = file.uint(at + 12, 4, order) * file.uint(at + 20, 2, order)
            if file.uint(at + 8, 2, order) not in (1, 3, 6, 7, 0xFFFE):
                bytes_per_s = file.uint(at + 16, 4, order)
        elif name == b"data":
            if size64 is not None and size in (0, 0xFFFF_FFFF):
                size = size64
            elif any(size in placeholder for placeholder in _PLACEHOLDERS):
                size = 0
            return _data("wav", file, at + 8, size, bytes_per_s)
        at += 8 + size + size % 2
    return ContainerCheck("wav", None, None, file.size, "too many chunks before the audio")


def w64(file: Bytes) -> ContainerCheck:
    """Sony Wave64: chunk names have 16 bytes, sizes have 8 and include the header."""
    at = 40
    bytes_per_s = 0
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 16)
        if len(name) < 16:
            return _no_data("w64", file, file.uint(16, 8, "little"))
        size = file.uint(at + 16, 8, "little")
        if name.startswith(b"fmt "):
            bytes_per_s = file.uint(at + 28, 4, "little") * file.uint(at + 36, 2, "little")
        elif name.startswith(b"data"):
            return _data("w64", file, at + 24, max(0, size - 24), bytes_per_s)
        at += max(24, size + -size % 8)
    return ContainerCheck("w64", None, None, file.size, "too many chunks before the audio")


def aiff(file: Bytes) -> ContainerCheck:
    """AIFF and AIFF-C: big-endian chunks; COMM has the number of frames."""
    at = 12
    frames, rate = 0, 0.0
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 4)
        if len(name) < 4:
            return _no_data("aiff", file, file.uint(4, 4, "big") + 8)
        size = file.uint(at + 4, 4, "big")
        if name == b"COMM":
            frames = file.uint(at + 10, 4, "big")
            rate = _extended(file.at(at + 16, 10))
        elif name == b"SSND":
            bytes_per_s = (size - 8) / (frames / rate) if frames and rate and size > 8 else 0.0
            return _data("aiff", file, at + 16, 0 if size == 0xFFFF_FFFF else max(0, size - 8), bytes_per_s)
        at += 8 + size + size % 2
    return ContainerCheck("aiff", None, None, file.size, "too many chunks before the audio")


def avi(file: Bytes) -> ContainerCheck:
    """AVI: compare the end of its RIFF chunks (more than one beyond 1 GB) with the file size."""
    at = 0
    for _ in range(_MAX_CHUNKS):
        if file.at(at, 4) != b"RIFF":
            break
        size = file.uint(at + 4, 4, "little")
        if size == 0:
            return ContainerCheck(
                "avi", None, None, file.size, "its length was never filled in", open_ended=True
            )
        at += 8 + size + size % 2
    whole = at <= file.size + 1
    return ContainerCheck("avi", whole, at, file.size, "" if whole else _cut(file.size, at))


def caf(file: Bytes) -> ContainerCheck:
    """Core Audio: the `data` chunk may have size -1, up to the end of the file."""
    at = 8
    bytes_per_s = 0.0
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 4)
        if len(name) < 4:
            return _no_data("caf", file, None)
        size = file.uint(at + 4, 8, "big")
        if name == b"data":
            return _data("caf", file, at + 12, 0 if size >= 1 << 63 else size, bytes_per_s)
        at += 12 + size
    return ContainerCheck("caf", None, None, file.size, "too many chunks before the audio")


def au(file: Bytes) -> ContainerCheck:
    """Sun AU: the header has offset and length of the data."""
    start = file.uint(4, 4, "big")
    size = file.uint(8, 4, "big")
    width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(file.uint(12, 4, "big"), 0)
    bytes_per_s = width * file.uint(16, 4, "big") * file.uint(20, 4, "big")
    return _data("au", file, start, 0 if size == 0xFFFF_FFFF else size, bytes_per_s)


def nist(file: Bytes) -> ContainerCheck:
    """NIST SPHERE: a text header of `name -type value` lines."""
    start = int(file.at(8, 8).split()[0])
    fields: dict[bytes, bytes] = {}
    for line in file.at(16, min(start, 65536)).split(b"\n"):
        parts = line.split(None, 2)
        if len(parts) == 3:
            fields[parts[0]] = parts[2]
    frame = int(fields[b"channel_count"]) * int(fields[b"sample_n_bytes"])
    if fields.get(b"sample_coding", b"pcm") not in (b"pcm", b"ulaw", b"alaw", b"mu-law"):
        return ContainerCheck("nist", None, None, file.size)
    return _data(
        "nist", file, start, int(fields[b"sample_count"]) * frame, int(fields[b"sample_rate"]) * frame
    )


def _data(kind: str, file: Bytes, start: int, size: int, bytes_per_s: float) -> ContainerCheck:
    if size == 0:
        follows = file.size > start and file.at(start, 4) not in _NO_AUDIO_AFTER
        detail = "its header does not say how long it is" if follows else "it holds a header and no audio"
        return ContainerCheck(kind, None, None, file.size, detail, open_ended=follows)
    declared_s = size / bytes_per_s if bytes_per_s else None
    end = start + size
    whole = end <= file.size
    detail = "" if whole else _cut(file.size, end)
    return ContainerCheck(kind, whole, end, file.size, detail, declared_s)


def _no_data(kind: str, file: Bytes, declared: int | None) -> ContainerCheck:
    if declared is not None and declared > file.size:
        return ContainerCheck(kind, False, declared, file.size, _cut(file.size, declared))
    return ContainerCheck(kind, None, None, file.size, "it has no chunk with audio")


def _cut(present: int, declared: int) -> str:
    return f"the file has {present:,} of the {declared:,} bytes its header declares"


def _extended(raw: bytes) -> float:
    """80-bit IEEE 754 extended number, big-endian: the sample rate in AIFF."""
    if len(raw) < 10:
        return 0.0
    exponent = int.from_bytes(raw[:2], "big") & 0x7FFF
    if exponent > 16383 + 63:
        return 0.0
    return float(int.from_bytes(raw[2:], "big")) * 2.0 ** (exponent - 16383 - 63)
