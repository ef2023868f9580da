"""Source for files that FFmpeg decodes, through PyAV: one audio stream, and no access to any other file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
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
from dropscribe.media.sources.av_frames import FrameReader
from dropscribe.media.sources.source import Source, SourceFacts
from dropscribe.media.sources.source_mix import MixSource
from dropscribe.media.sources.span import Span
from dropscribe.media.sources.tracks import (
    AUTO,
    FIRST,
    LOUDEST,
    MIX,
    audible,
    decodable,
    loudest,
    numbered,
    tracks_of,
)
from dropscribe.media.timeline import Hole


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

#: Tracks that are mixed at most.
_MOST_MIXED = 16

#: Bytes that FFmpeg reads at once from a part of a file.
_BUFFER = 1 << 18

#: Largest delay of audio after video that is ignored, seconds: codec priming, and one video frame.
_LATE_S = 0.05

#: Full scale of FFmpeg's integer sample formats.
_SCALES = {"u8": 128.0, "s32": 2.0**31}

#: Supported sample formats, by FFmpeg's names of the packed variants, with their NumPy types.
_FORMATS: dict[str, type[Any]] = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "flt": np.float32,
    "dbl": np.float64,
}


class AvSource:
    """A recording decoded by FFmpeg; it is in the bytes `span` of a file, which the caller must close."""

    def __init__(
        self,
        span: Span,
        sound_end: int = sys.maxsize,
        *,
        ignore_length: bool = False,
        track: int | str = AUTO,
        alone: bool = True,
    ) -> None:
        """`sound_end`: where the sound ends at the latest and tags may follow, offset in the span in bytes.

        `ignore_length`: read a WAV to the end of the file, whatever its header declares. `track`: number, AUTO or LOUDEST.
        `alone`: nothing else reads the file at the same time, so its offset may be moved.
        """
        av.logging.set_level(None)
        fd = span.fd
        whole = alone and span.start == 0 and span.end >= os.fstat(fd).st_size
        self._container = _opened(span, by_descriptor=whole, ignore_length=ignore_length)
        try:
            streams = self._container.streams.audio
            self._stream = self._choose(span, track)
            codec = self._stream.codec_context
            codec.thread_count = 1
            self._frames = FrameReader(
                self._container,
                self._stream,
                span,
                (lambda: os.lseek(fd, 0, os.SEEK_CUR)) if whole else span.tell,
                sound_end,
            )
            late_s = self._late_s()
            self.facts = SourceFacts(
                container=self._container.format.name,
                codec=codec.name.removesuffix("float"),
                rate_hz=codec.sample_rate or 0,
                channels=codec.channels or 0,
                decoder="av",
                declared_s=self._declared_s(late_s),
                late_s=late_s,
                tracks=tracks_of(streams, [self._stream]),
            )
        except BaseException:
            self._container.close()
            raise

    @property
    def damage(self) -> int:
        """Number of damaged places (packets) that were skipped."""
        return self._frames.damage

    @property
    def end(self) -> int | None:
        """Offset in the file behind the last audio that was read, bytes; None if unknown."""
        return self._frames.end

    def seek(self, at_s: float) -> Callable[[], float | None]:
        """See `source.Seekable`."""
        begin = self._stream.start_time
        if begin is None or self._stream.time_base is None:
            return lambda: None
        zero_s = float(begin * self._stream.time_base) - self.facts.late_s
        try:
            self._frames.seek(zero_s + at_s)
        except av.error.FFmpegError as e:
            raise UnreadableMediaError(f"its position cannot be changed: {e}") from e

        def reached() -> float | None:
            found = self._frames.sought_s
            return None if found is None else found - zero_s

        return reached

    def blocks(self) -> Iterator[Block | Hole]:
        """Decode all frames; damaged packets are skipped and counted, or become holes.

        Raises UnreadableMediaError for an unsupported sample format; OSError, MemoryError.
        """
        gathered: list[NDArray[Any]] = []
        #: Rate, channels and format of the newest frame, and of those gathered (its packed variant).
        kind: tuple[int, int, str] | None = None
        shape = (0, 0, "")
        planar: type[Any] | None = None
        held = 0
        for frame in self._frames.read():
            if isinstance(frame, Hole):
                if gathered:
                    yield _block(gathered, shape)
                    gathered, held = [], 0
                yield frame
                continue
            this = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
            if gathered and (this != kind or held >= _GATHER):
                yield _block(gathered, shape)
                gathered, held = [], 0
            if this != kind:
                kind, shape = this, (this[0], this[1], frame.format.packed.name)
                if shape[2] not in _FORMATS:
                    raise UnreadableMediaError(
                        f"its samples are of a kind ({shape[2]}) that cannot be used",
                        remedy="convert it to 16-bit wav or flac and drop that",
                    )
                planar = _FORMATS[shape[2]] if frame.format.is_planar else None
            gathered.append(_rows(frame, this[1], planar))
            held += frame.samples
        if gathered:
            yield _block(gathered, shape)

    def close(self) -> None:
        """Release FFmpeg's state."""
        self._container.close()

    def _choose(self, span: Span, track: int | str) -> Any:
        streams = self._container.streams.audio
        if not streams:
            has = "video and no audio" if self._container.streams.video else "no audio"
            raise NoAudioError(
                f"it is a readable {self._container.format.name} file with {has}",
                remedy="drop the recording that holds the sound",
            )
        if isinstance(track, int):
            return numbered(streams, track)
        usable = decodable(streams)
        if not usable:
            raise UnreadableMediaError(
                "its audio is in an encoding no decoder here understands",
                remedy="convert it to a common format (wav, flac, m4a) and drop that",
            )
        if len(usable) == 1 or track == FIRST:
            return usable[0]
        # Listening moves the demuxer, and not every one can be moved back.
        probe = _opened(Span(span.fd, span.start, span.end), by_descriptor=False)
        try:
            choose = loudest if track == LOUDEST else audible
            chosen = choose(probe, [s for s in probe.streams.audio if s.index in {u.index for u in usable}])
            return self._container.streams[chosen.index]
        finally:
            probe.close()

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


