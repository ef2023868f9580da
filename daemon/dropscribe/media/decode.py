"""Decode one file: open, verify its signature, normalise, check for truncation. Runs in the decoder process."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
from dropscribe.media.container.truncation import Decoded, judge
from dropscribe.media.normalise import TARGET_HZ
from dropscribe.media.output import Output, PartStream, Sink
from dropscribe.media.protocol import CHANNELS_MIXED
from dropscribe.media.sources.following import delimit, find_recording, skip_tags
from dropscribe.media.sources.open_source import Opening, open_source
from dropscribe.media.sources.parts import Choice, joined_losses, joined_warnings, plan_parts
from dropscribe.media.sources.sides import Sides, compare
from dropscribe.media.sources.source import Source, SourceFacts
from dropscribe.media.sources.source_av import open_av
from dropscribe.media.sources.span import Span
from dropscribe.media.sources.tracks import ALL, AUTO, FIRST
from dropscribe.output_places import OutputPlace, require_outputs
from dropscribe.transcript.types import TRACK, UNREAD, MediaFacts, Part

#: Recordings in one file that are decoded, one after the other.
_MOST_JOINED = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one recording, and the choice of its track and channels."""

    max_hours: float
    track: int | str = AUTO  #: as in `DecodeOrder`
    channels: str = CHANNELS_MIXED  #: as in `DecodeOrder`


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
    OutputNameError, StorageError (UnwritableError), UnreadableMediaError, NoAudioError, MediaLimitError. The caller must
    then discard what `sink` got.
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
    size = status.st_size
    opening = open_source(fd, path, size, FIRST if limits.track == ALL else limits.track)
    try:
        facts = opening.source.facts
        sink.opened(facts, opening.check.declared_s or facts.declared_s)
        choices, listened = _plan(opening.source, limits)
    except BaseException:
        opening.source.close()
        raise
    reopen = listened or len(choices) > 1
    if reopen:
        opening.source.close()
    stream = PartStream(sink, len(choices)) if choices[0].kind else None
    ends: list[_End] = []
    failure: UnreadableMediaError | NoAudioError | None = None
    begins: list[float] = []
    for choice in choices:
        if stream is not None:
            titles = (t.title for t in facts.tracks if choice.kind == TRACK and t.number == choice.number)
            stream.begin(choice.kind, choice.number, next(titles, None))
        out = Output(sink.write if stream is None else stream.write, limits.max_hours)
        try:
            if reopen:
                opening = open_source(fd, path, size, choice.track)
            ends.append(_decode_part(fd, size, opening, choice, out, begins=begins))
        except (UnreadableMediaError, NoAudioError) as e:
            if len(choices) == 1:
                raise
            # The other parts may be good.
            failure = failure or e
            if out.sound_s:
                out.missing(out.read_s, None)
            ends.append(_End(choice.label, out, out.sound_s, (f"it could not be decoded: {e.reason}",)))
        _unchanged(fd, meant)
    if failure is not None and not any(end.sound_s for end in ends):
        raise failure
    if stream is not None:
        stream.finish()
    return _facts(facts, ends, None if stream is None else stream.parts)


def _plan(source: Source, limits: Limits) -> tuple[tuple[Choice, ...], bool]:
    """What is decoded of an open recording, and true if the source was read for that."""
    listened = False

    def listen() -> Sides:
        nonlocal listened
        listened = True
        return compare(source.blocks())

    return plan_parts(source.facts, limits.track, limits.channels, listen), listened


@dataclass(frozen=True, slots=True)
class _End:
    """Outcome of decoding a recording, or a part of one."""

    label: str  #: "track 2"; "" for a whole recording
    out: Output
    sound_s: float
    warnings: tuple[str, ...]
    truncated: str | None = None


def _decode_part(
    fd: int, size: int, opening: Opening, choice: Choice, out: Output, *, begins: list[float]
) -> _End:
    """Decode what was chosen of a recording, and of those that follow in the file; closes the source.

    `begins`: positions at which the recordings that follow begin, seconds; filled by the first part, kept by the others.
    """
    source = choice.of(opening.source)
    try:
        facts = source.facts
        out.lead(facts)
        out.take(source.blocks())
        damage, first_s = source.damage, out.read_s
        whole = Span(fd, 0, size)
        end = opening.structure_end if opening.structure_end is not None else source.end
        for number in range(_MOST_JOINED):
            if end is None or (start := find_recording(whole.at, end, size)) is None:
                break
            source.close()
            span, end = delimit(fd, start, size, sniff(whole.at(start, HEAD_BYTES)).kind)
            try:
                source = choice.of(open_av(span, choice.track))
            except (UnreadableMediaError, NoAudioError):
                # Fewer tracks than in the recording before are no loss.
                end = start if number >= len(begins) else None
                break
            if number < len(begins):
                out.pad(begins[number])
            before_s = out.sound_s
            began_s = out.read_s
            out.take(source.blocks())
            damage += source.damage
            if out.sound_s <= before_s:
                end = start
                break
            if number >= len(begins):
                begins.append(began_s)
            end = source.end if end is None else end
        out.finish()
        if not out.sound_s:
            raise _no_samples_error(opening)
        if end is not None:
            out.unread(size - skip_tags(whole.at, end, size), size)
        verdict = judge(opening.check, facts.declared_s, Decoded(first_s, damage))
        if verdict.missing_s and not any(loss.kind == UNREAD for loss in out.losses):
            out.missing(first_s, verdict.missing_s)
        warnings = (*opening.warnings, *verdict.warnings, *out.warnings)
        return _End(choice.label, out, out.sound_s, warnings, verdict.truncated)
    finally:
        source.close()


def _facts(facts: SourceFacts, ends: Sequence[_End], parts: Sequence[Part] | None) -> MediaFacts:
    """`parts`: those with sound; None if the recording was not divided."""
    longest = max(ends, key=lambda end: end.out.samples)
    tracks = facts.tracks
    if parts is not None and any(part.kind == TRACK for part in parts):
        sounding = {part.number for part in parts}
        tracks = tuple(replace(track, chosen=track.number in sounding) for track in tracks)
    return MediaFacts(
        duration_ms=round(longest.out.samples * 1000 / TARGET_HZ),
        container=facts.container,
        codec=facts.codec,
        sample_rate_hz=facts.rate_hz,
        channels=facts.channels,
        decoder=facts.decoder,
        warnings=joined_warnings([(end.label, end.warnings) for end in ends]),
        truncated=longest.truncated or next((end.truncated for end in ends if end.truncated), None),
        losses=joined_losses([(end.label, end.out.losses) for end in ends]),
        tracks=tracks,
        parts=tuple(parts or ()),
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
