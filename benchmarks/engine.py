"""Measure the engine alone: 16-bit samples in host memory → tokens and timestamps.

    .venv/bin/python benchmarks/engine.py [--device cuda:0] [--hours 20] [--batch-s 4000] [--repeat 3] [--out FILE.json]
    .venv/bin/python benchmarks/engine.py --family seaco [--hotwords 50]

Segments of 2 to 20 s (uniform) from the bundled speech and noise go through the daemon's batching policy and forward
pass: on CUDA the packed one with three batches under way (begin, decode, collect), on a CPU the padded one. The model
is --model, or a generated one of the official BiCif-Paraformer (with --family seaco: SeACo-Paraformer) architecture
with random weights. With --hotwords every segment is biased by that many hotwords, which are encoded before the
measurement. The same weights are then run by FunASR's `inference` over --stock-minutes of the same segments, in
batches of 300 s sorted by length.

RTFx counts the audio of the segments. TFLOP/s count useful work by the formula in `gflop`, without padding or
repeated work. GPU utilisation is that of nvidia-smi during the timed rounds.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import wave
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import kernel_profile
import numpy as np
import random_model
import surroundings
import torch

from dropscribe.bench import gauge
from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Pcm, SpeechSegment
from dropscribe.engine.models.families import Kind, kind_of
from dropscribe.engine.models.loading import LoadedModel, choose_device, load
from dropscribe.engine.models.paraformer.forward import DecodedBatch, DecodedSegment, PaddedForward
from dropscribe.engine.models.paraformer.seaco import has_bias
from dropscribe.engine.models.paraformer.timestamps import times_of
from dropscribe.engine.models.sense_voice import collapse, forward
from dropscribe.engine.models.sense_voice.recogniser import Questions
from dropscribe.engine.models.store import SAMPLE
from dropscribe.engine.models.text.vocabulary import vocabulary_of

RATE = 16_000
#: Batches launched before the first one is collected.
DEPTH = 3
#: Fewest parameters of the model to which `gflop` applies.
OFFICIAL_PARAMETERS = 200_000_000
#: Kernels in the report, the costliest.
TOP = 25
#: Default batch size of stock FunASR, seconds.
STOCK_BATCH_S = 300.0


def gflop(seconds: float, family: str, *, hotwords: bool) -> float:
    """Floating point operations of one segment, 10⁹: encoder, decoder, predictor, timestamps, fbank.

    (SenseVoice: 70 layers instead of 50, and its head. Hotwords: a second decoder of 6 layers, twice, and its head.)
    """
    if kind_of(family) is Kind.SENSE_VOICE:
        return seconds * (7.343 + 0.0398 * seconds + 0.428 + 0.04)
    return seconds * (
        5.245 + 0.0284 * seconds + 0.70 + 0.0025 * seconds + 0.026 + 0.446 + 0.04 + 0.23 * hotwords
    )


def segments(hours: float, seed: int) -> list[SpeechSegment]:
    """Segments of mixed lengths; each has its own sample array, like decoded audio."""
    rng = np.random.default_rng(seed)
    with wave.open(str(SAMPLE), "rb") as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    twice = np.tile(said, 3)
    made, left = [], hours * 3600
    while left > 0:
        count = round(rng.uniform(2, 20) * RATE)
        at = int(rng.integers(0, len(said)))
        pcm = twice[at : at + count] + rng.integers(-40, 40, size=count, dtype=np.int16)
        made.append(SpeechSegment(0, len(made), 0, count * 1000 // RATE, count, 0.0, pcm=pcm))
        left -= count / RATE
    return made


def batches(all_segments: Sequence[SpeechSegment], batch_s: float, ahead: float) -> Iterator[list[Pcm]]:
    """Batches as the daemon forms them from a backlog of which `ahead` batches' worth are queued."""
    batcher: Batcher[SpeechSegment] = Batcher(batch_s, 0.0)
    waiting, queued = iter(all_segments), 0.0
    while True:
        for segment in waiting:
            batcher.add(segment, 0.0)
            queued += segment.audio_s
            if queued >= ahead * batch_s:
                break
        batch = batcher.next(0.0, flush=True)
        if batch is None:
            return
        queued -= batch.audio_s
        yield [samples_of(s) for s in batch.segments]


def samples_of(segment: SpeechSegment) -> Pcm:
    assert segment.pcm is not None
    return segment.pcm


def times(spoken: DecodedSegment | collapse.DecodedSegment) -> list[tuple[int, int]]:
    if isinstance(spoken, collapse.DecodedSegment):
        return spoken.spans
    decoded = DecodedBatch.of([spoken])
    if decoded.fires is None:
        return []
    found = times_of(*decoded.fires, decoded.bounds, decoded.frames, [0])
    return [] if found.unplaced else list(zip(*found.columns(0, len(spoken.ids)), strict=True))


