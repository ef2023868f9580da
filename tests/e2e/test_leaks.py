"""A few hundred recordings through one daemon: no process leaks handles, threads or shared memory.

`benchmarks/leaks.py` measures memory over thousands of recordings.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech

#: Recordings per round, rounds before the first measurement, rounds after it.
ROUND, WARM_UP, ROUNDS = 60, 2, 4
#: Tolerated growth of handles or threads of one process: connections and workers are created on demand. One per
#: recording or round would be ten times as many.
CHANCE = 6


def hold(daemon: DaemonProcess) -> dict[int, Counter[str]]:
    """Handles, threads and mapped pages of shared memory, by process."""
    assert daemon.process is not None
    root = psutil.Process(daemon.process.pid)
    held: dict[int, Counter[str]] = {}
    for process in [root, *root.children()]:
        shared = 0
        for line in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").splitlines():
            where, _, rest = line.partition(" ")
            if "memfd:" in rest or "/dev/shm/" in rest:
                first, last = (int(edge, 16) for edge in where.split("-"))
                shared += last - first
        held[process.pid] = Counter(
            handles=process.num_fds(), threads=process.num_threads(), shared_bytes=shared
        )
    return held


def go_round(daemon: DaemonProcess, number: int) -> None:
    """Drop recordings together and, once all are done, remove them with their transcripts."""
    staged = daemon.root / f"round-{number}"
    staged.mkdir()
    for i in range(ROUND):
        write_speech(staged / f"{i}.wav", seconds=1.0 + i / 100, offset=number + i / 10)
    there = daemon.inbox / staged.name
    staged.rename(there)
    wanted = ROUND * (number + 1)
    wait_until(
        lambda: daemon.rows("select count(*) n from jobs where state = 'done'")[0]["n"] == wanted,
        f"{wanted} are done; last log: {daemon.lines[-3:]}",
    )
    for path in there.iterdir():
        path.unlink()
    there.rmdir()


def test_finished_recordings_leave_no_handles_threads_or_memory(tmp_path: Path) -> None:
    each = '[profiles.default]\nduplicates = "transcribe"\n'
    with DaemonProcess(tmp_path, model="null", extra=each) as daemon:
        for number in range(WARM_UP):
            go_round(daemon, number)
        before = hold(daemon)
        for number in range(WARM_UP, WARM_UP + ROUNDS):
            go_round(daemon, number)
        # Files of the last recording may still be open for a moment.
        with suppress(AssertionError):
            wait_until(lambda: grown(before, hold(daemon)) == [], "nothing has grown", 10.0)
        assert grown(before, hold(daemon)) == []


def grown(before: dict[int, Counter[str]], after: dict[int, Counter[str]]) -> list[str]:
    """Growth beyond the tolerance, by process; the processes must be the same as before."""
    if before.keys() != after.keys():
        return [f"processes were {sorted(before)}, are {sorted(after)}"]
    allowed = Counter(handles=CHANCE, threads=CHANCE, shared_bytes=0)
    return [
        f"{psutil.Process(pid).name()} {what}: {before[pid][what]} → {count}"
        for pid, held in after.items()
        for what, count in held.items()
        if count > before[pid][what] + allowed[what]
    ]
