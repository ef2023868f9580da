"""Detect leaks: growth of memory, handles, threads and shared memory of every process with the recordings done.

    .venv/bin/python benchmarks/leaks.py [--recordings 5000] [--model DIR] [--vad-model DIR] [--device cuda:0] [--out FILE.json]

Recordings of --seconds are dropped in rounds of --round. After a round its files are removed with their transcripts,
and the resources of daemon, engine and decoders are sampled. The slope of a linear fit through the rounds after the
first quarter, which fills caches, is reported in bytes, handles and threads per thousand recordings. On a GPU, its
memory in use is sampled, too.
"""

from __future__ import annotations

import time
from typing import Any

import footprint
import memory
import numpy as np
import running_daemon
import surroundings

from dropscribe.bench import gauge

#: Share of the rounds that count as warm-up.
WARMING = 0.25


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.add_argument("--recordings", type=int, default=5000)
    parser.add_argument("--round", type=int, default=100, help="recordings that come together")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each")
    options = parser.parse_args()
    at: list[int] = []
    samples: list[dict[str, dict[str, int]]] = []
    gpu: list[int] = []
    with running_daemon.Daemon(options) as daemon:
        facts = daemon.facts()
        gpus = gauge.gpu_ids(facts["device"].split(" ")[:1], gauge.visible_devices())
        began = time.monotonic()
        for first in range(0, options.recordings, options.round):
            count = min(options.round, options.recordings - first)
            staged = daemon.root / f"{first:06d}"
            staged.mkdir()
            for i in range(first, first + count):
                write_spoken(staged / f"{i:06d}.wav", options.seconds, i)
            staged.rename(daemon.inbox / staged.name)
            daemon.wait_for(first + count)
            for path in (daemon.inbox / staged.name).iterdir():
                path.unlink()
            (daemon.inbox / staged.name).rmdir()
            daemon.wait(lambda: daemon.status().get("in_flight") == 0)
            at.append(first + count)
            samples.append(footprint.by_role(footprint.look(daemon.pid)))
            used = memory.gpu_bytes(gpus)
            if used is not None:
                gpu.append(used)
        wall_s = time.monotonic() - began
        counts = daemon.ended()
    warm = int(len(at) * WARMING)
    figures: dict[str, Any] = {
        "engine": facts,
        "jobs": counts,
        "wall_s": round(wall_s, 1),
        "measured_from_recording": at[warm],
        "lines": footprint.slopes(at[warm:], samples[warm:]),
        "gpu_bytes_per_thousand": gpu_slope(at[warm:], gpu[warm:]),
        "samples": [{"recordings": n, **sample} for n, sample in zip(at, samples, strict=True)],
    }
    surroundings.report("leaks", options, figures)


def write_spoken(path: Any, seconds: float, seed: int) -> None:
    """Write speech from a random position of the bundled sample, with distinct noise."""
    rng = np.random.default_rng(seed)
    count = round(seconds * running_daemon.RATE)
    said = np.resize(np.roll(running_daemon.sample(), -int(rng.integers(0, 100_000))), count)
    running_daemon.write_pcm(path, [said + rng.integers(-8, 8, size=count, dtype=np.int16)])


def gpu_slope(at: list[int], used: list[int]) -> float | None:
    if len(used) < 3:
        return None
    return round(float(np.polyfit(np.array(at, float), np.array(used, float), 1)[0]) * 1000)


if __name__ == "__main__":
    main()
