"""What travels between the pool and a decoder child; frozen, pickled, our own processes on both ends."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.media.protocol import DecodeOrder, Opened, PcmReady, SlotWanted
from dropscribe.transcript.types import MediaFacts


@dataclass(frozen=True, slots=True)
class Begin:
    """To the child: decode this, into these slots (arena offsets, bytes)."""

    order: DecodeOrder
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Give:
    """To the child: further slots. One whose order has ended throws the message away; the pool knows."""

    ticket: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """From the child, once: its libraries are loaded and its limits are in force."""

    private_bytes: int


@dataclass(frozen=True, slots=True)
class Finished:
    """From the child: all that could be decoded was handed over."""

    ticket: int
    facts: MediaFacts
    decode_s: float
    private_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """From the child: the order ended with an error. `leaving`: it does not trust itself any more and exits."""

    ticket: int
    code: str
    reason: str
    remedy: str
    retryable: bool
    private_bytes: int
    leaving: bool


#: What a child says. Each message on the pipe is a tuple of these.
FromChild = Ready | Opened | PcmReady | SlotWanted | Finished | Failed


@dataclass(frozen=True, slots=True)
class Terms:
    """What a child is started with."""

    slot_bytes: int
    memory_mb: int
    max_hours: float
