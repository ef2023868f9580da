"""Decoding as the service sees it: orders in, frozen events out.

Contract, held by `tests/contract/test_decoders.py`: each order ends in exactly one `DecodeDone` or
`DecodeFailed`; before `DecodeDone` came `Opened` once and the recording's blocks in order. Samples are
16 kHz mono int16 little-endian, written by the decoder into arena slots it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dropscribe.files import FileSignature
from dropscribe.transcript.types import MediaFacts


@dataclass(frozen=True, slots=True)
class DecodeOrder:
    """Decode one file. `ticket` names the order in every event. `expected` guards against a file that changed.

    `folder`: the watched folder that must not be left on the way to it; None for a file that a person named.
    """

    ticket: int
    path: Path
    expected: FileSignature | None
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The file was recognised and its audio stream chosen."""

    ticket: int
    container: str
    codec: str
    declared_ms: int | None  #: duration the container claims; None if it claims none


@dataclass(frozen=True, slots=True)
class PcmReady:
    """`samples` samples stand in the slot at `offset`. The slot now belongs to the receiver."""

    ticket: int
    offset: int
    samples: int


@dataclass(frozen=True, slots=True)
class SlotWanted:
    """The decoder has no slot to write into and waits for `Decoders.give`."""

    ticket: int


@dataclass(frozen=True, slots=True)
class DecodeDone:
    """Everything decodable was delivered. `unused` slots given to it come back here."""

    ticket: int
    facts: MediaFacts
    decode_s: float  #: the decoder's own seconds, waiting for slots not counted
    unused: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DecodeFailed:
    """The order ended without (more) audio; what was delivered before must be thrown away.

    `code` is the `code` of the matching class in `dropscribe.errors`. `lost` are the offsets of slots the
    decoder held and did not hand over; they are free again.
    """

    ticket: int
    code: str
    reason: str
    remedy: str
    retryable: bool
    lost: tuple[int, ...]


DecodeEvent = Opened | PcmReady | SlotWanted | DecodeDone | DecodeFailed


class Decoders(Protocol):
    """A pool of decoder processes. Owned by one thread; not thread-safe."""

    def idle(self) -> int:
        """How many orders it would start at once."""

    def start(self, order: DecodeOrder, slots: Sequence[int], now: float) -> None:
        """Give the order and its first slots (arena offsets) to an idle decoder; `now` is monotonic seconds."""

    def give(self, ticket: int, slots: Sequence[int]) -> None:
        """Hand further slots to the decoder of `ticket`; ignored if the order has ended (see return of `abort`)."""

    def abort(self, ticket: int) -> Sequence[int]:
        """Kill the decoder of this order; returns the slots it held. No further event of the ticket arrives."""

    def filenos(self) -> Sequence[int]:
        """Descriptors that become readable when `poll` has events."""

    def poll(self, now: float) -> Sequence[DecodeEvent]:
        """Events that have arrived, never waiting; also kills decoders past their wall-clock limit and
        replaces dead ones.
        """

    def close(self) -> None:
        """Stop all decoders; may be called twice."""
