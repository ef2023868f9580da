"""Write decoded audio as 16 kHz mono samples: one recording, or its parts one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dropscribe.durations import position
from dropscribe.errors import MediaLimitError, UnreadableMediaError
from dropscribe.media.normalise import TARGET_HZ, Block, Normaliser
from dropscribe.media.protocol import PART_GAP_MS
from dropscribe.media.sources.source import SourceFacts
from dropscribe.media.timeline import TOLERANCE_S, Hole, LossLog
from dropscribe.transcript.types import GAP, UNDECODABLE, UNREAD, Loss, Part

#: Accepted sample rates, Hz; a header with another one is damaged.
_RATES_HZ = range(1_000, 1_000_001)

#: Fewer bytes behind the audio are not reported.
_FEW_BYTES = 4096

#: A part whose samples stay within this is silent (-78 dB): the noise of a converter or codec.
_SILENT = 4
#: Silence at the start of a part that is held back until there is sound, samples: a decoder must not be silent itself for
#: long.
_MOST_HELD = 3600 * TARGET_HZ
_SAMPLES_A_MS = TARGET_HZ // 1000


class Sink(Protocol):
    """Receiver of decoded audio, in order."""

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        """Called once when the file is recognised, before the first `write`."""

    def part(self, part: Part, at: int, count: int) -> None:
        """Called before the first samples of a part are written; arguments as of `PartBegun`."""

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Receive 16 kHz mono samples, shape (samples,)."""


