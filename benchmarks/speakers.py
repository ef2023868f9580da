"""Measure speakers: windows of speech → embeddings, and embeddings → speakers.

    .venv/bin/python benchmarks/speakers.py [--device cuda:0] [--fp32] [--windows 2048] [--hours 3] [--out FILE.json]

`windows_per_s` is that of the network alone, by batch size, after an untimed round, with the device synchronised;
`audio_rate` is the speech in these windows per second, at one window for 1.5 s. `of_recogniser_percent` is the time of the
embeddings of a second of speech over that of its recognition at --recogniser times real time. The clustering is of a
conversation of --hours with four made-up speakers, 1.25 windows for 1.5 s of it, on one core: set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import surroundings
import torch

from dropscribe.engine.models.loading import choose_device, describe_device
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.models.speakers.clustering import cluster
from dropscribe.engine.models.speakers.embedder import load_embedder
from dropscribe.engine.models.speakers.windows import WINDOW
from dropscribe.engine.models.store import BUNDLED

#: Windows for each 1.5 s of speech: the grid, and those between windows that differ.
PER_STEP = 1.25
STEP_S = 1.5


def embeddings(device: torch.device, *, half: bool, windows: int, recogniser: float) -> list[dict[str, Any]]:
    embedder = load_embedder(read_model_config(BUNDLED / "campplus-zh-en"), device, half=half)
    most = embedder.batch
    found = []
    batch = max(1, most // 16)
    while batch <= most:
        embedder.batch = batch
        frames = list(torch.randn(max(batch, windows), WINDOW, 80, device=device))
        embedder(frames[:batch])
        started = time.perf_counter()
        embedder(frames)
        seconds = (time.perf_counter() - started) / len(frames)
        per_speech_s = seconds * PER_STEP / STEP_S
        found.append(
            {
                "batch": batch,
                "windows_per_s": round(1 / seconds, 1),
                "audio_rate": round(1 / per_speech_s, 1),
                "of_recogniser_percent": round(100 * per_speech_s * recogniser, 1),
            }
        )
        batch *= 2
    return found


def clustering(hours: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    count = round(hours * 3600 / STEP_S * PER_STEP)
    centres = rng.normal(size=(4, 192))
    who = np.repeat(rng.integers(0, 4, count), rng.integers(1, 10, count))[:count]
    voices = centres[who] + 0.8 * rng.normal(size=(count, 192))
    voices = (voices / np.linalg.norm(voices, axis=1, keepdims=True)).astype(np.float32)
    started = time.process_time()
    labels = cluster(voices, np.full(count, STEP_S / PER_STEP))
    seconds = time.process_time() - started
    return {"hours": hours, "windows": count, "speakers": int(labels.max()) + 1, "cpu_s": round(seconds, 3)}


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fp32", action="store_true", help="on CUDA, too")
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--recogniser", type=float, default=36_900.0, help="its speed, times real time")
    options = parser.parse_args()
    device = choose_device(options.device)
    half = device.type == "cuda" and not options.fp32
    figures = {
        "device": describe_device(device),
        "precision": "fp16" if half else "fp32",
        "embeddings": embeddings(device, half=half, windows=options.windows, recogniser=options.recogniser),
        "clustering": [clustering(hours) for hours in (1 / 12, 1.0, options.hours)],
    }
    surroundings.report("speakers", options, figures)


if __name__ == "__main__":
    main()
