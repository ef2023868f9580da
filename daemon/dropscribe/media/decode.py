"""Decode one file: open, verify its signature, normalise, check for truncation. Runs in the decoder process."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dropscribe.durations import position
from dropscribe.errors import (
    DropscribeError,
    MediaLimitError,
    NoAudioError,
    RecordingChangedError,
    RecordingGoneError,
    StorageError,
    UnreadableMediaError,
)
from dropscribe.files import GONE, FileSignature, open_recording
from dropscribe.media.container.sniff import HEAD_BYTES, sniff
from dropscribe.media.container.truncation import Decoded, Verdict, judge
from dropscribe.media.normalise import TARGET_HZ, Block, Normaliser
from dropscribe.media.sources.following import delimit, find_recording, skip_tags
from dropscribe.media.sources.open_source import Opening, open_source
from dropscribe.media.sources.source import Source, SourceFacts
from dropscribe.media.sources.source_av import open_av
from dropscribe.media.sources.span import Span
from dropscribe.media.sources.tracks import AUTO
from dropscribe.media.timeline import Hole, LossLog
from dropscribe.output_places import OutputPlace, require_outputs
from dropscribe.transcript.types import GAP, UNDECODABLE, UNREAD, Loss, MediaFacts

#: Accepted sample rates, Hz; a header with another one is damaged.
_RATES_HZ = range(1_000, 1_000_001)


#: Recordings in one file that are decoded, one after the other.
_MOST_PARTS = 500

#: Fewer bytes behind the audio are not reported.
_FEW_BYTES = 4096


class Sink(Protocol):
    """Receiver of decoded audio, in order."""

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        """Called once when the file is recognised, before the first `write`."""

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Receive 16 kHz mono samples, shape (samples,)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one recording, and the choice of its track."""

    max_hours: float
    track: int | str = AUTO  #: as in `DecodeOrder`


def decode(
    path: Path,
    expected: FileSignature | None,
    limits: Limits,
    sink: Sink,
    folder: Path | None = None,
    *,
    outputs: OutputPlace | None = None,
) -> MediaFacts:
    """Decode `path` into `sink`; `expected`, `folder` and `outputs` as in `DecodeOrder`.

    Raises an error of `dropscribe.errors` that names the path: RecordingGoneError, RecordingChangedError,
    OutputNameError, StorageError (UnwritableError), UnreadableMediaError, NoAudioError, MediaLimitError. The caller must then discard what `sink` got.
    """
    try:
        fd = open_recording(path, folder)
    except OSError as e:
        raise _storage(e, path) from e
    try:
        if outputs is not None:
            require_outputs(outputs, path)
        return _decode_open(fd, path, expected, limits, sink)
    except DropscribeError as e:
        e.path, e.operation = path, e.operation or "decoding"
        raise
    except MemoryError as e:
        raise MediaLimitError(
            "decoding it needs more memory than a decoder may use",
            operation="decoding",
            path=path,
            remedy="if the recording is sound, raise [media] memory_mb",
        ) from e
    except OSError as e:
        raise _storage(e, path) from e
    finally:
        os.close(fd)


def _decode_open(
    fd: int, path: Path, expected: FileSignature | None, limits: Limits, sink: Sink
) -> MediaFacts:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableMediaError("it is not a regular file", remedy="drop the recording itself")
    meant = expected or FileSignature.of(status)
    _unchanged(fd, meant)
    opening = open_source(fd, path, status.st_size, limits.track)
    source: Source = opening.source
    out = _Output(sink, limits)
    try:
        facts = source.facts
        sink.opened(facts, opening.check.declared_s or facts.declared_s)
        out.lead(facts)
        out.take(source.blocks())
        damage, first_s = source.damage, out.read_s
        part = Span(fd, 0, status.st_size)
        end = opening.structure_end if opening.structure_end is not None else source.end
        for _ in range(_MOST_PARTS):
            if end is None or (start := find_recording(part.at, end, part.size)) is None:
                break
            source.close()
            span, end = delimit(fd, start, part.size, sniff(part.at(start, HEAD_BYTES)).kind)
            try:
                source = open_av(span, limits.track)
            except (UnreadableMediaError, NoAudioError):
                end = start
                break
            before_s = out.sound_s
            out.take(source.blocks())
            damage += source.damage
            if out.sound_s <= before_s:
                end = start
                break
            end = source.end if end is None else end
        out.finish()
        _unchanged(fd, meant)
        if not out.sound_s:
            raise _no_samples_error(opening)
        if end is not None:
            out.unread(part.size - skip_tags(part.at, end, part.size), part.size)
        verdict = judge(opening.check, facts.declared_s, Decoded(first_s, damage))
        if verdict.missing_s and not any(loss.kind == UNREAD for loss in out.losses):
            out.missing(first_s, verdict.missing_s)
        return _facts(opening, verdict, out)
    finally:
        source.close()


