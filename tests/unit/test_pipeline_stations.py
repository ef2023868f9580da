"""Stations of this machine: what becomes of attempts and devices when a station fails. No processes, no clock."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dropscribe.config import Settings
from dropscribe.errors import (
    DecoderDiedError,
    DeviceFailedError,
    DropscribeError,
    EngineDiedError,
    EngineError,
)
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.executor import Restarts
from dropscribe.pipeline.local.child_station import StationPlan
from dropscribe.pipeline.local.engine_supervisor import MOST_FAILED_STARTS
from dropscribe.pipeline.local.stations_executor import AGAIN_S, LOST_S, REST_S, StationsExecutor
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.losses import MOST_LOSSES
from dropscribe.pipeline.stations.messages import Report
from dropscribe.transcript.types import EngineFacts
from tests.support.ledgers import ENGINE, MEDIA, TIMINGS
from tests.support.stations import FakeLink

DONE = Result(MEDIA, (), TIMINGS)


@dataclass(eq=False)
class FakeProcess(FakeLink):
    """A station process that says what the test lets it say."""

    bell: int = field(default_factory=lambda: os.eventfd(0))
    pending: bool = False
    dead: bool = False
    #: Whether it ends before its first word.
    stillborn: bool = False

    def fileno(self) -> int:
        return self.bell

    def hear(self) -> None:
        if self.stillborn and "examine" in self.calls:
            self.answer("examine", None, RuntimeError("its process ended with status 1"))
        if "examine" in self.calls:
            self.answer("examine", ((), (), ""))
        if self.dead and "report" in self.calls:
            self.answer("report", None, RuntimeError("its process was killed by SIGKILL"))

    def gone(self, wait_s: float = 0.0) -> bool:
        del wait_s
        return self.killed

    def tell(self, report: Report) -> None:
        self.answer("report", pickle.dumps(report))

    def fail(self, error: DropscribeError) -> None:
        self.tell(Report(State.LOST, error.reason, error=error))


class Machine:
    """Two devices under a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        #: Whether the system gives no further process.
        self.full = False
        self.links: dict[str, list[FakeProcess]] = {}
        settings = Settings.model_validate({})
        plans = [StationPlan(name, settings) for name in ("cuda:0", "cuda:1")]
        self.executor = StationsExecutor(plans, self._begin, lambda: self.now)

    def _begin(self, plan: StationPlan) -> FakeProcess:
        if self.full:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        link = FakeProcess()
        self.links.setdefault(plan.name, []).append(link)
        return link

    def link(self, number: int) -> FakeProcess:
        return self.links[f"cuda:{number}"][-1]

    def ready(self, *numbers: int, facts: EngineFacts = ENGINE) -> None:
        for _ in range(3):
            self.executor.turn(0.0)
        for number in numbers:
            self.link(number).tell(Report(State.READY, room=4, facts=facts))
        self.executor.turn(0.0)

    def start_all(self) -> None:
        self.ready(0, 1)
        assert self.executor.wait_ready(lambda: False)

    def start(self, *tickets: int) -> None:
        for ticket in tickets:
            self.executor.start(Work(ticket, Path(f"/drop/{ticket}.wav"), None))
        self.executor.turn(0.0)

    def turns(self, count: int = 3) -> list[Outcome]:
        return [outcome for _ in range(count) for outcome in self.executor.turn(0.0)]

    def states(self) -> list[State]:
        return [s.state for s in self.executor.stations()]

    def lose_until_it_rests(self, number: int) -> None:
        """Let each further station of a device die before it is ready."""
        while len(self.links[f"cuda:{number}"]) < 1 + MOST_FAILED_STARTS:
            self.link(number).dead = True
            self.turns()
        self.link(number).dead = True
        self.turns()


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    assert made.executor.close()
    assert made.executor.close(), "may be called twice"


def test_it_is_ready_once_all_stations_are(machine: Machine) -> None:
    machine.ready(0)
    polls = iter([False, True])
    assert not machine.executor.wait_ready(lambda: next(polls))
    machine.link(1).tell(Report(State.READY, room=4, facts=replace(ENGINE, device="cuda:1 (B)")))
    assert machine.executor.wait_ready(lambda: False)
    assert machine.executor.facts.device == f"{ENGINE.device}, cuda:1 (B)"


