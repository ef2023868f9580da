"""Check that time is linear in the number of recordings, and that memory does not grow with it.

    .venv/bin/python benchmarks/many.py [--recordings 10000 100000] [--out FILE.json]

For each number a new daemon with the `null` model is measured, that is everything but recognition. The recordings of
--seconds are written on the same file system and moved into the folder at once, in subfolders of 500; time is
measured from the move until the last job is done with its transcripts on disk, including the quiet period. CPU
seconds are those of the daemon and all its processes, and more reliable than wall time on a busy machine. Memory:
peak of a process of each role minus its value after the first 500.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import footprint
import numpy as np
import running_daemon
import surroundings
from running_daemon import Daemon

FOLDER = 500


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.set_defaults(model="null", vad_model="null", device="cpu")
    parser.add_argument("--recordings", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each")
    parser.add_argument("--warm", type=int, default=FOLDER, help="recordings before the measurement")
    options = parser.parse_args()
    runs = [run(options, count) for count in options.recordings]
    first, last = runs[0], runs[-1]
    work = last["recordings"] / first["recordings"]
    figures: dict[str, Any] = {
        "runs": runs,
        "times_the_work": round(work, 2),
        "times_the_wall": round(last["wall_s"] / first["wall_s"], 2),
        "times_the_cpu": round(last["cpu_s"] / max(first["cpu_s"], 0.01), 2),
        "largest_growth_mib": max(max(one["growth_mib"].values()) for one in runs),
    }
    surroundings.report("many", options, figures)


def run(options: Any, count: int) -> dict[str, Any]:
    with Daemon(options) as daemon:
        warm, staging = daemon.root / "warm", daemon.root / "staging"
        fill(warm, range(options.warm), options.seconds)
        fill(staging, range(options.warm, options.warm + count), options.seconds)
        for folder in warm.iterdir():
            folder.rename(daemon.inbox / f"warm-{folder.name}")
        wait_for(daemon, options.warm)
        with footprint.Peaks(daemon.pid, every_s=0.5) as peaks:
            cpu, began = footprint.cpu_s(daemon.pid), time.monotonic()
            for folder in sorted(staging.iterdir()):
                folder.rename(daemon.inbox / folder.name)
            wait_for(daemon, options.warm + count)
            wall_s, cpu_s = time.monotonic() - began, footprint.cpu_s(daemon.pid) - cpu
        states = daemon.ended()
        texts = sum(1 for _ in daemon.inbox.rglob("*.txt"))
        shutil.rmtree(daemon.inbox)
    return {
        "recordings": count,
        "jobs": states,
        "texts_on_disk": texts,
        "wall_s": round(wall_s, 1),
        "jobs_per_s": round(count / wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "cpu_ms_per_job": round(cpu_s / count * 1000, 2),
        "growth_mib": peaks.growth(),
    }


def wait_for(daemon: Daemon, jobs: int) -> None:
    """As `Daemon.wait_for`, polling once a second, since counting a hundred thousand jobs takes time, too."""
    while (counts := daemon.ended()).get("done", 0) < jobs:
        daemon.check()
        if counts.get("failed"):
            raise SystemExit(f"{counts['failed']} jobs failed")
        time.sleep(1.0)


def fill(folder: Path, numbers: range, seconds: float) -> None:
    """Write WAV files with distinct noise, in subfolders of 500."""
    size = round(seconds * running_daemon.RATE)
    for number in numbers:
        inner = folder / f"{number // FOLDER:04d}"
        inner.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(-3000, 3000, size=size, dtype=np.int16)
        running_daemon.write_pcm(inner / f"{number:06d}.wav", [noise])


if __name__ == "__main__":
    main()
