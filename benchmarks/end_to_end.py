"""Measure the whole daemon: recordings on disk → transcripts and database rows.

    .venv/bin/python benchmarks/end_to_end.py [--recordings 200] [--seconds 300] [--format flac] [--model DIR] \\
        [--vad-model DIR] [--device cuda:0] [--out FILE.json]

--device cuda: on all GPUs of the host. --station-processes several: without a process for a single GPU, to compare.

All recordings are written elsewhere on the same file system, synced, and moved into the folder at once. Time is
measured from the move until the last job is done with its sidecars on disk, including the quiet period. One recording
is transcribed before, so that the decoders are started. `backlog` is the rate between the first and the last tenth of
the recordings, while there is always a backlog; `seconds_after_the_move` says how recordings went on over time. The
model matters: `random_model.py` writes one of the official size. --py-spy PATH --profile FILE: who held the interpreter of
the first engine.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from typing import Any

import running_daemon
import sampling
import surroundings

from dropscribe.bench import gauge


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of each")
    parser.add_argument("--format", choices=["wav", "flac"], default="wav", help="16 kHz, mono, 16 bit")
    sampling.options_of(parser)
    options = parser.parse_args()
    with running_daemon.Daemon(options) as daemon:
        staging = daemon.root / "staging"
        staging.mkdir()
        running_daemon.write_recordings(
            [staging / f"{i:06d}.{options.format}" for i in range(options.recordings)], options.seconds
        )
        running_daemon.write_recording(daemon.inbox / "first.wav", 10.0, options.recordings)
        daemon.wait_for(1)
        # Otherwise every fsync of the daemon would also wait for these files.
        os.sync()
        facts = daemon.facts()
        devices = [said.split(" ")[0] for said in facts["device"].split(", ")]
        gpus = gauge.gpu_ids(devices, gauge.visible_devices())
        with gauge.Gauge(gpus) as watching:
            watching.watch(daemon.pid)
            with sampling.sampled(options, daemon.engine_pid()), daemon.cores_each_second() as cores:
                before = daemon.cpu_s()
                began = time.monotonic()
                staging.rename(daemon.inbox / "all")
                daemon.wait_for(1 + options.recordings)
                ended = time.monotonic()
            usage = watching.finish(began, ended)
            course = course_of(daemon, began)
            first, last = daemon.tenths(options.recordings)
            busy = watching.finish(first, last).gpu_percent
            each_second = [
                watching.finish(began + second, began + second + 1).gpu_percent
                for second in range(math.ceil(ended - began))
            ]
            spent = {name: round(s - before.get(name, 0.0), 2) for name, s in daemon.cpu_s().items()}
        sidecars = sum(1 for _ in (daemon.inbox / "all").glob("*.txt"))
        sizes = [
            size
            for (said,) in daemon.rows("select timings from jobs where state = 'done'")
            for size in json.loads(said)["batch_sizes"]
        ]
        stages = daemon.rows("select stage, round(sum(seconds), 3) from stage_timings group by stage")
    audio_s = options.recordings * options.seconds
    figures: dict[str, Any] = {
        "engine": facts,
        "audio_s": audio_s,
        "wall_s": round(ended - began, 3),
        "rtfx": round(audio_s / (ended - began), 1),
        "jobs_per_s": round(options.recordings / (ended - began), 2),
        "texts_on_disk": sidecars,
        "seconds_by_stage": dict(stages),
        "segments_a_batch": round(statistics.mean(sizes), 1),
        "cpu_s": spent,
        "gpu_busy_percent": usage.gpu_percent,
        "seconds_after_the_move": course,
        "gpu_busy_percent_each_second": each_second,
        "cores_each_second": cores,
        "interpreter_of_an_engine_percent": sampling.percent_by_thread(options, ended - began),
        "backlog": {"rtfx": round(0.8 * audio_s / max(last - first, 1e-3), 1), "gpu_busy_percent": busy},
        "host_bytes": usage.host_bytes,
        "ready_s": round(daemon.ready_s, 3),
    }
    surroundings.report("end_to_end", options, figures)


def course_of(daemon: running_daemon.Daemon, began: float) -> dict[str, dict[str, float]]:
    """When the first, a tenth, half, nine tenths and the last recordings were admitted, claimed and done, seconds."""
    moved = began + time.time() - time.monotonic()
    course = {}
    for column in ("admitted_at", "claimed_at", "finished_at"):
        # Without the very first, which went before.
        times = sorted(at - moved for (at,) in daemon.rows(f"select {column} from jobs order by id"))[1:]
        course[column.removesuffix("_at")] = {
            name: round(times[min(len(times) - 1, int(len(times) * share))], 3)
            for name, share in (
                ("first", 0.0),
                ("tenth", 0.1),
                ("half", 0.5),
                ("nine_tenths", 0.9),
                ("last", 1.0),
            )
        }
    return course


if __name__ == "__main__":
    main()