def test_a_killed_station_costs_its_own_attempts_and_another_takes_its_place(machine: Machine) -> None:
    machine.start_all()
    machine.start(1, 2, 3, 4)
    held = {w.ticket for orders in machine.link(1).orders for w in orders.start}
    assert len(held) == 2
    old = machine.link(1)
    old.dead = True
    ended = machine.turns()
    assert {o.ticket for o in ended} == held
    assert {o.end.kind for o in ended if isinstance(o.end, Problem)} == {FaultKind.NODE}, "none is suspected"
    assert machine.link(1) is not old
    assert old.killed, "its engine and decoders, too"
    assert machine.states() == [State.READY, State.STARTING]
    machine.ready(1)
    assert machine.states() == [State.READY, State.READY]
    assert machine.executor.restarts() == Restarts(1, 0, "cuda:1: its process was killed by SIGKILL")
    machine.link(0).say(*((n, Outcome(t, DONE)) for n, t in enumerate(sorted({1, 2, 3, 4} - held), 1)))
    assert {o.ticket for o in machine.turns()} == {1, 2, 3, 4} - held


def test_a_recording_that_was_lost_with_several_stations_is_suspected(machine: Machine) -> None:
    machine.start_all()
    kinds = []
    for _ in range(MOST_LOSSES):
        machine.start(1)
        holder = next(n for n in (0, 1) if machine.link(n).orders)
        machine.link(holder).dead = True
        kinds += [o.end.kind for o in machine.turns() if isinstance(o.end, Problem)]
        machine.ready(holder)
        machine.link(1 - holder).orders.clear()
    assert kinds == [FaultKind.NODE] * (MOST_LOSSES - 1) + [FaultKind.ENGINE]


def test_a_stopped_station_gets_no_work_and_is_replaced(machine: Machine) -> None:
    machine.start_all()
    machine.start(1)
    silent = next(n for n in (0, 1) if machine.link(n).orders)
    old, ended = machine.link(silent), []
    for _ in range(round(LOST_S) + 2):
        machine.now += 1.0
        machine.link(1 - silent).say()
        ended += machine.turns(1)
    assert [o.ticket for o in ended] == [1]
    assert old.killed
    assert machine.link(silent) is not old


@pytest.mark.parametrize(
    "error",
    [
        EngineError("no such GPU", operation="start engine", remedy="see nvidia-smi"),
        DeviceFailedError("it fell off, 3 times in a row", operation="start engine", remedy="see the log"),
    ],
)
def test_a_station_that_cannot_start_ends_the_start_with_its_error(
    machine: Machine, error: EngineError
) -> None:
    machine.ready(0)
    machine.link(1).fail(error)
    with pytest.raises(type(error), match=f"cuda:1: {error.reason}") as refused:
        machine.executor.wait_ready(lambda: False)
    assert (refused.value.operation, refused.value.remedy) == (error.operation, error.remedy)


def test_a_station_that_dies_at_every_start_ends_the_start(machine: Machine) -> None:
    machine.ready(0)
    polls = 0

    def die_again() -> bool:
        nonlocal polls
        polls += 1
        machine.link(1).dead = True
        return polls > 50

    with pytest.raises(EngineDiedError, match="cuda:1: its process was killed by SIGKILL, 3 times in a row"):
        machine.executor.wait_ready(die_again)
    assert len(machine.links["cuda:1"]) == MOST_FAILED_STARTS


def test_a_device_on_which_no_station_starts_rests_and_is_tried_again(machine: Machine) -> None:
    machine.start_all()
    machine.lose_until_it_rests(1)
    assert machine.states() == [State.READY, State.LOST]
    assert machine.executor.room() == 4, "the other one goes on"
    count = len(machine.links["cuda:1"])
    machine.turns()
    assert len(machine.links["cuda:1"]) == count
    machine.now += REST_S + 1
    machine.ready(1)
    machine.link(0).say()
    machine.turns()
    assert machine.states() == [State.READY, State.READY]


def test_an_engine_that_cannot_start_again_lets_its_device_rest(machine: Machine) -> None:
    machine.start_all()
    machine.link(1).fail(EngineDiedError("the engine process was killed, 3 times in a row"))
    machine.turns()
    assert machine.states() == [State.READY, State.LOST]


