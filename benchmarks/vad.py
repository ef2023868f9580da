"""Measure VAD alone: 16-bit samples in host memory → speech regions.

    .venv/bin/python benchmarks/vad.py [--model DIR] [--device cuda:0] [--threads 1] [--streams 1,16,64] [--minutes 20] [--out FILE.json]

Every stream is the bundled speech from a different position, with noise and silence between. For each number of
streams, every call gets one block of each stream (10.24 s, as in the daemon), until --minutes of each stream are
processed (fewer for many streams: at most --hours in all), after an untimed round. RTFx is audio per wall time of one
process; `per_cpu_second` is audio per CPU time of all its threads; `calls_ms` are the median and the longest call,
which is the delay of a recording that arrives meanwhile. The stock figure is FunASR's `generate` with fixed end
silence, one recording of --stock-minutes at a time; its regions must be equal.
"""

from __future__ import annotations

import argparse
import statistics
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import surroundings
import torch

from dropscribe.engine.core.interfaces import Pcm, Region, VadChunk
from dropscribe.engine.models.loading import choose_device, describe_device, load
from dropscribe.engine.models.store import BUNDLED, SAMPLE
from dropscribe.engine.vad.model import FsmnVadModel

RATE = 16_000
#: Samples per block, as in the daemon.
BLOCK = 163_840


def recording(minutes: float, seed: int) -> Pcm:
    """Alternating speech, noise and silence."""
    rng = np.random.default_rng(seed)
    with wave.open(str(SAMPLE), "rb") as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    wanted = round(minutes * 60 * RATE)
    parts: list[Pcm] = []
    while sum(map(len, parts)) < wanted:
        begin = int(rng.integers(0, len(said) // 2))
        parts.append(said[begin : begin + int(rng.uniform(1, 12) * RATE)])
        parts.append(rng.normal(0, rng.uniform(0, 300), int(rng.uniform(0.1, 3) * RATE)).astype(np.int16))
    return np.concatenate(parts)[:wanted]


def run(model: FsmnVadModel, pcms: list[Pcm]) -> tuple[list[list[Region]], list[float]]:
    """Regions of each stream, and the duration of each call, seconds."""
    vads = [model.open() for _ in pcms]
    found: list[list[Region]] = [[] for _ in pcms]
    calls = []
    for at in range(0, len(pcms[0]), BLOCK):
        started = time.perf_counter()
        final = at + BLOCK >= len(pcms[0])
        answers = model.accept(
            [VadChunk(vad, (pcm[at : at + BLOCK],), final) for vad, pcm in zip(vads, pcms, strict=True)]
        )
        calls.append(time.perf_counter() - started)
        for regions, more in zip(found, answers, strict=True):
            regions.extend(more)
    return found, calls


def measure(model: FsmnVadModel, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    minutes = min(options.minutes, options.hours * 60 / streams)
    kinds = [recording(minutes, seed) for seed in range(min(streams, 8))]
    pcms = [kinds[i % len(kinds)] for i in range(streams)]
    run(model, [pcm[: 2 * BLOCK] for pcm in pcms])
    wall, cpu = time.perf_counter(), time.process_time()
    found, calls = run(model, pcms)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    audio_s = sum(map(len, pcms)) / RATE
    return {
        "streams": streams,
        "audio_s": round(audio_s, 1),
        "regions": sum(map(len, found)),
        "rtfx": round(audio_s / wall, 1),
        "per_cpu_second": round(audio_s / cpu, 1),
        "calls_ms": [round(statistics.median(calls) * 1000, 2), round(max(calls) * 1000, 2)],
    }


def stock(
    directory: Path, model: FsmnVadModel, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    from funasr import AutoModel  # noqa: PLC0415 - takes seconds, and --help needs none

    pcm = recording(options.stock_minutes, 0)
    samples = torch.from_numpy(pcm.astype(np.float32) / 32768)
    automodel = AutoModel(
        model=str(directory), device=str(device), ncpu=options.threads, disable_update=True, disable_pbar=True
    )
    torch.set_num_threads(options.threads)
    automodel.generate(input=samples[: 10 * RATE], fs=RATE, dynamic_silence=False)
    started = time.perf_counter()
    found = automodel.generate(input=samples, fs=RATE, dynamic_silence=False)[0]["value"]
    seconds = time.perf_counter() - started
    ours = [[r.start_ms, r.end_ms] for r in run(model, [pcm])[0][0]]
    return {
        "rtfx": round(options.stock_minutes * 60 / seconds, 1),
        "regions": len(found),
        "identical": found == ours,
    }


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED / "vad-mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--streams", default="1,16,64", help="how many share a call, separated by commas")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each stream")
    parser.add_argument("--hours", type=float, default=2.0, help="of all streams of a measurement, at most")
    parser.add_argument("--stock-minutes", type=float, default=3.0, help="0: leave stock FunASR out")
    options = parser.parse_args()
    device = choose_device(options.device)
    model = FsmnVadModel(load(options.model, device, options.threads))
    torch.set_num_threads(options.threads)
    ours = [measure(model, int(streams), options) for streams in options.streams.split(",")]
    figures: dict[str, Any] = {"device": describe_device(device), "ours": ours}
    if options.stock_minutes:
        figures["stock"] = stock(options.model, model, device, options)
    surroundings.report("vad", options, figures)


if __name__ == "__main__":
    main()
