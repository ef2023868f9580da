"""Decode one file: open, verify its signature, normalise, check for truncation. Runs in the decoder process."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dropscribe.errors import (
    DropscribeError,
    MediaLimitError,
    NoAudioError,
    RecordingChangedError,
    RecordingGoneError,
    StorageError,
    UnreadableMediaError,
)
from dropscribe.files import GONE, FileSignature, OutputPlace, open_recording, require_writable
from dropscribe.media.container.truncation import Decoded, Verdict, judge
from dropscribe.media.normalise import TARGET_HZ, Block, Normaliser
from dropscribe.media.sources.open_source import Opening, open_source
from dropscribe.media.sources.source import SourceFacts
from dropscribe.transcript.types import MediaFacts

#: Accepted sample rates, Hz; a header with another one is damaged.
_RATES_HZ = range(1_000, 1_000_001)


class Sink(Protocol):
    """Receiver of decoded audio, in order."""

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        """Called once when the file is recognised, before the first `write`."""

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Receive 16 kHz mono samples, shape (samples,)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one recording."""

    max_hours: float


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
            require_writable(outputs)
        return _decode_open(fd, path, expected, limits, sink)
    except DropscribeError as e:
        e.path, e.operation = path, e.operation or "decoding"
        raise
    except MemoryError as e:
        raise MediaLimitError(
            "decoding it needs more memory than a decoder may use",
            operation="decoding",
            path=path,
            remedy="If the recording is sound, raise [media] memory_mb.",
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
        raise UnreadableMediaError("it is not a regular file", remedy="Drop the recording itself.")
    meant = expected or FileSignature.of(status)
    _unchanged(fd, meant)
    opening = open_source(fd, path, status.st_size)
    source = opening.source
    try:
        facts = source.facts
        sink.opened(facts, opening.check.declared_s or facts.declared_s)
        normaliser = Normaliser()
        counter = _Counter(sink.write, limits)
        lead_s, lead_warnings = _lead(facts, limits)
        read_s = 0.0
        for block in itertools.chain(_silence(lead_s), source.blocks()):
            if block.rate_hz not in _RATES_HZ:
                raise UnreadableMediaError(
                    f"its sample rate of {block.rate_hz} Hz is invalid",
                    remedy="Export the recording again.",
                )
            read_s += len(block.samples) / block.rate_hz
            for pcm in normaliser.push(block):
                counter.take(pcm)
        for pcm in normaliser.finish():
            counter.take(pcm)
        _unchanged(fd, meant)
        if counter.samples <= round(lead_s * TARGET_HZ):
            raise _no_samples_error(opening)
        verdict = judge(opening.check, facts.declared_s, Decoded(read_s, source.damage))
        return _facts(opening, verdict, counter.samples, (*lead_warnings, *normaliser.warnings))
    finally:
        source.close()


def _lead(facts: SourceFacts, limits: Limits) -> tuple[float, tuple[str, ...]]:
    """Seconds of silence to insert before the audio, so that times match the picture; and warnings."""
    believable_s = limits.max_hours * 3600
    if facts.declared_s is not None:
        believable_s = min(believable_s, facts.declared_s)
    if facts.late_s < believable_s:
        return facts.late_s, ()
    warning = f"its sound claims to begin {facts.late_s:.0f} s after the start, which cannot be; it was taken to begin there"
    return 0.0, (warning,) if facts.late_s else ()


def _silence(seconds: float) -> Iterator[Block]:
    left = round(seconds * TARGET_HZ)
    while left:
        count = min(left, 60 * TARGET_HZ)
        yield Block(np.zeros((count, 1), np.int16), TARGET_HZ)
        left -= count


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
                remedy="If the recording is that long, raise [media] max_hours.",
            )
        self._write(pcm)


def _facts(opening: Opening, verdict: Verdict, samples: int, warnings: tuple[str, ...]) -> MediaFacts:
    facts = opening.source.facts
    return MediaFacts(
        duration_ms=round(samples * 1000 / TARGET_HZ),
        container=facts.container,
        codec=facts.codec,
        sample_rate_hz=facts.rate_hz,
        channels=facts.channels,
        decoder=facts.decoder,
        warnings=(*opening.warnings, *verdict.warnings, *warnings),
        truncated=verdict.truncated,
    )


def _no_samples_error(opening: Opening) -> DropscribeError:
    """Error for a file that yields no samples."""
    if opening.check.whole is False:
        return UnreadableMediaError(
            f"it is cut off before its first sound: {opening.check.detail}",
            remedy="Copy the recording again, whole.",
        )
    if opening.source.damage:
        return UnreadableMediaError(
            "it is damaged so that none of its audio can be decoded",
            remedy="Copy or export the recording again.",
        )
    detail = f" ({opening.check.detail})" if opening.check.detail else ""
    return NoAudioError(f"it has no audio{detail}", remedy="Record it again.")


def _unchanged(fd: int, meant: FileSignature) -> None:
    if FileSignature.of(os.fstat(fd)) != meant:
        raise RecordingChangedError(
            "the file was changed before it was read to its end",
            remedy="Nothing to do: its new content becomes a job of its own once it is complete.",
        )


def _storage(error: OSError, path: Path) -> DropscribeError:
    if error.errno in GONE:
        return RecordingGoneError("the file is no longer there", operation="opening", path=path)
    remedy = "Check its disk or network share."
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "Let the user that dropscribe runs as read the file and its folder."
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "Raise the limit on open files."
    reason = error.strerror or str(error)
    return StorageError(reason, operation="reading", path=path, remedy=remedy)
