"""Identify content by its first bytes, regardless of the file name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

#: Bytes examined at the start of a file.
HEAD_BYTES = 4096

#: Kind of audio → its usual extensions, lower case. Other extensions of audio cause a warning.
USUAL_EXTENSIONS: dict[str, frozenset[str]] = {
    "wav": frozenset({".wav", ".wave", ".bwf", ".rf64"}),
    "w64": frozenset({".w64"}),
    "aiff": frozenset({".aif", ".aiff", ".aifc"}),
    "flac": frozenset({".flac", ".fla"}),
    "mp3": frozenset({".mp3", ".mp2", ".mp1", ".mpga"}),
    "mp4": frozenset({".mp4", ".m4a", ".m4b", ".m4v", ".mov", ".3gp", ".3g2", ".qt"}),
    "matroska": frozenset({".mkv", ".mka", ".webm"}),
    "ogg": frozenset({".ogg", ".oga", ".opus", ".spx", ".ogv"}),
    "asf": frozenset({".wma", ".wmv", ".asf"}),
    "avi": frozenset({".avi"}),
    "au": frozenset({".au", ".snd"}),
    "caf": frozenset({".caf"}),
    "nist": frozenset({".sph", ".wav", ".nist"}),
    "amr": frozenset({".amr", ".awb", ".3gp"}),
    "adts": frozenset({".aac"}),
    "ac3": frozenset({".ac3", ".eac3"}),
    "ape": frozenset({".ape"}),
    "wavpack": frozenset({".wv"}),
    "tta": frozenset({".tta"}),
    "realmedia": frozenset({".ra", ".rm"}),
}

#: First bytes of content that is not audio, and its name in messages.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
)

#: First bytes of audio, longest first where one is a prefix of another.
_AUDIO: tuple[tuple[bytes, str], ...] = (
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", "w64"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "asf"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"NIST_1A\n", "nist"),
    (b"#!AMR", "amr"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"MAC ", "ape"),
    (b"wvpk", "wavpack"),
    (b"TTA1", "tta"),
    (b".RMF", "realmedia"),
    (b".ra\xfd", "realmedia"),
    (b"\x0b\x77", "ac3"),
)

#: First bytes of text that refers a player to other files or URLs, which are never opened.
_REFERENCES: tuple[tuple[bytes, str], ...] = (
    (b"#extm3u", "a playlist (M3U/HLS), which only points at audio elsewhere"),
    (b"ffconcat", "a list of files to join (ffconcat), which only points at audio elsewhere"),
    (b"[playlist]", "a playlist (PLS), which only points at audio elsewhere"),
    (b"v=0\r\n", "a session description (SDP), which only points at audio elsewhere"),
    (b"v=0\n", "a session description (SDP), which only points at audio elsewhere"),
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """Kind of audio, or "unknown"; and the name of content that is certainly not audio."""

    kind: str
    foreign: str | None = None


def sniff(head: bytes) -> Sniffed:
    """Identify the first bytes of a file, after any ID3 tags."""
    for magic, kind in _AUDIO:
        if head.startswith(magic):
            return Sniffed(kind)
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        kinds = {b"WAVE": "wav", b"AVI ": "avi"}
        return Sniffed(kinds.get(form, "unknown"))
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC"):
        return Sniffed("aiff")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip", b"styp", b"pnot"):
        return Sniffed("mp4")
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return Sniffed("unknown", name)
    if len(head) >= 2 and head[0] == 0xFF:
        if head[1] & 0xF6 == 0xF0:
            return Sniffed("adts")
        if head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08 and head[1] & 0x06:
            return Sniffed("mp3")
    return Sniffed("unknown", _text(head))


def unusual_name(name: str, kind: str) -> str | None:
    """Warning if the file name has the extension of another kind of audio; else None."""
    usual = USUAL_EXTENSIONS.get(kind)
    extension = PurePath(name).suffix.lower()
    if usual is None or not extension or extension in usual:
        return None
    if not any(extension in known for known in USUAL_EXTENSIONS.values()):
        return None
    return f"the name ends in {extension} but the content is {kind}"


def _text(head: bytes) -> str | None:
    """Name of a kind of text in messages; None if the bytes are not text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "a text file"
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, name in _REFERENCES:
        if plain.startswith(start):
            return name
    if not plain or any(b < 9 or 13 < b < 27 for b in plain):
        return None
    if b"<mpd" in plain:
        return "a manifest (DASH), which only points at audio elsewhere"
    if plain.startswith((b"<!doctype html", b"<html")):
        return "a web page (perhaps an error page saved by a download)"
    if plain.startswith(b"<?xml"):
        return "an XML document"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 4:
            return None
    return "a text file"
