"""Check that time is linear in the length of a recording, up to a day, and that memory does not grow with it.

    .venv/bin/python benchmarks/long.py [--hours 2.4 24] [--model DIR] [--vad-model DIR] [--device cuda:0] [--out FILE.json]

16 kHz mono WAV with speech in a share of --speech, the rest is faint noise. Each recording is transcribed by one
daemon after a short one; time is measured from its claim to its recorded end, with transcripts on disk. Memory: peak
minus initial value of a process of each role.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import footprint
import numpy as np
import running_daemon
import surroundings
from numpy.typing import NDArray
from running_daemon import RATE, Daemon


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.add_argument("--hours", type=float, nargs="+", default=[2.4, 24.0])
    parser.add_argument("--speech", type=float, default=0.1, help="share of the time somebody speaks")
    options = parser.parse_args()
    with Daemon(options) as daemon:
        facts = daemon.facts()
        first = daemon.inbox / "first.wav"
        running_daemon.write_recording(first, 60.0, 0)
        daemon.wait_for(1)
        runs = [run(daemon, hours, options.speech, 2 + i) for i, hours in enumerate(options.hours)]
    short, long = runs[0], runs[-1]
    figures: dict[str, Any] = {
        "engine": facts,
        "runs": runs,
        "times_the_work": round(long["hours"] / short["hours"], 2),
        "times_the_wall": round(long["wall_s"] / short["wall_s"], 2),
        "times_the_cpu": round(long["cpu_s"] / max(short["cpu_s"], 0.01), 2),
        "largest_growth_mib": max(max(one["growth_mib"].values()) for one in runs),
    }
    surroundings.report("long", options, figures)


def run(daemon: Daemon, hours: float, speech: float, number: int) -> dict[str, Any]:
    staged = daemon.root / f"{hours}h.wav"
    running_daemon.write_pcm(staged, sparse(hours * 3600, speech, number))
    cpu = footprint.cpu_s(daemon.pid)
    with footprint.Peaks(daemon.pid) as peaks:
        there = daemon.inbox / staged.name
        staged.rename(there)
        daemon.wait_for(number)
    cpu_s = footprint.cpu_s(daemon.pid) - cpu
    ((wall_s,),) = daemon.rows("select finished_at - claimed_at from jobs order by id desc limit 1")
    document = json.loads(there.with_suffix(".json").read_text(encoding="utf-8"))
    size = there.stat().st_size
    there.unlink()
    return {
        "hours": hours,
        "file_bytes": size,
        "duration_ms": document["media"]["duration_ms"],
        "segments": len(document["segments"]),
        "wall_s": round(wall_s, 2),
        "rtfx": round(hours * 3600 / wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "growth_mib": peaks.growth(),
    }


def sparse(seconds: float, share: float, seed: int) -> Iterator[NDArray[np.int16]]:
    """The bundled sample repeated, with faint noise between."""
    rng = np.random.default_rng(seed)
    said = running_daemon.sample()
    left = round(seconds * RATE)
    while left > 0:
        # Random pauses of 1/3 to 5/3 of the mean, so that speech is not always at the same position of a block.
        pause = round(len(said) * (1 / share - 1) * rng.uniform(1 / 3, 5 / 3))
        for part in (said, rng.integers(-8, 8, size=pause, dtype=np.int16)):
            yield part[:left]
            left -= min(left, len(part))


if __name__ == "__main__":
    main()
