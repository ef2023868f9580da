"""Interface of an open recording: its facts and its blocks of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dropscribe.media.normalise import Block
from dropscribe.media.timeline import Hole
from dropscribe.transcript.types import AudioTrack


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Properties of an open recording, as its headers declare them."""

    container: str
    codec: str
    rate_hz: int
    channels: int
    decoder: str  #: "soundfile" or "av"
    #: Declared duration, seconds from the start of the container; may be wrong.
    declared_s: float | None
    #: Delay of the audio after the start of the container (for instance, of a video track), by the headers, seconds.
    late_s: float = 0.0
    #: All audio tracks; empty if the format has only one.
    tracks: tuple[AudioTrack, ...] = ()


@runtime_checkable
class Seekable(Protocol):
    """A source that can begin elsewhere."""

    def seek(self, at_s: float) -> Callable[[], float | None]:
        """Go to a position of the recording, or a little before it, before the first of `blocks`.

        Returns a function that gives the position reached, seconds; None before the first block, or if it is unknown. Raises
        UnreadableMediaError, OSError.
        """


class Source(Protocol):
    """An open recording."""

    @property
    def facts(self) -> SourceFacts:
        """Properties of the recording; available before the first block."""

    def blocks(self) -> Iterator[Block | Hole]:
        """Decode all audio that can be decoded, in order, with the holes in it.

        Damaged parts are skipped and counted in `damage`. Raises UnreadableMediaError, OSError, MemoryError.
        """

    @property
    def damage(self) -> int:
        """Number of damaged places (packets) skipped so far."""

    @property
    def end(self) -> int | None:
        """Offset in the file behind the last audio that was read, bytes; None if the decoder does not tell."""

    def close(self) -> None:
        """Release the decoder; the caller must close the file descriptor."""
