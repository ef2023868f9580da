"""Find where tags begin that players and editors append to a file of any format."""

from __future__ import annotations

from dropscribe.media.container.reader import Bytes

#: Most tags in a row.
_MOST = 8
_ID3V1, _ID3V1_ENHANCED = 128, 227
_LYRICS3_V1 = 5100
#: First bytes of such tags.
TAGS = (b"TAG", b"APETAGEX", b"ID3", b"3DI", b"LYRICSBEGIN")


def id3v2_length(head: bytes) -> int:
    """Length of the ID3v2 tag that begins with these bytes, with its footer if it has one; 0 if there is none."""
    if head[:3] != b"ID3" or len(head) < 10 or max(head[6:10]) > 127:
        return 0
    return 10 + _syncsafe(head[6:10]) + (10 if head[5] & 0x10 else 0)


def before_tags(file: Bytes) -> int:
    """Offset at which the tags at the end begin; the size of the file if there are none.

    ID3v1 (id3.org), its enhancement, Lyrics3 (id3.org/Lyrics3v2), APE (wiki.hydrogenaud.io, "APEv2"), ID3v2.4 with a
    footer. Raises OSError.
    """
    end = file.size
    for _ in range(_MOST):
        length = _tag_length(file, end)
        if not 0 < length <= end:
            break
        end -= length
    return end


def _tag_length(file: Bytes, end: int) -> int:
    """Length of the tag that ends at `end`; 0 if there is none."""
    tail = file.at(max(0, end - _ID3V1), min(end, _ID3V1))
    if tail.startswith(b"TAG") and len(tail) == _ID3V1:
        enhanced = file.at(max(0, end - _ID3V1 - _ID3V1_ENHANCED), 4) == b"TAG+"
        return _ID3V1 + (_ID3V1_ENHANCED if enhanced else 0)
    if tail[-32:-24] == b"APETAGEX":
        header = 32 if tail[-9] & 0x80 else 0
        return int.from_bytes(tail[-20:-16], "little") + header
    if tail.endswith(b"LYRICS200") and tail[-15:-9].isdigit():
        return int(tail[-15:-9]) + 15
    if tail.endswith(b"LYRICSEND"):
        begin = file.at(max(0, end - _LYRICS3_V1), min(end, _LYRICS3_V1)).rfind(b"LYRICSBEGIN")
        return min(end, _LYRICS3_V1) - begin if begin >= 0 else 0
    if tail[-10:-7] == b"3DI" and max(tail[-4:]) < 128:
        return _syncsafe(tail[-4:]) + 20
    return 0


def _syncsafe(raw: bytes) -> int:
    """Four bytes of 7 bits each (ID3v2.4, section 6.2)."""
    return raw[0] << 21 | raw[1] << 14 | raw[2] << 7 | raw[3]
