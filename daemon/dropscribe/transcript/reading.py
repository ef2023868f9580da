"""Read a transcript from its JSON file. The content is not trusted: every field that is used is validated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from dropscribe.transcript.renderers.json_document import JSON_SCHEMA
from dropscribe.transcript.roles import ASR, VAD, key_of, role_of
from dropscribe.transcript.timing import TIMING_SCHEMA
from dropscribe.transcript.types import (
    MOST_SPEAKERS,
    STAGES,
    AudioTrack,
    EngineFacts,
    Loss,
    MediaFacts,
    Part,
    Segment,
    Speaker,
    Tags,
    Timings,
    Tokens,
    Transcript,
)
from dropscribe.transcript.written.marks import WIDE

#: Largest accepted number (ms, bytes, counts): exact as a float and within SQLite's integers.
MOST = 2**53
#: Largest job number accepted from a transcript. The ledger numbers later jobs above the largest one on record, which
#: must leave room.
MOST_JOBS = 2**31
#: Longest accepted name, model, version or reason, characters.
MOST_CHARACTERS = 4096
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FAMILY = re.compile(r"dropscribe/transcript/\d+")

T = TypeVar("T")


class NotATranscriptError(ValueError):
    """The bytes are not a document of this version; the message has the reason."""


class NewerTranscriptError(NotATranscriptError):
    """The document has the schema of another version."""


@dataclass(frozen=True, slots=True)
class Written:
    """A transcript read from a file, and the version of dropscribe that wrote it."""

    transcript: Transcript
    version: str


@dataclass(frozen=True, slots=True)
class TimingLog:
    """Fields of a timing log that the transcript does not have; instants are epoch seconds."""

    timings: Timings
    warmup_s: float
    started: float
    ended: float
    version: str


def read_transcript(data: bytes) -> Written:
    """Parse the content of a NAME.json. Raises NotATranscriptError."""
    document = _document(data)
    schema = document.get("schema")
    if schema != JSON_SCHEMA:
        if isinstance(schema, str) and _FAMILY.fullmatch(schema):
            raise NewerTranscriptError(f"its schema {schema} is of another version")
        raise NotATranscriptError("it is not a transcript of dropscribe")
    recording = _part(document, "recording")
    sha256 = _text(recording, "sha256")
    if _SHA256.fullmatch(sha256) is None:
        raise NotATranscriptError("recording.sha256 is not a SHA-256")
    return Written(
        Transcript(
            recording_name=_text(recording, "name"),
            sha256=sha256,
            job_id=_number(document, "job", MOST_JOBS),
            created_at=_instant(recording, "admitted"),
            media=_media(_part(document, "media")),
            engine=_engine(_part(document, "engine"), _optional_text(document, "notice")),
            segments=_segments(document.get("segments")),
            incomplete=tuple(_incomplete(document)),
            speakers=tuple(_listed(document, "speakers", _speaker)),
            # Transcripts of earlier versions have none.
            recipe=_optional_text(_part(document, "recipe"), "heard") or "" if "recipe" in document else "",
        ),
        _text(_part(document, "generator"), "version"),
    )


def read_timing(data: bytes, transcript: Transcript) -> TimingLog:
    """Parse the content of a NAME.timing.json of `transcript`. Raises NotATranscriptError."""
    document = _document(data)
    if document.get("schema") != TIMING_SCHEMA:
        raise NotATranscriptError("it is not a timing log of this version")
    if _text(_part(document, "recording"), "sha256") != transcript.sha256:
        raise NotATranscriptError("it is of another recording")
    stages, batches = _part(document, "stages"), _part(document, "batches")
    return TimingLog(
        Timings(
            seconds=tuple((stage, _seconds(stages, stage)) for stage in STAGES if stage in stages),
            batch_sizes=tuple(_list(batches, "sizes", lambda size: _checked(size, MOST, "batches.sizes"))),
            padding_waste=_seconds(batches, "padding_waste"),
            speech_ms=round(_seconds(document, "speech_s") * 1000),
            wall_s=_seconds(document, "wall_s"),
        ),
        _seconds(_part(document, "engine"), "warmup_s"),
        _instant(document, "started"),
        _instant(document, "ended"),
        _text(_part(document, "generator"), "version"),
    )


def with_timing(transcript: Transcript, log: TimingLog) -> Transcript:
    """Copy of the transcript with the timings and the warm-up time of its timing log."""
    return replace(transcript, timings=log.timings, engine=replace(transcript.engine, warmup_s=log.warmup_s))


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise NotATranscriptError(f"it is not JSON ({type(e).__name__})") from e
    if not isinstance(document, dict):
        raise NotATranscriptError("it is not a JSON object")
    return document


def _media(media: dict[str, Any]) -> MediaFacts:
    return MediaFacts(
        duration_ms=_number(media, "duration_ms"),
        container=_text(media, "container"),
        codec=_text(media, "codec"),
        sample_rate_hz=_number(media, "sample_rate_hz"),
        channels=_number(media, "channels"),
        decoder=_text(media, "decoder"),
        warnings=tuple(_list(media, "warnings", lambda text: _short(text, "media.warnings"))),
        truncated=_optional_text(media, "truncated"),
        losses=tuple(_listed(media, "losses", _loss)),
        tracks=tuple(_listed(media, "tracks", _track)),
        parts=tuple(_listed(media, "parts", _recorded_part)),
    )


def _listed(document: dict[str, Any], name: str, item: Callable[[dict[str, Any]], T]) -> Sequence[T]:
    """Objects of a list that transcripts of older versions lack."""
    if name not in document:
        return ()
    return _list(document, name, lambda one: item(_part({name: one}, name)))


def _loss(loss: dict[str, Any]) -> Loss:
    return Loss(
        kind=_text(loss, "kind"),
        start_ms=_number(loss, "start_ms"),
        length_ms=None if loss.get("length_ms") is None else _number(loss, "length_ms"),
        text=_text(loss, "text"),
        places=_number(loss, "places"),
    )


def _track(track: dict[str, Any]) -> AudioTrack:
    return AudioTrack(
        number=_number(track, "number"),
        language=_optional_text(track, "language"),
        title=_optional_text(track, "title"),
        codec=_text(track, "codec"),
        channels=_number(track, "channels"),
        default=_truth(track, "default"),
        chosen=_truth(track, "chosen"),
    )


def _recorded_part(part: dict[str, Any]) -> Part:
    return Part(
        kind=_text(part, "kind"),
        number=_number(part, "number"),
        start_ms=_number(part, "start_ms"),
        name=_optional_text(part, "name"),
    )


def _engine(engine: dict[str, Any], notice: str | None) -> EngineFacts:
    versions = _part(engine, "versions")
    # Another version may have roles that are not known here, and other fields whose names end like theirs.
    named = (role_of(key) for key, value in engine.items() if isinstance(value, str))
    roles = dict.fromkeys([ASR, VAD, *(role for role in named if role is not None)])
    return EngineFacts(
        models=tuple((_short(role, "engine"), _text(engine, key_of(role))) for role in roles),
        device=_text(engine, "device"),
        precision=_text(engine, "precision"),
        versions=tuple((_short(name, "versions"), _text(versions, name)) for name in versions),
        notice=notice,
        warmup_s=0.0,
    )


def _incomplete(document: dict[str, Any]) -> Iterator[str]:
    """The remarks that do not follow from anything else in the document."""
    said = document.get("remarks")
    for remark in said if isinstance(said, list) else ():
        if isinstance(remark, dict) and remark.get("kind") == "incomplete":
            yield _text(remark, "text")


def _segments(listed: object) -> tuple[Segment, ...]:
    if not isinstance(listed, list):
        raise NotATranscriptError("segments is not a list")
    return tuple(_segment(one, index) for index, one in enumerate(listed))


def _segment(one: object, index: int) -> Segment:
    if not isinstance(one, dict) or one.get("index") != index:
        raise NotATranscriptError(f"segment {index} is missing")
    start, end = _number(one, "start_ms"), _number(one, "end_ms")
    text = one.get("raw", one.get("text"))
    if not isinstance(text, str) or end < start:
        raise NotATranscriptError(f"segment {index} is not well formed")
    listed = one.get("tokens")
    if not isinstance(listed, list):
        raise NotATranscriptError(f"segment {index} has no tokens")
    tokens = [_token(token, index) for token in listed]
    if len({len(token) for token in tokens}) > 1:
        raise NotATranscriptError(f"only some tokens of segment {index} have a confidence")
    if len({"speaker" in token for token in listed}) > 1:
        raise NotATranscriptError(f"only some tokens of segment {index} have a speaker")
    said = Tokens.of(tokens) if tokens else Tokens()
    marks = bytes(map(_mark, listed)) if "punctuated" in one else b""
    try:
        tags = Tags.of_record(one)
    except TypeError as e:
        raise NotATranscriptError(f"the tags of segment {index} are not well formed") from e
    return Segment(index, start, end, text, said, marks, bytes(_speaker_numbers(listed)), tags)


def _token(token: object, index: int) -> tuple[str, int, int] | tuple[str, int, int, int]:
    if not isinstance(token, dict) or not isinstance(token.get("text"), str):
        raise NotATranscriptError(f"a token of segment {index} is not well formed")
    placed = token["text"], _number(token, "start_ms"), _number(token, "end_ms")
    if "confidence" not in token:
        return placed
    return *placed, round(_share(token, "confidence") * 255)


def _mark(token: dict[str, Any]) -> int:
    mark = token.get("mark", "")
    if mark not in WIDE:
        raise NotATranscriptError("the mark of a token is not known")
    return WIDE.index(mark)


def _speaker_numbers(tokens: Sequence[dict[str, Any]]) -> Iterator[int]:
    for token in tokens:
        if "speaker" in token:
            yield 0 if token["speaker"] is None else _number(token, "speaker", MOST_SPEAKERS)


def _speaker(speaker: dict[str, Any]) -> Speaker:
    number, kind = _number(speaker, "number", MOST_SPEAKERS), _text(speaker, "kind")
    return Speaker(number, _optional_text(speaker, "name"), kind)


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    if not isinstance(part, dict):
        raise NotATranscriptError(f"{name} is not an object")
    return part


def _list(document: dict[str, Any], name: str, item: Callable[[object], T]) -> Sequence[T]:
    values = document.get(name)
    if not isinstance(values, list):
        raise NotATranscriptError(f"{name} is not a list")
    return [item(value) for value in values]


def _text(document: dict[str, Any], name: str) -> str:
    return _short(document.get(name), name)


def _optional_text(document: dict[str, Any], name: str) -> str | None:
    return None if document.get(name) is None else _text(document, name)


def _short(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        raise NotATranscriptError(f"{name} is not a text, or too long")
    return value


def _truth(document: dict[str, Any], name: str) -> bool:
    value = document.get(name)
    if not isinstance(value, bool):
        raise NotATranscriptError(f"{name} is not true or false")
    return value


def _number(document: dict[str, Any], name: str, most: int = MOST) -> int:
    return _checked(document.get(name), most, name)


def _checked(value: object, most: int, name: str) -> int:
    # `type`, not isinstance: bool is a subclass of int.
    if type(value) is not int or not 0 <= value <= most:
        raise NotATranscriptError(f"{name} is not a valid number")
    return value


def _seconds(document: dict[str, Any], name: str) -> float:
    value = document.get(name)
    # The comparison also rejects NaN; bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise NotATranscriptError(f"{name} is not a valid time")
    return float(value)


def _share(document: dict[str, Any], name: str) -> float:
    """A number from 0 to 1."""
    value = _seconds(document, name)
    if value > 1:
        raise NotATranscriptError(f"{name} is more than 1")
    return value


def _instant(document: dict[str, Any], name: str) -> float:
    try:
        instant = datetime.fromisoformat(_text(document, name))
        if instant.tzinfo is None:
            raise NotATranscriptError(f"{name} has no time zone")
        seconds = instant.timestamp()
    except (ValueError, OverflowError) as e:
        raise NotATranscriptError(f"{name} is not an instant") from e
    if not 0 <= seconds <= MOST:
        raise NotATranscriptError(f"{name} is not a valid instant")
    return seconds
