"""Sample the memory of a process tree and the use of its GPUs, several times a second."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dropscribe.bench.records import Usage

#: Sampling interval, seconds; nvidia-smi averages over at least as long.
INTERVAL_S = 0.2
#: Time limit for nvidia-smi to start or to end, seconds.
DEADLINE_S = 10.0
KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of nvidia-smi: one GPU at one instant (monotonic seconds)."""

    at: float
    gpu: str
    busy_percent: float
    used_bytes: int


def gpu_ids(devices: Sequence[str], visible: str | None) -> tuple[str, ...]:
    """Names in nvidia-smi of the devices `cuda:0`, …; `visible`: $CUDA_VISIBLE_DEVICES, which renumbers them."""
    numbers = [int(d.partition(":")[2] or 0) for d in dict.fromkeys(devices) if d.startswith("cuda")]
    if visible is None:
        return tuple(str(n) for n in numbers)
    listed = [v.strip() for v in visible.split(",") if v.strip()]
    return tuple(listed[n] for n in numbers if n < len(listed))


def parse(line: str, at: float) -> Reading | None:
    """Parse `0, 37, 1024` (index, percent, MiB); None for a line without numbers (a MIG slice has none)."""
    parts = [part.strip() for part in line.split(",")]
    try:
        return Reading(at, parts[0], float(parts[1]), int(parts[2]) * MIB)
    except (IndexError, ValueError):
        return None


def usage(readings: Sequence[Reading], host_bytes: int | None, began: float, ended: float) -> Usage:
    """Mean utilisation between `began` and `ended`, and peak memory above the first reading, over all GPUs."""
    within = [r.busy_percent for r in readings if began <= r.at <= ended]
    busy = sum(within) / len(within) if within else None
    taken = None
    for gpu in {r.gpu for r in readings}:
        used = [r.used_bytes for r in readings if r.gpu == gpu]
        taken = (taken or 0) + max(used) - used[0]
    return Usage(busy, taken, host_bytes)


def resident_bytes(root: int) -> int:
    """Resident memory of a process tree, bytes. Shared memory counts once; code and libraries once per process."""
    own, shared = 0, 0
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            todo += _children(pid)
        except OSError:
            continue  # the process has ended
        fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
        kib = {name: int(value.split()[0]) for name, value in fields.items()}
        own += (kib.get("RssAnon", 0) + kib.get("RssFile", 0)) * KIB
        shared = max(shared, kib.get("RssShmem", 0) * KIB)
    return own + shared


def _children(pid: int) -> list[int]:
    """Child processes of all threads of `pid`."""
    listed: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        listed += [int(n) for n in (task / "children").read_text(encoding="ascii").split()]
    return listed


class Gauge:
    """Sampler with two threads, one for /proc and one for nvidia-smi. A context manager around a whole run."""

    def __init__(self, gpus: Sequence[str]) -> None:
        """`gpus`: names in nvidia-smi; if empty, GPUs are not sampled."""
        self._stop = threading.Event()
        #: Written by the sampling threads until they are joined.
        self._peak: int | None = None
        self._readings: list[Reading] = []
        self._root = 0
        self._smi = _start_smi(gpus) if gpus else None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        if self._smi is not None:
            self._begin(threading.Thread(target=self._read_smi, args=(self._smi,), name="nvidia-smi"))
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def watch(self, root: int) -> None:
        """Start sampling the memory of the process tree of `root`."""
        self._root = root
        self._begin(threading.Thread(target=self._read_memory, name="gauge"))

    def finish(self, began: float, ended: float) -> Usage:
        """Stop sampling; returns the usage of the run from `began` to `ended`, monotonic seconds."""
        self._end()
        return usage(self._readings, self._peak, began, ended)

    def _begin(self, thread: threading.Thread) -> None:
        self._threads.append(thread)
        thread.start()

    def _end(self) -> None:
        self._stop.set()
        if self._smi is not None:
            self._smi.terminate()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._threads.clear()
        if self._smi is not None:
            self._smi.wait(DEADLINE_S)
            if self._smi.stdout is not None:
                self._smi.stdout.close()
            self._smi = None

    def _read_memory(self) -> None:
        while True:
            self._peak = max(self._peak or 0, resident_bytes(self._root))
            if self._stop.wait(INTERVAL_S):
                return

    def _read_smi(self, smi: subprocess.Popen[str]) -> None:
        assert smi.stdout is not None
        for line in smi.stdout:
            reading = parse(line, time.monotonic())
            if reading is not None:
                self._readings.append(reading)


def _start_smi(gpus: Sequence[str]) -> subprocess.Popen[str] | None:
    command = [
        "nvidia-smi",
        "-i",
        ",".join(gpus),
        "--query-gpu=index,utilization.gpu,memory.used",
        "--format=csv,noheader,nounits",
        f"-lms={INTERVAL_S * 1000:.0f}",
    ]
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except FileNotFoundError:
        return None


def gpu_names() -> list[str]:
    """Names of the GPUs of this machine; empty if nvidia-smi is missing or fails."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def visible_devices() -> str | None:
    """$CUDA_VISIBLE_DEVICES, which determines the GPU of `cuda:0`."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
