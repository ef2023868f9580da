"""A decoder pool and what it reports, for tests."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dropscribe.config import MediaSettings
from dropscribe.files import FileSignature
from dropscribe.media.pool import DecoderPool
from dropscribe.media.protocol import (
    DecodeDone,
    DecodeEvent,
    DecodeFailed,
    DecodeOrder,
    Opened,
    PcmReady,
    SlotWanted,
)

SLOT_BYTES = 32_768 * 2


#: Time limit of a wait, seconds; far above any normal duration.
DEADLINE_S = 60.0


class Bench:
    """A pool, an arena, and a consumer that checks each event against the contract."""

    def __init__(self, settings: MediaSettings, workers: int = 2, slots: int = 12) -> None:
        self.fd = os.memfd_create("test-arena")
        os.ftruncate(self.fd, slots * SLOT_BYTES)
        self.memory = mmap.mmap(self.fd, 0)
        self.all_slots = {i * SLOT_BYTES for i in range(slots)}
        self.free = sorted(self.all_slots)
        self.pool = DecoderPool(self.fd, SLOT_BYTES, workers=workers, settings=settings, clock=time.monotonic)
        self.pcm: dict[int, list[NDArray[np.int16]]] = {}
        self.opened: dict[int, Opened] = {}
        self.ends: dict[int, DecodeDone | DecodeFailed] = {}
        self.wanting: list[int] = []
        self.events: list[DecodeEvent] = []

    def start(self, ticket: int, path: Path, slots: int = 2, expected: FileSignature | None = None) -> None:
        taken = [self.free.pop() for _ in range(slots)]
        self.pool.start(DecodeOrder(ticket, path, expected), taken, time.monotonic())

    def step(self, *, feed: bool = True, now: float | None = None) -> Sequence[DecodeEvent]:
        """Wait for events and handle all; with `feed=False` no slots are given to decoders."""
        wait(self.pool.filenos(), 0.2 if now is None else 0)
        events = self.pool.poll(time.monotonic() if now is None else now)
        for event in events:
            assert event.ticket not in self.ends, "an event after the end"
            self._take(event)
        self.events += events
        while feed and self.wanting and self.free:
            self.pool.give(self.wanting.pop(0), [self.free.pop()])
        return events

    def _take(self, event: DecodeEvent) -> None:
        match event:
            case Opened():
                assert event.ticket not in self.opened
                self.opened[event.ticket] = event
            case PcmReady():
                assert event.ticket in self.opened
                raw = self.memory[event.offset : event.offset + event.samples * 2]
                self.pcm.setdefault(event.ticket, []).append(np.frombuffer(raw, np.int16))
                self.free.append(event.offset)
            case SlotWanted():
                self.wanting.append(event.ticket)
            case DecodeDone():
                self.ends[event.ticket] = event
                self.free.extend(event.unused)
            case DecodeFailed():
                self.ends[event.ticket] = event
                self.free.extend(event.lost)

    def pids(self) -> list[int]:
        return [child.pid for child in self.pool._children]

    def until(self, *tickets: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not set(tickets) <= set(self.ends):
            assert time.monotonic() < deadline, f"only {self.ends} ended"
            self.step()

    def until_wanting(self, ticket: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while ticket not in self.wanting:
            assert time.monotonic() < deadline
            self.step(feed=False)

    def settle(self) -> None:
        """Wait until every child is ready: only ready children get orders."""
        deadline = time.monotonic() + DEADLINE_S
        while not all(child.ready for child in self.pool._children):
            assert time.monotonic() < deadline
            self.step()

    def failed(self, ticket: int) -> DecodeFailed:
        end = self.ends[ticket]
        assert isinstance(end, DecodeFailed)
        return end

    def done(self, ticket: int) -> DecodeDone:
        end = self.ends[ticket]
        assert isinstance(end, DecodeDone), end
        return end

    def close(self) -> None:
        self.pool.close()
        self.memory.close()
        os.close(self.fd)
