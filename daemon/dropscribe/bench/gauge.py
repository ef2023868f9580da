"""Looks, a few times a second, at what a tree of processes and its GPUs take."""

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

#: Between two looks, seconds: nvidia-smi itself averages over no less.
INTERVAL_S = 0.2
#: How long nvidia-smi may take to begin or to end, seconds.
PATIENCE_S = 10.0
KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of nvidia-smi: one GPU at one instant (monotonic seconds)."""

    at: float
    gpu: str
    busy_percent: float
    used_bytes: int


def gpu_ids(devices: Sequence[str], visible: str | None) -> tuple[str, ...]:
    """What nvidia-smi calls the devices `cuda:0`, …; `visible` is $CUDA_VISIBLE_DEVICES, which renumbers them."""
    numbers = [int(d.partition(":")[2] or 0) for d in dict.fromkeys(devices) if d.startswith("cuda")]
    if visible is None:
        return tuple(str(n) for n in numbers)
    listed = [v.strip() for v in visible.split(",") if v.strip()]
    return tuple(listed[n] for n in numbers if n < len(listed))


def parse(line: str, at: float) -> Reading | None:
    """`0, 37, 1024` (index, percent, MiB) as a reading; None for a line without figures (a MIG slice has none)."""
    parts = [part.strip() for part in line.split(",")]
    try:
        return Reading(at, parts[0], float(parts[1]), int(parts[2]) * MIB)
    except (IndexError, ValueError):
        return None


def usage(readings: Sequence[Reading], host_bytes: int | None, began: float, ended: float) -> Usage:
    """Utilisation between `began` and `ended`, memory at its highest minus what was in use at first, over all GPUs."""
    within = [r.busy_percent for r in readings if began <= r.at <= ended]
    busy = sum(within) / len(within) if within else None
    taken = None
    for gpu in {r.gpu for r in readings}:
        used = [r.used_bytes for r in readings if r.gpu == gpu]
        taken = (taken or 0) + max(used) - used[0]
    return Usage(busy, taken, host_bytes)


def resident_bytes(root: int) -> int:
    """Resident memory of a process and all below it; memory they share counts once, code and libraries each time."""
    own, shared = 0, 0
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            todo += _children(pid)
        except OSError:
            continue  # it has ended since it was listed
        fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
        kib = {name: int(value.split()[0]) for name, value in fields.items()}
        own += (kib.get("RssAnon", 0) + kib.get("RssFile", 0)) * KIB
        shared = max(shared, kib.get("RssShmem", 0) * KIB)
    return own + shared


def _children(pid: int) -> list[int]:
    """Processes begun by any thread of `pid`."""
    listed: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        listed += [int(n) for n in (task / "children").read_text(encoding="ascii").split()]
    return listed


class Gauge:
    """Two threads: one reads /proc, one what nvidia-smi prints. Use as a context manager around a whole run."""

    def __init__(self, gpus: Sequence[str]) -> None:
        """`gpus`: as nvidia-smi names them; none: GPUs are not looked at."""
        self._stop = threading.Event()
        #: Owned by their thread until it has been joined.
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
        """Look at the memory of the process `root` and all below it from now on."""
        self._root = root
        self._begin(threading.Thread(target=self._read_memory, name="gauge"))

    def finish(self, began: float, ended: float) -> Usage:
        """Stop looking; the run lasted from `began` to `ended`, monotonic seconds."""
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
            thread.join(PATIENCE_S)
        self._threads.clear()
        if self._smi is not None:
            self._smi.wait(PATIENCE_S)
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
    """Names of the GPUs of this machine; none where there is no nvidia-smi, or it fails."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def visible_devices() -> str | None:
    """$CUDA_VISIBLE_DEVICES, CUDA's own variable, which decides what `cuda:0` means."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