def listed(count: int) -> list[str]:
    """Hotwords of three Chinese characters, which are in the vocabulary of every Chinese model."""
    known = random_model.tokens()[3:-1]
    return [known[i] + known[i + 1000] + known[i + 2000] for i in range(count)]


def through(
    model: Any, work: Iterator[list[Pcm]], given: Callable[[list[Pcm]], tuple[Any, ...]], *, pipelined: bool
) -> tuple[int, int]:
    """Run all batches; returns the number of tokens and spans. `given`: input of the model for a batch."""
    tokens = spans = 0

    def take(found: DecodedBatch | Sequence[DecodedSegment | collapse.DecodedSegment]) -> None:
        nonlocal tokens, spans
        result = found.segments() if isinstance(found, DecodedBatch) else found
        tokens += sum(len(s.ids) for s in result)
        spans += sum(len(times(s)) for s in result)

    if not pipelined:
        for batch in work:
            take(model(*given(batch)))
        return tokens, spans
    # SenseVoice has nothing to decode.
    decode = getattr(model, "decode", lambda begun: begun)

    def waited(batch: Any) -> Any:
        model.wait_for(batch)
        return batch

    begun: deque[Any] = deque()
    decoded: deque[Any] = deque()
    for batch in work:
        begun.append(model.begin(*given(batch)))
        if len(begun) > 1:
            decoded.append(decode(waited(begun.popleft())))
        if len(decoded) > DEPTH - 2:
            take(model.collect(waited(decoded.popleft())))
    decoded.extend(decode(waited(b)) for b in begun)
    for last in decoded:
        take(model.collect(waited(last)))
    return tokens, spans


def forward_of(loaded: LoadedModel, *, on_cuda: bool) -> Any:
    """The forward pass that the daemon uses."""
    parts = (loaded.module, loaded.frontend, loaded.device)
    # The packed ones need Triton, which comes with CUDA builds of torch only.
    if kind_of(loaded.family) is Kind.SENSE_VOICE:
        if not on_cuda:
            return forward.PaddedForward(*parts)
        from dropscribe.engine.models.sense_voice import packed_forward as sense_voice  # noqa: PLC0415

        return sense_voice.PackedForward(*parts)
    if not on_cuda:
        return PaddedForward(*parts)
    from dropscribe.engine.models.paraformer.packed_forward import PackedForward  # noqa: PLC0415

    return PackedForward(*parts)


