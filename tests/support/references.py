"""Files with references to other files or addresses, which a decoder must not follow."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path

import soundfile

from tests.support.recordings import encode, noise

#: Playlists from which a player would open `{target}`.
PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "hls-late": "\n \n#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "hls-marked": "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "hls-key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n'
    '#EXT-X-MAP:URI="{target}"\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n',
    "hls-master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
    "m3u": "{target}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "concat": "file '{target}'\nduration 9\n",
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\na={target}\r\n",
    "smooth": '<SmoothStreamingMedia><StreamIndex Url="{target}"/></SmoothStreamingMedia>',
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "smil": '<smil><body><audio src="{target}"/></body></smil>',
    "xspf": '<?xml version="1.0"?><playlist><trackList><track><location>{target}</location></track></trackList></playlist>',
    "rtsptext": "rtsptext\n{target}\n",
    "cue": 'FILE "{target}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "avisynth": 'DirectShowSource("{target}")\n',
    "filter": "amovie='{target}'\n",
    "address": "{target}",
}


def targets(port: int, secret: Path) -> tuple[str, ...]:
    """Targets of references: a listener on this machine, and a sound file outside the folder."""
    here = f"127.0.0.1:{port}"
    content = base64.b64encode(secret.read_bytes()).decode("ascii")
    return (
        *(f"{scheme}://{here}/a.wav" for scheme in ("http", "https", "rtsp", "rtmp", "tcp", "udp", "ftp", "mmsh")),
        *(f"{scheme}://{here}/a.wav" for scheme in ("crypto+http", "cache:http", "async:http", "hls+http", "icecast")),
        str(secret), secret.name, f"file://{secret}", f"file:{secret}", f"crypto:{secret}", f"cache:{secret}",
        f"subfile,,start,0,end,0,,:{secret}", f"concat:{secret}|{secret}", f"concatf:{secret}",
        f"data:audio/wav;base64,{content}",
    )  # fmt: skip


def playlists(port: int, secret: Path) -> Iterator[tuple[str, bytes]]:
    """(kind, content) of every playlist with every target."""
    for kind, text in PLAYLISTS.items():
        for target in targets(port, secret):
            yield kind, text.format(target=target).encode()


def referring(folder: Path, target: str, secret: Path) -> Iterator[Path]:
    """Sound recordings of kinds that can point elsewhere, pointing at `target` (an address) or at `secret`."""
    for name, entry in (
        ("url", _box(b"url ", bytes(4) + target.encode() + b"\0")),
        ("file", _box(b"url ", bytes(4) + f"file://{secret}".encode() + b"\0")),
        ("alias", _box(b"alis", bytes(4) + _alias(secret))),
    ):
        path = folder / f"dref-{name}.mov"
        encode(path, "mov", "pcm_s16le", noise(1, 48_000), 48_000)
        path.write_bytes(_with_data_reference(path.read_bytes(), entry))
        yield path
    path = folder / "rmra.mov"
    link = _box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", len(target) + 1) + target.encode() + b"\0")
    path.write_bytes(_box(b"ftyp", b"qt  \0\0\0\0qt  ") + _box(b"moov", _box(b"rmra", _box(b"rmda", link))))
    yield path
    path = folder / "linked.mka"
    encode(path, "matroska", "flac", noise(1, 48_000), 48_000, title="-" * (len(str(secret)) + 1))
    path.write_bytes(_linked(path.read_bytes(), secret))
    yield path
    for extension, link in (("mp3", _id3_link(target)), ("flac", b"")):
        path = folder / f"picture.{extension}"
        soundfile.write(path, noise(1), 16_000)
        data = path.read_bytes()
        path.write_bytes(link + data if link else _flac_link(data, target))
        yield path


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _alias(path: Path) -> bytes:
    """A Macintosh alias record as QuickTime stores it, with the absolute path in it."""
    name, full = path.name.encode()[:63], str(path).encode()
    head = (
        bytes(10) + b"\x03" + b"vol".ljust(27, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    )
    levels = bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    return head + levels + struct.pack(">HH", 2, len(full)) + full + bytes(len(full) % 2) + b"\xff\xff\0\0"


def _with_data_reference(data: bytes, entry: bytes) -> bytes:
    """A QuickTime file (index after the sound) whose data reference is `entry`."""
    at = data.rindex(b"dref")
    old = struct.unpack(">I", data[at + 12 : at + 16])[0]
    made = bytearray(data[: at + 12] + entry + data[at + 12 + old :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = made.rindex(name, 0, at + 4) - 4
        size = struct.unpack(">I", made[place : place + 4])[0]
        made[place : place + 4] = struct.pack(">I", size + len(entry) - old)
    return bytes(made)


def _linked(data: bytes, secret: Path) -> bytes:
    """A Matroska file with a link to a next file instead of a title (RFC 9559, section 5.1.2)."""
    name = str(secret).encode()
    at = data.index(b"-" * (len(name) + 1))
    size = 1 if len(name) + 1 < 127 else 2
    start = data.index(b"\x7b\xa9", at - size - 2)
    assert start + 2 + size == at
    marked = len(name) | (0x80 if size == 1 else 0x4000)
    link = b"\x3e\x83\xbb" + marked.to_bytes(size, "big") + name
    return data[:start] + link + data[start + len(link) :]


def _id3_link(target: str) -> bytes:
    """An ID3v2.3 tag whose picture is an address (section 4.15: MIME type "-->")."""
    frame = b"\0-->\0\x03\0" + target.encode()
    body = b"APIC" + struct.pack(">I", len(frame)) + bytes(2) + frame
    return b"ID3\x03\0\0" + bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0)) + body


def _flac_link(data: bytes, target: str) -> bytes:
    """A FLAC file with a picture URL in a PICTURE block (RFC 9639, section 8.8) after STREAMINFO."""
    link = target.encode()
    block = struct.pack(">II", 3, 3) + b"-->" + struct.pack(">IIIIII", 0, 0, 0, 0, 0, len(link)) + link
    return data[:42] + b"\x06" + len(block).to_bytes(3, "big") + block + data[42:]
