"""Contract of `dropscribe.media.protocol.Decoders`, for the process pool and `FakeDecoders`.

`test_decoders.py` tests the results for each kind of recording.
"""

from __future__ import annotations

import os
import select
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from dropscribe.config import MediaSettings
from dropscribe.media.pool import DecoderPool
from dropscribe.media.protocol import (
    DecodeDone,
    DecodeEvent,
    DecodeFailed,
    DecodeOrder,
    Decoders,
    Opened,
    PcmReady,
    SlotWanted,
)
from tests.support.fake_decoders import BLOCKS, FakeDecoders

#: Time limit, seconds; only a hang reaches it.
LONG_S = 60.0
SLOT_SAMPLES = 8_000
SLOTS = 16


@dataclass
class Bench:
    """Decoders, the free slots, and all events."""

    decoders: Decoders
    #: Makes fake decoders decode; does nothing for real ones.
    work: Callable[[], None]
    free: list[int] = field(default_factory=lambda: [i * SLOT_SAMPLES * 2 for i in range(SLOTS)])
    events: list[DecodeEvent] = field(default_factory=list)

    def start(self, ticket: int, path: Path, slots: int = 2) -> None:
        self.decoders.start(DecodeOrder(ticket, path, None), self.take(slots), time.monotonic())

    def take(self, slots: int) -> list[int]:
        taken, self.free = self.free[:slots], self.free[slots:]
        return taken

    def turn(self, *, give: bool = True) -> None:
        """Handle events: free the slot of a block at once, and give requested slots."""
        self.work()
        select.select(self.decoders.filenos(), [], [], 0.1)
        for event in self.decoders.poll(time.monotonic()):
            self.events.append(event)
            match event:
                case PcmReady():
                    self.free.append(event.offset)
                case SlotWanted() if give:
                    self.decoders.give(event.ticket, self.take(1))
                case DecodeDone():
                    self.free += event.unused
                case DecodeFailed():
                    self.free += event.lost

    def until(self, met: Callable[[], bool], *, give: bool = True) -> None:
        deadline = time.monotonic() + LONG_S
        while not met():
            assert time.monotonic() < deadline, self.events
            self.turn(give=give)

    def of(self, ticket: int) -> list[DecodeEvent]:
        return [e for e in self.events if e.ticket == ticket]

    def ended(self, *tickets: int) -> bool:
        ends = {e.ticket for e in self.events if isinstance(e, (DecodeDone, DecodeFailed))}
        return ends >= set(tickets)


def fake() -> Iterator[Bench]:
    decoders = FakeDecoders(SLOT_SAMPLES, workers=2)
    yield Bench(decoders, decoders.decode)
    decoders.close()
    decoders.close()


def pool() -> Iterator[Bench]:
    fd = os.memfd_create("contract", os.MFD_CLOEXEC)
    os.ftruncate(fd, SLOTS * SLOT_SAMPLES * 2)
    decoders = DecoderPool(fd, SLOT_SAMPLES * 2, workers=2, settings=MediaSettings(), clock=time.monotonic)
    yield Bench(decoders, lambda: None)
    decoders.close()
    decoders.close()
    os.close(fd)


@pytest.fixture(params=[fake, pool])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    for made in request.param():
        yield made
        assert len(set(made.free)) == len(made.free) == SLOTS, "no slot is lost, none has two owners"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of as many blocks as those of `FakeDecoders`."""
    path = tmp_path / "recording.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = np.random.default_rng(1).integers(-3000, 3000, BLOCKS * SLOT_SAMPLES, np.int16)
        file.writeframes(noise.tobytes())
    return path


def test_an_order_opens_brings_its_blocks_and_ends_once(bench: Bench, recording: Path) -> None:
    bench.start(1, recording, slots=BLOCKS + 1)
    bench.until(lambda: bench.ended(1))
    bench.turn()
    first, *blocks, last = bench.of(1)
    assert isinstance(first, Opened)
    assert isinstance(last, DecodeDone)
    assert [b.samples for b in blocks if isinstance(b, PcmReady)] == [SLOT_SAMPLES] * BLOCKS
    assert len(last.unused) == 1


def test_without_slots_it_requests_one_and_waits(bench: Bench, recording: Path) -> None:
    bench.start(1, recording, slots=1)
    bench.until(lambda: any(isinstance(e, SlotWanted) for e in bench.of(1)), give=False)
    assert len([e for e in bench.of(1) if isinstance(e, PcmReady)]) == 1
    assert not bench.ended(1)
    bench.decoders.give(1, bench.take(2))
    bench.until(lambda: bench.ended(1))
    assert len([e for e in bench.of(1) if isinstance(e, PcmReady)]) == BLOCKS
    bench.decoders.give(1, ())


def test_an_order_occupies_a_decoder_until_it_ends(bench: Bench, recording: Path) -> None:
    assert bench.decoders.idle() == 2
    bench.start(1, recording)
    assert bench.decoders.idle() == 1
    bench.start(2, recording)
    assert bench.decoders.idle() == 0
    bench.until(lambda: bench.ended(1, 2))
    assert bench.decoders.idle() == 2


def test_a_failed_order_returns_its_slots_and_the_other_continues(bench: Bench, recording: Path) -> None:
    bench.start(1, recording.with_name("missing.wav"), slots=3)
    bench.start(2, recording)
    bench.until(lambda: bench.ended(1, 2))
    (failed,) = bench.of(1)
    assert isinstance(failed, DecodeFailed)
    assert (failed.code, failed.retryable, len(failed.lost)) == ("recording_gone", False, 3)
    assert isinstance(bench.of(2)[-1], DecodeDone)


def test_an_aborted_order_sends_no_events_and_returns_its_slots(bench: Bench, recording: Path) -> None:
    bench.start(1, recording, slots=2)
    bench.start(2, recording)
    bench.until(lambda: bool(bench.of(2)))
    before = len(bench.of(1))
    bench.free += bench.decoders.abort(1)
    assert bench.decoders.abort(1) == ()
    bench.decoders.give(1, ())
    bench.until(lambda: bench.ended(2))
    bench.turn()
    assert len(bench.of(1)) == before
    assert bench.decoders.idle() == 2