def ours(loaded: LoadedModel, work: list[SpeechSegment], options: argparse.Namespace) -> dict[str, Any]:
    on_cuda = loaded.device.type == "cuda"
    made = forward_of(loaded, on_cuda=on_cuda)
    words = listed(options.hotwords)
    with torch.inference_mode():
        spelling = vocabulary_of(loaded).spelling if words else None
        encoded = made.encode_hotwords([spelling.numbers_of(w) for w in words]) if spelling else None
        speaks_many = kind_of(loaded.family) is Kind.SENSE_VOICE
        queries = Questions(loaded).of(work[:1]) if speaks_many else None

    def given(batch: list[Pcm]) -> tuple[Any, ...]:
        if queries is not None:
            return batch, queries
        return (batch,) if encoded is None else (batch, [encoded] * len(batch))

    def lap(part: list[SpeechSegment]) -> tuple[float, int, int]:
        began = time.perf_counter()
        batched = batches(part, options.batch_s, options.ahead)
        tokens, spans = through(made, batched, given, pipelined=on_cuda)
        if on_cuda:
            torch.cuda.synchronize(loaded.device)
        return time.perf_counter() - began, tokens, spans

    with torch.inference_mode():
        # Kernels are compiled, and the allocator has its blocks, before anything is timed.
        lap(work if on_cuda else work[: max(1, len(work) // 10)])
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(loaded.device)
        gpus = gauge.gpu_ids((str(loaded.device),), gauge.visible_devices())
        began = time.monotonic()
        with gauge.Gauge(gpus) as watching:
            laps = [lap(work) for _ in range(options.repeat)]
            usage = watching.finish(began, time.monotonic())
    audio_s = sum(s.audio_s for s in work)
    wall_s = min(s for s, _, _ in laps)
    # The formulas are those of the official sizes.
    official = sum(p.numel() for p in loaded.module.parameters()) > OFFICIAL_PARAMETERS
    gflops = sum(gflop(s.audio_s, loaded.family, hotwords=bool(words)) for s in work)
    tflops = gflops / 1000 / wall_s if official else None
    sizes = [len(b) for b in batches(work, options.batch_s, options.ahead)]
    where = {}
    if on_cuda and options.profile_hours > 0:
        part = segments(options.profile_hours, options.seed)
        with torch.inference_mode():
            profile = kernel_profile.profiled(lambda: lap(part))
        where = {"profile": profile | {"kernels": profile["kernels"][:TOP]}}
    memory = torch.cuda.max_memory_allocated(loaded.device) if on_cuda else None
    return {
        "rtfx": round(audio_s / wall_s, 1),
        "rtfx_of_each_round": [round(audio_s / s, 1) for s, _, _ in laps],
        "wall_s": round(wall_s, 4),
        "tokens_per_s_of_audio": round(laps[0][1] / audio_s, 3),
        "tokens_with_times": laps[0][2],
        "tflop_per_s": None if tflops is None else round(tflops, 2),
        "share_of_peak_percent": round(100 * tflops / options.peak_tflops, 2) if tflops and on_cuda else None,
        "gpu_busy_percent": usage.gpu_percent,
        "gpu_bytes_allocated": memory,
        "batches": len(sizes),
        "segments_a_batch": round(sum(sizes) / len(sizes), 1),
        **where,
    }


def stock(loaded: LoadedModel, work: list[SpeechSegment], minutes: float, hotwords: int) -> dict[str, Any]:
    """FunASR's `inference` of the model, PCM as float32 arrays, batches of 300 s sorted by length."""
    ends = itertools.accumulate(s.audio_s for s in work)
    part = [s for s, end in zip(work, ends, strict=True) if end <= minutes * 60] or work[:1]
    waves = sorted((samples_of(s).astype(np.float32) / 32768 for s in part), key=len)
    groups: list[list[Any]] = [[]]
    for pcm in waves:
        if len(pcm) * (len(groups[-1]) + 1) > STOCK_BATCH_S * RATE and groups[-1]:
            groups.append([])
        groups[-1].append(pcm)
    options = dict(loaded.options) | {"tokenizer": loaded.tokenizer, "frontend": loaded.frontend}
    options["device"] = str(loaded.device)
    if hotwords:
        options["hotword"] = " ".join(listed(hotwords))

    def run(group: list[Any]) -> None:
        with torch.no_grad():
            loaded.module.inference(group, key=[str(i) for i in range(len(group))], **options)

    run(groups[0])
    began = time.perf_counter()
    for group in groups:
        run(group)
    wall_s = time.perf_counter() - began
    audio_s = sum(map(len, waves)) / RATE
    return {"rtfx": round(audio_s / wall_s, 1), "audio_s": round(audio_s, 1), "wall_s": round(wall_s, 3)}


def measured(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    device = choose_device(options.device)
    loaded = load(directory, device, options.threads)
    if options.hotwords and not has_bias(loaded.module):
        raise SystemExit("--hotwords: this model takes none; try --family seaco")
    torch.set_num_threads(options.threads)
    work = segments(options.hours, options.seed)
    figures: dict[str, Any] = {
        "device": str(device),
        "model": loaded.family,
        "parameters": sum(p.numel() for p in loaded.module.parameters()),
        "hotwords": options.hotwords,
        "audio_s": round(sum(s.audio_s for s in work), 1),
        "segments": len(work),
        "ours": ours(loaded, work, options),
    }
    if options.stock_minutes > 0:
        figures["stock"] = stock(loaded, work, options.stock_minutes, options.hotwords)
        figures["times_stock"] = round(figures["ours"]["rtfx"] / figures["stock"]["rtfx"], 1)
    return figures


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--model", type=Path, help="a model directory, Paraformer or SenseVoice")
    parser.add_argument("--family", choices=random_model.FAMILIES, default="bicif", help="without --model")
    parser.add_argument("--hotwords", type=int, default=0, help="of a SeACo: how many to listen for")
    parser.add_argument("--small", action="store_true", help="without --model: few narrow layers")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--hours", type=float, default=20.0, help="audio of a round")
    parser.add_argument("--batch-s", type=float, default=4000.0, help="padded audio seconds of a batch")
    parser.add_argument("--ahead", type=float, default=3.0, help="batches' worth of audio that waits")
    parser.add_argument("--repeat", type=int, default=3, help="timed rounds; the best counts")
    parser.add_argument("--stock-minutes", type=float, default=30.0, help="audio for stock FunASR; 0: none")
    parser.add_argument("--peak-tflops", type=float, default=798.0, help="what the GPU can do, dense, 16 bit")
    parser.add_argument(
        "--profile-hours", type=float, default=0.0, help="audio of one more round, under torch's profiler"
    )
    parser.add_argument("--threads", type=int, default=surroundings.machine()["cpus"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dropscribe-model-") as folder:
        directory = options.model or Path(folder)
        if options.model is None:
            random_model.write(directory, family=options.family, seed=options.seed, small=options.small)
        figures = measured(directory, options)
    surroundings.report("engine", options, figures)


if __name__ == "__main__":
    main()
