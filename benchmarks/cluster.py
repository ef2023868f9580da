"""Measure what stations of a Ray cluster cost at the head, and how their number makes it faster.

    .venv/bin/python benchmarks/cluster.py [--stations 1,2,4,8] [--recordings 1000] [--rate 100] [--out FILE.json]
    .venv/bin/python benchmarks/cluster.py --processes [--stations 1,2,4] [--recordings 1000] [--rate 100]
    .venv/bin/python benchmarks/cluster.py --gpus 2 --model DIR --vad-model DIR [--recordings 400] [--seconds 300]

Starts a Ray cluster on this machine: a head without a station, and the stations at further nodes. The first form needs
no GPU: its stations do nothing but end `--rate` recordings of 300 s with 1,500 tokens in a second, as an H200 does, so
that the processor is left to the head. The second form does the same without Ray, with station processes as those of
several GPUs. The third recognises recordings, on one GPU and then on all of them.

`head_ms` is the processor time of the head's process for a recording, with all threads of Ray; `main_ms` that of its
main thread alone. `stations_fed` is the number of stations of that rate that one main thread has time for. The ledger
and publishing, which a daemon has besides, are measured by `daemon_cost.py` and by `end_to_end.py --cluster`.
"""

from __future__ import annotations

import os
import secrets
import select
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import running_daemon
import surroundings

from dropscribe.config import Settings
from dropscribe.engine.protocol import HeldModel
from dropscribe.pipeline.assembly import Heard, Result
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.cluster.cluster_executor import ClusterExecutor
from dropscribe.pipeline.cluster.ray_cluster import RayCluster, StationActor
from dropscribe.pipeline.executor import Executor, Restarts, StationStatus
from dropscribe.pipeline.local.child_station import ChildLink, StationPlan
from dropscribe.pipeline.local.stations_executor import StationsExecutor
from dropscribe.pipeline.station import State
from dropscribe.transcript.types import STAGES, EngineFacts, MediaFacts, Segment, Timings, Tokens

#: Recordings that a paced station works on at a time: a machine with 16 cores has 12 decoders.
ROOM = 12
#: Segments of a recording, and tokens of each.
SEGMENTS, TOKENS = 40, 37
#: Share of the recordings that is done before the measurement begins.
WARM_UP = 0.2
#: As few resources as Ray accepts.
NODE = {"include_dashboard": False, "include_log_monitor": False, "object_store_memory": 80_000_000}
RATE_VARIABLE = "DROPSCRIBE_BENCHMARK_RATE"


def result() -> Result:
    """What is recognised of five minutes. No two segments share anything, or their messages would be too short."""
    segments = []
    for n in range(SEGMENTS):
        times = [7500 * n + 200 * t for t in range(TOKENS)]
        tokens = Tokens("".join(chr(0x4E00 + 40 * n + t) for t in range(TOKENS)), times, [t + 180 for t in times],
                        bytes((n + t) % 256 for t in range(TOKENS)))  # fmt: skip
        segments.append(Segment(n, 7500 * n, 7500 * n + 7400, "".join(tokens.texts), tokens))
    media = MediaFacts(300_000, "wav", "pcm_s16le", 16_000, 1, "soundfile")
    return Result(media, tuple(segments), Timings(tuple((s, 0.1) for s in STAGES), (1, 1), 0.1, 300_000, 1.0))


