"""An open recording as the decoders present it: its facts and its blocks of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dropscribe.media.normalise import Block


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What an open source says of itself."""

    container: str
    codec: str
    rate_hz: int
    channels: int
    decoder: str  #: "soundfile" or "av"
    declared_s: (
        float | None
    )  #: the duration the decoder reads in the headers, from the container's start; may be wrong
    #: So long after the container's start (that of a picture, say) the sound begins, by the headers; seconds.
    late_s: float = 0.0


class Source(Protocol):
    """An open recording."""

    @property
    def facts(self) -> SourceFacts:
        """Known once it is open."""

    def blocks(self) -> Iterator[Block]:
        """All audio that can be decoded, in order.

        Damage is counted and left out. Raises UnreadableMediaError, OSError, MemoryError.
        """

    @property
    def damage(self) -> int:
        """Places (packets) that could not be decoded so far and were left out."""

    def close(self) -> None:
        """Release the decoder; the file descriptor stays the caller's."""
