"""Generate recordings, and damage them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.stream import Disposition
from numpy.typing import NDArray

#: (extension, libsndfile format, subtype) of recordings written by libsndfile.
SOUNDFILE_KINDS: tuple[tuple[str, str, str | None], ...] = (
    (".wav", "WAV", "PCM_16"),
    (".rf64", "RF64", "PCM_16"),
    (".w64", "W64", "PCM_16"),
    (".aiff", "AIFF", "PCM_16"),
    (".au", "AU", "PCM_16"),
    (".sph", "NIST", "PCM_16"),
    (".flac", "FLAC", "PCM_16"),
    (".ogg", "OGG", "VORBIS"),
    (".mp3", "MP3", "MPEG_LAYER_III"),
)

#: (extension, container, codec) of recordings written by FFmpeg.
AV_KINDS: tuple[tuple[str, str, str], ...] = (
    (".m4a", "ipod", "aac"),
    (".mov", "mov", "alac"),
    (".opus", "ogg", "libopus"),
    (".webm", "webm", "libopus"),
    (".mka", "matroska", "flac"),
    (".wma", "asf", "wmav2"),
    (".aac", "adts", "aac"),
    (".mp3", "mp3", "libmp3lame"),
    (".wv", "wv", "wavpack"),
    (".tta", "tta", "tta"),
)

KINDS = (*SOUNDFILE_KINDS, *AV_KINDS)


def noise(seconds: float, rate_hz: int = 16_000, channels: int = 1, seed: int = 1) -> NDArray[np.int16]:
    """Noise of shape (frames, channels), since codecs compress silence to nearly nothing."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((round(seconds * rate_hz), channels)) * 3000).astype(np.int16)


def make(folder: Path, kind: tuple[str, str, str | None], seconds: float, rate_hz: int = 48_000) -> Path:
    """A mono recording of one of `KINDS`, named whole.EXT."""
    extension, container, codec = kind
    path = folder / f"whole{extension}"
    pcm = noise(seconds, rate_hz)
    if kind in SOUNDFILE_KINDS:
        soundfile.write(path, pcm, rate_hz, format=container, subtype=codec)
    else:
        assert codec is not None
        encode(path, container, codec, pcm, rate_hz)
    return path


def packets_of(
    stream: Any, pcm: NDArray[np.int16], rate_hz: int, layout: str = "mono", begin: int = 0
) -> list[Any]:
    """Encode a track that begins at the sample `begin`; `pcm` has shape (frames, channels of `layout`)."""
    packets = []
    for at in range(0, len(pcm), 960):
        packed = pcm[at : at + 960].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, begin + at, Fraction(1, rate_hz)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


def encode(
    path: Path,
    container: str,
    codec: str,
    pcm: NDArray[np.int16],
    rate_hz: int,
    layout: str = "mono",
    *,
    title: str = "",
    **options: str,
) -> None:
    """Encode samples, shape (frames, channels of `layout`), through FFmpeg; `options` are the muxer's."""
    with av.open(str(path), "w", format=container, options=options) as out:
        if title:
            out.metadata["title"] = title
        stream: Any = out.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 96_000 * pcm.shape[1]
        for packet in packets_of(stream, pcm, rate_hz, layout):
            out.mux(packet)


