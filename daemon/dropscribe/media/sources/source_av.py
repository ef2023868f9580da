"""Source for files that FFmpeg decodes, through PyAV: one audio stream, and no access to any other file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import av
import av.codec
import av.error
import av.logging
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from dropscribe.errors import NoAudioError, UnreadableMediaError
from dropscribe.formats import DEMUXERS
from dropscribe.media.container.reader import raise_storage_trouble
from dropscribe.media.normalise import Block
from dropscribe.media.sources.source import SourceFacts


def _sound_decoders() -> str:
    """Names of all audio decoders, separated by commas."""
    names = []
    for name in sorted(av.codec.codecs_available):
        with contextlib.suppress(ValueError):  # only an encoder
            if av.codec.Codec(name, "r").type == "audio":
                names.append(name)
    return ",".join(names)


#: Only audio decoders may be used, also while FFmpeg probes the streams: an image of 16,000 x 16,000 pixels before a
#: second of audio would cost 6 s and 800 MB.
_DECODERS = _sound_decoders()

#: Number of samples per channel to which frames are merged: a codec's frames have some 20 ms, and the overhead of
#: Python is per block.
_GATHER = 1 << 16

#: Largest delay of audio after video that is ignored, seconds: codec priming, and one video frame.
_LATE_S = 0.05

#: Full scale of FFmpeg's integer sample formats.
_SCALES = {"u8": 128.0, "s32": 2.0**31}

#: AMR frame types for pauses (3GPP TS 26.101, 26.201), which FFmpeg's decoders reject, and the samples in 20 ms, the
#: duration of each.
_PAUSES = {"amrnb": (frozenset({8, 9, 10, 11, 15}), 160), "amrwb": (frozenset({9, 14, 15}), 320)}

#: Supported sample formats, by FFmpeg's names of the packed variants, with their NumPy types.
_FORMATS: dict[str, type[Any]] = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "flt": np.float32,
    "dbl": np.float64,
}


class AvSource:
    """A recording decoded by FFmpeg from the start of `fd`, which the caller must close."""

    def __init__(self, fd: int, end: int = sys.maxsize, *, ignore_length: bool = False) -> None:
        """`end`: where the sound ends at the latest and tags may follow, offset in bytes.

        `ignore_length`: read a WAV to the end of the file, whatever its header declares.
        """
        av.logging.set_level(None)
        os.lseek(fd, 0, os.SEEK_SET)
        self._fd = fd
        self._end = end
        options = {
            "fd": str(fd),
            "protocol_whitelist": "fd",
            "format_whitelist": ",".join(DEMUXERS),
            "codec_whitelist": _DECODERS,
        }
        if ignore_length:
            options["ignore_length"] = "1"
        try:
            # "fd:" is the only protocol allowed, so that a recording cannot refer to other files.
            self._container = av.open("fd:", mode="r", metadata_errors="replace", options=options)
        except av.error.FFmpegError as e:
            raise _judged(e, fd) from e
        try:
            self._stream = self._choose()
            codec = self._stream.codec_context
            codec.thread_count = 1
            self.damage = 0
            late_s = self._late_s()
            self.facts = SourceFacts(
                container=self._container.format.name,
                codec=codec.name.removesuffix("float"),
                rate_hz=codec.sample_rate or 0,
                channels=codec.channels or 0,
                decoder="av",
                declared_s=self._declared_s(late_s),
                late_s=late_s,
            )
        except BaseException:
            self._container.close()
            raise

    def blocks(self) -> Iterator[Block]:
        """Decode all frames; damaged packets are skipped and counted.

        Raises UnreadableMediaError for an unsupported sample format; OSError, MemoryError.
        """
        gathered: list[NDArray[Any]] = []
        shape: tuple[int, int, str] | None = None
        held = 0
        for frame in self._frames():
            this = (frame.sample_rate, len(frame.layout.channels), frame.format.packed.name)
            if gathered and (this != shape or held >= _GATHER):
                assert shape is not None
                yield _block(gathered, shape)
                gathered, held = [], 0
            shape = this
            if this[2] not in _FORMATS:
                raise UnreadableMediaError(
                    f"its samples are of a kind ({this[2]}) that cannot be used",
                    remedy="Convert it to 16-bit wav or flac and drop that.",
                )
            gathered.append(_rows(frame, this[1]))
            held += frame.samples
        if gathered and shape is not None:
            yield _block(gathered, shape)

    def close(self) -> None:
        """Release FFmpeg's state."""
        self._container.close()

    def _frames(self) -> Iterator[AudioFrame]:
        packets = self._container.demux(self._stream)
        decoded = False
        while True:
            try:
                packet = next(packets, None)
            except IndexError:
                # PyAV (18.1) raises it for a packet of a stream that appears after the file was opened (MPEG-TS).
                packets = self._container.demux(self._stream)
                continue
            except (av.error.FFmpegError, OSError) as e:
                self._survive(e)
                # The demuxer cannot continue, but the decoder may still have frames.
                yield from self._drain()
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, OSError) as e:
                pause = self._pause(packet)
                if pause is None:
                    if not decoded or not self._is_tail(packet):
                        self._survive(e)
                    continue
                frames = [pause]
            decoded = decoded or bool(frames)
            for frame in frames:
                if isinstance(frame, AudioFrame) and frame.samples > 0 and frame.sample_rate > 0:
                    yield frame

    def _drain(self) -> Iterator[AudioFrame]:
        try:
            frames = self._stream.codec_context.decode(None)
        except (av.error.FFmpegError, OSError) as e:
            self._survive(e)
            return
        yield from (f for f in frames if f.samples > 0 and f.sample_rate > 0)

    def _pause(self, packet: Any) -> AudioFrame | None:
        """Silence for an AMR pause packet; without it all later audio would be shifted. None for other packets."""
        codec = self._stream.codec_context
        kinds, samples = _PAUSES.get(codec.name, (frozenset(), 0))
        data = bytes(packet)
        if not data or data[0] >> 3 & 15 not in kinds:
            return None
        silence = AudioFrame(format="flt", layout="mono", samples=samples)
        silence.planes[0].update(bytes(4 * samples))
        silence.sample_rate = codec.sample_rate
        return silence

    def _is_tail(self, packet: Any) -> bool:
        """True for the incomplete last packet and for a tag that was taken for one.

        Neither is damage: whether the file was cut is told by the check of its container.
        """
        return packet.pos is not None and packet.pos + packet.size >= self._end

    def _survive(self, error: BaseException) -> None:
        """Count a damaged place; raises errors of memory and storage, which the file does not cause."""
        if isinstance(error, MemoryError):
            raise error
        if isinstance(error, OSError):
            raise_storage_trouble(self._fd)
        self.damage += 1

    def _choose(self) -> Any:
        streams = self._container.streams.audio
        if not streams:
            has = "video and no audio" if self._container.streams.video else "no audio"
            raise NoAudioError(
                f"it is a readable {self._container.format.name} file with {has}",
                remedy="Drop the recording that holds the sound.",
            )
        for stream in streams:
            if stream.codec_context is not None and (stream.codec_context.channels or 0) > 0:
                return stream
        raise UnreadableMediaError(
            "its audio is in an encoding no decoder here understands",
            remedy="Convert it to a common format (wav, flac, m4a) and drop that.",
        )

    def _late_s(self) -> float:
        begin, first = self._container.start_time, self._stream.start_time
        if begin is None or first is None or self._stream.time_base is None:
            return 0.0
        late_s = float(first * self._stream.time_base) - begin / av.time_base
        return late_s if late_s > _LATE_S else 0.0

    def _declared_s(self, late_s: float) -> float | None:
        if self._stream.duration is not None and self._stream.time_base is not None:
            return late_s + float(self._stream.duration * self._stream.time_base)
        duration = self._container.duration
        return duration / av.time_base if duration is not None and duration > 0 else None


