"""A station apart from the daemon, on its thread: it rests without work, and says what becomes of it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dropscribe.errors import DeviceFailedError
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.hosted_station import NEAR, STUCK_S, TURN_S, HostedStation, Pacing
from dropscribe.pipeline.stations.messages import Orders, Report
from tests.support.executors import InstantExecutor

#: Time limit, seconds; only a hang reaches it.
LONG_S = 60.0


class Engine(InstantExecutor):
    """An executor that can hang: in a turn, or while its engine is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        #: What the turns wait for, too.
        self.bells: Sequence[int] = ()
        #: Whether the engine counts as hung once something has ended.
        self.hangs = False
        self.turning, self.replacing = threading.Event(), threading.Event()
        self.turning.set()
        self.replacing.set()
        self._ended = False

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        self.turns, self.bells = self.turns + 1, wake
        assert self.turning.wait(LONG_S)
        ended = super().turn(timeout_s, wake)
        self._ended = bool(ended)
        return ended

    def supervise(self) -> None:
        if self.hangs and self._ended:
            self.hangs = False
            raise DeviceFailedError("it hung", operation="recognise")

    def replace(self, why: str) -> None:
        assert self.replacing.wait(LONG_S)
        super().replace(why)


class Decoding(Engine):
    """An executor with one decoder: what is decoded does not end, because the engine has much else to do."""

    def __init__(self) -> None:
        super().__init__()
        self._busy = False
        self._over = os.eventfd(0)

    def room(self) -> int:
        return 0 if self._busy else 1

    def start(self, work: Work) -> None:
        del work  # nothing becomes of it
        self._busy = True

    def decoded(self) -> None:
        self._busy = False
        os.eventfd_write(self._over, 1)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        if self._over in select.select([*wake, self._over], [], [], timeout_s)[0]:
            os.eventfd_read(self._over)
        return []


class Head:
    """What asks a station for its reports."""

    def __init__(self, engine: Engine | None = None, pacing: Pacing = NEAR) -> None:
        self.engine = engine or Engine()
        #: Time by which its clock is ahead, seconds.
        self.ahead = 0.0
        self.station = HostedStation(lambda: self.engine, lambda: time.monotonic() + self.ahead, pacing)
        self.outcomes: dict[int, Outcome] = {}
        self._number = self._confirmed = 0

    def start(self, path: Path) -> None:
        self._number += 1
        self.station.feed(Orders(self._number, (Work(self._number, path, None),)))

    def until(self, told: Callable[[Report], bool]) -> Report:
        deadline = time.monotonic() + LONG_S
        while True:
            report = self.station.report(self._confirmed, None, 0.05)
            for number, outcome in report.outcomes:
                if number > self._confirmed:
                    self._confirmed = number
                    assert outcome.ticket not in self.outcomes, "each attempt ends once"
                    self.outcomes[outcome.ticket] = outcome
            if told(report):
                return report
            assert time.monotonic() < deadline, report


@pytest.fixture
def head() -> Iterator[Head]:
    made = Head()
    made.until(lambda r: r.state is State.READY)
    yield made
    made.engine.turning.set()
    made.engine.replacing.set()
    assert made.station.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.wav"
    path.touch()
    return path


def test_it_rests_without_work_however_late_its_bell_rings(
    head: Head, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = os.eventfd_write

    def ring_late(bell: int, value: int) -> None:
        until, turns = time.monotonic() + 2 * TURN_S, head.engine.turns
        while head.engine.turns < turns + 2 and time.monotonic() < until:
            time.sleep(0.01)
        ring(bell, value)

    with monkeypatch.context() as late:
        late.setattr(os, "eventfd_write", ring_late)
        head.start(recording)
    head.until(lambda _: 1 in head.outcomes)
    turns = head.engine.turns
    head.until(lambda _: head.engine.turns > turns + 1)
    assert not select.select(head.engine.bells, [], [], 0)[0], "it would turn without end"


def test_a_decoder_that_has_become_idle_is_told_at_once(recording: Path) -> None:
    decoding = Decoding()
    head = Head(decoding, replace(NEAR, progress_s=10 * LONG_S, progress_few_s=10 * LONG_S))
    try:
        head.until(lambda r: r.room == 1)
        for _ in range(3):
            head.start(recording)
            head.until(lambda r: r.room == 0)
            decoding.decoded()
            head.until(lambda r: r.room == 1)
    finally:
        decoding.decoded()
        assert head.station.close()


def test_it_gets_no_work_while_an_engine_that_hangs_is_being_ended(head: Head) -> None:
    head.engine.replacing.clear()
    head.engine.die()
    assert head.until(lambda r: r.state is State.STARTING).room == 0
    head.engine.replacing.set()
    head.until(lambda r: r.state is State.READY)


def test_what_ended_in_the_turn_in_which_the_engine_hangs_has_ended(head: Head, recording: Path) -> None:
    head.engine.hangs = True
    head.start(recording)
    head.until(lambda _: 1 in head.outcomes)
    assert isinstance(head.outcomes[1].end, Result)
    head.start(recording)
    head.until(lambda _: 2 in head.outcomes)
    assert isinstance(head.outcomes[2].end, Result)


def test_it_is_lost_once_its_thread_makes_no_turns(head: Head) -> None:
    head.engine.turning.clear()
    head.ahead += 10 * STUCK_S  # its process was stopped
    assert head.until(lambda _: True).state is State.READY

    def lost_later(report: Report) -> bool:
        head.ahead += 1.0
        return report.state is State.LOST

    assert "no turn" in head.until(lost_later).reason
