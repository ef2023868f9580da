"""Devices of this machine, settings of the engine on each, and the start of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import EngineSettings
from dropscribe.engine import gpu_probe
from dropscribe.engine.process import ProcessEngine
from dropscribe.pipeline.local.arena import Arena

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
    """The engine process of a station. `capacity_s`: most unrecognised audio in it, seconds."""

    settings: EngineSettings
    arena: Arena
    capacity_s: float

    def start(self) -> ProcessEngine:
        """Start the process; does not wait until it is ready."""
        return ProcessEngine(
            self.settings,
            arena_fd=self.arena.fd,
            arena_bytes=self.arena.size_bytes,
            capacity_s=self.capacity_s,
        )