def _judged(error: av.error.FFmpegError, fd: int) -> Exception:
    if isinstance(error, MemoryError):
        return MemoryError(str(error))
    if isinstance(error, OSError):
        raise_storage_trouble(fd)
    return UnreadableMediaError(
        "no decoder understands it", remedy="Play it in a media player; if it plays, report the format."
    )


def _rows(frame: AudioFrame, channels: int) -> NDArray[Any]:
    """Samples of a frame, shape (frames, channels)."""
    if not frame.format.is_planar:
        return frame.to_ndarray().reshape(-1, channels)
    # PyAV (18.1) counts a frame's planes up to a null pointer, which exists only after at most 7 planes. With 8 or more
    # channels `to_ndarray` reads invalid addresses and crashes; listing the planes does not read from them.
    dtype = _FORMATS[frame.format.packed.name]
    planes: Any = frame.planes[:channels]  # typed without the buffer protocol, which they have
    rows = np.empty((frame.samples, channels), dtype)
    for i, plane in enumerate(planes):
        rows[:, i] = np.frombuffer(plane, dtype, frame.samples)
    return rows


def _block(gathered: list[NDArray[Any]], shape: tuple[int, int, str]) -> Block:
    samples = np.concatenate(gathered) if len(gathered) > 1 else gathered[0]
    rate_hz, _, name = shape
    if name == "s16":
        return Block(samples, rate_hz)
    if name in ("flt", "dbl"):
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, and later silence
            return Block(samples.astype(np.float32, copy=False), rate_hz)
    centred = samples.astype(np.float32)
    if name == "u8":
        centred -= np.float32(128)
    return Block(centred / np.float32(_SCALES[name]), rate_hz)
