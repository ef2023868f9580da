"""Check the declared size of formats made of chunks (RIFF, RF64/BW64, W64, AIFF, AVI, CAF), and of AU and SPHERE.

Each function takes a file known to be of its kind. It may raise EOFError, ValueError or OSError for a damaged one,
which `container.inspect` converts to a result.

A declared data size may be wrong in both directions. A size that was never filled in, or was not updated since (the
recorder was stopped), or overflowed 32 bits ends before the sound does: what follows the declared end is sound, unless
it is a sequence of chunks up to the end of the file. A size that exceeds the file by no more than a header or a block of
the codec costs no sound.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from dropscribe.media.container.reader import SLACK_BYTES, Bytes, ContainerCheck, PcmLayout
from dropscribe.media.container.tags import TAGS

#: Most chunks read: recorders write dozens, a malicious file any number.
_MAX_CHUNKS = 2000

#: Data sizes that mean "unknown": streams written to a pipe have the largest unsigned or signed value, less the header.
_PLACEHOLDERS = (range(0xFFFF_FF00, 0x1_0000_0000), range(0x7FFF_F000, 0x8000_0000))

#: Chunks without audio that may follow the audio; also after an audio chunk of size 0 that is really empty.
# fmt: off
_NO_AUDIO = frozenset((
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"fact", b"cue ", b"JUNK", b"junk", b"PEAK", b"iXML", b"_PMX", b"axml", b"chna",
    b"umid", b"levl", b"plst", b"smpl", b"inst", b"note", b"labl", b"ltxt", b"afsp", b"minf", b"elm1", b"regn", b"DISP",
    b"acid", b"PAD ", b"FLLR", b"qlty", b"mext",
    b"COMM", b"NAME", b"AUTH", b"ANNO", b"MARK", b"INST", b"APPL", b"(c) ", b"AESD", b"MIDI",
    b"strg", b"info", b"uuid", b"ovvw", b"peak", b"free", b"pakt", b"edct", b"mark", b"kuki",
))
# fmt: on

#: Least sound after the declared end, seconds; less is rather a damaged chunk.
_LEAST_S = 0.1

#: Most zeros after the audio that are padding (sectors, clusters), bytes.
_MOST_PADDING = 65_536

Order = Literal["little", "big"]
#: How chunks are headed: (length of the name, length of the size, byte order, whether the size includes the header,
#: alignment).
_Chunks = tuple[int, int, Order, bool, int]
_RIFF: _Chunks = (4, 4, "little", False, 2)
_IFF: _Chunks = (4, 4, "big", False, 2)
_W64: _Chunks = (16, 8, "little", True, 8)
_CAF: _Chunks = (4, 8, "big", False, 1)

#: libsndfile's names of encodings, by format tag and bytes per sample.
_WAV_ENCODINGS = {
    (1, 1): "PCM_U8", (1, 2): "PCM_16", (1, 3): "PCM_24", (1, 4): "PCM_32",
    (3, 4): "FLOAT", (3, 8): "DOUBLE", (6, 1): "ALAW", (7, 1): "ULAW",
}  # fmt: skip
_SIGNED = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_AIFC_ENCODINGS = {
    b"fl32": "FLOAT", b"FL32": "FLOAT", b"fl64": "DOUBLE", b"FL64": "DOUBLE",
    b"ulaw": "ULAW", b"ULAW": "ULAW", b"alaw": "ALAW", b"ALAW": "ALAW", b"raw ": "PCM_U8",
}  # fmt: skip
_AU_ENCODINGS = {
    1: "ULAW",
    2: "PCM_S8",
    3: "PCM_16",
    4: "PCM_24",
    5: "PCM_32",
    6: "FLOAT",
    7: "DOUBLE",
    27: "ALAW",
}
_WIDTHS = {
    "ULAW": 1,
    "ALAW": 1,
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}


@dataclass(frozen=True, slots=True)
class _Sound:
    """Encoding of the audio in a data chunk."""

    encoding: str | None = None  #: libsndfile's name of plain PCM; None for other codecs
    order: Order = "little"
    channels: int = 0
    rate_hz: int = 0
    block: int = 1  #: bytes of a frame of plain PCM, or of a block of another codec
    bytes_per_s: float = 0.0

    @classmethod
    def pcm(cls, encoding: str | None, order: Order, channels: int, rate_hz: int) -> _Sound:
        if encoding is None or not channels or not rate_hz:
            return cls()
        block = channels * _WIDTHS[encoding]
        return cls(encoding, order, channels, rate_hz, block, float(rate_hz * block))


def wav(file: Bytes) -> ContainerCheck:
    """RIFF/RIFX/RF64/BW64 WAVE: compare the end of the `data` chunk with the file size."""
    magic = file.at(0, 4)
    order: Order = "big" if magic == b"RIFX" else "little"
    size64: int | None = None
    sound = _Sound()
    at = 12
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 4)
        if len(name) < 4:
            return _no_data("wav", file, file.uint(4, 4, order) + 8 if magic == b"RIFF" else None)
        size = file.uint(at + 4, 4, order)
        if name == b"ds64":
            size64 = file.uint(at + 16, 8, "little")
        elif name == b"fmt ":
            sound = _wave_format(file, at + 8, size, order)
        elif name == b"data":
            wide = size64 is not None and size in (0, 0xFFFF_FFFF)
            if size64 is not None and wide:
                size = size64
            elif any(size in placeholder for placeholder in _PLACEHOLDERS):
                size = 0
            chunks = _IFF if order == "big" else _RIFF
            return _data("wav", file, at + 8, size, sound, chunks=chunks, overflows=not wide)
        at += 8 + size + size % 2
    return ContainerCheck("wav", None, None, file.size, "too many chunks before the audio")


def w64(file: Bytes) -> ContainerCheck:
    """Sony Wave64: chunk names have 16 bytes, sizes have 8 and include the header."""
    at = 40
    sound = _Sound()
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 16)
        if len(name) < 16:
            return _no_data("w64", file, file.uint(16, 8, "little"))
        size = file.uint(at + 16, 8, "little")
        if name.startswith(b"fmt "):
            sound = _wave_format(file, at + 24, size - 24, "little")
        elif name.startswith(b"data"):
            return _data("w64", file, at + 24, max(0, size - 24), sound, chunks=_W64)
        at += max(24, size + -size % 8)
    return ContainerCheck("w64", None, None, file.size, "too many chunks before the audio")


def aiff(file: Bytes) -> ContainerCheck:
    """AIFF and AIFF-C: big-endian chunks; COMM has the encoding."""
    at = 12
    sound, frames, rate = _Sound(), 0, 0.0
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 4)
        if len(name) < 4:
            return _no_data("aiff", file, file.uint(4, 4, "big") + 8)
        size = file.uint(at + 4, 4, "big")
        if name == b"COMM":
            channels, frames, bits = struct.unpack(">HIH", _exactly(file, at + 8, 8))
            rate = _extended(file.at(at + 16, 10))
            kind = file.at(at + 26, 4) if size >= 22 else b"NONE"
            plain = kind in (b"NONE", b"twos", b"sowt", b"in24", b"in32")
            encoding = _SIGNED.get(-(-bits // 8)) if plain else _AIFC_ENCODINGS.get(kind)
            sound = _Sound.pcm(encoding, "little" if kind == b"sowt" else "big", channels, round(rate))
        elif name == b"SSND":
            if sound.encoding is None and frames and rate and size > 8:
                sound = _Sound(bytes_per_s=(size - 8) / (frames / rate))
            data = 0 if size == 0xFFFF_FFFF else max(0, size - 8)
            return _data("aiff", file, at + 16, data, sound, chunks=_IFF, overflows=True)
        at += 8 + size + size % 2
    return ContainerCheck("aiff", None, None, file.size, "too many chunks before the audio")


def avi(file: Bytes) -> ContainerCheck:
    """AVI: compare the end of its RIFF chunks (more than one beyond 1 GB) with the file size.

    Without the index behind the last media list nothing is lost.
    """
    at = last = 0
    for _ in range(_MAX_CHUNKS):
        if file.at(at, 4) != b"RIFF":
            break
        last = at
        size = file.uint(at + 4, 4, "little")
        if size == 0:
            return ContainerCheck(
                "avi", None, None, file.size, "its length was never filled in", open_ended=True
            )
        at += 8 + size + size % 2
    whole = at <= file.size + SLACK_BYTES or _media_end(file, last + 12) <= file.size
    return ContainerCheck("avi", whole, at, file.size, "" if whole else _cut(file.size, at))


def _media_end(file: Bytes, at: int) -> int:
    """End of the media list of an AVI among the chunks from `at`; beyond the file if there is none."""
    for _ in range(_MAX_CHUNKS):
        head = file.at(at, 12)
        if len(head) < 12:
            break
        size = int.from_bytes(head[4:8], "little")
        at += 8 + size + size % 2
        if head[:4] == b"LIST" and head[8:] == b"movi":
            return at
    return file.size + 1


def caf(file: Bytes) -> ContainerCheck:
    """Core Audio: the `data` chunk may have size -1, up to the end of the file."""
    at = 8
    sound = _Sound()
    for _ in range(_MAX_CHUNKS):
        name = file.at(at, 4)
        if len(name) < 4:
            return _no_data("caf", file, None)
        size = file.uint(at + 4, 8, "big")
        if name == b"desc":
            sound = _caf_format(_exactly(file, at + 12, 32))
        elif name == b"data":
            # Its content begins with a count of edits, 4 bytes.
            return _data("caf", file, at + 16, 0 if size >= 1 << 63 else max(0, size - 4), sound, chunks=_CAF)
        at += 12 + size
    return ContainerCheck("caf", None, None, file.size, "too many chunks before the audio")


def au(file: Bytes) -> ContainerCheck:
    """Sun AU: the header has offset and length of the data."""
    start = file.uint(4, 4, "big")
    size = file.uint(8, 4, "big")
    encoding = _AU_ENCODINGS.get(file.uint(12, 4, "big"))
    sound = _Sound.pcm(encoding, "big", file.uint(20, 4, "big"), file.uint(16, 4, "big"))
    return _data("au", file, start, 0 if size == 0xFFFF_FFFF else size, sound, overflows=True)


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
    sound = _Sound(block=frame, bytes_per_s=int(fields[b"sample_rate"]) * frame)
    size = int(fields[b"sample_count"]) * frame
    if not size:
        return _unknown_size("nist", file, start, sound)
    return _declared("nist", file, start, size, sound)


def _wave_format(file: Bytes, at: int, size: int, order: Order) -> _Sound:
    """Content of a `fmt ` chunk of RIFF or Wave64 (WAVEFORMATEX, WAVEFORMATEXTENSIBLE)."""
    fields = struct.unpack(f"{'>' if order == 'big' else '<'}HHIIH", _exactly(file, at, 14))
    tag, channels, rate_hz, bytes_per_s, block = fields
    if tag == 0xFFFE and size >= 40:
        tag = file.uint(at + 24, 2, order)
    encoding = _WAV_ENCODINGS.get((tag, block // channels if channels else 0))
    if encoding is not None and block == channels * _WIDTHS[encoding]:
        return _Sound.pcm(encoding, order, channels, rate_hz)
    if tag in (1, 3, 6, 7):
        bytes_per_s = rate_hz * block
    return _Sound(block=max(1, block), bytes_per_s=bytes_per_s)


def _caf_format(raw: bytes) -> _Sound:
    """Content of a `desc` chunk (CAFAudioFormat)."""
    rate, kind, flags, _, _, channels, bits = struct.unpack(">d4sIIIII", raw)
    encoding = {b"ulaw": "ULAW", b"alaw": "ALAW"}.get(kind)
    if kind == b"lpcm":
        encoding = {32: "FLOAT", 64: "DOUBLE"}.get(bits) if flags & 1 else _SIGNED.get(bits // 8)
    valid = 0 < rate < 1e9
    return _Sound.pcm(encoding, "little" if flags & 2 else "big", channels, round(rate) if valid else 0)


def _data(
    kind: str,
    file: Bytes,
    start: int,
    size: int,
    sound: _Sound,
    *,
    chunks: _Chunks | None = None,
    overflows: bool = False,
) -> ContainerCheck:
    """Check audio of `size` bytes (0: not declared) at `start`; `overflows`: the size has 32 bits only."""
    if size == 0:
        return _unknown_size(kind, file, start, sound)
    end = start + size
    if end >= file.size:
        return _declared(kind, file, start, size, sound)
    real = _end_of_sound(file, start, size, chunks, overflows=overflows)
    if real - end < max(sound.block, 8, _LEAST_S * sound.bytes_per_s):
        return _declared(kind, file, start, size, sound)
    excess = (real - end) % (1 << 32) if overflows else real - end
    remark = ""
    if excess > max(sound.block, SLACK_BYTES) and sound.bytes_per_s:
        remark = (
            f"its header declares {size / sound.bytes_per_s:.1f} s, but sound follows to the end of the file "
            f"({(real - start) / sound.bytes_per_s:.1f} s); all of it was read"
        )
    return _open_ended(kind, file, start, real, sound, remark=remark)


def _unknown_size(kind: str, file: Bytes, start: int, sound: _Sound) -> ContainerCheck:
    if file.size <= start or file.at(start, 4) in _NO_AUDIO:
        return ContainerCheck(kind, None, None, file.size, "it holds a header and no audio")
    remark = (
        "the header does not say how long the recording is (the recorder was stopped before it could, "
        "or it was streamed); all that is there was read"
    )
    return _open_ended(kind, file, start, file.size, sound, remark=remark)


def _open_ended(
    kind: str, file: Bytes, start: int, end: int, sound: _Sound, *, remark: str
) -> ContainerCheck:
    layout = None
    if sound.encoding is not None:
        layout = PcmLayout(start, end, sound.encoding, sound.order, sound.channels, sound.rate_hz)
    return ContainerCheck(
        kind,
        None,
        None,
        file.size,
        "its header does not say how long it is",
        open_ended=True,
        remark=remark,
        pcm=layout,
    )


def _declared(kind: str, file: Bytes, start: int, size: int, sound: _Sound) -> ContainerCheck:
    """Compare a declared size that does not end before the sound does with the size of the file."""
    end, there = start + size, file.size - start
    # Some programs count the header, or the whole file, as data.
    slack = max(SLACK_BYTES, sound.block)
    whole = end - file.size <= slack or (0 <= file.size - size <= 8 and there > 0)
    declared_s = size / sound.bytes_per_s if sound.bytes_per_s else None
    if whole:
        # Of other codecs the duration in bytes is an estimate, and the last block may be filled up.
        exact = sound.encoding is not None or kind == "nist"
        declared_s = min(size, there) // sound.block * sound.block / sound.bytes_per_s if exact else None
    return ContainerCheck(kind, whole, end, file.size, "" if whole else _cut(file.size, end), declared_s)


def _end_of_sound(file: Bytes, start: int, size: int, chunks: _Chunks | None, *, overflows: bool) -> int:
    """End of the audio that begins at `start` and has `size` bytes or more: where other chunks begin, or the file ends."""
    for turn in range(64 if overflows else 1):
        end = start + size + (turn << 32)
        if end >= file.size:
            break
        for pad in (size % 2, 0):
            if _is_no_sound(file, end + pad, chunks):
                return end
    return file.size


def _is_no_sound(file: Bytes, at: int, chunks: _Chunks | None) -> bool:
    """True if chunks, a tag or padding lead from `at` to the end of the file."""
    rest = file.size - at
    if rest < 8 or file.at(at, 11).startswith(TAGS):
        return True
    if rest <= _MOST_PADDING and not any(file.at(at, rest)):
        return True
    if chunks is None:
        return False
    name_length, size_length, order, inclusive, align = chunks
    header = name_length + size_length
    for _ in range(_MAX_CHUNKS):
        head = file.at(at, header)
        if len(head) < header:
            return not any(head)
        name = head[:4]
        if not all(32 <= byte < 127 for byte in name):
            return False
        size = int.from_bytes(head[name_length:], order)
        if inclusive and size < header:
            return False
        length = size if inclusive else size + header
        if name in _NO_AUDIO and at + length > file.size:
            return True
        if at + length > file.size + SLACK_BYTES:
            return False
        at += length + -length % align
    return False


def _no_data(kind: str, file: Bytes, declared: int | None) -> ContainerCheck:
    if declared is not None and declared > file.size:
        return ContainerCheck(kind, False, declared, file.size, _cut(file.size, declared))
    return ContainerCheck(kind, None, None, file.size, "it has no chunk with audio")


def _cut(present: int, declared: int) -> str:
    return f"the file has {present:,} of the {declared:,} bytes its header declares"


def _exactly(file: Bytes, at: int, length: int) -> bytes:
    raw = file.at(at, length)
    if len(raw) < length:
        raise EOFError(f"the file ends inside a header at {at}")
    return raw


def _extended(raw: bytes) -> float:
    """80-bit IEEE 754 extended number, big-endian: the sample rate in AIFF."""
    if len(raw) < 10:
        return 0.0
    exponent = int.from_bytes(raw[:2], "big") & 0x7FFF
    if exponent > 16383 + 63:
        return 0.0
    return float(int.from_bytes(raw[2:], "big")) * 2.0 ** (exponent - 16383 - 63)
