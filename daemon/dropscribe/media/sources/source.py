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
    #: Declared duration, seconds from the start of the container; may be wrong.
    declared_s: float | None
    #: Delay of the audio after the start of the container (for instance, of a video track), by the headers, seconds.
    late_s: float = 0.0


class Source(Protocol):
    """An open recording."""

    @property
    def facts(self) -> SourceFacts:
        """Properties of the recording; available before the first block."""

    def blocks(self) -> Iterator[Block]:
        """Decode all audio that can be decoded, in order.

        Damaged parts are skipped and counted in `damage`. Raises UnreadableMediaError, OSError, MemoryError.
        """

    @property
    def damage(self) -> int:
        """Number of damaged places (packets) skipped so far."""

    def close(self) -> None:
        """Release the decoder; the caller must close the file descriptor."""
