"""Move audio of many recordings from decoders through the arena to the engine, and collect the results.

Backpressure has two bounds, both in audio seconds: a decoder without a free slot waits, and a block is submitted only
while the engine has capacity. Every slot belongs to exactly one of: the arena's free list, a decoder, `_held_back`,
`_waiting`, the engine (`_lent`).
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import time
from collections import deque
from collections.abc import Callable, Sequence

from dropscribe.engine.protocol import (
    PLAIN,
    Abort,
    BlockFreed,
    LocalEngine,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
)
from dropscribe.errors import EngineDiedError, LostSegmentError
from dropscribe.media.protocol import (
    DecodeDone,
    DecodeFailed,
    DecodeOrder,
    Decoders,
    Opened,
    PartBegun,
    PcmReady,
    SlotWanted,
)
from dropscribe.pipeline.assembly import Assembly, Heard, Result
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.local.arena import Arena
from dropscribe.pipeline.problem import Problem, kind_of

#: Slots passed to a decoder at a time: a recording of five minutes needs no refill, each of which takes a turn of the main
#: loop. With few slots a decoder of WAV files would mostly wait for refills.
SLOTS_PER_DECODER = 32
#: Shortest time between two turns that wait for events, seconds. Each turn has a cost of its own, so with many events they
#: are handled in groups. Decoders and engine have work for ten times as long.
GATHER_S = 0.005


class Pump:
    """Connect a decoder pool and an engine. Owned by one thread; not thread-safe."""

    def __init__(
        self, decoders: Decoders, engine: LocalEngine, arena: Arena, clock: Callable[[], float]
    ) -> None:
        self._decoders = decoders
        self._engine = engine
        self._arena = arena
        self._clock = clock
        self._streams: dict[int, Assembly] = {}
        #: Tickets whose decoder waits for slots, in order of request.
        self._starved: deque[int] = deque()
        #: Latest block of each recording, kept until the next block or the end: the last one must be marked final.
        self._held_back: dict[int, PcmReady] = {}
        #: Blocks in order of arrival that the engine has no capacity for yet.
        self._waiting: deque[PcmBlock] = deque()
        #: Offsets of slots that the engine still reads.
        self._lent: set[int] = set()
        self._outcomes: list[Outcome] = []
        #: Earliest time of the next turn that waits, by the clock.
        self._next_turn = 0.0

    def room(self) -> int:
        """Number of recordings that can be started now."""
        return self._decoders.idle()

    def progress(self, ticket: int) -> Progress | None:
        """Progress of an attempt; None once it has ended."""
        stream = self._streams.get(ticket)
        if stream is None:
            return None
        return Progress(stream.decoded_ms, stream.recognised_ms, stream.declared_ms)

    def heard(self, ticket: int) -> Heard | None:
        """Extent of the text of an attempt up to the first missing segment; None once it has ended."""
        stream = self._streams.get(ticket)
        return None if stream is None else stream.heard()

    def texts(self, ticket: int) -> tuple[str, ...]:
        """Texts of the segments counted by `heard`."""
        stream = self._streams.get(ticket)
        return () if stream is None else tuple(stream.texts)

    def start(self, work: Work) -> None:
        """Start an attempt; `room()` must be positive."""
        now = self._clock()
        self._streams[work.ticket] = Assembly(started=now, options=work.options)
        order = DecodeOrder(
            work.ticket, work.path, work.expected, work.folder, work.outputs, work.track, work.channels
        )
        self._decoders.start(order, self._arena.take(SLOTS_PER_DECODER), now)

    def abort(self, ticket: int) -> None:
        """Cancel an attempt, which then has no outcome; ignored once it has ended."""
        if self._streams.pop(ticket, None) is None:
            return
        self._reclaim(self._decoders.abort(ticket))
        self._drop_blocks(ticket)
        self._forget_in_engine(ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """Wait at most `timeout_s` seconds for events or a readable descriptor in `wake`; return new outcomes.

        Raises EngineDiedError; outcomes found before that are returned by the next call.
        """
        if not self._outcomes and timeout_s > 0:
            self._gather()
            multiprocessing.connection.wait(
                [*self._decoders.filenos(), self._engine.fileno(), *wake], timeout_s
            )
        for decoder_event in self._decoders.poll(self._clock()):
            match decoder_event:
                case Opened():
                    self._streams[decoder_event.ticket].declared_ms = decoder_event.declared_ms
                case PartBegun():
                    self._streams[decoder_event.ticket].begin(decoder_event)
                case PcmReady():
                    self._on_pcm(decoder_event)
                case SlotWanted():
                    self._starved.append(decoder_event.ticket)
                case DecodeDone():
                    self._on_decoded(decoder_event)
                case DecodeFailed():
                    self._on_decode_failed(decoder_event)
        for event in self._engine.results(0):
            match event:
                case BlockFreed():
                    self._lent.discard(event.offset)
                    self._arena.put(event.offset)
                case SegmentDone():
                    self._on_segment(event)
                case StreamDone():
                    if event.stream in self._streams:
                        self._streams[event.stream].done = event
                        self._end_if_complete(event.stream)
                case StreamFailed():
                    self._on_stream_failed(event)
        self._feed_engine()
        self._engine.flush()
        self._feed_decoders()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _gather(self) -> None:
        """Let events accumulate if the previous turn was just now."""
        now = self._clock()
        early_s = self._next_turn - now
        if early_s > 0:
            time.sleep(min(early_s, GATHER_S))
        self._next_turn = max(now, self._next_turn) + GATHER_S

    def engine_idle_s(self) -> float:
        """Time without progress of an engine with work, seconds."""
        return self._engine.idle_s(self._clock())

    def abandon_engine(self) -> list[int]:
        """Discard all attempts and reclaim their slots after the engine was lost; returns their tickets."""
        tickets = list(self._streams)
        for ticket in tickets:
            self._reclaim(self._decoders.abort(ticket))
            self._drop_blocks(ticket)
        self._streams.clear()
        self._starved.clear()
        for offset in self._lent:
            self._arena.put(offset)
        self._lent.clear()
        return tickets

    def use_engine(self, engine: LocalEngine) -> None:
        """Set the new engine after `abandon_engine`."""
        self._engine = engine

    def _on_pcm(self, event: PcmReady) -> None:
        self._streams[event.ticket].decoded_samples += event.samples
        earlier = self._held_back.get(event.ticket)
        self._held_back[event.ticket] = event
        if earlier is not None:
            self._put_block(earlier, final=False)

    def _on_decoded(self, event: DecodeDone) -> None:
        stream = self._streams[event.ticket]
        stream.facts = event.facts
        stream.decode_s = event.decode_s
        self._reclaim(event.unused)
        last = self._held_back.pop(event.ticket)
        self._put_block(last, final=True)

    def _put_block(self, pcm: PcmReady, *, final: bool) -> None:
        """Queue a block for the engine; the first block of a recording carries its options."""
        stream = self._streams[pcm.ticket]
        self._waiting.append(PcmBlock(pcm.ticket, pcm.offset, pcm.samples, final, stream.options))
        stream.options = PLAIN

    def _on_decode_failed(self, event: DecodeFailed) -> None:
        self._reclaim(event.lost)
        self._streams.pop(event.ticket)
        self._drop_blocks(event.ticket)
        self._forget_in_engine(event.ticket)
        kind = kind_of(event.code, retryable=event.retryable)
        problem = Problem(event.code, event.reason, event.remedy, kind)
        self._outcomes.append(Outcome(event.ticket, problem))

    def _on_segment(self, event: SegmentDone) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            return
        try:
            stream.add(event)
        except LostSegmentError as e:
            self.abort(event.stream)
            self._outcomes.append(Outcome(event.stream, Problem.of(e)))

    def _on_stream_failed(self, event: StreamFailed) -> None:
        if self._streams.pop(event.stream, None) is None:
            return
        self._reclaim(self._decoders.abort(event.stream))
        self._drop_blocks(event.stream)
        problem = Problem(
            event.code,
            event.reason,
            event.remedy or "see the log for what the engine met; 'dropscribe doctor' checks the chain",
            kind_of(event.code, retryable=event.retryable),
        )
        self._outcomes.append(Outcome(event.stream, problem))

    def _end_if_complete(self, ticket: int) -> None:
        stream = self._streams[ticket]
        if not stream.complete:
            return
        del self._streams[ticket]
        try:
            end: Result | Problem = stream.result(self._clock())
        except LostSegmentError as e:
            end = Problem.of(e)
        self._outcomes.append(Outcome(ticket, end))

    def _feed_engine(self) -> None:
        """Submit waiting blocks in order of arrival, as far as the engine has capacity."""
        while self._waiting and self._engine.capacity() > 0:
            block = self._waiting[0]
            self._engine.submit(block)
            self._waiting.popleft()
            self._lent.add(block.offset)

    def _feed_decoders(self) -> None:
        while self._starved and self._arena.free:
            ticket = self._starved.popleft()
            if ticket in self._streams:
                self._decoders.give(ticket, self._arena.take(SLOTS_PER_DECODER))

    def _forget_in_engine(self, ticket: int) -> None:
        # A dead engine needs no abort; `results` raises for it at a point where no event is half handled.
        with contextlib.suppress(EngineDiedError):
            self._engine.submit(Abort(ticket))
            self._engine.flush()

    def _drop_blocks(self, ticket: int) -> None:
        held = self._held_back.pop(ticket, None)
        if held is not None:
            self._arena.put(held.offset)
        self._reclaim([b.offset for b in self._waiting if b.stream == ticket])
        self._waiting = deque(b for b in self._waiting if b.stream != ticket)

    def _reclaim(self, offsets: Sequence[int]) -> None:
        for offset in offsets:
            self._arena.put(offset)
