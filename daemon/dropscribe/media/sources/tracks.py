"""Choose the audio track of a file that has several: by number, by the default mark, or by what is heard in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Disposition

from dropscribe.errors import NoAudioError, UnreadableMediaError
from dropscribe.transcript.types import AudioTrack

#: Choices other than a number: the default track or the first with sound; the loudest; the sum of all; each apart; the
#: first.
AUTO, LOUDEST, MIX, ALL, FIRST = "auto", "loudest", "mix", "all", "first"

#: Places of a file at which tracks are listened to, evenly spread, and seconds at each.
_PLACES = 8
_SECONDS = 3.0
#: Bytes of audio and number of packets that are read at one place at most.
_MOST_BYTES = 16 << 20
_MOST_PACKETS = 20_000
#: A track whose samples stay below this share of full scale (-60 dB) is silent: desktop sound without any, an input
#: without a microphone.
_SILENT = 0.001
#: Full scale of FFmpeg's integer sample formats.
_SCALES = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31}
#: Tracks that are listened to at most.
_MOST_TRACKS = 32
#: Longest language and title that are kept, characters.
_MOST_LANGUAGE = 16
_MOST_TITLE = 80

_ERRORS = (av.error.FFmpegError, OSError, IndexError)


def tracks_of(streams: Sequence[Any], chosen: Sequence[Any]) -> tuple[AudioTrack, ...]:
    """Describe the audio streams of a file."""
    return tuple(_track(number, stream, stream in chosen) for number, stream in enumerate(streams, 1))


def decodable(streams: Sequence[Any]) -> list[Any]:
    """The streams that a decoder understands."""
    return [s for s in streams if s.codec_context is not None and (s.codec_context.channels or 0) > 0]


def numbered(streams: Sequence[Any], number: int) -> Any:
    """The audio stream of a number, counted from 1. Raises NoAudioError, UnreadableMediaError."""
    if number > len(streams):
        raise missing(number, tracks_of(streams, ()))
    stream = streams[number - 1]
    if not decodable([stream]):
        raise UnreadableMediaError(
            f"its audio track {number} is in an encoding no decoder here understands",
            remedy="choose another with audio_track in the profile",
        )
    return stream


def missing(number: int, tracks: Sequence[AudioTrack]) -> NoAudioError:
    """Error for a track that a file lacks."""
    there = ", ".join(_name(track) for track in tracks[:10])
    return NoAudioError(
        f"it has no audio track {number}; it has {'only 1' if len(tracks) < 2 else there}",
        remedy="change audio_track in the profile, or drop it in a folder with another profile",
    )


def audible(container: Any, streams: Sequence[Any]) -> Any:
    """The first stream marked as default that has sound, else the first with sound, else the first in this order."""
    marked = [s for s in streams if s.disposition & Disposition.default]
    order = [*marked, *(s for s in streams if s not in marked)][:_MOST_TRACKS]
    heard = _Hearing(order)
    for at_s in _places(container):
        _listen(container, at_s, heard)
        if heard.peaks[order[0].index] > _SILENT:
            return order[0]
    return next((s for s in order if heard.peaks[s.index] > _SILENT), order[0])


def loudest(container: Any, streams: Sequence[Any]) -> Any:
    """The stream with the greatest mean power at the places that are listened to."""
    heard = _Hearing(streams[:_MOST_TRACKS])
    for at_s in _places(container):
        _listen(container, at_s, heard)
    return max(heard.streams, key=lambda s: heard.powers[s.index] / max(1, heard.samples[s.index]))


class _Hearing:
    """Peak, sum of squares and number of samples heard of each stream, by its index."""

    def __init__(self, streams: Sequence[Any]) -> None:
        self.streams = streams
        self.peaks = {s.index: 0.0 for s in streams}
        self.powers = {s.index: 0.0 for s in streams}
        self.samples = {s.index: 0 for s in streams}

    def add(self, index: int, frame: AudioFrame) -> None:
        if len(frame.layout.channels) > 7:  # see `source_av._rows`
            return
        array = frame.to_ndarray()
        scale = _SCALES.get(frame.format.packed.name, 1.0)
        floats = np.nan_to_num(array.astype(np.float32) / np.float32(scale))
        if frame.format.packed.name == "u8":
            floats -= np.float32(1)
        self.peaks[index] = max(self.peaks[index], float(np.abs(floats).max(initial=0.0)))
        self.powers[index] += float(np.vdot(floats, floats))
        self.samples[index] += floats.size


def _places(container: Any) -> list[float | None]:
    duration_s = (container.duration or 0) / av.time_base
    if duration_s <= _PLACES * _SECONDS:
        return [None]
    return [None, *(duration_s * place / _PLACES for place in range(1, _PLACES))]


def _listen(container: Any, at_s: float | None, heard: _Hearing) -> None:
    """Decode some seconds of each stream at one place; None: at the beginning."""
    left = {s.index: _SECONDS if at_s is not None else _PLACES * _SECONDS / 4 for s in heard.streams}
    budget = _MOST_BYTES
    try:
        if at_s is not None:
            begin_s = (container.start_time or 0) / av.time_base
            container.seek(round((begin_s + at_s) * av.time_base))
        for count, packet in enumerate(container.demux(list(heard.streams))):
            budget -= packet.size
            index = packet.stream.index
            try:
                frames = packet.decode() if left[index] > 0 else ()
            except _ERRORS:
                frames = ()
                left[index] -= 0.02
            for frame in frames:
                if isinstance(frame, AudioFrame) and frame.sample_rate > 0:
                    heard.add(index, frame)
                    left[index] -= frame.samples / frame.sample_rate
            if budget < 0 or count > _MOST_PACKETS or max(left.values()) <= 0:
                return
    except _ERRORS:
        return  # what was heard decides; the decoder reports the damage


def _track(number: int, stream: Any, chosen: bool) -> AudioTrack:
    codec = stream.codec_context
    language = str(stream.language or "")[:_MOST_LANGUAGE]
    title = str(stream.metadata.get("title") or stream.metadata.get("name") or "")[:_MOST_TITLE]
    return AudioTrack(
        number=number,
        language=None if language in ("", "und") else language,
        title=title or None,
        codec="unknown" if codec is None else str(codec.name).removesuffix("float"),
        channels=0 if codec is None else int(codec.channels or 0),
        default=bool(stream.disposition & Disposition.default),
        chosen=chosen,
    )


def _name(track: AudioTrack) -> str:
    about = ", ".join(part for part in (track.language, track.title) if part)
    return f"{track.number} ({about})" if about else str(track.number)
