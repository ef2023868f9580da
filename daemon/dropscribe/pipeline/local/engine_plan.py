"""Plan the engine processes of this machine and start them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import EngineSettings
from dropscribe.engine import gpu_probe
from dropscribe.engine.group import EngineGroup
from dropscribe.engine.process import ProcessEngine
from dropscribe.pipeline.local.arena import Arena

AnyEngine = ProcessEngine | EngineGroup
#: Devices that the driver of every NVIDIA GPU has: without them nobody is asked how many there are, which takes 0.1 s.
_NODES = ("/dev/nvidiactl", "/dev/dxg")
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


def gpus_of(settings: EngineSettings, count_gpus: Callable[[], int] = gpu_probe.count_gpus) -> int:
    """Number of GPUs that the engine will use; 0 on a machine without one."""
    if settings.device.startswith("cpu") or not any(Path(node).exists() for node in _NODES):
        return 0
    return min(count_gpus(), len(set(devices_of(settings, count_gpus))))


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