class PartStream:
    """Write parts one after the other into a sink, with silence between them; silent parts are left out."""

    def __init__(self, sink: Sink, count: int) -> None:
        """`count`: number of parts that will be begun."""
        self._sink = sink
        self._count = count
        self._samples = 0  # written
        self._at = -1
        self._next: tuple[str, int, str | None] | None = None  # the part that is silent so far
        self._held = 0  # samples of it
        #: Parts that have sound.
        self.parts: list[Part] = []

    def begin(self, kind: str, number: int, name: str | None) -> None:
        """Begin the next part; arguments as of `Part`."""
        self._next, self._held, self._at = (kind, number, name), 0, self._at + 1

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Write samples of the part that was begun, shape (samples,)."""
        if self._next is not None:
            if self._held < _MOST_HELD and np.abs(pcm.astype(np.int32)).max(initial=0) <= _SILENT:
                self._held += len(pcm)
                return
            self._open(self._next)
        self._put(pcm)

    def finish(self) -> None:
        """End the last part. If all are silent, the sink gets some silence, since no stream is without samples."""
        if not self._samples:
            self._silence(TARGET_HZ)

    def _open(self, part: tuple[str, int, str | None]) -> None:
        if self._samples:
            # Up to a whole millisecond, so that the position of the part is exact.
            self._silence(PART_GAP_MS * _SAMPLES_A_MS + -self._samples % _SAMPLES_A_MS)
        kind, number, name = part
        self.parts.append(Part(kind, number, self._samples // _SAMPLES_A_MS, name))
        self._sink.part(self.parts[-1], self._at, self._count)
        self._silence(self._held)
        self._next = None

    def _silence(self, samples: int) -> None:
        for at in range(0, samples, TARGET_HZ):
            self._put(np.zeros(min(TARGET_HZ, samples - at), np.int16))

    def _put(self, pcm: NDArray[np.int16]) -> None:
        self._samples += len(pcm)
        self._sink.write(pcm)


class Output:
    """Normalise the audio of a recording, or of a part of one, and put silence where it has holes."""

    def __init__(self, write: Callable[[NDArray[np.int16]], None], max_hours: float) -> None:
        """`write` receives 16 kHz mono samples, shape (samples,), at most `max_hours` of them."""
        self._normaliser = Normaliser()
        self._counter = _Counter(write, max_hours)
        self._most_s = max_hours * 3600
        self._losses = LossLog()
        self._warnings: list[str] = []
        self._rate_hz = TARGET_HZ
        #: Length of the audio so far, with silence and without it, seconds.
        self.read_s = 0.0
        self.sound_s = 0.0

    def lead(self, facts: SourceFacts) -> None:
        """Begin with silence, if the audio begins after the picture, so that times match it."""
        believable_s = self._most_s
        if facts.declared_s is not None:
            believable_s = min(believable_s, facts.declared_s)
        if facts.late_s < believable_s:
            self._silence(facts.late_s)
        elif facts.late_s:
            self._warnings.append(
                f"its sound claims to begin {facts.late_s:.0f} s after the start, which cannot be; it was taken to begin there"
            )

    def take(self, pieces: Iterable[Block | Hole]) -> None:
        """Write blocks and holes in order."""
        for piece in pieces:
            if isinstance(piece, Hole):
                self._hole(piece)
                continue
            if piece.rate_hz not in _RATES_HZ:
                raise UnreadableMediaError(
                    f"its sample rate of {piece.rate_hz} Hz is invalid",
                    remedy="export the recording again",
                )
            self._rate_hz = piece.rate_hz
            self.sound_s += len(piece.samples) / piece.rate_hz
            self._push(piece)

    def pad(self, until_s: float) -> None:
        """Write silence up to a position, unless the audio reaches it."""
        if until_s - self.read_s > TOLERANCE_S:
            self._silence(until_s - self.read_s)

    def finish(self) -> None:
        """Write what the resampler still has; call once, after the last piece."""
        for pcm in self._normaliser.finish():
            self._counter.take(pcm)

    def unread(self, count: int, size: int) -> None:
        """Record that the last `count` of `size` bytes were not read, unless they are fewer than a second of audio takes."""
        if count > max(_FEW_BYTES, (size - count) / max(1.0, self.sound_s)):
            text = f"decoding stopped at {position(round(self.read_s * 1000))}; {_bytes(count)} of the file were not read"
            self._losses.add(UNREAD, self.read_s, None, text)

    def missing(self, at_s: float, seconds: float | None) -> None:
        """Record audio that no silence takes the place of. `seconds`: None if unknown."""
        self._losses.add(UNDECODABLE, at_s, seconds)

    @property
    def samples(self) -> int:
        """Number of samples written."""
        return self._counter.samples

    @property
    def warnings(self) -> tuple[str, ...]:
        """Defects so far, as messages for people."""
        return (*self._warnings, *self._normaliser.warnings)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Losses so far."""
        return self._losses.records()

    def _hole(self, hole: Hole) -> None:
        if not hole.believable or self.read_s + hole.seconds > self._most_s:
            text = (
                f"the timestamps of the file jump ahead by {hole.seconds / 3600:.1f} h at "
                f"{position(round(self.read_s * 1000))}, which cannot be a pause; later times follow without it"
            )
            self._losses.add(GAP, self.read_s, None, text)
            return
        if hole.kind:
            self._losses.add(hole.kind, self.read_s, hole.seconds)
        if not hole.filled:
            self._silence(hole.seconds)

    def _silence(self, seconds: float) -> None:
        left = round(seconds * self._rate_hz)
        while left:
            count = min(left, 60 * self._rate_hz)
            self._push(Block(np.zeros((count, 1), np.int16), self._rate_hz))
            left -= count

    def _push(self, block: Block) -> None:
        self.read_s += len(block.samples) / block.rate_hz
        for pcm in self._normaliser.push(block):
            self._counter.take(pcm)


class _Counter:
    """Pass samples on, up to the limit for a recording.

    Only decoded audio counts, not the declared duration, which may be wrong.
    """

    def __init__(self, write: Callable[[NDArray[np.int16]], None], max_hours: float) -> None:
        self._write = write
        self._max_hours = max_hours
        self._most = int(max_hours * 3600 * TARGET_HZ)
        self.samples = 0

    def take(self, pcm: NDArray[np.int16]) -> None:
        self.samples += len(pcm)
        if self.samples > self._most:
            raise MediaLimitError(
                f"it is longer than {self._max_hours:g} hours of audio",
                remedy="if the recording is that long, raise [media] max_hours",
            )
        self._write(pcm)


def _bytes(count: int) -> str:
    """A size as people write it: `5.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
