"""Messages between the pool and a decoder child. Frozen, pickled; both ends are processes of dropscribe."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.media.protocol import DecodeOrder, Opened, PartBegun, PcmReady, SlotWanted
from dropscribe.transcript.types import MediaFacts


@dataclass(frozen=True, slots=True)
class Begin:
    """To the child: decode a file into these slots (arena offsets, bytes)."""

    order: DecodeOrder
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Give:
    """To the child: further slots. A child whose order has ended ignores them; the pool counts them as free."""

    ticket: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """From the child, once: libraries are loaded and resource limits set."""

    private_bytes: int


@dataclass(frozen=True, slots=True)
class Finished:
    """From the child: all decodable audio was delivered."""

    ticket: int
    facts: MediaFacts
    decode_s: float
    private_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """From the child: the order failed. `leaving`: the child must be replaced, since its state may be corrupt."""

    ticket: int
    code: str
    reason: str
    remedy: str
    retryable: bool
    private_bytes: int
    leaving: bool


#: Messages from a child; each transmission on the pipe is a tuple of these.
FromChild = Ready | Opened | PartBegun | PcmReady | SlotWanted | Finished | Failed


@dataclass(frozen=True, slots=True)
class Terms:
    """Settings of a child."""

    slot_bytes: int
    memory_mb: int
    max_hours: float
