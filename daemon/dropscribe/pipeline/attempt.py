"""Input and output records of the executor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Profile
from dropscribe.engine.protocol import PLAIN, StreamOptions
from dropscribe.files import FileSignature
from dropscribe.output_places import OutputPlace
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.problem import Problem


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one recording. `ticket` must be unique within an executor; `folder`, `outputs` and `track` as in `DecodeOrder`."""

    ticket: int
    path: Path
    expected: FileSignature | None
    options: StreamOptions = PLAIN
    folder: Path | None = None
    outputs: OutputPlace | None = None
    track: int | str = "auto"


#: `StreamOptions.speakers` by the setting, if that is no number.
_SPEAKERS = {"off": None, "channels": None, "auto": 0}


def options_of(profile: Profile) -> StreamOptions:
    """What a profile asks of the engine."""
    return StreamOptions(
        hotwords=profile.hotwords,
        punctuation="" if profile.punctuation == "off" else profile.punctuation,
        speakers=_SPEAKERS[profile.speakers] if isinstance(profile.speakers, str) else profile.speakers,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one attempt: a result or a problem."""

    ticket: int
    end: Result | Problem


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one attempt, ms of audio; `declared_ms` None if the container declares no duration."""

    decoded_ms: int
    recognised_ms: int
    declared_ms: int | None
