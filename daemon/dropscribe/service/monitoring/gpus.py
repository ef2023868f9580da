"""Memory and use of the GPUs, as nvidia-smi says."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

#: Time limit, seconds.
TIMEOUT_S = 10.0
MIB = 1024**2
_COMMAND = (
    "nvidia-smi",
    "--query-gpu=index,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
)


@dataclass(frozen=True, slots=True)
class GpuUse:
    """A GPU now. `busy`: share of the last moments in which it computed; None if it does not say."""

    index: str
    busy: float | None
    used_bytes: int
    total_bytes: int


def read_gpus() -> tuple[GpuUse, ...]:
    """All GPUs of the machine; none if nvidia-smi is missing or fails."""
    try:
        done = subprocess.run(_COMMAND, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse(done.stdout)


def parse(text: str) -> tuple[GpuUse, ...]:
    """GPUs from lines such as `0, 37, 1024, 81559` (percent, MiB, MiB). A slice of a GPU says `[N/A]` for its use."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[2].isdigit() and parts[3].isdigit():
            busy = float(parts[1]) / 100 if parts[1].isdigit() else None
            found.append(GpuUse(parts[0], busy, int(parts[2]) * MIB, int(parts[3]) * MIB))
    return tuple(found)
