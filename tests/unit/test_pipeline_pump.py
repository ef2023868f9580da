"""The pump with an engine of several devices: a full device, and the loss of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dropscribe.engine.group import EngineGroup
from dropscribe.engine.protocol import Abort, PcmBlock, StreamFailed, StreamOptions
from dropscribe.pipeline.attempt import Work
from dropscribe.pipeline.local.arena import SLOT_BYTES, SLOT_S, SLOT_SAMPLES, Arena
from dropscribe.pipeline.local.pump import Pump
from dropscribe.pipeline.problem import FaultKind, Problem
from tests.support.fake_decoders import FakeDecoders
from tests.support.fake_member import FakeMember


@dataclass
class Devices:
    """An engine of two devices."""

    members: list[FakeMember]
    #: What both of them got, in order.
    got: list[PcmBlock | Abort]

    def room(self, *blocks: int) -> None:
        """Set the number of blocks that the device of stream 1 and that of stream 2 still take."""
        for member, count in zip(self.members, blocks, strict=True):
            member.room_s = count * SLOT_S

    @property
    def blocks(self) -> list[PcmBlock]:
        return [m for m in self.got if isinstance(m, PcmBlock)]


Parts = tuple[Pump, FakeDecoders, Devices, Arena]


@pytest.fixture
def parts() -> Iterator[Parts]:
    got: list[PcmBlock | Abort] = []
    members = [FakeMember(name, got=got) for name in ("cuda:0", "cuda:1")]
    engine = EngineGroup(members, ("cuda:0", "cuda:1"))
    assert engine.wait_ready(0.0)
    decoders, arena = FakeDecoders(SLOT_SAMPLES), Arena(800.0)
    pump = Pump(decoders, engine, arena, lambda: 0.0)
    for ticket in (1, 2):
        pump.start(Work(ticket, Path("a.wav"), None))
        decoders.give(ticket, arena.take(4))
    yield pump, decoders, Devices(members, got), arena
    decoders.close()
    engine.close()
    arena.close()


def test_the_first_block_of_a_recording_has_its_hotwords(parts: Parts) -> None:
    pump, decoders, devices, arena = parts
    pump.start(Work(3, Path("b.wav"), None, StreamOptions(("达摩院", "阿里巴巴"))))
    decoders.give(3, arena.take(4))
    for ticket in (3, 1, 3, 1, 3):
        decoders.ready(ticket)
    pump.turn(0.0)
    assert [(b.stream, b.options.hotwords) for b in devices.blocks] == [
        (3, ("达摩院", "阿里巴巴")), (1, ()), (3, ())
    ]  # fmt: skip


def test_a_full_device_delays_only_its_own_streams_in_order(parts: Parts) -> None:
    pump, decoders, devices, _ = parts
    order = list(decoders.slots[1])

    def turn() -> list[int]:
        """Whose blocks go to the devices."""
        before = len(devices.got)
        pump.turn(0.0)
        return [b.stream for b in devices.blocks[before:]]

    for ticket in (1, 1, 2, 2):
        decoders.ready(ticket)
    assert turn() == [1, 2], "one device each, and the latest block of each is held back"
    devices.room(0, 10)
    for ticket in (1, 1, 1, 2, 2):
        decoders.ready(ticket)
    assert turn() == [2, 2]
    devices.room(1, 10)
    assert turn() == [1]
    devices.room(10, 0)
    decoders.ready(1)
    decoders.ready(2)
    assert turn() == [1, 1, 1]
    assert [b.offset for b in devices.blocks if b.stream == 1] == order[:5]
    devices.room(1, 1)
    assert turn() == [2]


def test_a_recording_on_a_lost_device_is_a_suspect_and_no_slot_is_lost(parts: Parts) -> None:
    pump, decoders, devices, arena = parts
    for ticket in (1, 1, 2):
        decoders.ready(ticket)
    pump.turn(0.0)
    assert [b.stream for b in devices.blocks] == [1]
    devices.members[0].die()
    (outcome,) = pump.turn(0.0)
    assert outcome.ticket == 1
    assert isinstance(outcome.end, Problem)
    assert outcome.end.kind is FaultKind.ENGINE
    assert outcome.end.remedy
    pump.abort(2)
    assert arena.free == arena.size_bytes // SLOT_BYTES


def test_a_recording_refused_by_the_engine_is_not_a_suspect(parts: Parts) -> None:
    pump, _, devices, _ = parts
    devices.members[0].now(StreamFailed(1, "engine", "no", retryable=False))
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
    pump, _, devices, _ = parts
    devices.members[0].now(StreamFailed(1, code, "so it was", retryable=True))
    (outcome,) = pump.turn(0.0)
    assert isinstance(outcome.end, Problem)
    assert outcome.end.kind is kind
