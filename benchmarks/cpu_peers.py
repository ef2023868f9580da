"""Compare recognition on a CPU: this engine, funasr-onnx, sherpa-onnx and FunASR's torch, on one model and the same audio.

    .venv/bin/python benchmarks/cpu_peers.py [--minutes 4] [--rounds 3] [--threads 2] [--keep DIR] [--out FILE.json]

Needs packages that the product does not need; a contender whose package is missing is left out and named as missing:

    pip install onnxruntime onnx funasr-onnx sherpa-onnx

The model is --model, or a generated BiCif-Paraformer of the official configuration with random weights; FunASR exports
it to ONNX, quantised and not. Segments of 2 to 15 s (uniform) are made of the bundled speech and noise. The contenders
take turns: every round runs each of them over all segments, so that other load on the machine hits all alike. Ours
gets the segments through the daemon's batching policy; the others sorted by length, in the batches that are named.
Every contender computes features, tokens and times.

RTFx is audio seconds per second of the fastest round, beside all rounds. Processor time, of all threads, is that of the
round that took least; other load on the machine changes it less than the wall time. With --keep, model and export stay in DIR and
are used again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import os
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import random_model
import surroundings
import torch

from dropscribe.config import EngineSettings
from dropscribe.engine import registry
from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Pcm, SpeechSegment
from dropscribe.engine.core.residency import Part
from dropscribe.engine.layers.linear import bf16
from dropscribe.engine.models import store
from dropscribe.engine.models.loading import choose_device
from dropscribe.transcript.roles import ASR

RATE = 16_000
SHORTEST_S, LONGEST_S = 2.0, 15.0
#: Modes of this engine on a CPU.
PRECISIONS = ("bf16", "int8", "fp32")
PACKAGES = ("torch", "funasr", "onnxruntime", "funasr-onnx", "sherpa-onnx", "numpy")
#: Batch size of stock FunASR, seconds of padded audio.
STOCK_BATCH_S = 60.0

#: Runs all segments and returns the number of tokens.
Run = Callable[[Sequence[Pcm]], int]


def segments(minutes: float, seed: int) -> list[Pcm]:
    """Segments of mixed lengths, from the bundled recording and noise."""
    rng = np.random.default_rng(seed)
    with wave.open(str(store.SAMPLE), "rb") as file:
        said = np.tile(np.frombuffer(file.readframes(file.getnframes()), np.int16), 4)
    made: list[Pcm] = []
    left = minutes * 60 * RATE
    while left > 0:
        count = round(rng.uniform(SHORTEST_S, LONGEST_S) * RATE)
        at = int(rng.integers(0, len(said) - count))
        made.append(said[at : at + count] + rng.integers(-40, 40, size=count, dtype=np.int16))
        left -= count
    return made


def ours(directory: Path, precision: str, threads: int) -> Run:
    """The recogniser of the daemon, in batches as the daemon forms them."""
    settings = EngineSettings.model_validate(
        {"model": str(directory), "device": "cpu", "precision": precision, "threads": threads}
    )
    loader = registry.ModelLoader(settings, print)
    loaded = loader.load(loader.find(Part(ASR, str(directory))))
    if loaded.precision != precision:
        raise SystemExit(f"this model runs in {loaded.precision}, not in {precision}")
    recogniser: Any = loaded.model

    def run(sounds: Sequence[Pcm]) -> int:
        return sum(len(h.tokens.starts_ms) for batch in batches(sounds, threads) for h in recogniser(batch))

    return run


def batches(sounds: Sequence[Pcm], threads: int) -> Iterator[Sequence[SpeechSegment]]:
    batcher: Batcher[SpeechSegment] = Batcher(registry.CPU_BATCH_S * threads, 0.0)
    for i, pcm in enumerate(sounds):
        batcher.add(SpeechSegment(0, i, 0, len(pcm) * 1000 // RATE, len(pcm), 0.0, pcm=pcm), 0.0)
    while (batch := batcher.next(0.0, flush=True)) is not None:
        yield batch.segments


def as_floats(sounds: Sequence[Pcm]) -> list[Any]:
    """Samples from −1 to 1, shortest segment first."""
    return sorted((pcm.astype(np.float32) / 32768 for pcm in sounds), key=len)


def funasr_onnx(directory: Path, threads: int, *, quantised: bool, batch: int) -> Run:
    from funasr_onnx import Paraformer  # noqa: PLC0415 - an optional package

    class Given(Paraformer):  # type: ignore[misc]
        """Takes samples where the base class takes names of files."""

        def load_data(self, wav_content: Any, _: Any = None) -> Any:
            return wav_content

    made = Given(str(directory), batch_size=batch, quantize=quantised, intra_op_num_threads=threads)

    def run(sounds: Sequence[Pcm]) -> int:
        return sum(len(one["raw_tokens"]) for one in made(as_floats(sounds)))

    return run


def sherpa_onnx(directory: Path, threads: int, *, quantised: bool, batch: int) -> Run:
    import sherpa_onnx as package  # noqa: PLC0415 - an optional package

    listed = directory / "tokens.txt"
    listed.write_text("".join(f"{t} {i}\n" for i, t in enumerate(random_model.tokens())), encoding="utf-8")
    made = package.OfflineRecognizer.from_paraformer(
        paraformer=str(described(directory, quantised=quantised)), tokens=str(listed), num_threads=threads
    )

    def run(sounds: Sequence[Pcm]) -> int:
        waves, tokens = as_floats(sounds), 0
        for first in range(0, len(waves), batch):
            streams = [made.create_stream() for _ in waves[first : first + batch]]
            for stream, samples in zip(streams, waves[first : first + batch], strict=True):
                stream.accept_waveform(RATE, samples)
            made.decode_streams(streams)
            tokens += sum(len(stream.result.tokens) for stream in streams)
        return tokens

    return run


def described(directory: Path, *, quantised: bool) -> Path:
    """The exported model with the description of its features that sherpa-onnx reads from the file."""
    import onnx  # noqa: PLC0415 - an optional package

    made = directory / ("sherpa_quant.onnx" if quantised else "sherpa.onnx")
    if made.exists():
        return made
    model = onnx.load(directory / ("model_quant.onnx" if quantised else "model.onnx"))
    cmvn = cmvn_of(directory)
    facts = {
        "model_type": "paraformer",
        "version": "1",
        "vocab_size": str(len(random_model.tokens())),
        "lfr_window_size": "7",
        "lfr_window_shift": "6",
        "neg_mean": ",".join(map(str, cmvn[0])),
        "inv_stddev": ",".join(map(str, cmvn[1])),
        "model_author": "random",
        "comment": "random weights",
    }
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, made)
    return made


def cmvn_of(directory: Path) -> Any:
    """Shift and scale of the features, (2, features)."""
    from funasr.frontends.wav_frontend import load_cmvn  # noqa: PLC0415

    return load_cmvn(str(directory / "am.mvn")).numpy()


def stock(directory: Path, threads: int) -> Run:
    """FunASR's own `inference` with torch."""
    from dropscribe.engine.models.loading import load  # noqa: PLC0415

    loaded = load(directory, choose_device("cpu"), threads)
    options = dict(loaded.options) | {
        "tokenizer": loaded.tokenizer,
        "frontend": loaded.frontend,
        "device": "cpu",
    }

    def run(sounds: Sequence[Pcm]) -> int:
        waves, tokens, first = as_floats(sounds), 0, 0
        while first < len(waves):
            last = first
            while last < len(waves) and len(waves[last]) * (last + 1 - first) <= STOCK_BATCH_S * RATE:
                last += 1
            group = waves[first:last]
            with torch.no_grad():
                results, _ = loaded.module.inference(
                    group, key=[str(i) for i in range(len(group))], **options
                )
            tokens += sum(len(one["timestamp"]) for one in results)
            first = last
        return tokens

    return run


