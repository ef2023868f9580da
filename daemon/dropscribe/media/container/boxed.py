"""Check the declared size of formats made of nested boxes: MP4/MOV, Matroska/WebM and ASF (WMA, WMV).

Each function takes a file known to be of its kind. It may raise EOFError, ValueError or OSError for a damaged one,
which `container.inspect` converts to a result.
"""

from __future__ import annotations

from collections.abc import Iterator

from dropscribe.media.container.reader import SLACK_BYTES, Bytes, ContainerCheck

#: Top-level boxes that have sound or lead to it.
_MEDIA = frozenset((b"mdat", b"moof"))
_WITH_SOUND = _MEDIA | {b"moov"}
#: Most elements of one level that are read: a damaged file may have any number.
_MOST_ELEMENTS = 4096
_MATROSKA_SEGMENT = 0x18538067
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def mp4(file: Bytes) -> ContainerCheck:
    """Check top-level boxes: each must end inside the file, and `moov` (the index) must be among them."""
    at = 0
    names: set[bytes] = set()
    # Fewer than 8 bytes at the end are padding of some writers, or the start of a box without audio.
    while file.size - at >= 8:
        # One read per box, since there may be very many.
        head = file.at(at, 16)
        size, name, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if not name.isascii() and not name.startswith(b"\xa9"):
            break
        if size == 1:
            if len(head) < 16:
                raise EOFError("the file ends inside the size of a box")
            size, header = int.from_bytes(head[8:], "big"), 16
        if size == 0:
            names.add(name)
            if b"moov" in names:
                return ContainerCheck(
                    "mp4", None, None, file.size, "its last box runs to the end of the file"
                )
            at = file.size
            break
        if size < header:
            break
        if at + size > file.size and name not in _WITH_SOUND and b"moov" in names and names & _MEDIA:
            # Its end is missing, but the sound is in the boxes before it.
            break
        names.add(name)
        at += size
    if at > file.size + (SLACK_BYTES if b"moov" in names and names & _MEDIA else 0):
        detail = f"the file has {file.size:,} of the {at:,} bytes its boxes declare"
        if b"moov" not in names:
            detail = f"moov box missing, and {detail}: upload incomplete or recorder was killed"
        # How many fragments should follow the cut one is not declared.
        declared = None if b"moof" in names else at
        return ContainerCheck("mp4", False, declared, file.size, detail)
    if b"moov" not in names:
        detail = "moov box missing: upload incomplete or recorder was killed"
        return ContainerCheck("mp4", False, None, file.size, detail)
    if b"moof" in names:
        # A fragmented file may be cut between two fragments; only the index at its end proves it complete.
        return ContainerCheck("mp4", True if b"mfra" in names else None, at, file.size)
    return ContainerCheck("mp4", True, at, file.size)


def matroska(file: Bytes) -> ContainerCheck:
    """Check the size of the Segment element, which is unknown (all ones) in live recordings. RFC 8794, section 4."""
    at = 0
    for _ in range(8):
        name, id_length = _element_id(file, at)
        size, size_length = _element_size(file, at + id_length)
        start = at + id_length + size_length
        if name == _MATROSKA_SEGMENT:
            if size is None:
                return ContainerCheck(
                    "matroska", None, None, file.size, "its length was never filled in", open_ended=True
                )
            end = start + size
            whole = end <= file.size + SLACK_BYTES
            detail = "" if whole else f"the file has {file.size:,} of the {end:,} bytes its header declares"
            return ContainerCheck("matroska", whole, end, file.size, detail)
        if size is None:
            break
        at = start + size
    return ContainerCheck("matroska", None, None, file.size, "no segment was found")


def asf(file: Bytes) -> ContainerCheck:
    """Check the file size in the File Properties object, which a broadcast lacks."""
    for name, at in asf_objects(file):
        if name == _ASF_FILE_PROPERTIES:
            declared = file.uint(at + 40, 8, "little")
            broadcast = file.uint(at + 88, 4, "little") & 1
            if broadcast or not declared:
                return ContainerCheck(
                    "asf", None, None, file.size, "its length was never filled in", open_ended=True
                )
            whole = declared <= file.size + SLACK_BYTES
            detail = (
                "" if whole else f"the file has {file.size:,} of the {declared:,} bytes its header declares"
            )
            return ContainerCheck("asf", whole, declared, file.size, detail)
    return ContainerCheck("asf", None, None, file.size)


def asf_objects(file: Bytes) -> Iterator[tuple[bytes, int]]:
    """(id, offset) of the objects in the header of an ASF file. Raises EOFError where they are damaged."""
    at, header = 30, file.uint(16, 8, "little")
    for _ in range(_MOST_ELEMENTS):
        if at >= header:
            return
        yield file.at(at, 16), at
        at += max(24, file.uint(at + 16, 8, "little"))


def ebml_elements(file: Bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(id, start and end of the content) of the EBML elements between two offsets; an unknown size reaches to `end`.

    Raises EOFError or ValueError where they are damaged.
    """
    for _ in range(_MOST_ELEMENTS):
        if start >= end:
            return
        name, id_length = _element_id(file, start)
        size, size_length = _element_size(file, start + id_length)
        content = start + id_length + size_length
        start = end if size is None else content + size
        yield name, content, min(start, end)


def _element_id(file: Bytes, at: int) -> tuple[int, int]:
    length = 9 - file.uint(at, 1, "big").bit_length()
    if length > 4:
        raise ValueError(f"no element at {at}")
    return file.uint(at, length, "big"), length


def _element_size(file: Bytes, at: int) -> tuple[int | None, int]:
    length = 9 - file.uint(at, 1, "big").bit_length()
    if length > 8:
        raise ValueError(f"no element size at {at}")
    value = file.uint(at, length, "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), length
