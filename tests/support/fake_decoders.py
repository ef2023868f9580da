"""Decoders without processes, for tests of code that uses `Decoders`."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from dropscribe.errors import RecordingGoneError
from dropscribe.media.protocol import (
    DecodeDone,
    DecodeEvent,
    DecodeFailed,
    DecodeOrder,
    Opened,
    PcmReady,
    SlotWanted,
)
from dropscribe.transcript.types import MediaFacts

#: Blocks of each recording that `decode` decodes.
BLOCKS = 5


class FakeDecoders:
    """`Decoders` that deliver one block per call of `ready`, or all recordings by `decode`.

    Passes `tests/contract/test_decoder_pools.py`.
    """

    def __init__(self, block_samples: int, workers: int = 8) -> None:
        self._block_samples = block_samples
        self._workers = workers
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._closed = False
        self._orders: dict[int, DecodeOrder] = {}
        self._left: dict[int, int] = {}
        #: Empty slots by ticket.
        self.slots: dict[int, deque[int]] = {}
        self._said: list[DecodeEvent] = []

    def ready(self, ticket: int) -> None:
        """Deliver a decoded block of this recording."""
        self._say(PcmReady(ticket, self.slots[ticket].popleft(), self._block_samples))

    def decode(self) -> None:
        """Decode every recording as far as it has slots."""
        for ticket, order in list(self._orders.items()):
            if not order.path.exists():
                code = RecordingGoneError.code
                self._say(DecodeFailed(ticket, code, "the file is gone", "", False, self._end(ticket)))
                continue
            if self._left[ticket] == BLOCKS:
                self._say(Opened(ticket, "wav", "pcm_s16le", None))
            while self._left[ticket] and self.slots[ticket]:
                self._left[ticket] -= 1
                self.ready(ticket)
            if self._left[ticket]:
                self._say(SlotWanted(ticket))
            else:
                facts = MediaFacts(5_000, "wav", "pcm_s16le", 16_000, 1, "soundfile", (), None)
                self._say(DecodeDone(ticket, facts, 0.0, self._end(ticket)))

    def idle(self) -> int:
        return self._workers - len(self._orders)

    def start(self, order: DecodeOrder, slots: Sequence[int], now: float) -> None:
        del now
        assert self.idle() > 0
        self._orders[order.ticket] = order
        self._left[order.ticket] = BLOCKS
        self.slots[order.ticket] = deque(slots)

    def give(self, ticket: int, slots: Sequence[int]) -> None:
        if ticket in self.slots:
            self.slots[ticket].extend(slots)

    def abort(self, ticket: int) -> Sequence[int]:
        self._said = [e for e in self._said if e.ticket != ticket]
        return self._end(ticket)

    def filenos(self) -> Sequence[int]:
        return [self._fd]

    def poll(self, now: float) -> Sequence[DecodeEvent]:
        del now
        said, self._said = self._said, []
        if said:
            os.eventfd_read(self._fd)
        return said

    def close(self) -> None:
        if not self._closed:
            os.close(self._fd)
        self._closed = True

    def _say(self, event: DecodeEvent) -> None:
        self._said.append(event)
        os.eventfd_write(self._fd, 1)

    def _end(self, ticket: int) -> tuple[int, ...]:
        """Remove an order; returns its slots."""
        self._orders.pop(ticket, None)
        self._left.pop(ticket, None)
        return tuple(self.slots.pop(ticket, ()))
