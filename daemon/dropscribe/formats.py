"""Table of the formats of recordings: extensions, names for people, FFmpeg's demuxers.

Everything that knows a format by extension or name takes it from here: the setting `extensions`, the warning about an
unusual name, the demuxers that may be used, and the table in docs/recordings.md (run docs/generate.py). How content is
recognised: `media/container/sniff.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Format:
    """A format of recordings, named after its container."""

    kind: str  #: container, as `media/container/sniff.py` names it
    name: str  #: for people
    #: Lower case, with the dot; files of these extensions are taken as recordings.
    extensions: tuple[str, ...]
    demuxers: tuple[str, ...]  #: FFmpeg's names; empty if no decoder exists
    #: Extensions of other formats that are usual for this one, too.
    also: tuple[str, ...] = ()


#: Formats that are decoded. Excluded are demuxers that open further files or URLs: playlists, HLS, DASH, concat, SDP.
DECODED: tuple[Format, ...] = (
    Format("wav", "WAVE, Broadcast Wave, RF64", (".wav", ".wave", ".bwf", ".rf64", ".bw64"), ("wav",)),
    Format("w64", "Sony Wave64", (".w64",), ("w64",)),
    Format("aiff", "AIFF, AIFF-C", (".aif", ".aiff", ".aifc"), ("aiff",)),
    Format("caf", "Core Audio", (".caf", ".caff"), ("caf",)),
    Format("flac", "FLAC", (".flac", ".fla"), ("flac",)),
    Format("mp3", "MPEG audio: MP3, MP2", (".mp3", ".mp2", ".mp1", ".mpga", ".mpa", ".m2a"), ("mp3",)),
    Format("adts", "AAC", (".aac", ".adts"), ("aac",)),
    Format("latm", "AAC in LOAS/LATM", (".loas", ".latm"), ("loas",), also=(".aac",)),
    Format(
        "mp4",
        "MPEG-4, QuickTime, 3GP, voice memos",
        (
            *(".m4a", ".m4b", ".m4r", ".m4v", ".mp4", ".mp4a", ".mov", ".qt", ".qta", ".f4a", ".f4b", ".f4v"),
            *(".3gp", ".3ga", ".3gpp", ".3g2", ".3gp2", ".m4p"),
        ),
        ("mov", "mp4", "m4a", "3gp", "3g2", "mj2"),
    ),
    Format("matroska", "Matroska, WebM", (".mkv", ".mka", ".mk3d", ".webm", ".weba"), ("matroska", "webm")),
    Format(
        "ogg",
        "Ogg: Opus, Vorbis, Speex, FLAC",
        (".ogg", ".oga", ".opus", ".spx", ".ogv", ".ogx", ".ogm"),
        ("ogg",),
    ),
    Format("asf", "Windows Media", (".wma", ".wmv", ".asf"), ("asf",)),
    Format("wtv", "Windows TV recording", (".wtv",), ("wtv",)),
    Format("avi", "AVI", (".avi", ".divx"), ("avi",)),
    Format("flv", "Flash video", (".flv",), ("flv",)),
    Format(
        "mpegts",
        "MPEG transport stream, AVCHD",
        (".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp"),
        ("mpegts",),
        also=(".mpg", ".mpeg"),
    ),
    Format("mpegps", "MPEG program stream, DVD", (".mpg", ".mpeg", ".vob", ".m2p"), ("mpeg",)),
    Format("mxf", "MXF of cameras", (".mxf",), ("mxf",)),
    Format(
        "amr", "AMR, AMR-WB of telephones", (".amr", ".awb"), ("amr", "amrnb", "amrwb"), also=(".3gp", ".3ga")
    ),
    Format("qcp", "QCELP, EVRC of telephones", (".qcp",), ("qcp",)),
    Format("gsm", "GSM 06.10 of telephone systems", (".gsm",), ("gsm",)),
    Format("dss", "DSS of dictation machines", (".dss",), ("dss",)),
    Format("voc", "Creative Voice", (".voc",), ("voc",)),
    Format("au", "Sun audio", (".au", ".snd"), ("au",)),
    Format("nist", "NIST SPHERE", (".sph", ".nist"), ("nistsphere",), also=(".wav",)),
    Format("ircam", "IRCAM", (".sf", ".ircam"), ("ircam",), also=(".snd",)),
    Format("sox", "SoX", (".sox",), ("sox",)),
    Format("ac3", "Dolby Digital", (".ac3", ".eac3", ".ec3"), ("ac3", "eac3")),
    Format("mlp", "Dolby TrueHD, MLP", (".thd", ".mlp"), ("truehd", "mlp")),
    Format("dts", "DTS", (".dts", ".dtshd"), ("dts", "dtshd")),
    Format("ape", "Monkey's Audio", (".ape",), ("ape",)),
    Format("wavpack", "WavPack", (".wv",), ("wv",)),
    Format("tta", "True Audio", (".tta",), ("tta",)),
    Format("tak", "TAK", (".tak",), ("tak",)),
    Format("shorten", "Shorten", (".shn",), ("shn",)),
    Format("musepack", "Musepack", (".mpc", ".mp+"), ("mpc", "mpc8")),
    Format("dsd", "DSD", (".dsf", ".dff"), ("dsf", "iff")),
    Format("atrac", "Sony ATRAC", (".oma", ".aa3"), ("oma",)),
    Format("realmedia", "RealAudio, RealMedia", (".ra", ".rm", ".rmvb"), ("rm",)),
)

#: Formats without a decoder. Their files are taken all the same, so that people learn why and what to do.
NAMED: tuple[Format, ...] = (
    Format("silk", "SILK voice message of WeChat and QQ", (".slk", ".silk"), (), also=(".amr", ".aud")),
    Format("audible", "Audible audio book", (".aax", ".aaxc", ".aa"), ()),
    Format("ds2", "DSS Pro of dictation machines", (".ds2",), (), also=(".dss",)),
    Format("sony-voice", "Sony IC recorder", (".dvf", ".msv"), ()),
    Format("cda", "shortcut to a CD track", (".cda",), ()),
)

ALL: tuple[Format, ...] = (*DECODED, *NAMED)

#: Extensions of recordings, unless a folder has its own list.
RECORDING_EXTENSIONS: tuple[str, ...] = tuple(sorted(e for f in ALL for e in f.extensions))

#: FFmpeg's demuxers that may be used.
DEMUXERS: tuple[str, ...] = tuple(d for f in DECODED for d in f.demuxers)

#: Extensions that other programs use for text: TypeScript and Qt Linguist (.ts, .mts), device trees (.dts), SYLK tables
#: (.slk), addresses (.ra, .rm), lists, scripts, indexes. A text file of such a name is skipped, not failed.
# fmt: off
TEXT_EXTENSIONS: frozenset[str] = frozenset((
    ".aa", ".ape", ".au", ".ds2", ".dts", ".gsm", ".mpa", ".mlp", ".mpc", ".mts", ".nist", ".ra", ".rm", ".sf", ".slk", ".snd",
    ".sph", ".tak", ".tp", ".ts", ".voc",
))
# fmt: on

_BY_KIND = {f.kind: frozenset((*f.extensions, *f.also)) for f in ALL}
_EXTENSIONS = frozenset(e for known in _BY_KIND.values() for e in known)


def unusual_name(name: str, kind: str) -> str | None:
    """Warning if the file name has the extension of another format than `kind`; else None."""
    usual = _BY_KIND.get(kind)
    extension = PurePath(name).suffix.lower()
    if usual is None or extension in usual or extension not in _EXTENSIONS:
        return None
    return f"the name ends in {extension} but the content is {kind}"