def ticks(seconds: float, rate_hz: int = 16_000) -> NDArray[np.int16]:
    """A burst of 0.1 s at each whole second, over faint noise: `ticks_in` finds them."""
    pcm = noise(seconds, rate_hz) // 300
    for at in range(round(seconds)):
        burst = np.sin(2 * np.pi * 440 * np.arange(rate_hz // 10) / rate_hz) * 12_000
        start = at * rate_hz
        pcm[start : start + len(burst), 0] = burst[: len(pcm) - start]
    return pcm.astype(np.int16)


def ticks_in(pcm: NDArray[np.int16]) -> list[float]:
    """Times at which bursts begin in 16 kHz samples, seconds, to 10 ms."""
    loud = np.abs(pcm[: len(pcm) // 160 * 160].astype(np.int32)).reshape(-1, 160).max(axis=1) > 4000
    begins = np.flatnonzero(loud & ~np.concatenate(([False], loud[:-1])))
    found: list[float] = []
    for at in begins / 100:
        if not found or at - found[-1] > 0.2:
            found.append(float(at))
    return found


def with_holes(
    path: Path,
    container: str,
    codec: str,
    rate_hz: int,
    pcm: NDArray[np.int16],
    holes: dict[float, float],
    **options: str,
) -> None:
    """As `encode`, mono, with the timestamps of packets from each key of `holes` (seconds) on moved by its value."""
    with av.open(str(path), "w", format=container, options=options) as out:
        stream: Any = out.add_stream(codec, rate=rate_hz, layout="mono")
        for packet in packets_of(stream, pcm, rate_hz):
            move(packet, holes)
            out.mux(packet)


def move(packet: Any, holes: dict[float, float]) -> None:
    """Move the timestamps of a packet by the values of all keys (seconds) that it does not begin before."""
    begin_s = float(packet.pts * packet.time_base)
    moved = round(sum(by for at, by in holes.items() if begin_s >= at - 0.001) / packet.time_base)
    packet.pts = packet.dts = packet.pts + moved


def with_tracks(
    path: Path,
    container: str,
    codec: str,
    tracks: list[NDArray[np.int16]],
    *,
    rate_hz: int = 48_000,
    default: int | None = None,
    languages: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    holes: dict[float, float] | None = None,
) -> None:
    """Write several mono audio tracks; `default`: index of the one that is marked; `holes` as of `with_holes`."""
    with av.open(
        str(path),
        "w",
        format=container,
        options={"default_mode": "passthrough"} if container == "matroska" else {},
    ) as out:
        streams: list[Any] = [out.add_stream(codec, rate=rate_hz, layout="mono") for _ in tracks]
        for number, stream in enumerate(streams):
            stream.bit_rate = 96_000
            stream.disposition = Disposition.default if number == default else Disposition(0)
            for key, values in (("language", languages), ("title", titles)):
                if number < len(values):
                    stream.metadata[key] = values[number]
        packets = []
        for stream, pcm in zip(streams, tracks, strict=True):
            packets += packets_of(stream, pcm, rate_hz)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            move(packet, holes or {})
            out.mux(packet)


def amr(frames: int, *, wide: bool = False) -> bytes:
    """An AMR (or AMR-WB) file of that many noise frames of 20 ms, with a pause in the middle."""
    rng = np.random.default_rng(1)
    speech, pause = ((2, 32), (9, 5)) if wide else ((7, 31), (8, 5))
    made = b"#!AMR-WB\n" if wide else b"#!AMR\n"
    for number in range(frames):
        kind, size = pause if frames // 2 <= number < frames // 2 + 10 else speech
        made += bytes([kind << 3 | 4]) + rng.bytes(size)
    return made


def video_without_sound(path: Path) -> None:
    """Write 1 s of grey pictures in MP4, without an audio track."""
    with av.open(str(path), "w", format="mp4") as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
            for packet in stream.encode(picture):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


def late_sound(path: Path, container: str, codec: str, late_s: float, **options: str) -> None:
    """Write 6 s of grey pictures and 2 s of noise that begins after `late_s`. `options`: the muxer's."""
    rate_hz = 48_000
    with av.open(str(path), "w", format=container, options=options) as out:
        video: Any = out.add_stream("libvpx" if container == "webm" else "mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio: Any = out.add_stream(codec, rate=rate_hz, layout="mono")
        packets = []
        for number in range(60):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            packets += video.encode(picture)
        packets += video.encode(None)
        packets += packets_of(audio, noise(2, rate_hz), rate_hz, begin=round(late_s * rate_hz))
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)


def huge_picture(path: Path, side: int) -> None:
    """Write 2 s of sound and a PNG picture that declares `side` pixels width and height, in MOV."""
    with av.open(str(path), "w", format="mov") as out:
        video: Any = out.add_stream("png", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "rgb24"
        audio: Any = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for packet in video.encode(
            av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        ):
            out.mux(packet)
        for packet in video.encode(None):
            out.mux(packet)
        frame = av.AudioFrame.from_ndarray(noise(2).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 16_000
        for packet in audio.encode(frame):
            out.mux(packet)
    data = bytearray(path.read_bytes())
    at = data.index(b"IHDR") + 4
    data[at : at + 8] = struct.pack(">II", side, side)
    path.write_bytes(data)


def cut(path: Path, share: float) -> Path:
    """Copy truncated to `share` of the bytes."""
    data = path.read_bytes()
    short = path.with_name(f"cut{round(share * 100)}{path.suffix}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def with_data_size(path: Path, size: int) -> Path:
    """A copy of a canonical 44-byte-header WAV whose RIFF and data sizes are `size`."""
    data = path.read_bytes()
    assert data[36:40] == b"data"
    odd = path.with_name(f"size{size:x}.wav")
    odd.write_bytes(data[:4] + struct.pack("<I", size) + data[8:40] + struct.pack("<I", size) + data[44:])
    return odd
