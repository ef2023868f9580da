"""Interface between service and decoders: orders in, frozen events out.

Contract, tested by `tests/contract/test_decoders.py`: each order ends in exactly one `DecodeDone` or
`DecodeFailed`; `DecodeDone` is preceded by one `Opened` and by the recording's blocks in order. Samples are
16 kHz mono int16 little-endian, written by the decoder into the arena slots given to it.

A recording whose tracks or channels are transcribed apart is decoded as parts, one after the other, into one stream of
samples, with at least `PART_GAP_MS` of silence between two parts. `PartBegun` precedes the block with the first sample of
its part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dropscribe.files import FileSignature
from dropscribe.output_places import OutputPlace
from dropscribe.transcript.types import MediaFacts, Part

#: Choices of channels: averaged; each apart; each apart if the recording is a stereo call, else averaged.
CHANNELS_MIXED, CHANNELS_APART, CHANNELS_IF_CALL = "mixed", "apart", "if call"

#: Silence between two parts of a recording, ms; voice activity detection ends speech after less.
PART_GAP_MS = 2000


@dataclass(frozen=True, slots=True)
class DecodeOrder:
    """Order to decode one file. `ticket` identifies the order in every event.

    `expected`: decoding fails if the file's signature is another one. `folder`: the watched folder that links on the
    path must not leave; None for a file named by a person. `outputs`: where the transcripts go; decoding fails if it
    is known that they cannot be written there, so that nothing is recognised in vain (`output_places.require_outputs`).
    `track`: number of the audio track, counted from 1; or "auto" (the default track, else the first with sound),
    "loudest", "mix" or "all" (each apart). `channels`: CHANNELS_MIXED, CHANNELS_APART or CHANNELS_IF_CALL.
    """

    ticket: int
    path: Path
    expected: FileSignature | None
    folder: Path | None = None
    outputs: OutputPlace | None = None
    track: int | str = "auto"
    channels: str = CHANNELS_MIXED


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Order to decode samples [first, first + count) of a recording, to be heard; other fields as of `DecodeOrder`."""

    path: Path
    folder: Path | None
    signature: FileSignature
    first: int
    count: int
    track: int | str
    #: Decode from the start, so that damage does not shift it.
    from_start: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """The container was recognised and its audio stream selected."""

    ticket: int
    container: str
    codec: str
    declared_ms: int | None  #: duration that the container declares; None if it declares none


@dataclass(frozen=True, slots=True)
class PartBegun:
    """The samples from `part.start_ms` on are those of this part, which is number `at` (from 0) of `count`.

    A silent part has no such event, and no samples.
    """

    ticket: int
    part: Part
    at: int
    count: int


@dataclass(frozen=True, slots=True)
class PcmReady:
    """`samples` samples are in the slot at `offset`. The receiver now owns the slot and must free it."""

    ticket: int
    offset: int
    samples: int

    def __reduce__(self) -> tuple[Any, ...]:
        """Faster pickling than the default of dataclasses: a thousand a second are sent."""
        return PcmReady, (self.ticket, self.offset, self.samples)


@dataclass(frozen=True, slots=True)
class SlotWanted:
    """The decoder has no free slot and waits for `Decoders.give`."""

    ticket: int


@dataclass(frozen=True, slots=True)
class DecodeDone:
    """All decodable audio was delivered. `unused`: offsets of the slots that are returned."""

    ticket: int
    facts: MediaFacts
    decode_s: float  #: decoding time without waiting for slots, seconds
    unused: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DecodeFailed:
    """The order failed; the receiver must discard audio delivered before.

    `code`: the `code` of the matching class in `dropscribe.errors`. `lost`: offsets of the decoder's slots that were
    not delivered; they are free again.
    """

    ticket: int
    code: str
    reason: str
    remedy: str
    retryable: bool
    lost: tuple[int, ...]


DecodeEvent = Opened | PartBegun | PcmReady | SlotWanted | DecodeDone | DecodeFailed


class Decoders(Protocol):
    """A pool of decoder processes. Owned by one thread; not thread-safe."""

    def idle(self) -> int:
        """Number of decoders that can start an order immediately."""

    def start(self, order: DecodeOrder, slots: Sequence[int], now: float) -> None:
        """Give the order and its first slots (arena offsets) to an idle decoder; `now` is monotonic seconds."""

    def give(self, ticket: int, slots: Sequence[int]) -> None:
        """Give further slots to the decoder of `ticket`; ignored if the order has ended (see return of `abort`)."""

    def abort(self, ticket: int) -> Sequence[int]:
        """Kill the decoder of this order; returns its slots. No further event of the ticket follows."""

    def filenos(self) -> Sequence[int]:
        """Descriptors that become readable when `poll` has events."""

    def poll(self, now: float) -> Sequence[DecodeEvent]:
        """Events that have arrived, without waiting. Also kills decoders past their time limit; replaces dead ones."""

    def close(self) -> None:
        """Stop all decoders. Idempotent."""
