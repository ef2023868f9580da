"""The pump over an engine of several devices: who is kept waiting when one of them is full, and what a death means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dropscribe.engine.protocol import Abort, BlockFreed, Event, PcmBlock, StreamFailed
from dropscribe.media.protocol import DecodeEvent, DecodeOrder, PcmReady
from dropscribe.pipeline.arena import SLOT_BYTES, SLOT_SAMPLES, Arena
from dropscribe.pipeline.attempt import Work
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.pump import Pump
from dropscribe.transcript.types import EngineFacts


class Decoders:
    """Says what it is told to; hands over the slots it was given, in order."""

    def __init__(self) -> None:
        self._fd = os.eventfd(1)
        self.slots: dict[int, list[int]] = {}
        self.said: list[DecodeEvent] = []

    def ready(self, ticket: int) -> None:
        self.said.append(PcmReady(ticket, self.slots[ticket].pop(0), SLOT_SAMPLES))

    def idle(self) -> int:
        return 8

    def start(self, order: DecodeOrder, slots: Sequence[int], now: float) -> None:
        del now
        self.slots[order.ticket] = list(slots)

    def give(self, ticket: int, slots: Sequence[int]) -> None:
        self.slots[ticket] += slots

    def abort(self, ticket: int) -> Sequence[int]:
        return self.slots.pop(ticket, [])

    def filenos(self) -> Sequence[int]:
        return [self._fd]

    def poll(self, now: float) -> Sequence[DecodeEvent]:
        del now
        said, self.said = self.said, []
        return said

    def close(self) -> None:
        os.close(self._fd)


class TwoDevices:
    """Odd streams on one device, even ones on the other, each with room for so many blocks."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0)
        self.room = {0: 10, 1: 10}
        self.got: list[PcmBlock] = []
        self.said: list[Event] = []

    @property
    def facts(self) -> EngineFacts:
        raise NotImplementedError

    def submit(self, message: PcmBlock | Abort) -> None:
        if isinstance(message, PcmBlock):
            self.got.append(message)
            self.room[message.stream % 2] -= 1

    def results(self, timeout_s: float) -> Sequence[Event]:
        del timeout_s
        said, self.said = self.said, []
        return said

    def capacity(self, stream: int | None = None) -> float:
        return float(max(self.room.values()) if stream is None else self.room[stream % 2])

    def fileno(self) -> int:
        return self._fd

    def idle_s(self, now: float) -> float:
        del now
        return 0.0

    def close(self) -> None:
        os.close(self._fd)


Parts = tuple[Pump, Decoders, TwoDevices, Arena]


@pytest.fixture
def parts() -> Iterator[Parts]:
    decoders, engine, arena = Decoders(), TwoDevices(), Arena(800.0)
    pump = Pump(decoders, engine, arena, lambda: 0.0)
    for ticket in (1, 2):
        pump.start(Work(ticket, Path("a.wav"), None))
        decoders.give(ticket, arena.take(4))
    yield pump, decoders, engine, arena
    decoders.close()
    engine.close()
    arena.close()


def test_a_recordings_first_block_says_what_to_listen_for(parts: Parts) -> None:
    pump, decoders, engine, arena = parts
    pump.start(Work(3, Path("b.wav"), None, ("达摩院", "阿里巴巴")))
    decoders.give(3, arena.take(4))
    for ticket in (3, 1, 3, 1, 3):
        decoders.ready(ticket)
    pump.turn(0.0)
    assert [(b.stream, b.hotwords) for b in engine.got] == [(3, ("达摩院", "阿里巴巴")), (1, ()), (3, ())]


def test_a_full_device_keeps_back_only_its_own_streams_and_their_order(parts: Parts) -> None:
    pump, decoders, engine, _ = parts
    engine.room = {0: 10, 1: 0}
    order = list(decoders.slots[1])
    for ticket in (1, 1, 1, 2, 2):
        decoders.ready(ticket)
    pump.turn(0.0)
    assert [b.stream for b in engine.got] == [2]
    engine.room = {0: 10, 1: 1}
    pump.turn(0.0)
    assert [b.stream for b in engine.got] == [2, 1]
    engine.room = {0: 0, 1: 10}
    decoders.ready(1)
    decoders.ready(2)
    pump.turn(0.0)
    assert [b.stream for b in engine.got] == [2, 1, 1, 1]
    assert [b.offset for b in engine.got if b.stream == 1] == order[:3]
    engine.room = {0: 1, 1: 1}
    pump.turn(0.0)
    assert [b.stream for b in engine.got] == [2, 1, 1, 1, 2]


def test_a_recording_on_a_device_that_died_is_a_suspect_and_no_slot_is_lost(parts: Parts) -> None:
    pump, decoders, engine, arena = parts
    for ticket in (1, 1, 2):
        decoders.ready(ticket)
    pump.turn(0.0)
    (block,) = engine.got
    engine.said = [
        StreamFailed(1, "engine_died", "was killed by SIGKILL", retryable=True),
        BlockFreed(block.offset),
    ]
    (outcome,) = pump.turn(0.0)
    assert outcome.ticket == 1
    assert isinstance(outcome.end, Problem)
    assert outcome.end.kind is FaultKind.ENGINE
    assert outcome.end.remedy
    pump.abort(2)
    assert arena.free == arena.size_bytes // SLOT_BYTES


def test_a_recording_the_engine_refused_is_no_suspect(parts: Parts) -> None:
    pump, _, engine, _ = parts
    engine.said = [StreamFailed(1, "engine", "no", retryable=False)]
    (outcome,) = pump.turn(0.0)
    assert isinstance(outcome.end, Problem)
    assert outcome.end.kind is FaultKind.RECORDING


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("engine_died", FaultKind.ENGINE),
        ("device_failed", FaultKind.DEVICE),
        ("device_memory", FaultKind.ENVIRONMENT),
        ("lost_segment", FaultKind.TRANSIENT),
    ],
)
def test_a_failure_of_the_engine_says_where_the_fault_lies(parts: Parts, code: str, kind: FaultKind) -> None:
    pump, _, engine, _ = parts
    engine.said = [StreamFailed(1, code, "so it was", retryable=True)]
    (outcome,) = pump.turn(0.0)
    assert isinstance(outcome.end, Problem)
    assert outcome.end.kind is kind
