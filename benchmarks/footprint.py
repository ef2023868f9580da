"""Measure the resources of each process of a running daemon (memory, handles, threads) and their growth."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil

KIB, MIB = 1024, 2**20
#: Roles by process name; the root process is the daemon.
ROLES = {"ds-engine": "engine", "ds-decoder": "decoder"}
METRICS = ("resident", "own", "shared", "handles", "threads")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resources of one process. Bytes: `resident` in all, `own` not shared with others, `shared` shared memory."""

    role: str
    pid: int
    resident: int
    own: int
    shared: int
    handles: int
    threads: int


def look(root: int) -> list[Footprint]:
    """Footprints of the daemon's process `root` and its descendants."""
    daemon = psutil.Process(root)
    found = [_look("daemon", root)]
    for child in daemon.children(recursive=True):
        with suppress(psutil.NoSuchProcess, OSError):
            found.append(_look(ROLES.get(child.name(), "other"), child.pid))
    return found


def _look(role: str, pid: int) -> Footprint:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" not in fields:
        raise ProcessLookupError(f"{role} {pid} has ended, and holds nothing")
    kib = {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssAnon", "RssShmem")}
    return Footprint(
        role,
        pid,
        kib["VmRSS"] * KIB,
        kib["RssAnon"] * KIB,
        kib["RssShmem"] * KIB,
        sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        int(fields["Threads"]),
    )


class Peaks:
    """Thread that samples a daemon's memory continuously. A context manager; read `growth` after its end."""

    def __init__(self, root: int, every_s: float = 0.1) -> None:
        self._root = root
        self._every_s = every_s
        self._stop = threading.Event()
        #: What each process had when the looking began; a process that came later counts from nothing.
        self._first = {one.pid: one for one in look(root)}
        self._peaks: dict[int, tuple[str, int]] = {}
        self._thread = threading.Thread(target=self._run, name="peaks")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def growth(self) -> dict[str, float]:
        """Largest growth of resident memory of a process of each role: peak minus initial value, MiB."""
        grown: dict[str, float] = {}
        for pid, (role, peak) in self._peaks.items():
            before = self._first[pid].resident if pid in self._first else 0
            grown[role] = max(grown.get(role, 0.0), round((peak - before) / MIB, 1))
        return grown

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            with suppress(psutil.NoSuchProcess, OSError):
                for one in look(self._root):
                    _, before = self._peaks.get(one.pid, ("", 0))
                    self._peaks[one.pid] = (one.role, max(before, one.resident))


def by_role(found: list[Footprint]) -> dict[str, dict[str, int]]:
    """Sums over the processes of each role, and their number."""
    roles: dict[str, dict[str, int]] = {}
    for one in found:
        sums = roles.setdefault(one.role, dict.fromkeys(("processes", *METRICS), 0))
        sums["processes"] += 1
        for metric in METRICS:
            sums[metric] += getattr(one, metric)
    return roles


def slopes(at: list[int], samples: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, Any]]:
    """By role and metric: slope of the linear fit per thousand of `at`, and first and last value."""
    lines: dict[str, dict[str, Any]] = {}
    for role in samples[-1]:
        lines[role] = {}
        for metric in ("processes", *METRICS):
            values = [s.get(role, {}).get(metric, 0) for s in samples]
            slope = float(np.polyfit(np.array(at, float), np.array(values, float), 1)[0]) * 1000
            lines[role][metric] = {
                "first": values[0], "last": values[-1], "highest": max(values),
                "per_thousand": round(slope, 3),
            }  # fmt: skip
    return lines


def cpu_s(root: int) -> float:
    """CPU seconds of a daemon and all its processes, including ended ones."""
    daemon = psutil.Process(root)
    own = daemon.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in daemon.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used = child.cpu_times()
            total += used.user + used.system
    return float(total)
