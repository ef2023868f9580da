"""The engine supervisor with a real process: one that hangs is replaced, one that cannot start is given up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine import process
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import Event, PcmBlock, StreamDone, StreamFailed
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError
from dropscribe.pipeline.local import engine_supervisor
from dropscribe.pipeline.local.arena import Arena
from dropscribe.pipeline.local.engine_plan import EnginePlan
from dropscribe.pipeline.local.engine_supervisor import EngineSupervisor
from tests.support.engines import pid_of

#: Time limit, seconds; only a hang reaches it.
DEADLINE_S = 60.0


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(100.0)
    yield made
    made.close()


def engine_pids() -> set[int]:
    return {p.pid or 0 for p in multiprocessing.active_children() if p.name == "dropscribe-engine"}


def listen(supervisor: EngineSupervisor, until: Callable[[list[Event]], bool]) -> list[Event]:
    """Events of the engine, until the condition holds."""
    said: list[Event] = []
    deadline = time.monotonic() + DEADLINE_S
    while not until(said):
        assert time.monotonic() < deadline, said
        said += supervisor.engine.results(0.1)
    return said


def ended(*streams: int) -> Callable[[list[Event]], bool]:
    def all_have(said: list[Event]) -> bool:
        return {e.stream for e in said if isinstance(e, (StreamDone, StreamFailed))} >= set(streams)

    return all_have


def send(supervisor: EngineSupervisor, arena: Arena, stream: int, *, final: bool) -> int:
    (offset,) = arena.take(1)
    supervisor.engine.submit(PcmBlock(stream, offset, 16_000, final))
    return offset


def test_an_engine_that_dies_whenever_it_starts_is_given_up_with_a_remedy(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = EnginePlan.start
    started: list[int] = []

    def start_and_kill(plan: EnginePlan) -> ProcessEngine:
        engine = start(plan)
        started.append(pid_of(engine))
        os.kill(pid_of(engine), signal.SIGKILL)
        return engine

    monkeypatch.setattr(EnginePlan, "start", start_and_kill)
    supervisor = EngineSupervisor(EnginePlan(EngineSettings(model="null", device="cpu"), arena, 100.0))
    with pytest.raises(EngineDiedError, match="killed by SIGKILL, 3 times in a row") as caught:
        supervisor.wait_ready(lambda: False)
    assert len(started) == engine_supervisor.MOST_FAILED_STARTS
    assert "the driver and the model" in caught.value.remedy
    supervisor.close()
    assert engine_pids() == set()


def test_an_engine_without_progress_counts_as_failed(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = EngineSupervisor(EnginePlan(EngineSettings(model="null", device="cpu"), arena, 100.0))
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
    settings = EngineSettings.model_validate({"model": "/nowhere", "vad_model": "vad-mini", "device": "cpu"})
    supervisor = EngineSupervisor(EnginePlan(settings, arena, 100.0))
    with pytest.raises(EngineError, match="there is no such directory"):
        supervisor.wait_ready(lambda: False)
    supervisor.close()
    assert engine_pids() == set()
