"""Detect sound that is encrypted by a protection of copies (DRM), which a decoder would turn into noise or nothing.

Each function takes a file known to be of its kind. It may raise EOFError, ValueError or OSError for a damaged one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dropscribe.media.container.boxed import asf_objects, ebml_elements
from dropscribe.media.container.reader import Bytes

#: Most boxes examined.
_MOST = 4096
#: Sample entries of encrypted sound: ISO/IEC 23001-7 (cenc, cbcs …), Apple FairPlay, Audible.
_ENCRYPTED = {b"enca": "DRM of a streaming service", b"drms": "Apple FairPlay", b"aavd": "Audible"}

#: Objects in the header of encrypted ASF files (ASF specification, 3.14 to 3.16).
_ASF_ENCRYPTION = frozenset(
    bytes.fromhex(guid)
    for guid in (
        "fbb3112223bdd211b4b700a0c955fc6e",  # Content Encryption
        "14e68a292226174cb935dae07ee9289c",  # Extended Content Encryption
        "338505438169e6499b74ad12cb86d58c",  # Advanced Content Encryption
    )
)

#: Matroska (RFC 9559): ids of the elements from a file to the encryption of a track.
_SEGMENT, _TRACKS, _TRACK, _TYPE = 0x18538067, 0x1654AE6B, 0xAE, 0x83
_ENCODINGS, _ENCODING, _ENCRYPTION = 0x6D80, 0x6240, 0x5035
_SOUND = 2


def protection(file: Bytes, kind: str) -> str | None:
    """Name of the protection if all sound of the file is encrypted; else None. Never raises for a damaged file."""
    check = {"mp4": _mp4, "asf": _asf, "matroska": _matroska}.get(kind)
    try:
        return check(file) if check else None
    except (EOFError, ValueError):
        return None


def _mp4(file: Bytes) -> str | None:
    entries = []
    for movie, start, end in _boxes(file, 0, file.size):
        if movie != b"moov":
            continue
        for track in _within(file, start, end, b"trak"):
            for media in _within(file, *track, b"mdia"):
                sound = any(file.at(at + 8, 4) == b"soun" for at, _ in _within(file, *media, b"hdlr"))
                if sound:
                    entries += [entry for at in _tables(file, media) for entry, _, _ in _boxes(file, *at)]
    if entries and all(entry in _ENCRYPTED for entry in entries):
        return _ENCRYPTED[entries[0]]
    return None


def _tables(file: Bytes, media: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Extents of the sample entries of a track."""
    for information in _within(file, *media, b"minf"):
        for table in _within(file, *information, b"stbl"):
            for start, end in _within(file, *table, b"stsd"):
                yield start + 8, end  # after version, flags and the number of entries


def _within(file: Bytes, start: int, end: int, name: bytes) -> Iterator[tuple[int, int]]:
    return ((at, until) for found, at, until in _boxes(file, start, end) if found == name)


def _boxes(file: Bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start and end of the content) of the boxes between two offsets."""
    for _ in range(_MOST):
        if end - start < 8:
            return
        head = file.at(start, 16)
        size, header = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        size = size or end - start
        if size < header:
            return
        yield head[4:8], start + header, min(end, start + size)
        start += size


def _asf(file: Bytes) -> str | None:
    encrypted = any(name in _ASF_ENCRYPTION for name, _ in asf_objects(file))
    return "Windows Media DRM" if encrypted else None


def _matroska(file: Bytes) -> str | None:
    for segment in _elements(file, [(0, file.size)], _SEGMENT):
        # Only as far as the tracks: what follows may be hours of clusters.
        for name, start, end in ebml_elements(file, *segment):
            if name == _TRACKS:
                sounds = [t for t in _elements(file, [(start, end)], _TRACK) if _is_sound(file, t)]
                encodings = [list(_elements(file, [t], _ENCODINGS, _ENCODING, _ENCRYPTION)) for t in sounds]
                return "DRM of a streaming service" if sounds and all(encodings) else None
    return None


def _is_sound(file: Bytes, track: tuple[int, int]) -> bool:
    return any(file.at(a, b - a) == bytes((_SOUND,)) for a, b in _elements(file, [track], _TYPE))


def _elements(file: Bytes, inside: Iterable[tuple[int, int]], *path: int) -> Iterator[tuple[int, int]]:
    """Extents of all elements at this path of ids below the given extents."""
    name, *further = path
    found = ((a, b) for extent in inside for i, a, b in ebml_elements(file, *extent) if i == name)
    return _elements(file, found, *further) if further else found