def export(directory: Path) -> None:
    """Export a model directory to model.onnx and model_quant.onnx, beside its weights."""
    if (directory / "model_quant.onnx").exists():
        return
    from funasr import AutoModel  # noqa: PLC0415

    original = torch.onnx.export

    def traced(*given: Any, **named: Any) -> Any:
        # FunASR's modules are written for the exporter that traces.
        return original(*given, **named, dynamo=False)

    torch.onnx.export = traced
    try:
        made = AutoModel(model=str(directory), device="cpu", disable_update=True)
        made.export(type="onnx", quantize=True, device="cpu", output_dir=str(directory))
    finally:
        torch.onnx.export = original


def contenders(directory: Path, options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Run]]]:
    """(name, function that loads it) of each contender."""
    for precision in PRECISIONS:
        if precision == "bf16" and not bf16.has_products():
            continue
        yield f"dropscribe {precision}", partial(ours, directory, precision, options.threads)
    for quantised, name in ((True, "int8"), (False, "fp32")):
        for batch in options.batches:
            given: dict[str, Any] = {"quantised": quantised, "batch": batch}
            if has("funasr_onnx", "onnxruntime", "onnx"):
                run = partial(funasr_onnx, directory, options.threads, **given)
                yield f"funasr-onnx {name}, batch {batch}", run
            if has("sherpa_onnx", "onnxruntime", "onnx") and options.sherpa:
                run = partial(sherpa_onnx, directory, options.threads, **given)
                yield f"sherpa-onnx {name}, batch {batch}", run
    if options.stock:
        yield "FunASR torch fp32", partial(stock, directory, options.threads)


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(m) is not None for m in modules)


def installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(Exception):
            found[package] = version(package)
    return found


def measured(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    if has("onnxruntime", "onnx"):
        export(directory)
    work = segments(options.minutes, options.seed)
    audio_s = sum(map(len, work)) / RATE
    wanted = [
        (n, load) for n, load in contenders(directory, options) if not options.only or n in options.only
    ]
    runs: dict[str, Run] = {}
    for name, load in wanted:
        runs[name] = load()
        torch.set_num_threads(options.threads)
        runs[name](work[: max(2, len(work) // 10)])
        print(f"{name}: loaded", file=sys.stderr, flush=True)
    times: dict[str, list[float]] = {name: [] for name in runs}
    processor_s: dict[str, float] = dict.fromkeys(runs, math.inf)
    tokens: dict[str, int] = {}
    for number in range(options.rounds):
        # Each round starts with another contender, so that none always follows the same one.
        names = list(runs)[number % len(runs) :] + list(runs)[: number % len(runs)]
        for name in names:
            began, used = time.perf_counter(), time.process_time()
            tokens[name] = runs[name](work)
            processor_s[name] = min(processor_s[name], time.process_time() - used)
            times[name].append(time.perf_counter() - began)
            print(
                f"{name}: {audio_s / times[name][-1]:.1f}, {1000 * processor_s[name] / audio_s:.0f} ms",
                file=sys.stderr,
                flush=True,
            )
    return {
        "processor": processor(),
        "load_at_the_end": os.getloadavg()[0],
        "packages": installed(),
        "audio_s": round(audio_s, 1),
        "segments": len(work),
        "contenders": {
            name: {
                "rtfx": round(audio_s / min(times[name]), 1),
                "rtfx_of_each_round": [round(audio_s / s, 1) for s in times[name]],
                "processor_ms_per_s_of_audio": round(1000 * processor_s[name] / audio_s, 1),
                "tokens_per_s_of_audio": round(tokens[name] / audio_s, 3),
            }
            for name in runs
        },
    }


def processor() -> dict[str, Any]:
    """Name of the processor and the instruction sets that matter for products of matrices."""
    known = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    fields = {
        name.strip(): value.strip() for name, _, value in (x.partition(":") for x in first.splitlines())
    }
    flags = fields.get("flags", "").split()
    return {"name": fields.get("model name", ""), "instructions": [f for f in known if f in flags]}


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--model", type=Path, help="a model directory of FunASR with timestamps")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="generate and export the model here, or use it again"
    )
    parser.add_argument("--small", action="store_true", help="few narrow layers, to try this script")
    parser.add_argument("--minutes", type=float, default=4.0, help="audio of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=surroundings.machine()["cpus"])
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 4], help="segments in a batch of the ONNX runtimes"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders, by the names in the report")
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="leave FunASR's torch out")
    parser.add_argument("--no-sherpa", dest="sherpa", action="store_false", help="leave sherpa-onnx out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dropscribe-model-") as folder:
        directory = options.model or options.keep or Path(folder)
        if options.model is None and not (directory / "model.pt").exists():
            random_model.write(directory, seed=options.seed, small=options.small)
        figures = measured(directory, options)
    surroundings.report("cpu_peers", options, figures)


if __name__ == "__main__":
    main()