def test_without_any_device_the_caller_replaces_all(machine: Machine) -> None:
    machine.start_all()
    machine.start(1)
    machine.lose_until_it_rests(0)
    with pytest.raises(EngineDiedError, match="killed by SIGKILL"):
        machine.lose_until_it_rests(1)
    machine.executor.abandon()
    machine.executor.replace("all are gone")
    assert not machine.executor.wait_ready(lambda: True)
    machine.start_all()
    assert machine.executor.room() == 8


def test_a_station_with_other_models_gets_no_work(machine: Machine) -> None:
    machine.start_all()
    machine.link(1).dead = True
    machine.turns()
    machine.ready(1, facts=replace(ENGINE, models=(("asr", "other"), ("vad", "vad"))))
    assert machine.executor.room() == 4
    assert "cuda:1" in machine.executor.restarts().last_reason


def test_a_station_that_replaced_its_engine_by_one_with_other_models_gets_no_work(machine: Machine) -> None:
    machine.start_all()
    old = machine.link(1)
    old.tell(Report(State.STARTING, "the engine process was killed"))
    machine.turns()
    machine.ready(1, facts=replace(ENGINE, models=(("asr", "other"), ("vad", "vad"))))
    assert old.killed
    assert machine.executor.room() == 4
    machine.ready(1)
    assert machine.states() == [State.READY, State.READY]


def test_a_process_that_the_system_does_not_give_concerns_its_device_only(machine: Machine) -> None:
    machine.start_all()
    machine.start(1, 2)
    holder = next(n for n in (0, 1) if any(w.ticket == 1 for o in machine.link(n).orders for w in o.start))
    machine.full = True
    machine.link(1 - holder).dead = True
    assert [o.ticket for o in machine.turns()] == [2]
    assert machine.states()[holder] is State.READY
    machine.full = False
    machine.now += AGAIN_S
    machine.link(holder).say()
    machine.ready(1 - holder)
    assert machine.states() == [State.READY, State.READY]
    assert machine.executor.restarts().engines == 1


def test_a_device_for_which_the_system_gives_no_process_rests(machine: Machine) -> None:
    machine.start_all()
    machine.full = True
    machine.link(0).dead = True
    for _ in range(MOST_FAILED_STARTS):
        machine.turns()
        machine.now += AGAIN_S
        machine.link(1).say()
    machine.link(1).dead = True
    for _ in range(MOST_FAILED_STARTS - 1):
        machine.turns()
        machine.now += AGAIN_S
    with pytest.raises(EngineDiedError, match="temporarily unavailable"):
        machine.turns()


def test_a_station_that_ends_before_its_first_word_is_lost(machine: Machine) -> None:
    machine.start_all()
    machine.link(1).dead = True
    for _ in range(1 + MOST_FAILED_STARTS):
        machine.turns(1)
        machine.link(1).stillborn = True
    machine.turns()
    assert machine.states() == [State.READY, State.LOST]


def test_what_a_station_ended_before_it_was_lost_has_ended(machine: Machine) -> None:
    machine.start_all()
    machine.start(1, 2, 3, 4)
    first, second = sorted(w.ticket for orders in machine.link(1).orders for w in orders.start)
    fault = EngineDiedError("the engine process was killed, 3 times in a row")
    machine.link(1).tell(Report(State.LOST, fault.reason, outcomes=((1, Outcome(first, DONE)),), error=fault))
    ended = {o.ticket: o.end for o in machine.turns()}
    assert ended.keys() == {first, second}
    assert ended[first] == DONE
    assert isinstance(ended[second], Problem)


def test_decoders_that_cannot_be_started_end_the_daemon(machine: Machine) -> None:
    machine.start_all()
    machine.link(0).fail(DecoderDiedError("decoder processes do not start", remedy="run doctor"))
    with pytest.raises(DecoderDiedError, match="do not start"):
        machine.turns()


def test_replaced_processes_stay_counted_when_their_station_is_lost(machine: Machine) -> None:
    machine.start_all()
    machine.link(0).tell(Report(State.READY, room=4, facts=ENGINE, restarts=Restarts(2, 5, "it hung")))
    machine.turns(1)
    assert machine.executor.restarts() == Restarts(2, 5, "it hung")
    machine.link(0).dead = True
    machine.turns()
    machine.ready(0)
    assert machine.executor.restarts() == Restarts(3, 5, "cuda:0: its process was killed by SIGKILL")
