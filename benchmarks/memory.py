"""Detect growth of memory during a permanent backlog of --minutes on the real daemon.

    .venv/bin/python benchmarks/memory.py [--minutes 60] [--model DIR] [--vad-model DIR] [--device cuda:0] [--out FILE.json]

Recordings of mixed lengths (5 to 600 s, one in twenty without a pause for 60 s) are dropped so that --ahead are
always queued (a GPU needs 1,500), and removed once they are done. They are copies of a hundred prepared ones, each with
a different last sample. Every --every seconds the resident memory of the daemon and all its processes and the memory
in use on the GPU are sampled. The slope is that of a linear fit through the samples after the first quarter, which
fills caches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import wave
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import running_daemon
import surroundings
from running_daemon import Daemon

from dropscribe.bench import gauge
from dropscribe.engine.models.store import SAMPLE

#: Share of the samples that count as warm-up.
WARMING = 0.25
#: One recording in this many is speech without a pause, which gives the longest possible segment.
UNBROKEN = 20
#: Number of prepared recordings.
MADE = 100


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two samples")
    parser.add_argument("--ahead", type=int, default=50, help="recordings waiting or under way")
    options = parser.parse_args()
    samples: list[tuple[float, int, int | None]] = []
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(options))
        facts = daemon.facts()
        gpus = gauge.gpu_ids(facts["device"].split(" ")[:1], gauge.visible_devices())
        made = make(daemon.root / "made")
        dropped = 0
        watching = stack.enter_context(gauge.Gauge(gpus))
        watching.watch(daemon.pid)
        began = time.monotonic()
        due = began
        while (now := time.monotonic()) < began + options.minutes * 60:
            counts = daemon.ended()
            over = counts.get("done", 0) + counts.get("failed", 0)
            for _ in range(min(options.ahead, over + options.ahead - dropped)):
                feed(daemon, made, dropped)
                dropped += 1
            tidy(daemon)
            if now >= due:
                samples.append((now - began, gauge.resident_bytes(daemon.pid), gpu_bytes(gpus)))
                due += options.every
            daemon.check()
            time.sleep(0.1)
        counts = daemon.ended()
        audio_s = daemon.rows("select coalesce(sum(audio_s), 0) from job_history where state = 'done'")[0][0]
        usage = watching.finish(began, time.monotonic())
    figures: dict[str, Any] = {
        "engine": facts,
        "jobs": counts,
        "audio_s": round(audio_s, 1),
        "rtfx": round(audio_s / (options.minutes * 60), 1),
        "gpu_busy_percent": usage.gpu_percent,
        "host": line([(t, host) for t, host, _ in samples]),
        "gpu": line([(t, gpu) for t, _, gpu in samples if gpu is not None]),
        "samples": [{"at_s": round(t, 1), "host_bytes": h, "gpu_bytes": g} for t, h, g in samples],
    }
    surroundings.report("memory", options, figures)


def make(folder: Path) -> list[Path]:
    """Write the recordings of which all others are copies."""
    folder.mkdir()
    made = [folder / f"{number:03d}.wav" for number in range(MADE)]
    for number, path in enumerate(made):
        if number % UNBROKEN == 0:
            unbroken(path, 90.0, number)
        else:
            seconds = float(np.exp(np.random.default_rng(number).uniform(np.log(5), np.log(600))))
            running_daemon.write_recording(path, seconds, number)
    return made


def feed(daemon: Daemon, made: list[Path], number: int) -> None:
    """Drop one more recording."""
    staged = daemon.root / f"{number:07d}.wav"
    shutil.copyfile(made[number % MADE], staged)
    with staged.open("r+b") as file:
        # So that no two are the same: those would share one transcript.
        file.seek(-4, os.SEEK_END)
        file.write(np.array([number % 1000, number // 1000], "<i2").tobytes())
    staged.rename(daemon.inbox / staged.name)


def unbroken(path: Path, seconds: float, seed: int) -> None:
    """The loudest words of the sample repeated, with distinct noise: without a pause that ends a segment."""
    with wave.open(str(SAMPLE), "rb") as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)[5 * 16_000 : 8 * 16_000]
    samples = np.resize(said, round(seconds * 16_000))
    samples = samples + np.random.default_rng(seed).integers(-8, 8, size=samples.size, dtype=np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


def tidy(daemon: Daemon) -> None:
    """Remove finished recordings and their transcripts, to limit the use of the disk."""
    paths = list(daemon.inbox.iterdir())
    ended = {path.name.partition(".")[0] for path in paths if path.name.endswith(".timing.json")}
    for path in paths:
        if path.name.partition(".")[0] in ended:
            path.unlink(missing_ok=True)


def gpu_bytes(gpus: tuple[str, ...]) -> int | None:
    """Memory in use on the GPUs, bytes; None if there are none."""
    if not gpus:
        return None
    query = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(
        ["nvidia-smi", "-i", ",".join(gpus), *query], capture_output=True, text=True, check=True
    )
    return sum(int(part) for part in done.stdout.split()) * 2**20


def line(points: list[tuple[float, int]]) -> dict[str, Any] | None:
    """First, last and peak bytes, and slope after the warm-up in bytes per hour; None with too few samples."""
    steady = points[int(len(points) * WARMING) :]
    if len(steady) < 3:
        return None
    at, held = np.array([t for t, _ in steady]), np.array([b for _, b in steady], dtype=float)
    slope = float(np.polyfit(at, held, 1)[0]) * 3600
    return {
        "first_bytes": steady[0][1],
        "last_bytes": steady[-1][1],
        "highest_bytes": int(held.max()),
        "slope_bytes_per_hour": round(slope),
    }


if __name__ == "__main__":
    main()
