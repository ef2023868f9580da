"""Name content that is certainly no recording that can be decoded, by its first bytes, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

_DROP_IT = "drop the recording itself"
_NO_SOUND = "export it as sound (wav, m4a) and drop that"
_UNPACK = "unpack it and drop the recordings in it"
_DECRYPT = "decrypt it and drop the recording itself"
_UNPROTECTED = "only the program it was bought for plays it; drop a copy without protection, if you have one"


@dataclass(frozen=True, slots=True)
class Foreign:
    """Content that cannot be transcribed."""

    reason: str  #: begins with "it is", "it holds" …
    remedy: str = _DROP_IT
    #: True for plain text, which is no failure if the extension is also one of text (`formats.TEXT_EXTENSIONS`).
    text: bool = False


def _not(name: str, remedy: str = _DROP_IT) -> Foreign:
    return Foreign(f"it is {name}, not a recording", remedy)


_SILK = Foreign(
    "it is a SILK voice message (WeChat, QQ), for which there is no decoder here",
    "convert it to wav with a SILK decoder (silk-v3-decoder, pilk) and drop that",
)
_AUDIBLE = Foreign("it is an Audible audio book, which is encrypted", _UNPROTECTED)
_SONY = Foreign(
    "it is a recording of a Sony IC recorder, in a format that only Sony's program reads",
    "export it as wav or mp3 with Sony's Sound Organizer or Digital Voice Editor and drop that",
)
_MUSIC_SHOP = "an encrypted file of a music program"

#: First bytes. Longest first where one is a prefix of another.
_BYTES: tuple[tuple[bytes, Foreign], ...] = (
    (b"#!SILK", _SILK),
    (b"\x02#!SILK", _SILK),
    (b"\x03ds2", Foreign("it is a DSS Pro recording, for which there is no free decoder",
                         "export it as wav with the program of the dictation machine and drop that")),
    (b"MS_VOICE", _SONY),
    (b"\x00\x00\x00\x00\x57\x90\x75\x36", _AUDIBLE),
    (b"CTENFDAM", _not(_MUSIC_SHOP, _UNPROTECTED)),  # NetEase Cloud Music (.ncm)
    (b"\x7c\xd5\x32\xeb\x86\x02\x7f\x4b", _not(_MUSIC_SHOP, _UNPROTECTED)),  # KuGou (.kgm)
    (b"MThd", _not("a MIDI file, which holds notes and no sound", _NO_SOUND)),
    (b"%PDF-", _not("a PDF document")),
    (b"PK\x03\x04", _not("a ZIP archive or an office document", _UNPACK)),
    (b"PK\x05\x06", _not("an empty ZIP archive")),
    (b"\x1f\x8b", _not("a gzip archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", _not("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", _not("a RAR archive", _UNPACK)),
    (b"\xfd7zXZ\x00", _not("an xz archive", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", _not("a Zstandard archive", _UNPACK)),
    (b"BZh", _not("a bzip2 archive", _UNPACK)),
    (b"\x89PNG\r\n", _not("a PNG picture")),
    (b"\xff\xd8\xff", _not("a JPEG picture")),
    (b"GIF8", _not("a GIF picture")),
    (b"II*\x00", _not("a TIFF picture")),
    (b"MM\x00*", _not("a TIFF picture")),
    (b"8BPS", _not("a Photoshop picture")),
    (b"FWS", _not("a Flash animation", _NO_SOUND)),
    (b"CWS", _not("a Flash animation", _NO_SOUND)),
    (b"\x7fELF", _not("a program")),
    (b"MZ", _not("a Windows program")),
    (b"L\x00\x00\x00\x01\x14\x02\x00", _not("a Windows shortcut to another file")),
    (b"SQLite format 3\x00", _not("a SQLite database")),
    (b"bplist00", _not("a property list of macOS or iOS, perhaps a placeholder of iCloud Drive",
                       "let iCloud download the recording and drop that")),
    (b"\x00\x05\x16\x07", _not("attributes of a file of macOS (AppleDouble)")),
    (b"{\\rtf", _not("an RTF document")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _not("an old office document")),
    (b"Salted__", _not("an encrypted file (OpenSSL)", _DECRYPT)),
    (b"age-encryption.org/", _not("an encrypted file (age)", _DECRYPT)),
    (b"d8:announce", _not("a torrent, which only points at files elsewhere")),
)  # fmt: skip

#: Forms of RIFF files without sound that FFmpeg decodes.
_RIFF_FORMS = {
    b"WEBP": _not("a WebP picture"),
    b"RMID": _not("a MIDI file, which holds notes and no sound", _NO_SOUND),
    b"CDDA": _not(
        "a shortcut to a track of an audio CD", "rip the CD with a program for that and drop the result"
    ),
    b"sfbk": _not("a collection of instruments (SoundFont)"),
}

#: Brands of ISO media files (MP4's family) that are pictures: HEIF, AVIF, Canon's raw pictures.
_PICTURES = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx ")
)

_ELSEWHERE = "which only points at audio elsewhere"
_FETCH = "download what it points at and drop that"
#: First characters of text, lower case, after spaces.
_TEXTS: tuple[tuple[bytes, Foreign], ...] = (
    (b"#extm3u", _not(f"a playlist (M3U/HLS), {_ELSEWHERE}", _FETCH)),
    (b"ffconcat", _not(f"a list of files to join (ffconcat), {_ELSEWHERE}", _FETCH)),
    (b"[playlist]", _not(f"a playlist (PLS), {_ELSEWHERE}", _FETCH)),
    (b"v=0\r\n", _not(f"a session description (SDP), {_ELSEWHERE}", _FETCH)),
    (b"v=0\n", _not(f"a session description (SDP), {_ELSEWHERE}", _FETCH)),
    *((scheme, _not(f"a list of addresses, {_ELSEWHERE}", _FETCH)) for scheme in
      (b"http://", b"https://", b"rtsp://", b"pnm://", b"mms://", b"rtmp://")),
    (b"<asx", _not(f"a playlist (ASX), {_ELSEWHERE}", _FETCH)),
    (b"<smil", _not(f"a playlist (SMIL), {_ELSEWHERE}", _FETCH)),
    (b"[internetshortcut]", _not(f"a shortcut to an address, {_ELSEWHERE}", _FETCH)),
    (b"version https://git-lfs.github.com/", _not("a pointer of Git LFS", "fetch the recording itself: git lfs pull")),
    (b"-----begin pgp message", _not("an encrypted file (OpenPGP)", _DECRYPT)),
)  # fmt: skip
_WEB_PAGE = _not("a web page, perhaps an error page saved by a download", "download the recording again")
_XML = Foreign("it is an XML document, not a recording", text=True)
_TEXT = Foreign("it is a text file, not a recording", text=True)

ZEROS = Foreign(
    "it begins with nothing but zeros: a download that never got its content, or a placeholder of a cloud drive",
    "download it again, whole",
)


def by_bytes(head: bytes) -> Foreign | None:
    """Content with a signature of its own."""
    if head[:4] == b"RIFF" and head[8:12] in _RIFF_FORMS:
        return _RIFF_FORMS[head[8:12]]
    if head[4:8] == b"ftyp":
        if head[8:12] in _PICTURES:
            return _not("a picture (HEIF, AVIF)")
        return _AUDIBLE if head[8:11] == b"aax" else None
    return next((foreign for magic, foreign in _BYTES if head.startswith(magic)), None)


def by_text(head: bytes) -> Foreign | None:
    """Kinds of text; None if the bytes are not text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _TEXT if _is_utf16(head) else None
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, foreign in _TEXTS:
        if plain.startswith(start):
            return foreign
    if not plain or any(b < 9 or 13 < b < 27 for b in plain):
        return None
    if b"<mpd" in plain:
        return _not(f"a manifest (DASH), {_ELSEWHERE}", _FETCH)
    if plain.startswith((b"<!doctype html", b"<html")):
        return _WEB_PAGE
    if plain.startswith((b"<?xml", b"<!doctype")):
        return _XML
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 4:
            return None
    return _TEXT


def _is_utf16(head: bytes) -> bool:
    """True for text with a byte order mark, which is also the sync word of MPEG layer I."""
    try:
        text = head[: len(head) & ~1].decode("utf-16")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 4:
            return False
        text = head[: e.start].decode("utf-16")
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)
