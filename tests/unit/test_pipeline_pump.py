"""The pump between decoders and an engine: order, a full engine, and its death."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.engine.protocol import StreamFailed, StreamOptions
from dropscribe.errors import EngineDiedError
from dropscribe.pipeline.attempt import Work
from dropscribe.pipeline.local.arena import SLOT_BYTES, SLOT_S, SLOT_SAMPLES, Arena
from dropscribe.pipeline.local.pump import Pump
from dropscribe.pipeline.problem import FaultKind, Problem
from tests.support.fake_decoders import FakeDecoders
from tests.support.fake_engine import FakeEngine

Parts = tuple[Pump, FakeDecoders, FakeEngine, Arena]


@pytest.fixture
def parts() -> Iterator[Parts]:
    decoders, engine, arena = FakeDecoders(SLOT_SAMPLES), FakeEngine(), Arena(800.0)
    pump = Pump(decoders, engine, arena, lambda: 0.0)
    for ticket in (1, 2):
        pump.start(Work(ticket, Path("a.wav"), None))
        decoders.give(ticket, arena.take(4))
    yield pump, decoders, engine, arena
    decoders.close()
    engine.close()
    arena.close()


def test_the_first_block_of_a_recording_has_its_hotwords(parts: Parts) -> None:
    pump, decoders, engine, arena = parts
    pump.start(Work(3, Path("b.wav"), None, StreamOptions(("达摩院", "阿里巴巴"))))
    decoders.give(3, arena.take(4))
    for ticket in (3, 1, 3, 1, 3):
        decoders.ready(ticket)
    pump.turn(0.0)
    assert [(b.stream, b.options.hotwords) for b in engine.blocks] == [
        (3, ("达摩院", "阿里巴巴")), (1, ()), (3, ())
    ]  # fmt: skip


def test_blocks_wait_for_the_engine_in_order_of_arrival(parts: Parts) -> None:
    pump, decoders, engine, _ = parts

    def turn() -> list[int]:
        """Whose blocks go to the engine."""
        before = len(engine.got)
        pump.turn(0.0)
        return [b.stream for b in engine.blocks[before:]]

    for ticket in (1, 1, 2, 2):
        decoders.ready(ticket)
    assert turn() == [1, 2], "the latest block of each is held back"
    engine.room_s = 0.0
    for ticket in (1, 1, 2, 1):
        decoders.ready(ticket)
    assert turn() == []
    engine.room_s = 2 * SLOT_S
    assert turn() == [1, 1]
    engine.room_s = 10 * SLOT_S
    assert turn() == [2, 1]


def test_after_the_death_of_the_engine_no_slot_is_lost(parts: Parts) -> None:
    pump, decoders, engine, arena = parts
    for ticket in (1, 1, 2):
        decoders.ready(ticket)
    pump.turn(0.0)
    assert [b.stream for b in engine.blocks] == [1]
    decoders.ready(1)
    engine.die()
    with pytest.raises(EngineDiedError):
        pump.turn(0.0)
    assert sorted(pump.abandon_engine()) == [1, 2]
    assert arena.free == arena.size_bytes // SLOT_BYTES


def test_a_recording_refused_by_the_engine_is_not_a_suspect(parts: Parts) -> None:
    pump, _, engine, _ = parts
    engine.now(StreamFailed(1, "engine", "no", retryable=False))
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
    engine.now(StreamFailed(1, code, "so it was", retryable=True))
    (outcome,) = pump.turn(0.0)
    assert isinstance(outcome.end, Problem)
    assert outcome.end.kind is kind
