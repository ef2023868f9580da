"""Find a recording that follows another one in the same file (`cat a.m4a b.m4a`, chained Ogg)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from dropscribe.media.container.framed import FrameLength, adts_length
from dropscribe.media.container.sniff import HEAD_BYTES, sniff
from dropscribe.media.container.streamed import mp3_length
from dropscribe.media.container.tags import id3v2_length
from dropscribe.media.sources.span import Span

#: (offset, length) → bytes, shorter at the end of the file.
Read = Callable[[int, int], bytes]

#: Bytes near the start of files that are recognised anywhere, and their offset.
_MARKS = (
    (b"WAVE", 8),
    (b"AIFF", 8),
    (b"AIFC", 8),
    (b"ftyp", 4),
    (b"\x1aE\xdf\xa3", 0),
    (b"OggS\x00\x02", 0),
    (b"fLaC\x00\x00\x00\x22", 0),
    (b"#!AMR", 0),
    (b"ID3\x02\x00", 0),
    (b"ID3\x03\x00", 0),
    (b"ID3\x04\x00", 0),
    (b"caff\x00\x01", 0),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0),
    (b"FLV\x01", 0),
    (b"TTA1", 0),
    (b"MAC ", 0),
)
#: Kinds whose first bytes are too short, or those of any part of a recording, to be the begin of another.
_WEAK = frozenset({"unknown", "ac3", "dts", "mpegps", "mpegts", "dss"})
#: Longest of these, less one byte.
_OVERLAP = 12
_CHUNK = 1 << 20
#: Bytes searched behind the end of a recording.
_MOST_SEARCHED = 64 << 20
#: Places that are looked at in a search, and boxes of an MP4: a hostile file may have any number.
_MOST_CANDIDATES = 10_000
_MOST_BOXES = 100_000
_ADTS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
#: Consecutive frames of MP3 or AAC that are required without other first bytes.
_CHAIN = 4
#: Tags that are passed over.
_MOST_TAGS = 16
#: More zeros than this are no padding but lost content, bytes.
_MOST_PADDING = 1 << 16


def find_recording(read: Read, at: int, size: int) -> int | None:
    """Offset of the first recording at `at` or behind; None if there is none in the bytes that are searched."""
    behind = skip_tags(read, at, size)
    if begins_at(read, behind):
        return behind
    stop = min(size, at + _MOST_SEARCHED)
    left = _MOST_CANDIDATES
    for start in range(at, stop, _CHUNK):
        # Regular expressions with alternatives are a hundred times slower than one search for each mark.
        data = read(start, _CHUNK + _OVERLAP)
        places = sorted(place for mark, offset in _MARKS for place in _found(data, mark, offset, left))
        for place in places:
            if begins_at(read, start + place):
                return start + place
        left -= len(places)
        if left <= 0:
            return None
    return None


def _found(data: bytes, mark: bytes, offset: int, most: int) -> Iterator[int]:
    at = -1
    for _ in range(most):
        at = data.find(mark, at + 1)
        if at < 0:
            return
        if 0 <= at - offset < _CHUNK:
            yield at - offset


def delimit(fd: int, start: int, size: int, kind: str) -> tuple[Span, int | None]:
    """The bytes of the recording at `start` of a file of `size` bytes, and where its structure ends, if it tells.

    The bytes are all to the end of the file, unless another recording is known to follow.
    """
    rest = Span(fd, start, size)
    end = structure_end(rest.at, kind, rest.size)
    if end is None:
        return rest, None
    if end < rest.size and find_recording(rest.at, end, rest.size) is not None:
        rest = Span(fd, start, start + end)
    return rest, start + end


def structure_end(read: Read, kind: str, size: int) -> int | None:
    """End of the recording at the start of the file, if its own structure tells; None otherwise."""
    if kind == "mp4":
        return _boxes_end(read, size)
    if kind == "matroska":
        return _segment_end(read, size)
    return None


def begins_at(read: Read, at: int) -> bool:
    """True if a whole recording begins at this offset, not only a further part of one."""
    head = read(at, HEAD_BYTES)
    if head.startswith(b"ID3"):
        return _follows(read, skip_tags(read, at, at + _MOST_SEARCHED), mp3_length)
    kind = sniff(head).kind
    match kind:
        case "mp4":
            return head[4:8] == b"ftyp" and 8 <= int.from_bytes(head[:4], "big") <= 4096
        case "ogg":
            return head[5:6] == b"\x02"
        case "matroska":
            return b"matroska" in head[:80] or b"webm" in head[:80]
        case "ape":
            return 3800 <= int.from_bytes(head[4:6], "little") < 4200
        case "wavpack":
            return head[16:20] == bytes(4)
        case "mp3":
            return _follows(read, at, mp3_length)
        case "adts":
            return _follows(read, at, adts_length)
        case _:
            return kind not in _WEAK


def find_adts(read: Read, at: int, stop: int) -> int | None:
    """Offset of the first of several ADTS frames between `at` and `stop`."""
    candidates = 0
    for start in range(at, stop, _CHUNK):
        data = read(start, min(_CHUNK, stop - start))
        for found in _ADTS.finditer(data):
            candidates += 1
            if candidates > _MOST_CANDIDATES:
                return None
            if _follows(read, start + found.start(), adts_length):
                return start + found.start()
    return None


def skip_tags(read: Read, at: int, size: int, *, zeros: bool = True) -> int:
    """Offset behind the tags (ID3v1, ID3v2, APE, Lyrics3) at `at` and, if `zeros`, behind padding."""
    for _ in range(_MOST_TAGS):
        head = read(at, 32)
        if length := id3v2_length(head):
            at += length
        elif head[:3] == b"TAG":
            at += 128
        elif head[:8] == b"APETAGEX":
            # The size covers items and footer; a tag may begin with a header or directly with items.
            at += 32 + int.from_bytes(head[12:16], "little")
        elif head[:11] == b"LYRICSBEGIN":
            end = read(at, 65_536).find(b"LYRICS200")
            if end < 0:
                break
            at += end + 9
        elif zeros and head[:4] == b"\0\0\0\0":
            padding = read(at, _MOST_PADDING)
            rest = padding.lstrip(b"\0")
            if not rest and len(padding) == _MOST_PADDING:
                break
            at += len(padding) - len(rest)
        else:
            break
    return min(at, size)


def _boxes_end(read: Read, size: int) -> int:
    """End of the boxes of the first MP4 of a file: at the next `ftyp`, or at what is no box."""
    at = 0
    names: set[bytes] = set()
    for _ in range(_MOST_BOXES):
        if size - at < 8:
            break
        head = read(at, 16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if name == b"ftyp" and b"moov" in names:
            return at
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:
            return size
        if length < 8 or not (name.isalnum() or name[:1] in (b"\xa9", b"-") or name.strip().isalnum()):
            return at
        names.add(name)
        at += length
    else:
        return size
    return min(at, size)


def _segment_end(read: Read, size: int) -> int | None:
    """End of the Segment of a Matroska file; None if its size is unknown (RFC 8794, section 4)."""
    at = 0
    for _ in range(8):
        head = read(at, 12)
        if len(head) < 12 or not head[0] or head[0] < 16:
            return None
        id_length = 9 - head[0].bit_length()
        first = head[id_length]
        size_length = 9 - first.bit_length()
        if not first:
            return None
        value = int.from_bytes(head[id_length : id_length + size_length], "big")
        value &= (1 << 7 * size_length) - 1
        if value == (1 << 7 * size_length) - 1:
            return None
        at += id_length + size_length + value
        if head[:4] == b"\x18\x53\x80\x67":
            return min(at, size)
    return None


def _follows(read: Read, at: int, length: FrameLength) -> bool:
    for _ in range(_CHAIN):
        step = length(read(at, 8), 0)
        if not step:
            return False
        at += step
    return True
