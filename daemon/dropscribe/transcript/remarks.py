"""Remarks on a transcript besides its words; decided here for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dropscribe import escapes
from dropscribe.durations import position
from dropscribe.transcript.types import (
    CHANNEL,
    GAP,
    MOST_PARTS,
    TRACK,
    UNDECODABLE,
    UNREAD,
    AudioTrack,
    Loss,
    MediaFacts,
    Transcript,
)

#: Mean probability of all tokens below which a transcript is doubtful, and the fewest tokens for which it is judged.
DOUBT = 0.5
DOUBT_TOKENS = 20
#: Places and tracks that a remark names; the others are counted.
_NAMED = 5
#: Less undecodable audio than this holds no word; it is in the JSON alone, ms.
_HEARD_MS = 100


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark. `kind` is stable and documented in docs/outputs.md."""

    kind: str
    text: str  #: one line


def remarks(transcript: Transcript) -> tuple[Remark, ...]:
    """All remarks on a transcript, the engine's notice last. A transcript without words has at least one."""
    found: list[Remark] = []
    if not transcript.segments:
        found.append(Remark("no_speech", "no speech found"))
    elif not any(s.text.strip() or s.tokens for s in transcript.segments):
        found.append(Remark("no_words", "speech found, but no words recognised in it"))
    if is_doubtful(transcript):
        text = "much of this may be wrong: another language than the model knows, or a poor recording?"
        found.append(Remark("doubtful", text))
    found += media_remarks(transcript.media)
    for text in transcript.incomplete:
        found.append(Remark("incomplete", _line(text)))
    if transcript.engine.notice is not None:
        found.append(Remark("notice", _line(transcript.engine.notice)))
    return tuple(found)


def is_doubtful(transcript: Transcript) -> bool:
    """True if the model was, on average, not sure of the words of a recording."""
    sure = b"".join(s.tokens.confidence for s in transcript.segments)
    return len(sure) >= DOUBT_TOKENS and sum(sure) < DOUBT * 255 * len(sure)


def media_remarks(media: MediaFacts) -> tuple[Remark, ...]:
    """Remarks on what was in the file, or should have been, and is not in the transcript."""
    found: list[Remark] = []
    if media.truncated is not None:
        found.append(Remark("truncated", f"the recording is cut short: {_line(media.truncated)}"))
    if gaps := [loss for loss in media.losses if loss.kind == GAP and loss.length_ms is not None]:
        text = f"the file has no audio for {_length(gaps)} ({_places(gaps)}); silence is in its place"
        found.append(Remark("gap", text))
    for loss in media.losses:
        if loss.kind == GAP and loss.length_ms is None:
            found.append(Remark("timestamps", _line(loss.text)))
            break
    if damaged := [loss for loss in media.losses if loss.kind == UNDECODABLE]:
        lengths = [loss.length_ms for loss in damaged]
        if None in lengths or sum(length or 0 for length in lengths) >= _HEARD_MS:
            text = f"{_length(damaged)} could not be decoded ({_places(damaged)})"
            found.append(Remark("undecodable", text))
    if unread := [loss for loss in media.losses if loss.kind == UNREAD]:
        found.append(Remark("unread", _line(_some([loss.text for loss in unread], len(unread)))))
    others = [track for track in media.tracks if not track.chosen]
    if others and len(others) < len(media.tracks):
        apart = any(part.kind == TRACK for part in media.parts) and len(media.tracks) <= MOST_PARTS
        found.append(Remark("tracks", _line(_tracks(media.tracks, others, apart=apart))))
    if (said := _channels(media)) is not None:
        found.append(Remark("channels", said))
    return tuple(found)


def _length(losses: Sequence[Loss]) -> str:
    """Total length: `7.5 s`, or `at least 7.5 s` if it is not known everywhere."""
    known = [loss.length_ms for loss in losses if loss.length_ms is not None]
    if not known:
        return "some audio"
    bound = "at least " if len(known) < len(losses) else ""
    return f"{bound}{_seconds(sum(known))}"


def _places(losses: Sequence[Loss]) -> str:
    """Positions: `from 00:07`, or `30.0 s from 00:07, 1.5 s from 01:00 and 12 more`."""
    if len(losses) == 1 and losses[0].places == 1:
        return f"from {position(losses[0].start_ms)}"
    single = [
        f"from {position(loss.start_ms)}"
        if loss.length_ms is None
        else f"{_seconds(loss.length_ms)} from {position(loss.start_ms)}"
        for loss in losses
        if loss.places == 1
    ]
    return _some(single, sum(loss.places for loss in losses))


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 100 else f"{ms / 1000:.2f} s"


def _some(texts: Sequence[str], count: int) -> str:
    """The first texts, and the number of the others of `count`."""
    named = ", ".join(texts[:_NAMED])
    return named if count <= _NAMED else f"{named} and {count - min(len(texts), _NAMED)} more"


def _tracks(tracks: Sequence[AudioTrack], others: Sequence[AudioTrack], *, apart: bool) -> str:
    """`apart`: all should be transcribed, each apart."""
    chosen = [_track(track) for track in tracks if track.chosen]
    left = [_track(track) for track in others]
    word = "track" if len(chosen) == 1 else "tracks"
    why = "without sound that can be decoded" if apart else "not transcribed"
    return (
        f"of {len(tracks)} audio tracks, only {word} {_some(chosen, len(chosen))} "
        f"{'is' if len(chosen) == 1 else 'are'} transcribed; {why}: {_some(left, len(left))}"
    )


def _channels(media: MediaFacts) -> str | None:
    """What is not as asked for in a recording whose channels should be transcribed apart."""
    there = [part.number for part in media.parts if part.kind == CHANNEL]
    if not there:
        return None
    if len(there) > 1:
        silent = [str(number) for number in range(1, media.channels + 1) if number not in there]
        return f"without sound, and left out: channel {', '.join(silent)}" if silent else None
    mixed = sum(track.chosen for track in media.tracks) > 1
    why = "its tracks are mixed" if mixed else "only one channel has sound of its own"
    return f"{why}, so its channels are not transcribed apart"


def _track(track: AudioTrack) -> str:
    """Name of a track: `2 (eng, "Microphone")`."""
    about = [track.language or "", f'"{track.title}"' if track.title else ""]
    said = ", ".join(part for part in about if part)
    return f"{track.number} ({said})" if said else str(track.number)


def _line(text: str) -> str:
    return escapes.one_line(" ".join(text.split()))