class PacedExecutor:
    """An executor that ends recordings at a constant rate and uses no processor meanwhile."""

    held: tuple[HeldModel, ...] = ()
    facts = EngineFacts((("asr", "paced"), ("vad", "paced")), "none", "fp32", (), None, 0.0)

    def __init__(self, rate: float) -> None:
        self._interval_s = 1.0 / rate
        self._waiting: deque[int] = deque()
        self._next_at = 0.0
        self._results = [result() for _ in range(4 * ROOM)]
        self._ended = 0

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        return not meanwhile()

    def room(self) -> int:
        return ROOM - len(self._waiting)

    def start(self, work: Work) -> None:
        if not self._waiting:
            self._next_at = max(self._next_at, time.monotonic()) + self._interval_s
        self._waiting.append(work.ticket)

    def abort(self, ticket: int) -> None:
        with suppress(ValueError):
            self._waiting.remove(ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        # At most every 5 ms, as the station of a machine.
        wait_s = max(0.005, self._next_at - time.monotonic()) if self._waiting else timeout_s
        select.select(wake, [], [], min(timeout_s, wait_s))
        ended, now = [], time.monotonic()
        while self._waiting and self._next_at <= now:
            self._ended += 1
            ended.append(Outcome(self._waiting.popleft(), self._results[self._ended % len(self._results)]))
            self._next_at += self._interval_s
        return ended

    def progress(self, ticket: int) -> Progress | None:
        return Progress(0, 0, None) if ticket in self._waiting else None

    def heard(self, ticket: int) -> Heard | None:
        return Heard(0.0, 0, 0, None) if ticket in self._waiting else None

    def texts(self, ticket: int) -> tuple[str, ...]:
        del ticket
        return ()

    def supervise(self) -> None:
        pass

    def abandon(self) -> list[int]:
        return []

    def replace(self, why: str) -> None:
        del why

    def stations(self) -> tuple[StationStatus, ...]:
        return ()

    def restarts(self) -> Restarts:
        return Restarts()

    def close(self) -> bool:
        return True


class PacedActor(StationActor):
    """A station that is paced by the environment of its node."""

    def executor(self, settings: Settings) -> Executor:
        del settings
        return PacedExecutor(float(os.environ[RATE_VARIABLE]))


def paced(settings: Settings) -> Executor:
    """What a station process does."""
    del settings
    return PacedExecutor(float(os.environ[RATE_VARIABLE]))


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.add_argument("--stations", default="1,2,4,8", help="numbers of stations, one measurement each")
    parser.add_argument("--processes", action="store_true", help="stations of this machine, without Ray")
    parser.add_argument("--gpus", type=int, help="recognise, on one GPU and then on so many")
    parser.add_argument("--recordings", type=int, default=1000, help="for each station")
    parser.add_argument("--seconds", type=float, default=300.0, help="length of each, with --gpus")
    parser.add_argument("--rate", type=float, default=100.0, help="recordings a second of a paced station")
    options = parser.parse_args()
    # Ray reads them once, when it is imported.
    os.environ |= {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
        RATE_VARIABLE: str(options.rate),
    }  # fmt: skip
    counts = sorted({1, options.gpus}) if options.gpus else [int(n) for n in options.stations.split(",")]
    with tempfile.TemporaryDirectory(prefix="dropscribe-bench-", dir=options.root) as folder:
        paths = [Path(folder) / f"{i:05d}.wav" for i in range(options.recordings)]
        if options.gpus:
            running_daemon.write_recordings(paths, options.seconds)
        measured = _of_processes if options.processes else _measured
        rows = [measured(options, count, paths) for count in counts]
    for row in rows:
        row["scaling"] = round(row["recordings_per_s"] / rows[0]["recordings_per_s"], 2)
    surroundings.report("cluster", options, {"rows": rows})


def _of_processes(options: Any, count: int, paths: list[Path]) -> dict[str, Any]:
    del options
    settings = Settings.model_validate({"engine": {"model": "null", "device": "cpu"}})
    plans = [StationPlan(f"station-{n}", settings) for n in range(count)]
    executor = StationsExecutor(plans, partial(ChildLink, executor=paced))
    try:
        executor.wait_ready(lambda: False)
        return {"stations": count} | _run(
            executor, [paths[n % len(paths)] for n in range(count * len(paths))]
        )
    finally:
        executor.close()


def _measured(options: Any, count: int, paths: list[Path]) -> dict[str, Any]:
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - reads the environment when it is imported

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
    executor = None
    try:
        if options.gpus:
            # One node: Ray gives each station a GPU of its own.
            cluster.add_node(num_cpus=count, num_gpus=count, **NODE)
            models = {"asr": options.model, "vad": options.vad_model}
            settings = Settings.model_validate({"engine": {"models": models}})
            ray_cluster = RayCluster(cluster.address, settings)
        else:
            for _ in range(count):
                cluster.add_node(num_cpus=1, **NODE)
            settings = Settings.model_validate({"engine": {"model": "null", "device": "cpu"}})
            ray_cluster = RayCluster(cluster.address, settings, PacedActor)
        executor = ClusterExecutor(ray_cluster)
        while sum(s.state is State.READY for s in executor.stations()) < count:
            executor.turn(0.5)
        return {"stations": count} | _run(
            executor, [paths[n % len(paths)] for n in range(count * len(paths))]
        )
    finally:
        if executor is not None:
            executor.close()
        cluster.shutdown()


def _run(executor: Executor, paths: list[Path]) -> dict[str, Any]:
    waiting = deque(enumerate(paths, 1))
    warm, done, audio_ms, failed = round(len(paths) * WARM_UP), 0, 0, 0
    began: tuple[float, float, float] | None = None
    ended = began
    before = 0
    while done < len(paths):
        while waiting and executor.room() > 0:
            number, path = waiting.popleft()
            executor.start(Work(number, path, None))
        for outcome in executor.turn(0.5):
            done += 1
            if isinstance(outcome.end, Result):
                audio_ms += outcome.end.media.duration_ms * (began is not None)
            else:
                failed += 1
        # Up to the last order: then stations run dry.
        if began is None and done >= warm:
            began, before = (time.monotonic(), time.process_time(), time.thread_time()), done
            audio_ms = 0
        if waiting or ended is None:
            ended = (time.monotonic(), time.process_time(), time.thread_time())
            counted, counted_ms = done, audio_ms
    assert began is not None
    assert ended is not None
    wall_s, head_s, main_s = (b - a for a, b in zip(began, ended, strict=True))
    recordings = counted - before
    main_ms = 1000 * main_s / recordings
    per_s = recordings / wall_s
    return {
        "recordings": recordings,
        "failed": failed,
        "recordings_per_s": round(per_s, 1),
        "audio_rate": round(counted_ms / 1000 / wall_s),
        "head_ms": round(1000 * head_s / recordings, 3),
        "main_ms": round(main_ms, 3),
        "stations_fed": round(1000 / main_ms / (per_s / len(executor.stations())), 1),
    }


if __name__ == "__main__":
    main()
