"""Identify content by its first bytes, regardless of the file name."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.media.container.foreign import Foreign, by_bytes, by_text

#: Bytes examined at the start of a file.
HEAD_BYTES = 4096

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
    (b"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d", "wtv"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    (b"Creative Voice File\x1a", "voc"),
    (b"FLV\x01", "flv"),
    (b"\x02dss", "dss"),
    (b"\x03dss", "dss"),
    (b"DSD ", "dsd"),
    (b"FRM8", "dsd"),
    (b"MP+", "musepack"),
    (b"MPCK", "musepack"),
    (b"tBaK", "tak"),
    (b"ajkg", "shorten"),
    (b"EA3\x01", "atrac"),
    (b"ea3\x03", "atrac"),
    (b".SoX", "sox"),
    (b"XoS.", "sox"),
    (b"\x64\xa3\x01\x00", "ircam"),
    (b"\x64\xa3\x02\x00", "ircam"),
    (b"\x64\xa3\x03\x00", "ircam"),
    (b"\x7f\xfe\x80\x01", "dts"),
    (b"DTSHDHDR", "dts"),
    (b"\x00\x00\x01\xba", "mpegps"),
)

#: Packet lengths of MPEG transport streams, bytes, and where their sync byte (0x47) stands: plain, AVCHD (with a time
#: stamp in front), with error correction behind.
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))


@dataclass(frozen=True, slots=True)
class Sniffed:
    """Kind of audio, or "unknown"; and content that certainly cannot be decoded."""

    kind: str
    foreign: Foreign | None = None


def sniff(head: bytes) -> Sniffed:
    """Identify the first bytes of a file, after any ID3 tags."""
    foreign = by_bytes(head)
    if foreign is not None:
        return Sniffed("unknown", foreign)
    for magic, kind in _AUDIO:
        if head.startswith(magic):
            return Sniffed(kind)
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        kinds = {b"WAVE": "wav", b"AVI ": "avi", b"QLCM": "qcp"}
        return Sniffed(kinds.get(form, "unknown"))
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC"):
        return Sniffed("aiff")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip", b"styp", b"pnot"):
        return Sniffed("mp4")
    if any(head[at::length][:4] == b"GGGG" for length, at in _TS_PACKETS):
        return Sniffed("mpegts")
    if head[4:8] in (b"\xf8\x72\x6f\xba", b"\xf8\x72\x6f\xbb"):
        return Sniffed("mlp")
    if len(head) >= 2 and head[0] == 0xFF and by_text(head) is None:
        if head[1] & 0xF6 == 0xF0:
            return Sniffed("adts")
        if head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08 and head[1] & 0x06:
            return Sniffed("mp3")
    if len(head) >= 2 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        return Sniffed("latm")
    return Sniffed("unknown", by_text(head))