class _Output:
    """Normalise the audio of a recording and put silence where it has holes."""

    def __init__(self, sink: Sink, limits: Limits) -> None:
        self._normaliser = Normaliser()
        self._counter = _Counter(sink.write, limits)
        self._most_s = limits.max_hours * 3600
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

    def finish(self) -> None:
        """Write what the resampler still has; call once, after the last piece."""
        for pcm in self._normaliser.finish():
            self._counter.take(pcm)

    def unread(self, count: int, size: int) -> None:
        """Record that the last `count` of `size` bytes were not read, unless they are fewer than a second of audio takes."""
        if count > max(_FEW_BYTES, (size - count) / max(1.0, self.sound_s)):
            text = f"decoding stopped at {position(round(self.read_s * 1000))}; {_bytes(count)} of the file were not read"
            self._losses.add(UNREAD, self.read_s, None, text)

    def missing(self, at_s: float, seconds: float) -> None:
        """Record audio that no silence takes the place of."""
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

    def __init__(self, write: Callable[[NDArray[np.int16]], None], limits: Limits) -> None:
        self._write = write
        self._limits = limits
        self._most = int(limits.max_hours * 3600 * TARGET_HZ)
        self.samples = 0

    def take(self, pcm: NDArray[np.int16]) -> None:
        self.samples += len(pcm)
        if self.samples > self._most:
            raise MediaLimitError(
                f"it is longer than {self._limits.max_hours:g} hours of audio",
                remedy="if the recording is that long, raise [media] max_hours",
            )
        self._write(pcm)


def _facts(opening: Opening, verdict: Verdict, out: _Output) -> MediaFacts:
    facts = opening.source.facts
    return MediaFacts(
        duration_ms=round(out.samples * 1000 / TARGET_HZ),
        container=facts.container,
        codec=facts.codec,
        sample_rate_hz=facts.rate_hz,
        channels=facts.channels,
        decoder=facts.decoder,
        warnings=(*opening.warnings, *verdict.warnings, *out.warnings),
        truncated=verdict.truncated,
        losses=out.losses,
        tracks=facts.tracks,
    )


def _no_samples_error(opening: Opening) -> DropscribeError:
    """Error for a file that yields no samples."""
    if opening.check.whole is False:
        return UnreadableMediaError(
            f"it is cut off before its first sound: {opening.check.detail}",
            remedy="copy the recording again, whole",
        )
    if opening.source.damage:
        return UnreadableMediaError(
            "it is damaged so that none of its audio can be decoded",
            remedy="copy or export the recording again",
        )
    detail = f" ({opening.check.detail})" if opening.check.detail else ""
    return NoAudioError(f"it has no audio{detail}", remedy="record it again")


def _bytes(count: int) -> str:
    """A size as people write it: `5.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _unchanged(fd: int, meant: FileSignature) -> None:
    if FileSignature.of(os.fstat(fd)) != meant:
        raise RecordingChangedError(
            "the file was changed before it was read to its end",
            remedy="nothing to do: its new content becomes a job of its own once it is complete",
        )


def _storage(error: OSError, path: Path) -> DropscribeError:
    if error.errno in GONE:
        return RecordingGoneError("the file is no longer there", operation="opening", path=path)
    remedy = "check its disk or network share"
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "let the user that dropscribe runs as read the file and its folder"
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "raise the limit on open files"
    reason = error.strerror or str(error)
    return StorageError(reason, operation="reading", path=path, remedy=remedy)