def open_av(
    span: Span, track: int | str, sound_end: int = sys.maxsize, *, ignore_length: bool = False
) -> Source:
    """Open the chosen track, or the sum of all for MIX; arguments as of `AvSource`."""
    if track != MIX:
        return AvSource(span, sound_end, ignore_length=ignore_length, track=track)
    first = AvSource(span, sound_end, ignore_length=ignore_length, track=FIRST, alone=False)
    sources: list[Source] = [first]
    try:
        for other in first.facts.tracks:
            if other.channels and not other.chosen and len(sources) < _MOST_MIXED:
                part = Span(span.fd, span.start, span.end)
                sources.append(AvSource(part, sound_end, track=other.number, alone=False))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return MixSource(sources) if len(sources) > 1 else first


def _opened(span: Span, *, by_descriptor: bool, ignore_length: bool = False) -> Any:
    """Open the container. `by_descriptor`: FFmpeg reads the file itself and moves its offset."""
    options = {
        "fd": str(span.fd),
        "protocol_whitelist": "fd",
        "format_whitelist": ",".join(DEMUXERS),
        "codec_whitelist": _DECODERS,
    }
    if ignore_length:
        options["ignore_length"] = "1"
    if by_descriptor:
        os.lseek(span.fd, 0, os.SEEK_SET)
    try:
        # "fd:" is the only protocol allowed, so that a recording cannot refer to other files.
        file: Any = "fd:" if by_descriptor else span
        return av.open(file, mode="r", metadata_errors="replace", options=options, buffer_size=_BUFFER)
    except av.error.FFmpegError as e:
        raise _judged(e, span.fd) from e


def _judged(error: av.error.FFmpegError, fd: int) -> Exception:
    if isinstance(error, MemoryError):
        return MemoryError(str(error))
    if isinstance(error, OSError):
        raise_storage_trouble(fd)
    return UnreadableMediaError(
        "no decoder understands it", remedy="play it in a media player; if it plays, report the format"
    )


def _rows(frame: AudioFrame, channels: int, planar: type[Any] | None) -> NDArray[Any]:
    """Samples of a frame, shape (frames, channels). `planar`: type of the samples, if each channel has a plane."""
    if planar is None:
        return frame.to_ndarray().reshape(-1, channels)
    # PyAV (18.1) counts a frame's planes up to a null pointer, which exists only after at most 7 planes. With 8 or more
    # channels `to_ndarray` reads invalid addresses and crashes; listing the planes does not read from them.
    planes: Any = frame.planes[:channels]  # typed without the buffer protocol, which they have
    rows = np.empty((frame.samples, channels), planar)
    for i, plane in enumerate(planes):
        rows[:, i] = np.frombuffer(plane, planar, frame.samples)
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
