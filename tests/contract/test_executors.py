"""Contract of `dropscribe.pipeline.executor.Executor`, for the local ones, that of a cluster, and `InstantExecutor`."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

from dropscribe.config import Settings
from dropscribe.errors import EngineDiedError
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.cluster.cluster_executor import ClusterExecutor
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.local.stations_executor import start_executor
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.station import State
from tests.support.executors import InstantExecutor
from tests.support.stations import HostedCluster

#: Time limit, seconds; only a hang reaches it.
LONG_S = 120.0
#: Longest wait of one turn, seconds.
TURN_S = 0.1


@dataclass
class Bench:
    """An executor, and all ended attempts."""

    executor: Executor
    #: Kills the engine.
    kill: Callable[[], None]
    #: How an attempt at a missing recording ends.
    missing: FaultKind = FaultKind.CHANGED
    #: Whether the death of an engine ends its attempts with outcomes, and the others go on.
    survives: bool = False
    tickets: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    ended: dict[int, Outcome] = field(default_factory=dict)

    def start(self, path: Path) -> int:
        ticket = next(self.tickets)
        self.executor.start(Work(ticket, path, None))
        return ticket

    def turn(self) -> None:
        outcomes = self.executor.turn(TURN_S)
        self.executor.supervise()
        for outcome in outcomes:
            assert outcome.ticket not in self.ended, "each attempt ends once"
            self.ended[outcome.ticket] = outcome

    def until_ended(self, *tickets: int) -> None:
        deadline = time.monotonic() + LONG_S
        while not set(tickets) <= self.ended.keys():
            assert time.monotonic() < deadline, f"ended: {self.ended}"
            self.turn()


def instant() -> Bench:
    executor = InstantExecutor()
    return Bench(executor, executor.die)


def local() -> Bench:
    """A local executor with two decoders and an engine with null models."""
    settings = Settings.model_validate(
        {"engine": {"model": "null", "device": "cpu"}, "media": {"decoders": 2}}
    )

    def kill() -> None:
        for process in multiprocessing.active_children():
            if process.name == "dropscribe-engine":
                process.kill()

    return Bench(start_executor(settings), kill)


def stations() -> Bench:
    """Two stations of this machine, each in a process of its own, with a decoder and an engine with null models."""
    settings = Settings.model_validate(
        {"engine": {"model": "null", "device": ["cpu", "cpu"]}, "media": {"decoders": 2}}
    )

    def kill() -> None:
        for process in psutil.Process().children(recursive=True):
            if process.name() == "ds-engine":
                process.kill()

    return Bench(start_executor(settings), kill, survives=True)


def cluster() -> Bench:
    """Two stations in this process, with real threads and messages; `tests/integration/test_cluster_ray.py` has Ray."""
    stations = InstantExecutor(), InstantExecutor()

    def kill() -> None:
        for station in stations:
            station.die()

    executor = ClusterExecutor(HostedCluster(*stations))
    deadline = time.monotonic() + LONG_S
    while any(s.state is not State.READY for s in executor.stations()) or not executor.stations():
        assert time.monotonic() < deadline
        executor.turn(TURN_S)
    # A node may not see what the head sees: the recording is not to blame.
    return Bench(executor, kill, missing=FaultKind.STORAGE, survives=True)


@pytest.fixture(scope="module", params=[instant, local, stations, cluster])
def shared(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench: Bench = request.param()
    assert bench.executor.wait_ready(lambda: False)
    yield bench
    assert bench.executor.close()
    assert bench.executor.close(), "may be called twice"


@pytest.fixture
def bench(shared: Bench) -> Bench:
    """The module's executor; each test must end all its attempts."""
    shared.ended.clear()
    return shared


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = np.random.default_rng(1).integers(-3000, 3000, 40 * 16_000, np.int16)
        file.writeframes(noise.tobytes())
    return path


def test_it_reports_its_facts_once_ready(bench: Bench) -> None:
    assert bench.executor.facts.model
    assert bench.executor.facts.device


