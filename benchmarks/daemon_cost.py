"""Measure what a recording costs the daemon: processor time of each of its threads and of its children, and fsyncs.

    .venv/bin/python benchmarks/daemon_cost.py [--recordings 200] [--seconds 300] [--speed 0] [--out FILE.json]
    .venv/bin/python benchmarks/daemon_cost.py --py-spy PATH --profile FILE

Needs no GPU and no model: `talking_daemon.py` has an engine that answers at once with 40 segments and 1,360 tokens, with
times and confidence, for 5 minutes. The recordings are 16-kHz WAV, moved into the folder at once.

- `daemon_ms`, `children_ms`: milliseconds of processor time a recording, by thread and by process. `user` is what Python
  and the libraries took (without a lock of the interpreter: hashing, SQLite), `system` the kernel's.
- `interpreter_ms`: the part of it that the interpreter of the daemon took, by thread: processor time outside the kernel and
  outside the libraries that work without its lock (hashes, SQLite). Sampled by perf; absent without it. More than
  1,000 / ms recordings a second are not possible.
- `fsync`: calls of all processes a recording and their mean latency, and the latency of the disk itself for 4 KiB.
- `pss_mib`: memory of the daemon and its children together, at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import running_daemon
import sampling
import surroundings
import talking_daemon

HERE = Path(__file__).resolve().parent
#: Recordings before the measurement: all processes are started, all modules and dictionaries loaded.
WARM = 48
#: Samples of perf a second.
HZ = 997
#: Libraries of which the daemon calls only functions that release the lock of the interpreter.
WITHOUT_LOCK = ("libcrypto", "sqlite", "_sha", "libfsync_probe")


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.set_defaults(model="null", vad_model="null", device="cpu")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of each")
    parser.add_argument("--speed", type=float, default=0.0, help="of the engine, x real time; 0: unlimited")
    parser.add_argument("--profile-lines", default="", help="settings of the default profile")
    parser.add_argument(
        "--cores", type=int, default=0, help="as which the daemon sizes itself; 0: this machine's"
    )
    parser.add_argument("--decoders", type=int, default=0, help="0: as the daemon decides")
    sampling.options_of(parser)
    options = parser.parse_args()
    surroundings.report("daemon_cost", options, measured(options))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="dropscribe-fsyncs-") as made:
        environment, counters = counting(Path(made))
        environment |= {
            talking_daemon.SPEED: str(options.speed),
            talking_daemon.CORES: str(options.cores),
        }
        with running_daemon.Daemon(
            options,
            program=(str(HERE / "talking_daemon.py"),),
            environment=environment,
            profile_lines=options.profile_lines,
            further=f"[media]\ndecoders = {options.decoders}\n" if options.decoders else "",
        ) as daemon:
            staging = daemon.root / "staging"
            staging.mkdir()
            for number in range(WARM + options.recordings):
                write(staging / f"r{number:05d}.wav", options.seconds, number)
            files = sorted(staging.iterdir())
            disk = disk_latency_ms(daemon.root)
            for file in files[:WARM]:
                file.rename(daemon.inbox / file.name)
            daemon.wait_for(WARM)
            with sampling.sampled(options, daemon.pid), Perf(daemon.pid, Path(made)) as perf:
                before, synced = spent(daemon.pid), read(counters)
                began = time.monotonic()
                for file in files[WARM:]:
                    file.rename(daemon.inbox / file.name)
                wait_for(daemon, WARM + options.recordings)
                wall_s = time.monotonic() - began
                after, now_synced = spent(daemon.pid), read(counters)
            memory = {
                f"{p.name()} {p.pid}": round(p.memory_full_info().pss / 2**20, 1) for p in family(daemon.pid)
            }
            segments, characters = daemon.rows(
                "select count(*), sum(length(text)) from segments where job_id > ?", WARM
            )[0]
            shutil.rmtree(daemon.inbox)
    count = options.recordings
    calls, nanoseconds = (b - a for a, b in zip(synced, now_synced, strict=True))
    figures: dict[str, Any] = {
        "segments_a_recording": segments / count,
        "characters_a_recording": characters / count,
        "wall_s": round(wall_s, 2),
        "recordings_per_s": round(count / wall_s, 2),
        "x_real_time": round(count * options.seconds / wall_s),
        **costs(before, after, count),
        "fsync": {
            "a_recording": round(calls / count, 2) if calls else None,
            "mean_ms": round(nanoseconds / calls / 1e6, 3) if calls else None,
            **disk,
        },
        "pss_mib": {**memory, "all": round(sum(memory.values()), 1)},
        "ready_s": round(daemon.ready_s, 2),
    }
    return figures | (perf.held(count) if perf.seconds else {})


def write(path: Path, seconds: float, number: int) -> None:
    """A WAV file with noise, different for each number."""
    block = np.random.default_rng(number).integers(-3000, 3000, size=running_daemon.RATE, dtype=np.int16)
    left = round(seconds * running_daemon.RATE)
    sizes = [block.size] * (left // block.size) + [left % block.size]
    running_daemon.write_pcm(path, (block[:size] for size in sizes))


def wait_for(daemon: running_daemon.Daemon, jobs: int) -> None:
    """As `Daemon.wait_for`, polling less often: the processor belongs to what is measured."""
    while daemon.ended().get("done", 0) < jobs:
        daemon.check()
        time.sleep(0.2)


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def spent(pid: int) -> dict[tuple[str, str, str], float]:
    """Processor seconds so far by process, thread and kind (user, system)."""
    found: dict[tuple[str, str, str], float] = Counter()
    for process in family(pid):
        with suppress(psutil.NoSuchProcess, OSError):
            whose = "daemon" if process.pid == pid else process.name()
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                name, numbers = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
                thread = "main" if int(task.name) == process.pid else thread_of(name)
                for kind, ticks in zip(("user", "system"), numbers.split()[11:13], strict=True):
                    found[whose, thread, kind] += int(ticks) / os.sysconf("SC_CLK_TCK")
    return found


def costs(
    before: dict[tuple[str, str, str], float], after: dict[tuple[str, str, str], float], count: int
) -> dict[str, Any]:
    threads: dict[str, dict[str, float]] = {}
    children: dict[str, float] = {}
    for (process, thread, kind), seconds in sorted(after.items()):
        ms = (seconds - before.get((process, thread, kind), 0.0)) / count * 1000
        if process == "daemon":
            threads.setdefault(thread, {})[kind] = round(ms, 2)
        else:
            children[process] = round(children.get(process, 0.0) + ms, 2)
    return {
        "daemon_ms": {
            "all": round(sum(sum(kinds.values()) for kinds in threads.values()), 2),
            "user": round(sum(kinds["user"] for kinds in threads.values()), 2),
            "by_thread": dict(sorted(threads.items(), key=lambda one: -sum(one[1].values()))),
        },
        "children_ms": children,
    }


def counting(folder: Path) -> tuple[dict[str, str], Path | None]:
    """Environment in which fsyncs are counted, and the file with the counters; None without a C compiler."""
    library, counters = folder / "fsync_probe.so", folder / "counters"
    counters.write_bytes(bytes(16))
    compiler = shutil.which("cc")
    if compiler is None:
        return {}, None
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", library, HERE / "fsync_probe.c", "-ldl"], check=True
    )
    return {"LD_PRELOAD": str(library), "DROPSCRIBE_BENCH_FSYNCS": str(counters)}, counters


def read(counters: Path | None) -> tuple[int, int]:
    """Calls of fsync and nanoseconds in them."""
    if counters is None:
        return 0, 0
    calls, nanoseconds = struct.unpack("<QQ", counters.read_bytes())
    return calls, nanoseconds


def disk_latency_ms(folder: Path) -> dict[str, float]:
    """Latency of an fsync after 4 KiB were written."""
    taken = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    (folder / "probe").unlink()
    return {
        "disk_median_ms": round(statistics.median(taken), 3),
        "disk_p95_ms": round(statistics.quantiles(taken, n=20)[-1], 3),
    }


class Perf:
    """`perf` on the daemon. A context manager; `held` after it."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid, self._out = pid, folder / "perf.data"
        self._perf: subprocess.Popen[bytes] | None = None
        #: Seconds by thread and file of the code.
        self.seconds: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        program = shutil.which("perf")
        if program is not None:
            command = [program, "record", "-q", "-e", "cpu-clock", "-F", str(HZ), "-p", str(self._pid), "-o"]
            self._perf = subprocess.Popen([*command, self._out], stderr=subprocess.DEVNULL)
            time.sleep(1.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._perf is None:
            return
        self._perf.send_signal(signal.SIGINT)
        self._perf.wait()
        command = ["perf", "report", "-i", self._out, "--stdio", "-n", "-t", ";", "--sort", "comm,dso"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in said.splitlines():
            fields = [field.strip() for field in line.split(";")]
            if len(fields) == 4 and fields[1].isdigit():
                self.seconds[thread_of(fields[2]), fields[3]] += int(fields[1]) / HZ

    def held(self, count: int) -> dict[str, Any]:
        """Milliseconds a recording in which the interpreter worked, and in other code."""
        threads: Counter[str] = Counter()
        other: Counter[str] = Counter()
        for (thread, file), seconds in self.seconds.items():
            if file.startswith("["):
                other["kernel"] += seconds
            elif any(name in file for name in WITHOUT_LOCK):
                other[file] += seconds
            else:
                threads[thread] += seconds
        per = 1000 / count
        return {
            "interpreter_ms": {
                "all": round(sum(threads.values()) * per, 2),
                **{name: round(seconds * per, 2) for name, seconds in threads.most_common()},
            },
            "without_interpreter_ms": {
                name: round(seconds * per, 2) for name, seconds in other.most_common()
            },
        }


def thread_of(name: str) -> str:
    return re.sub(r"[-_ ]?\d+$", "", name)


if __name__ == "__main__":
    main()
