"""Divide this machine between the stations of its GPUs: decoders, buffered audio, threads, CPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dropscribe.config import EngineSettings, Settings
from dropscribe.engine import gpu_probe
from dropscribe.pipeline import sizing
from dropscribe.pipeline.local import engine_plan
from dropscribe.pipeline.local.child_station import StationPlan

#: CPUs near each PCI device.
_NEAR = "/sys/bus/pci/devices/{}/local_cpulist"
#: Fewest cores with a process for a single GPU.
CORES_FOR_A_STATION = 8
#: Fewest CPUs to which a station is confined.
_FEWEST_CPUS = 2
#: Smallest `service.queue_audio_s`.
_LEAST_QUEUE_S = 30.0

CpuSet = frozenset[int] | None


def have_processes(wanted: str, *, devices: int, gpus: int, cores: int) -> bool:
    """True if stations get processes of their own. Pure. `wanted`: the setting `engine.station_processes`."""
    if devices > 1 or wanted == "always":
        return True
    # What the daemon does for a GPU's recordings besides would take turns with what feeds the GPU.
    return wanted == "auto" and gpus > 0 and cores >= CORES_FOR_A_STATION


def plan_stations(settings: Settings, devices: Sequence[str]) -> tuple[StationPlan, ...]:
    """Plan a station for each device, on the CPUs and with the settings of this machine."""
    mine = frozenset(os.sched_getaffinity(0))
    decoders = sizing.decoder_count(settings, len(devices))
    return divide(settings, devices, decoders, len(mine), near_cpus(devices, mine))


def divide(
    settings: Settings, devices: Sequence[str], decoders: int, cores: int, cpus: Sequence[CpuSet]
) -> tuple[StationPlan, ...]:
    """Plan a station for each device. Pure. `cpus`: as of `near_cpus`."""
    engines = engine_plan.settings_of(settings.engine, tuple(devices), cores)
    shares = shared_out(decoders, cpus)
    queue_s = max(_LEAST_QUEUE_S, settings.service.queue_audio_s / len(devices))
    service = settings.service.model_copy(update={"queue_audio_s": queue_s})
    return tuple(
        StationPlan(
            name,
            settings.model_copy(
                update={
                    "engine": engine.model_copy(update={"threads": _threads(settings, engine, near)}),
                    "media": settings.media.model_copy(update={"decoders": share}),
                    "service": service,
                }
            ),
            near,
        )
        for name, engine, share, near in zip(names_of(devices), engines, shares, cpus, strict=True)
    )


def _threads(settings: Settings, engine: EngineSettings, near: CpuSet) -> int | None:
    """Threads of a station's engine: unless set, no more than it has CPUs."""
    if near is None or engine.threads is None or settings.engine.threads is not None:
        return engine.threads
    return min(engine.threads, len(near))


def names_of(devices: Sequence[str]) -> list[str]:
    """Names of the stations: of the devices, with a number if one has several."""
    return [
        f"{device}#{devices[:at].count(device) + 1}" if devices.count(device) > 1 else device
        for at, device in enumerate(devices)
    ]


def shared_out(decoders: int, cpus: Sequence[CpuSet]) -> list[int]:
    """Decoders of each station, at least one: as many as it has CPUs, each divided among the stations that share it."""
    every = frozenset[int]().union(*(near for near in cpus if near is not None))
    sets = [near or every or frozenset({0}) for near in cpus]
    weights = [sum(1 / sum(cpu in other for other in sets) for cpu in near) for near in sets]
    whole = sum(weights)
    shares = [int(decoders * weight / whole + 1e-9) for weight in weights]
    # What is left goes to those that were rounded down most.
    lacking = sorted(range(len(sets)), key=lambda at: shares[at] - decoders * weights[at] / whole)
    for at in lacking[: decoders - sum(shares)]:
        shares[at] += 1
    return [max(1, share) for share in shares]


def near_cpus(
    devices: Sequence[str],
    mine: frozenset[int],
    addresses: Callable[[], Sequence[str]] = gpu_probe.gpu_addresses,
    read: Callable[[str], str] = lambda path: Path(path).read_text(encoding="ascii"),
) -> list[CpuSet]:
    """CPUs near each device, of those that this process may use.

    None for all where they do not differ or are not known, or where some are near no device: no station would use these.
    """
    everywhere: list[CpuSet] = [None] * len(devices)
    if not all(device.startswith("cuda:") for device in devices) or len(set(devices)) < 2:
        return everywhere
    found = addresses()
    try:
        near = [cpus_of(read(_NEAR.format(found[int(d.partition(":")[2])]))) & mine for d in devices]
    except (OSError, ValueError, IndexError):
        return everywhere
    if len(set(near)) == 1 or any(len(cpus) < _FEWEST_CPUS for cpus in near) or mine.difference(*near):
        return everywhere
    return list(near)


def cpus_of(text: str) -> frozenset[int]:
    """CPUs of a list such as "0-3,8" (cpuset(7), list format). Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
