"""The executor on this machine: plan the engine processes and start them with decoders and arena."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from dropscribe.config import EngineSettings, Settings
from dropscribe.engine import gpu_probe
from dropscribe.engine.group import EngineGroup
from dropscribe.engine.process import ProcessEngine
from dropscribe.media.pool import DecoderPool
from dropscribe.pipeline.arena import SLOT_BYTES, Arena
from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.engine_supervisor import EngineSupervisor
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.pump import Pump
from dropscribe.pipeline.sizing import audio_bounds, decoder_count
from dropscribe.transcript.types import EngineFacts

AnyEngine = ProcessEngine | EngineGroup
#: Share of a GPU's memory divided among several processes on it; the rest is for their CUDA contexts.
SHARED_OUT = 0.9


def devices_of(
    settings: EngineSettings, count_gpus: Callable[[], int] = gpu_probe.count_gpus
) -> tuple[str, ...]:
    """Device of each engine process; `cuda` means every GPU.

    Without a GPU `cuda` becomes cuda:0, so that the start fails with the error that CUDA reports.
    """
    if settings.device != "cuda":
        return settings.devices
    return tuple(f"cuda:{i}" for i in range(max(1, count_gpus())))


def settings_of(settings: EngineSettings, devices: tuple[str, ...], cores: int) -> tuple[EngineSettings, ...]:
    """Settings of each engine process: its device and, unless set, its share of cores and GPU memory."""
    threads = settings.threads
    if threads is None and len(devices) > 1:
        threads = max(1, cores // len(devices))

    def memory(device: str) -> float | None:
        processes = devices.count(device)
        return settings.gpu_memory or (SHARED_OUT / processes if processes > 1 else None)

    return tuple(
        settings.model_copy(update={"device": d, "threads": threads, "gpu_memory": memory(d)})
        for d in devices
    )


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Engine processes that share one arena. `capacity_s`: most unrecognised audio per process, seconds."""

    members: tuple[EngineSettings, ...]
    arena: Arena
    capacity_s: float

    def start(self) -> AnyEngine:
        """Start all engine processes, as a group if there are several; does not wait until they are ready."""
        if len(self.members) == 1:
            return self.start_member(0)
        started = [self.start_member(i) for i in range(len(self.members))]
        return EngineGroup(started, [m.device for m in self.members])

    def start_member(self, index: int) -> ProcessEngine:
        """Start one engine process; does not wait until it is ready."""
        return ProcessEngine(
            self.members[index],
            arena_fd=self.arena.fd,
            arena_bytes=self.arena.size_bytes,
            capacity_s=self.capacity_s,
        )


def plan(settings: EngineSettings, arena: Arena, capacity_s: float) -> EnginePlan:
    """Plan the engine processes for the GPUs and cores of this machine."""
    members = settings_of(settings, devices_of(settings), len(os.sched_getaffinity(0)))
    return EnginePlan(members, arena, capacity_s)


class LocalExecutor:
    """`Executor` with decoders and engines on this machine, joined by a `Pump` over one arena. Owned by one thread."""

    def __init__(self, settings: Settings) -> None:
        """Start all processes; `wait_ready` must follow. Raises DecoderDiedError if no decoder can be started."""
        arena_s, capacity_s = audio_bounds(settings)
        with ExitStack() as stack:
            arena = Arena(arena_s)
            stack.callback(arena.close)
            self._supervisor = EngineSupervisor(plan(settings.engine, arena, capacity_s))
            stack.callback(self._supervisor.close)
            self._decoders = DecoderPool(
                arena.fd,
                SLOT_BYTES,
                workers=decoder_count(settings),
                settings=settings.media,
                clock=time.monotonic,
            )
            stack.callback(self._decoders.close)
            self._pump = Pump(self._decoders, self._supervisor.engine, arena, time.monotonic)
            self._stack = stack.pop_all()

    @property
    def facts(self) -> EngineFacts:
        """See `Executor`."""
        return self._supervisor.engine.facts

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """See `Executor`."""
        if not self._supervisor.wait_ready(meanwhile):
            return False
        # The engine may have been replaced because it died before it was ready.
        self._pump.use_engine(self._supervisor.engine)
        return True

    def room(self) -> int:
        """See `Executor`."""
        return self._pump.room()

    def start(self, work: Work) -> None:
        """See `Executor`."""
        self._pump.start(work)

    def abort(self, ticket: int) -> None:
        """See `Executor`."""
        self._pump.abort(ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """See `Executor`."""
        return self._pump.turn(timeout_s, wake)

    def progress(self, ticket: int) -> Progress | None:
        """See `Executor`."""
        return self._pump.progress(ticket)

    def heard(self, ticket: int) -> Heard | None:
        """See `Executor`."""
        return self._pump.heard(ticket)

    def texts(self, ticket: int) -> tuple[str, ...]:
        """See `Executor`."""
        return self._pump.texts(ticket)

    def supervise(self, now: float) -> None:
        """See `Executor`."""
        self._supervisor.tend(now)
        self._supervisor.expect_progress(self._pump.engine_idle_s())

    def abandon(self) -> list[int]:
        """See `Executor`."""
        return self._pump.abandon_engine()

    def replace(self, why: str) -> None:
        """See `Executor`."""
        self._supervisor.replace(why)

    def close(self) -> bool:
        """See `Executor`."""
        self._stack.close()
        return self._decoders.ended()


def start_executor(settings: Settings) -> Executor:
    """Start the executor for these settings, so far always a `LocalExecutor`; `wait_ready` must follow."""
    return LocalExecutor(settings)
