"""Input and output records of the executor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Profile, Settings
from dropscribe.engine.protocol import PLAIN, StreamOptions
from dropscribe.files import FileSignature
from dropscribe.media.protocol import CHANNELS_APART, CHANNELS_IF_CALL, CHANNELS_MIXED
from dropscribe.output_places import OutputPlace
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.problem import Problem
from dropscribe.records import sent


@sent
@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one recording. `ticket` must be unique within an executor; `folder`, `outputs`, `track` and `channels` as in `DecodeOrder`."""

    ticket: int
    path: Path
    expected: FileSignature | None
    options: StreamOptions = PLAIN
    folder: Path | None = None
    outputs: OutputPlace | None = None
    track: int | str = "auto"
    channels: str = CHANNELS_MIXED


#: `DecodeOrder.channels` by the setting, if that is no number.
_CHANNELS = {"off": CHANNELS_MIXED, "channels": CHANNELS_APART, "auto": CHANNELS_IF_CALL}
#: `StreamOptions.speakers` by the setting, if that is no number.
_SPEAKERS = {"off": None, "channels": None, "auto": 0}


def options_of(settings: Settings, profile: Profile) -> StreamOptions:
    """What a profile asks of the engine."""
    return StreamOptions(
        hotwords=profile.hotwords,
        punctuation="" if profile.punctuation == "off" else profile.punctuation,
        speakers=_SPEAKERS[profile.speakers] if isinstance(profile.speakers, str) else profile.speakers,
        models=settings.model_set(profile),
        language=profile.language,
    )


def channels_of(profile: Profile) -> str:
    """`Work.channels` of a profile."""
    return _CHANNELS[profile.speakers] if isinstance(profile.speakers, str) else CHANNELS_MIXED


@sent
@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one attempt: a result or a problem."""

    ticket: int
    end: Result | Problem


@sent
@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one attempt, ms of audio; `declared_ms` None if the container declares no duration.

    If the recording is decoded in parts, positions are those of a recording of which the same share is done.
    """

    decoded_ms: int
    recognised_ms: int
    declared_ms: int | None
