"""Interface of an open recording: its facts and its blocks of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dropscribe.media.normalise import Block


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Properties of an open recording, as its headers declare them."""

    container: str
    codec: str
    rate_hz: int
    channels: int
    decoder: str  #: "soundfile" or "av"
    declared_s: (
        float | None
    )  #: the duration the decoder reads in the headers, from the container's start; may be wrong
    #: Start of the audio after the start of the container (of a video track, for instance), by the headers; seconds.
    late_s: float = 0.0


class Source(Protocol):
    """An open recording."""

    @property
    def facts(self) -> SourceFacts:
        """The properties of the recording; available at once."""

    def blocks(self) -> Iterator[Block]:
        """Decode all audio that can be decoded, in order.

        Damaged parts are counted and left out. Raises UnreadableMediaError, OSError, MemoryError.
        """

    @property
    def damage(self) -> int:
        """Places (packets) that could not be decoded so far and were left out."""

    def close(self) -> None:
        """Release the decoder; the file descriptor stays the caller's."""
