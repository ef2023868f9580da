"""An engine without models, for tests of the pump."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dropscribe.engine.protocol import SAMPLE_RATE_HZ, Abort, Event, HeldModel, PcmBlock
from dropscribe.errors import EngineDiedError
from dropscribe.transcript.types import EngineFacts
from tests.support.ledgers import ENGINE


class FakeEngine:
    """A `LocalEngine` that sends the events given to `now`."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        #: Capacity, audio seconds.
        self.room_s = 100.0
        self.got: list[PcmBlock | Abort] = []
        self._said: list[Event] = []
        self._dead = False

    @property
    def blocks(self) -> list[PcmBlock]:
        return [m for m in self.got if isinstance(m, PcmBlock)]

    def now(self, *events: Event) -> None:
        """Queue events for the next call of `results`."""
        self._said += events
        os.eventfd_write(self._fd, 1)

    def die(self) -> None:
        self._dead = True
        os.eventfd_write(self._fd, 1)

    @property
    def facts(self) -> EngineFacts:
        return ENGINE

    @property
    def held(self) -> tuple[HeldModel, ...]:
        return ()

    def submit(self, message: PcmBlock | Abort) -> None:
        if self._dead:
            raise EngineDiedError("was killed by SIGKILL")
        self.got.append(message)
        if isinstance(message, PcmBlock):
            self.room_s -= message.samples / SAMPLE_RATE_HZ

    def flush(self) -> None:
        """Messages arrive as they are submitted."""

    def results(self, timeout_s: float) -> Sequence[Event]:
        del timeout_s
        said, self._said = self._said, []
        if not said and self._dead:
            raise EngineDiedError("was killed by SIGKILL")
        return said

    def capacity(self) -> float:
        return self.room_s

    def fileno(self) -> int:
        return self._fd

    def idle_s(self, now: float) -> float:
        del now
        return 0.0

    def close(self) -> None:
        os.close(self._fd)
