"""A group member without models, for tests of code that uses `Member`."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

from dropscribe.engine.protocol import (
    SAMPLE_RATE_HZ,
    Abort,
    BlockFreed,
    Event,
    HeldModel,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
)
from dropscribe.errors import EngineDiedError, EngineError
from dropscribe.transcript.types import NO_TOKENS, EngineFacts


def facts(**changes: object) -> EngineFacts:
    values: dict[str, object] = {
        "models": (("asr", "m"), ("vad", "v")),
        "device": "cuda:0 (Card)",
        "precision": "fp16",
        "versions": (("torch", "2"),),
        "notice": None,
        "warmup_s": 1.0,
    }
    return EngineFacts(**(values | changes))  # type: ignore[arg-type]


def segment(stream: int, batch: int = 0) -> SegmentDone:
    return SegmentDone(stream, 0, 0, 1000, "t", NO_TOKENS, batch, 1, 1.0, 1.0, 0.0, 0.1)


class FakeMember:
    """A `Member` that sends the events given to `now`, or those due for all submitted audio by `recognise`.

    Passes `tests/contract/test_members.py`.
    """

    def __init__(
        self, device: str = "cuda:0", *, ready: bool = True, room_s: float = 100.0,
        got: list[PcmBlock | Abort] | None = None,
    ) -> None:  # fmt: skip
        """`room_s`: capacity, audio seconds. `got`: list of received messages; a new one if None."""
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.ready = ready
        self.room_s = room_s
        #: Value of `idle_s` while there is work, seconds.
        self.idle = 0.0
        self.got: list[PcmBlock | Abort] = [] if got is None else got
        self.said: list[Event] = []
        self.dead: EngineError | None = None
        #: "dismissed" and "closed", in order of the calls.
        self.ended: list[str] = []
        #: Longest timeout passed to `results`, seconds.
        self.waited_s = 0.0
        self._facts = facts(device=f"{device} (Card)")
        #: Per stream under way: seconds submitted, and streams whose last block was submitted.
        self._held_s: dict[int, float] = {}
        self._complete: set[int] = set()
        self._to_free: list[int] = []

    def now(self, *events: Event) -> None:
        """Queue events for the next call of `results`."""
        for event in events:
            if isinstance(event, (StreamDone, StreamFailed)):
                self._release(event.stream)
            elif isinstance(event, BlockFreed) and event.offset in self._to_free:
                self._to_free.remove(event.offset)
        self.said += events
        os.eventfd_write(self._fd, 1)

    def recognise(self) -> None:
        """Queue the return of every block and the end of every stream with its last block."""
        self.now(*(BlockFreed(offset) for offset in list(self._to_free)))
        for stream in sorted(self._complete):
            spoken = [segment(stream)] if self._held_s[stream] else []
            self.now(*spoken, StreamDone(stream, len(spoken), round(self._held_s[stream] * 1000), 1000, 0.0))

    def die(self, error: EngineError | None = None) -> None:
        self.dead = error or EngineDiedError("was killed by SIGKILL")
        os.eventfd_write(self._fd, 1)

    def be(self, changed: EngineFacts) -> None:
        self._facts = changed

    @property
    def facts(self) -> EngineFacts:
        if not self.ready:
            raise EngineError("not ready yet")
        return self._facts

    @property
    def held(self) -> tuple[HeldModel, ...]:
        return ()

    def wait_ready(self, timeout_s: float) -> bool:
        self.waited_s = max(self.waited_s, timeout_s)
        if self.dead is not None:
            raise self.dead
        return self.ready

    def submit(self, message: PcmBlock | Abort) -> None:
        if self.dead is not None:
            raise self.dead
        self.got.append(message)
        if isinstance(message, Abort):
            self._release(message.stream)
            self.said = [e for e in self.said if isinstance(e, BlockFreed) or e.stream != message.stream]
            return
        seconds = message.samples / SAMPLE_RATE_HZ
        self.room_s -= seconds
        self._held_s[message.stream] = self._held_s.get(message.stream, 0.0) + seconds
        self._to_free.append(message.offset)
        if message.final:
            self._complete.add(message.stream)

    def flush(self) -> None:
        """Messages arrive as they are submitted."""

    def results(self, timeout_s: float) -> Sequence[Event]:
        self.waited_s = max(self.waited_s, timeout_s)
        readable = select.select([self._fd], [], [], timeout_s)[0]
        said, self.said = self.said, []
        if not said and self.dead is not None:
            raise self.dead
        if readable and self.dead is None:
            os.eventfd_read(self._fd)
        return said

    def capacity(self, stream: int | None = None) -> float:
        del stream
        return self.room_s

    def fileno(self) -> int:
        return self._fd

    def idle_s(self, now: float) -> float:
        del now
        return self.idle if self._held_s else 0.0

    def dismiss(self) -> None:
        self.ended.append("dismissed")
        self.dead = EngineDiedError("was dismissed")

    def close(self) -> None:
        if "closed" not in self.ended:
            os.close(self._fd)
            self.ended.append("closed")

    def _release(self, stream: int) -> None:
        self.room_s += self._held_s.pop(stream, 0.0)
        self._complete.discard(stream)
