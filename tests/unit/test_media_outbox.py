"""Announcement of decoded blocks: quick ones together, none delayed while the decoder waits."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from dropscribe.media.protocol import PcmReady, SlotWanted
from dropscribe.media.wire import FromChild
from dropscribe.media.worker import HOLD_S, Outbox


class Told:
    """An outbox with its clock and the messages received by the pool."""

    def __init__(self, theirs: Connection, ours: Connection) -> None:
        self.now = 100.0
        self.outbox = Outbox(theirs, lambda: self.now)
        self._ours = ours

    def arrived(self) -> list[tuple[FromChild, ...]]:
        messages = []
        while self._ours.poll():
            messages.append(self._ours.recv())
        return messages


@pytest.fixture
def told() -> Iterator[Told]:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield Told(theirs, ours)


def block(number: int) -> PcmReady:
    return PcmReady(1, number, 16_000)


def test_the_first_block_is_announced_at_once(told: Told) -> None:
    told.outbox.soon(block(0))
    assert told.arrived() == [(block(0),)]


def test_blocks_decoded_quickly_are_announced_together_in_order(told: Told) -> None:
    told.outbox.soon(block(0))
    told.outbox.soon(block(1))
    told.outbox.soon(block(2))
    assert told.arrived() == [(block(0),)]
    told.now += 2 * HOLD_S
    told.outbox.soon(block(3))
    assert told.arrived() == [(block(1), block(2), block(3))]


def test_each_block_of_a_slow_recording_is_announced_at_once(told: Told) -> None:
    for number in range(3):
        told.outbox.soon(block(number))
        assert told.arrived() == [(block(number),)]
        told.now += 2 * HOLD_S


def test_all_blocks_are_announced_before_waiting_for_a_slot(told: Told) -> None:
    told.outbox.soon(block(0))
    told.outbox.soon(block(1))
    told.outbox.at_once(SlotWanted(1))
    assert told.arrived() == [(block(0),), (block(1), SlotWanted(1))]
