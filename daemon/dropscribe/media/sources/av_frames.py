"""Read the frames of one audio track through PyAV, and find the holes between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import av.error
from av.audio.frame import AudioFrame

from dropscribe.media.container.reader import raise_storage_trouble
from dropscribe.media.container.sniff import HEAD_BYTES, sniff
from dropscribe.media.container.tags import TAGS
from dropscribe.media.sources.following import begins_at, find_adts, find_recording, skip_tags
from dropscribe.media.sources.span import Span
from dropscribe.media.timeline import BACK_S, TOLERANCE_S, Hole, Timeline
from dropscribe.transcript.types import GAP, UNDECODABLE

#: Demuxers whose timestamps are stored in the file, by FFmpeg's names. Others count frames or derive them from the bit
#: rate. AVI counts, too, and RealMedia's are too irregular.
_TIMED = frozenset(
    {"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpegts", "mpeg", "ogg", "flv", "asf", "flac", "wv"}
)

#: Those among them that may begin a new count anywhere.
_RESTARTING = frozenset({"mpegts", "mpeg", "ogg", "flv"})

#: Demuxers that cut a stream of bytes into frames: what they leave out is seen from the positions of the packets.
_FRAMED = frozenset({"mp3", "aac", "ac3", "eac3", "dts", "flac"})

#: Demuxers of formats in which nothing but tags follows the audio, and the positions of packets are exact.
_PLAIN = _FRAMED | {"flv", "amr", "amrnb", "amrwb", "wv", "tta", "ape"}

#: Demuxers that lose the last frame to what follows it, since they cut at the next frame only.
_CUT_LATE = frozenset({"ac3", "eac3", "dts"})

#: AMR frame types for pauses (3GPP TS 26.101, 26.201), which FFmpeg's decoders reject, and the samples in 20 ms, the
#: duration of each.
_PAUSES = {"amrnb": (frozenset({8, 9, 10, 11, 15}), 160), "amrwb": (frozenset({9, 14, 15}), 320)}

#: Marks of the frame at the start of an MP3 that holds its number of frames instead of audio.
_INDEX = re.compile(rb"Xing|Info|VBRI")

#: Longest duration of a packet that is believed, seconds.
_PACKET_S = 2.0

#: Bytes between two packets of a file without other streams that are damage and not the container's own.
_DAMAGE_BYTES = 4096

#: Bytes in which the next ADTS frame is looked for.
_MOST_RESYNC = 16 << 20

#: Shortest silence for bytes that could not be decoded, seconds.
_SHORTEST_S = 0.005

#: Errors of a demuxer after which reading is not tried again.
_MOST_ERRORS = 1000
#: Bytes behind an error in which another recording is looked for.
_NEAR = 1 << 17

_ERRORS = (av.error.FFmpegError, OSError)


class FrameReader:
    """Frames of one audio track, in order, with the holes between them."""

    def __init__(
        self, container: Any, stream: Any, span: Span, position: Callable[[], int], sound_end: int
    ) -> None:
        """`span`: the bytes of the recording. `position`: offset in it that the demuxer has reached. `sound_end`: where
        the sound ends at the latest and tags may follow, offset in the span.
        """
        self._container = container
        self._stream = stream
        self._span = span
        self._position = position
        self._sound_end = sound_end
        name = self._name = str(container.format.name)
        #: Cut from a stream of bytes; the positions of packets tell what was left out.
        self._framed = name in _FRAMED
        self._timed = name in _TIMED and stream.time_base is not None
        opus = stream.codec_context.name in ("opus", "libopus")
        self._timeline = Timeline(restarting=name in _RESTARTING, pauses=opus)
        #: True if all packets are of this track, so that bytes between them are damage.
        self._alone = len(container.streams) == 1
        self._plain = name in _PLAIN
        self._exact = name == "matroska,webm" or self._plain
        #: True if the demuxer could not go on.
        self._stopped = False
        #: Number of damaged places that were skipped.
        self.damage = 0
        #: Timestamp of the first frame after `seek`, seconds; None if it has none, or there was none yet.
        self.sought_s: float | None = None
        self._seeking = False
        self._last: Any = None  # newest packet with data
        self._good: Any = None  # newest packet that was decoded
        #: Size and duration of the packets that were decoded, bytes and seconds.
        self._good_bytes = 0
        self._good_s = 0.0
        #: Bytes that are missing in the positions of packets.
        self._uncounted = 0

    @property
    def end(self) -> int | None:
        """Offset in the file at which the recording ends, by what was read, bytes; None if that does not tell.

        It does not where other tracks or an index may follow the audio.
        """
        if not self._alone:
            return self._span.start + min(self._position(), self._span.size) if self._stopped else None
        if not (self._plain or self._stopped):
            return None
        packet = self._good if self._framed else self._last
        behind = _behind(packet)
        if behind is None:
            return None
        behind += self._uncounted
        if self._name == "flv":  # the position is that of the tag (FLV 10.1, E.4.1)
            behind = packet.pos + 15 + int.from_bytes(self._span.at(packet.pos + 1, 3), "big")
        if self._name in _CUT_LATE and self._span.at(behind, 2) == bytes(packet)[:2]:
            behind += packet.size
        return self._span.start + behind

    def seek(self, at_s: float) -> None:
        """Go to this timestamp, or a little before it, before the first `read`. Raises OSError, av.error.FFmpegError."""
        self._container.seek(round(at_s / float(self._stream.time_base)), stream=self._stream)
        self._seeking = True

    def read(self) -> Iterator[AudioFrame | Hole]:
        """Decode to the end. Damaged packets become holes if their length is known."""
        timeline, timed, framed = self._timeline, self._timed, self._framed
        tick_s = float(self._stream.time_base or 0)
        for packet in self._packets():
            try:
                frames = packet.decode()
            except _ERRORS as e:
                pause = self._pause(packet)
                if pause is None:
                    if framed and self._other_content():
                        break
                    if self._good is not None and self._is_tail(packet):
                        continue
                    if (hole := self._damaged(packet, e)) is not None:
                        yield hole
                    continue
                frames = [pause]
            if framed and frames:
                if self._skipped(packet):
                    if self._other_content():
                        break
                    if (hole := self._left_out(packet)) is not None:
                        yield hole
                self._count(packet, frames)
            for frame in frames:
                samples = frame.samples if isinstance(frame, AudioFrame) else 0
                rate_hz = frame.sample_rate if samples else 0
                if rate_hz <= 0:
                    continue
                if self._seeking:
                    self._seeking = False
                    self.sought_s = None if frame.pts is None else frame.pts * tick_s
                if timed:
                    pts = frame.pts
                    if pts is not None:
                        at_s = pts * tick_s
                        # The same comparison as in `place`, without the call.
                        if not -BACK_S < at_s - timeline.expected_s <= TOLERANCE_S:
                            hole = timeline.place(at_s)
                            if hole is not None:
                                yield self._explained(hole, packet)
                    timeline.expected_s += samples / rate_hz
                yield frame
            self._good = packet
        yield from self._drain()

    def _packets(self) -> Iterator[Any]:
        """Demux to the end; after an error, go on behind it where that is possible."""
        errors, reached = 0, -1
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except IndexError:
                # PyAV (18.1) raises it for a packet of a stream that appears after the file was opened (MPEG-TS).
                packets = self._container.demux(self._stream)
                continue
            except _ERRORS as e:
                self._survive(e)
                errors += 1
                at = self._position()
                if errors > _MOST_ERRORS or at <= reached or self._recording_near():
                    self._stopped = True
                    return
                reached = at
                packets = self._container.demux(self._stream)
                continue
            if packet is None:
                return
            if not packet.size:
                # An empty sample (MP4), or PyAV's packet that would end decoding, which `_drain` does.
                continue
            self._last = packet
            yield packet

    def _drain(self) -> Iterator[AudioFrame]:
        """The frames that the decoder still has."""
        try:
            frames = self._stream.codec_context.decode(None)
        except _ERRORS as e:
            self._survive(e)
            return
        yield from (f for f in frames if f.samples > 0 and f.sample_rate > 0)

    def _is_tail(self, packet: Any) -> bool:
        """True for the incomplete last packet and for a tag that was taken for one.

        Neither is damage: whether the file was cut is told by the check of its container.
        """
        return packet.pos is not None and bool(packet.pos + packet.size >= self._sound_end)

    def _damaged(self, packet: Any, error: BaseException) -> Hole | None:
        """The hole for a packet that cannot be decoded."""
        if self._framed and bytes(packet)[:11].startswith(TAGS):
            return None  # demuxers of streams deliver tags as packets
        self._survive(error)
        if self._name == "aac":
            return self._resynchronised(packet)
        if self._framed:
            return None  # seen from the position of the next packet
        duration_s = float((packet.duration or 0) * self._stream.time_base) if self._stream.time_base else 0.0
        if not 0 < duration_s <= _PACKET_S:
            return None
        self._timeline.expected_s += duration_s
        return Hole(duration_s, UNDECODABLE)

    def _resynchronised(self, packet: Any) -> Hole | None:
        """The hole for a damaged ADTS frame and the bytes behind it up to the next one.

        FFmpeg's positions of packets do not count those bytes.
        """
        behind = _behind(packet)
        if behind is None or not self._good_bytes:
            return None
        behind += self._uncounted
        found = find_adts(self._span.at, behind, min(self._span.size, behind + _MOST_RESYNC))
        if found is None:
            return None
        self._uncounted += found - behind
        return Hole((found - behind + packet.size) * self._good_s / self._good_bytes, UNDECODABLE)

    def _explained(self, hole: Hole, packet: Any) -> Hole:
        """The hole as damage, if bytes of the file were passed over before this packet."""
        before = _behind(self._good)
        if hole.kind != GAP or before is None or packet.pos is None or not (self._alone and self._exact):
            return hole
        return replace(hole, kind=UNDECODABLE) if packet.pos - before > _DAMAGE_BYTES else hole

    def _skipped(self, packet: Any) -> bool:
        """True if bytes were left out before this packet."""
        behind = _behind(self._good)
        return behind is not None and packet.pos is not None and bool(packet.pos > behind)

    def _other_content(self) -> bool:
        """True if another recording begins behind the newest packet that was decoded."""
        behind = _behind(self._good)
        if behind is None:
            return False
        at = skip_tags(self._span.at, behind + self._uncounted, self._span.size)
        return begins_at(self._span.at, at) and not self._own_kind(at)

    def _own_kind(self, at: int) -> bool:
        """True if the demuxer goes on with what begins at this offset, because it is a stream of the same kind."""
        kind = sniff(self._span.at(at, HEAD_BYTES)).kind
        return {"mp3": "mp3", "adts": "aac", "flac": "flac"}.get(kind) == self._name

    def _left_out(self, packet: Any) -> Hole | None:
        """The hole for the bytes left out before this packet, by the mean size of packets."""
        begin = skip_tags(self._span.at, _behind(self._good) or 0, self._span.size, zeros=False)
        lost = packet.pos - begin
        if self._timed or lost <= 0 or not self._good_bytes or _INDEX.search(self._span.at(begin, 64)):
            return None
        seconds = lost * self._good_s / self._good_bytes
        return Hole(seconds, UNDECODABLE) if seconds >= _SHORTEST_S else None

    def _count(self, packet: Any, frames: list[Any]) -> None:
        self._good_bytes += packet.size
        self._good_s += sum(frame.samples / frame.sample_rate for frame in frames if frame.sample_rate > 0)

    def _recording_near(self) -> bool:
        """True if another recording begins just behind the newest packet."""
        behind = _behind(self._last)
        if behind is None:
            return False
        return find_recording(self._span.at, behind, min(self._span.size, behind + _NEAR)) is not None

    def _pause(self, packet: Any) -> AudioFrame | None:
        """Silence for an AMR pause packet; without it all later audio would be shifted. None for other packets."""
        codec = self._stream.codec_context
        kinds, samples = _PAUSES.get(codec.name, (frozenset(), 0))
        data = bytes(packet) if samples else b""
        if not data or data[0] >> 3 & 15 not in kinds:
            return None
        silence = AudioFrame(format="flt", layout="mono", samples=samples)
        silence.planes[0].update(bytes(4 * samples))
        silence.sample_rate = codec.sample_rate
        return silence

    def _survive(self, error: BaseException) -> None:
        """Count a damaged place; raises errors of memory and storage, which the file does not cause."""
        if isinstance(error, MemoryError):
            raise error
        if isinstance(error, OSError):
            raise_storage_trouble(self._span.fd)
        self.damage += 1
        self._timeline.damaged()


def _behind(packet: Any) -> int | None:
    return None if packet is None or packet.pos is None else int(packet.pos) + int(packet.size)
