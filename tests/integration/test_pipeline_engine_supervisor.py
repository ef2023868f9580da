"""The engine supervisor with two real processes: a dead or hanging one is replaced while the other works."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine import process
from dropscribe.engine.group import EngineGroup
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import BlockFreed, Event, PcmBlock, StreamDone, StreamFailed
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError
from dropscribe.pipeline.local import engine_plan, engine_supervisor
from dropscribe.pipeline.local.arena import Arena
from dropscribe.pipeline.local.engine_supervisor import EngineSupervisor
from tests.support.engines import pid_of

#: Time limit, seconds; only a hang reaches it.
DEADLINE_S = 60.0


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(100.0)
    yield made
    made.close()


@pytest.fixture
def supervisor(arena: Arena) -> Iterator[EngineSupervisor]:
    settings = EngineSettings.model_validate({"model": "null", "device": ["cpu", "cpu"]})
    made = EngineSupervisor(engine_plan.plan(settings, arena, 100.0))
    assert made.wait_ready(lambda: False)
    yield made
    made.close()


def engine_pids() -> set[int]:
    return {p.pid or 0 for p in multiprocessing.active_children() if p.name == "dropscribe-engine"}


def ready_pids(group: EngineGroup) -> set[int]:
    return {pid_of(s.member) for s in group._ready() if isinstance(s.member, ProcessEngine)}


def until_replaced(supervisor: EngineSupervisor, *victims: int) -> None:
    """Tend until two processes are ready and none is a victim; a dead one counts until its end was read."""
    group = supervisor.engine
    assert isinstance(group, EngineGroup)
    deadline = time.monotonic() + DEADLINE_S
    while len(at_work := ready_pids(group)) < 2 or at_work & set(victims):
        assert time.monotonic() < deadline
        group.results(0.1)
        supervisor.tend(time.monotonic())


def listen(supervisor: EngineSupervisor, until: Callable[[list[Event]], bool]) -> list[Event]:
    """Events of the engine, tended like by the daemon, until the condition holds."""
    said: list[Event] = []
    deadline = time.monotonic() + DEADLINE_S
    while not until(said):
        assert time.monotonic() < deadline, said
        said += supervisor.engine.results(0.1)
        supervisor.tend(time.monotonic())
    return said


def ended(*streams: int) -> Callable[[list[Event]], bool]:
    def all_have(said: list[Event]) -> bool:
        return {e.stream for e in said if isinstance(e, (StreamDone, StreamFailed))} >= set(streams)

    return all_have


def send(supervisor: EngineSupervisor, arena: Arena, stream: int, *, final: bool) -> int:
    (offset,) = arena.take(1)
    supervisor.engine.submit(PcmBlock(stream, offset, 16_000, final))
    return offset


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_one_of_two_is_replaced_and_the_other_goes_on(
    supervisor: EngineSupervisor, arena: Arena, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine_pids()
    assert len(before) == 2
    group = supervisor.engine
    assert isinstance(group, EngineGroup)
    # Each process has one stream; which one is found by stopping a process.
    send(supervisor, arena, 1, final=False)
    send(supervisor, arena, 2, final=False)
    listen(supervisor, lambda said: len([e for e in said if isinstance(e, BlockFreed)]) == 2)
    victim = min(before)
    os.kill(victim, number)
    if number == signal.SIGSTOP:
        # The stopped process does not answer; the other has ended its stream by then.
        monkeypatch.setattr(engine_supervisor, "HUNG_S", 2.0)
    send(supervisor, arena, 1, final=True)
    send(supervisor, arena, 2, final=True)
    said = listen(supervisor, ended(1, 2))
    failed = [e for e in said if isinstance(e, StreamFailed)]
    code = "engine_died" if number == signal.SIGKILL else "device_failed"
    assert [(e.code, e.retryable) for e in failed] == [(code, True)]
    assert len([e for e in said if isinstance(e, StreamDone)]) == 1
    until_replaced(supervisor, victim)
    assert supervisor.engine is group, "the group itself was not replaced"
    assert victim not in engine_pids()
    assert len(engine_pids() & before) == 1
    monkeypatch.undo()
    # Each process gets one of the next two streams.
    send(supervisor, arena, 3, final=True)
    send(supervisor, arena, 4, final=True)
    assert not [e for e in listen(supervisor, ended(3, 4)) if isinstance(e, StreamFailed)]


def test_when_all_have_died_all_are_replaced(supervisor: EngineSupervisor, arena: Arena) -> None:
    send(supervisor, arena, 1, final=False)
    before = engine_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    said = listen(supervisor, ended(1))
    assert [e.code for e in said if isinstance(e, StreamFailed)] == ["engine_died"]
    until_replaced(supervisor, *before)
    send(supervisor, arena, 2, final=True)
    assert [type(e) for e in listen(supervisor, ended(2))].count(StreamDone) == 1


def test_restarts_of_a_device_that_does_not_start_are_delayed(
    supervisor: EngineSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = supervisor.engine
    assert isinstance(group, EngineGroup)
    started: list[int] = []
    start_member = engine_plan.EnginePlan.start_member

    def start_and_kill(plan: engine_plan.EnginePlan, index: int) -> ProcessEngine:
        engine = start_member(plan, index)
        started.append(index)
        os.kill(pid_of(engine), signal.SIGKILL)
        return engine

    monkeypatch.setattr(engine_plan.EnginePlan, "start_member", start_and_kill)
    os.kill(min(engine_pids()), signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while not supervisor._due:
        assert time.monotonic() < deadline
        supervisor.engine.results(0.1)
        supervisor.tend(time.monotonic())
    assert len(started) == engine_supervisor.MOST_FAILED_STARTS
    assert group.capacity() > 0, "the other one goes on"
    monkeypatch.undo()
    supervisor.tend(time.monotonic() + engine_supervisor.REST_S + 1)
    while len(group._ready()) < 2:
        assert time.monotonic() < deadline
        supervisor.engine.results(0.1)
        supervisor.tend(time.monotonic())


def test_an_engine_that_dies_whenever_it_starts_is_given_up_with_a_remedy(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = engine_plan.EnginePlan.start_member
    started: list[int] = []

    def start_and_kill(plan: engine_plan.EnginePlan, index: int) -> ProcessEngine:
        engine = start(plan, index)
        started.append(pid_of(engine))
        os.kill(pid_of(engine), signal.SIGKILL)
        return engine

    monkeypatch.setattr(engine_plan.EnginePlan, "start_member", start_and_kill)
    supervisor = EngineSupervisor(engine_plan.plan(EngineSettings(model="null", device="cpu"), arena, 100.0))
    with pytest.raises(EngineDiedError, match="killed by SIGKILL, 3 times in a row") as caught:
        supervisor.wait_ready(lambda: False)
    assert len(started) == engine_supervisor.MOST_FAILED_STARTS
    assert "the driver and the model" in caught.value.remedy
    supervisor.close()
    assert engine_pids() == set()


def test_an_engine_without_progress_counts_as_failed(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = EngineSupervisor(engine_plan.plan(EngineSettings(model="null", device="cpu"), arena, 100.0))
    assert supervisor.wait_ready(lambda: False)
    (victim,) = engine_pids()
    os.kill(victim, signal.SIGSTOP)
    send(supervisor, arena, 1, final=True)
    supervisor.expect_progress(supervisor.engine.idle_s(time.monotonic() + engine_supervisor.HUNG_S - 5.0))
    with pytest.raises(DeviceFailedError, match="no progress for 180 s"):
        supervisor.expect_progress(
            supervisor.engine.idle_s(time.monotonic() + engine_supervisor.HUNG_S + 5.0)
        )
    monkeypatch.setattr(process, "CLOSE_S", 0.2)
    supervisor.replace("it hangs")
    assert supervisor.wait_ready(lambda: False)
    assert victim not in engine_pids()
    send(supervisor, arena, 2, final=True)
    assert [type(e) for e in listen(supervisor, ended(2))].count(StreamDone) == 1
    supervisor.close()


def test_an_engine_that_cannot_start_at_all_ends_the_start(arena: Arena) -> None:
    """A configuration error is reported at once."""
    settings = EngineSettings.model_validate(
        {"model": "/nowhere", "vad_model": "vad-mini", "device": ["cpu", "cpu"]}
    )
    supervisor = EngineSupervisor(engine_plan.plan(settings, arena, 100.0))
    with pytest.raises(EngineError, match="cpu: "):
        supervisor.wait_ready(lambda: False)
    supervisor.close()
    assert engine_pids() == set()