def test_each_attempt_ends_once_with_a_result(bench: Bench, recording: Path) -> None:
    tickets = [bench.start(recording) for _ in range(2)]
    bench.until_ended(*tickets)
    for _ in range(3):
        bench.turn()
    assert bench.ended.keys() == set(tickets)
    for outcome in bench.ended.values():
        assert isinstance(outcome.end, Result)
        assert outcome.end.segments


def test_attempts_occupy_and_release_room(bench: Bench, recording: Path) -> None:
    before = bench.executor.room()
    assert before >= 2
    tickets = [bench.start(recording) for _ in range(2)]
    assert bench.executor.room() == before - 2
    bench.until_ended(*tickets)
    assert bench.executor.room() == before


def test_partial_text_grows_and_exists_only_for_attempts_under_way(bench: Bench, recording: Path) -> None:
    ticket = bench.start(recording)
    seen: tuple[str, ...] = ()
    assert bench.executor.progress(ticket) is not None
    while ticket not in bench.ended:
        heard, texts = bench.executor.heard(ticket), bench.executor.texts(ticket)
        assert heard is not None
        assert heard.segments == len(texts)
        assert texts[: len(seen)] == seen
        seen = texts
        bench.turn()
    for gone in (ticket, 1_000_000):
        assert bench.executor.progress(gone) is None
        assert bench.executor.heard(gone) is None
        assert bench.executor.texts(gone) == ()


def test_an_aborted_attempt_has_no_result_and_others_continue(bench: Bench, recording: Path) -> None:
    room = bench.executor.room()
    aborted, other = bench.start(recording), bench.start(recording)
    bench.executor.abort(aborted)
    assert bench.executor.heard(aborted) is None
    bench.executor.abort(1_000_000)
    bench.until_ended(other)
    for _ in range(3):
        bench.turn()
    assert bench.ended.keys() == {other}
    assert bench.executor.room() == room


def test_a_missing_recording_ends_in_a_problem_and_others_continue(bench: Bench, recording: Path) -> None:
    missing, other = bench.start(recording.with_name("missing.wav")), bench.start(recording)
    bench.until_ended(missing, other)
    problem = bench.ended[missing].end
    assert isinstance(problem, Problem)
    assert problem.kind is bench.missing
    assert isinstance(bench.ended[other].end, Result)


def test_a_turn_ends_when_its_caller_is_woken(bench: Bench) -> None:
    bell = os.eventfd(1)
    try:
        assert bench.executor.turn(LONG_S, (bell,)) == []
    finally:
        os.close(bell)


def test_after_the_death_of_the_engine_work_continues_on_a_new_one(bench: Bench, recording: Path) -> None:
    if bench.survives:
        pytest.skip("each station replaces its own engine")
    room = bench.executor.room()
    tickets = [bench.start(recording) for _ in range(2)]
    bench.kill()
    with pytest.raises(EngineDiedError):
        bench.until_ended(*tickets, 1_000_000)
    assert set(bench.executor.abandon()) == set(tickets) - bench.ended.keys()
    assert bench.executor.heard(tickets[0]) is None
    bench.executor.replace("it was killed")
    assert not bench.executor.wait_ready(lambda: True), "the caller may stop waiting"
    assert bench.executor.wait_ready(lambda: False)
    assert bench.executor.room() == room
    bench.ended.clear()
    again = bench.start(recording)
    bench.until_ended(again)
    assert bench.ended.keys() == {again}
    assert isinstance(bench.ended[again].end, Result)


def test_the_death_of_an_engine_of_several_is_an_outcome_and_its_station_goes_on(
    bench: Bench, recording: Path
) -> None:
    if not bench.survives:
        pytest.skip("the caller replaces the only engine")
    room = bench.executor.room()
    tickets = [bench.start(recording) for _ in range(2)]
    bench.kill()
    bench.until_ended(*tickets)
    ends = [bench.ended[ticket].end for ticket in tickets]
    assert {end.kind for end in ends if isinstance(end, Problem)} <= {FaultKind.ENGINE, FaultKind.NODE}
    bench.ended.clear()
    while bench.executor.room() < room:
        bench.turn()
    again = bench.start(recording)
    bench.until_ended(again)
    assert isinstance(bench.ended[again].end, Result)
