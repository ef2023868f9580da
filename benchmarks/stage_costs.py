"""Measure what confidence, punctuation and speakers cost: the engine without them, with each, and with all.

    .venv/bin/python benchmarks/stage_costs.py [--device cuda:0] [--hours 60] [--out stage-costs.json] [--only engine,daemon]
    .venv/bin/python benchmarks/stage_costs.py --device cpu --small
    .venv/bin/python benchmarks/stage_costs.py --only daemon --daemon-hours 100 [--py-spy PATH --profile FILE.txt]

The models have random weights and the shapes of the official ones (with --small: few narrow layers), except for the bundled
detector, ct-punc-mini and speaker model; nothing is fetched. `engine`: samples in memory go through the scheduler, the
models and the stages of one process, --streams recordings at a time. Its words are replaced by real ones, so that
jieba cuts them as it does real text. `daemon`: WAV files on disk → transcripts, without stages, with each and with all.

`share_percent`: wall time more than without any stage, by the best of --repeat rounds. `host_s`: processor time of the
stage's calls. `device_s`, `launches`: kernels of a round of --profile-hours under torch's profiler; `…_more`: less those
without the stage. Where a goal is missed, `top_kernels` says where the time goes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kernel_profile
import numpy as np
import punctuation as real_text
import random_model
import running_daemon
import sampling
import surroundings
import torch

from dropscribe.config import EngineSettings
from dropscribe.engine import registry
from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import (
    Hypothesis,
    Pcm,
    Pipelined,
    PostprocessingStage,
    SpeechSegment,
    WholeBatch,
)
from dropscribe.engine.core.postprocess import Postprocessor
from dropscribe.engine.core.postprocess_threads import PostprocessingThreads
from dropscribe.engine.core.residency import Part
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.layers.best import STEPS, Best
from dropscribe.engine.models.loading import choose_device, describe_device
from dropscribe.engine.protocol import (
    PLAIN,
    Abort,
    Annotations,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamOptions,
)
from dropscribe.engine.wire import BATCHES_AHEAD, Report
from dropscribe.transcript.roles import ASR, PUNCTUATION, SPEAKERS, VAD
from dropscribe.transcript.types import Tokens

RATE = 16_000
#: Samples of a block, as decoders write them.
BLOCK = 30 * RATE
#: Words of the official vocabularies.
LARGE_WORDS, C_WORDS = 471_067, 272_727
#: Most time of a variant, percent of that without stages.
GOALS = {"confidence": 1.0, "ct-punc": 5.0, "speakers": 35.0}
#: Kernels in the table of a missed goal.
TOP = 15
#: Time limit for the engine to say something, seconds.
HANG_S = 120.0


@dataclass(frozen=True, slots=True)
class Variant:
    """What is on in a round."""

    name: str
    options: StreamOptions
    confidence: bool = True


class Talk:
    """A recogniser whose words are replaced by real ones of the same number; its own times and confidence."""

    def __init__(self, recogniser: Any) -> None:
        self._recogniser = recogniser
        self._pipeline = recogniser if isinstance(recogniser, Pipelined) else WholeBatch(recogniser)
        self.depth = self._pipeline.depth
        self.takes_frames = getattr(recogniser, "takes_frames", False)
        self._text = real_text.TEXT * 20

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return self._said(self._recogniser(segments))

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        return self._pipeline.begin(segments)

    def ready(self, handle: Any) -> bool:
        return self._pipeline.ready(handle)

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        return self._said(self._pipeline.finish(handle))

    def _said(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        made = []
        for one in hypotheses:
            at = (one.stream * 31 + one.index * 7) % len(real_text.TEXT)
            text = self._text[at : at + len(one.tokens)]
            tokens = Tokens(text, one.tokens.starts_ms, one.tokens.ends_ms, one.tokens.confidence)
            made.append(Hypothesis(one.stream, one.index, text, tokens))
        return made


class Timed:
    """A stage that adds up the processor time of its calls."""

    def __init__(self, stage: PostprocessingStage) -> None:
        self._stage = stage
        self.name = stage.name
        self.wants, self.drop = stage.wants, stage.drop
        self.host_s = 0.0

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        began = time.thread_time()
        self._stage.recognised(segments, hypotheses)
        self.host_s += time.thread_time() - began

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        began = time.thread_time()
        found = self._stage.finish(streams)
        self.host_s += time.thread_time() - began
        return found


class Feed:
    """An inbox that hands out blocks of recordings, some at a time, as far as the engine has room for audio."""

    def __init__(self, lengths: Sequence[int], together: int, room: int, options: StreamOptions) -> None:
        self._blocks = self._in_turn(lengths, together, options)
        self._room = room
        self._given = self._released = 0
        self._changed = threading.Condition()
        self._woken = False
        self.done: dict[int, StreamDone] = {}
        self.tokens = 0

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """See `dropscribe.engine.core.scheduler.Inbox`."""
        blocks: list[PcmBlock] = []
        while self._given - self._released < self._room and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            self._given += block.samples
        if not blocks and timeout_s != 0:
            with self._changed:
                # The scheduler waits for as long as it likes; only a hang takes that long.
                answered = self._changed.wait_for(lambda: self._woken, timeout_s or HANG_S)
                assert answered or timeout_s is not None, "the engine does not answer"
        self._woken = False
        return blocks

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def report(self, report: Report) -> None:
        self._released = report.released
        for event in report.events:
            if isinstance(event, StreamDone):
                assert not event.remarks, event.remarks
                self.done[event.stream] = event
            elif isinstance(event, SegmentDone):
                self.tokens += len(event.tokens)

    @staticmethod
    def _in_turn(lengths: Sequence[int], together: int, options: StreamOptions) -> Iterator[PcmBlock]:
        waiting = deque(enumerate(lengths))
        active: deque[tuple[int, int, int]] = deque()
        while waiting or active:
            while waiting and len(active) < together:
                active.append((*waiting.popleft(), 0))
            stream, length, at = active.popleft()
            samples = min(BLOCK, length - at)
            yield PcmBlock(stream, at, samples, at + samples == length, options)
            if at + samples < length:
                active.append((stream, length, at + samples))


class Engine:
    """The loaded models, and rounds with some of the stages."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.names = {"ct-punc": str(folder / "ct-punc"), "ct-punc-c": str(folder / "ct-punc-c")}
        settings = EngineSettings(
            device=options.device, **({"batch_s": options.batch_s} if options.batch_s else {})
        )
        loader = registry.ModelLoader(settings, print)

        def load(role: str, name: str) -> Any:
            return loader.load(loader.find(Part(role, name))).model

        self._vad, recogniser = load(VAD, "vad-mini"), load(ASR, str(folder / "asr"))
        self._stages: list[PostprocessingStage] = [
            load(PUNCTUATION, name) for name in ("ct-punc-mini", *self.names.values())
        ]
        self._stages.append(load(SPEAKERS, "campplus-zh-en"))
        # Last: it looks for the largest batch that fits beside all models.
        self.batch_s = loader.warm_up(self._vad, recogniser)
        self.on_gpu = loader.on_gpu
        self.device = describe_device(choose_device(options.device))
        self._recogniser = Talk(recogniser)
        said = running_daemon.sample()
        rng = np.random.default_rng(0)
        pauses = [np.zeros(round(s * RATE), np.int16) for s in rng.uniform(0.3, 1.5, 1000)]
        parts, left = [], round(options.seconds * RATE)
        for pause in pauses:
            if left <= 0:
                break
            parts += [said, pause]
            left -= len(said) + len(pause)
        self._pcm: Pcm = np.concatenate(parts)[: round(options.seconds * RATE)]
        self._count = self._of(options.hours)
        self._together = options.streams
        self.audio_s = self._count * len(self._pcm) / RATE

    def _of(self, hours: float) -> int:
        return max(1, round(hours * 3600 * RATE / len(self._pcm)))

    def round(self, variant: Variant, hours: float | None = None) -> dict[str, Any]:
        """Transcribe all recordings once, or so many hours of them."""
        count = self._count if hours is None else min(self._count, self._of(hours))
        stages = [Timed(stage) for stage in self._stages]
        # Recordings end at different times.
        lengths = [len(self._pcm) - (i % 7) * len(self._pcm) // 20 for i in range(count)]
        feed = Feed(lengths, self._together, round(BATCHES_AHEAD * self.batch_s * RATE), variant.options)
        scheduler = Scheduler(
            self._vad,
            self._recogniser,
            Batcher(self.batch_s, 0.2),
            read=lambda block: self._pcm[block.offset : block.offset + block.samples],
            send=feed.report,
            clock=time.monotonic,
            postprocessor=PostprocessingThreads(stages, print, feed.wake)
            if self.on_gpu
            else Postprocessor(stages, print),
        )
        began, cpu = time.perf_counter(), time.thread_time()
        while len(feed.done) < count:
            scheduler.turn(feed)
        if self.on_gpu:
            torch.cuda.synchronize()
        wall_s = time.perf_counter() - began
        marks = sum(len(one.annotations.marks) for one in feed.done.values())
        speakers = sum(len(one.annotations.speakers) for one in feed.done.values())
        assert marks == (feed.tokens if variant.options.punctuation else 0)
        assert speakers == (feed.tokens if variant.options.speakers is not None else 0)
        audio_s = sum(lengths) / RATE
        return {
            "rtfx": round(audio_s / wall_s, 1),
            "wall_s": wall_s,
            "scheduler_host_s": round(time.thread_time() - cpu, 3),
            "host_s": _summed([[(stage.name, stage.host_s) for stage in stages]]),
            "tokens": feed.tokens,
            "seconds_by_stage": _summed(one.annotations.seconds for one in feed.done.values()),
        }


def _summed(columns: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for column in columns:
        for name, seconds in column:
            found[name] = found.get(name, 0.0) + seconds
    return {name: round(seconds, 3) for name, seconds in found.items()}


def best_only(scores: torch.Tensor) -> Best:
    """The best tokens without their probability."""
    ids = scores.argmax(dim=-1)
    return Best(ids, torch.full_like(ids, STEPS, dtype=torch.uint8))


def set_confidence(on: bool, kept: dict[Any, Any]) -> None:
    """Replace the function that computes the confidence on a CPU, or put it back."""
    from dropscribe.engine.models.paraformer import forward  # noqa: PLC0415 - only with models

    of_module: Any = forward
    kept.setdefault(forward, of_module.best_of)
    of_module.best_of = kept[forward] if on else best_only


def engine(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    made = Engine(folder, options)
    large = made.names["ct-punc"]
    on_gpu = made.on_gpu
    # On a GPU the kernel that finds the best tokens finds their confidence, too: it cannot be left out.
    variants = [
        *([] if on_gpu else [Variant("alone", PLAIN, confidence=False)]),
        Variant("confidence", PLAIN),
        Variant("ct-punc-mini", StreamOptions(punctuation="ct-punc-mini")),
        Variant("ct-punc-c", StreamOptions(punctuation=made.names["ct-punc-c"])),
        Variant("ct-punc", StreamOptions(punctuation=large)),
        Variant("speakers", StreamOptions(speakers=0)),
        Variant("all", StreamOptions(punctuation=large, speakers=0)),
    ]
    kept: dict[Any, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    with torch.inference_mode(False):
        for variant in variants:
            set_confidence(variant.confidence, kept)
            if on_gpu:
                made.round(variant)  # compiles kernels, fills the allocator's cache
            rounds = [made.round(variant) for _ in range(options.repeat)]
            best = min(rounds, key=lambda one: float(one["wall_s"]))
            best["rtfx_of_each_round"] = [one["rtfx"] for one in rounds]
            if on_gpu and not options.no_profile:
                best |= kernel_profile.profiled(
                    lambda variant=variant: made.round(variant, options.profile_hours)
                )  # type: ignore[misc]
            # Confidence counts as a stage of its own; the others come on top of it.
            least = next(iter(found), variant.name)
            base = found.get(least if variant.name == "all" else "confidence", found.get(least, best))
            best["share_percent"] = round(100 * (best["wall_s"] / base["wall_s"] - 1), 2)
            if "device_s" in best:
                best["device_s_more"] = round(best["device_s"] - base["device_s"], 4)
                best["launches_more"] = best["launches"] - base["launches"]
            goal = GOALS.get(variant.name)
            if goal is not None:
                best["goal_percent"], best["met"] = goal, best["share_percent"] <= goal
            if "kernels" in best:
                kernels = best.pop("kernels")
                if variant.name in {least, "all"} or best.get("met") is False:
                    best["top_kernels"] = kernels[:TOP]
            best["wall_s"] = round(best["wall_s"], 4)
            found[variant.name] = best
    set_confidence(True, kept)
    return {
        "device": made.device,
        "batch_s": made.batch_s,
        "audio_s": made.audio_s,
        **found,
    }


def daemon(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole daemon, without stages, with each and with all."""
    marks = f'punctuation = "{folder / "ct-punc"}"'
    variants = {
        "without": 'punctuation = "off"\nspeakers = "off"\n',
        "ct-punc": f'{marks}\nspeakers = "off"\n',
        "speakers": 'punctuation = "off"\nspeakers = "auto"\n',
        "all": f'{marks}\nspeakers = "auto"\n',
    }
    count = max(2, round(options.daemon_hours * 3600 / options.seconds))
    found: dict[str, Any] = {}
    for name, lines in variants.items():
        given = SimpleNamespace(
            model=str(folder / "asr"), vad_model="vad-mini", device=options.device, root=options.root
        )
        with running_daemon.Daemon(given, profile_lines=lines) as running:  # type: ignore[arg-type]
            staging = running.root / "staging"
            staging.mkdir()
            running_daemon.write_recordings([staging / f"{i:06d}.wav" for i in range(count)], options.seconds)
            running_daemon.write_recording(running.inbox / "first.wav", 10.0, count)
            # Else the disk writes gigabytes of recordings while transcripts wait for theirs.
            os.sync()
            running.wait_for(1)
            spied = options if name == "all" else argparse.Namespace(py_spy=None, profile=None)
            with sampling.sampled(spied, running.engine_pid()):
                before, began = running.cpu_s(), time.monotonic()
                staging.rename(running.inbox / "all")
                running.wait_for(1 + count)
                wall_s = time.monotonic() - began
            first, last = running.tenths(count)
            spent = {n: round(s - before.get(n, 0.0), 2) for n, s in running.cpu_s().items()}
            stages = dict(
                running.rows("select stage, round(sum(seconds), 3) from stage_timings group by stage")
            )
        found[name] = {
            "rtfx": round(count * options.seconds / wall_s, 1), "wall_s": round(wall_s, 2),
            "backlog_rtfx": round(0.8 * count * options.seconds / max(last - first, 1e-3), 1),
            "interpreter_of_an_engine_percent": sampling.percent_by_thread(spied, wall_s),
            "share_percent": round(100 * (wall_s / found["without"]["wall_s"] - 1), 2) if found else 0.0,
            "cpu_s": spent, "seconds_by_stage": stages,
        }  # fmt: skip
    return found


def write_models(folder: Path, *, small: bool) -> None:
    """Write the recogniser and both punctuation models, with random weights."""
    from tests.support import punctuation as made  # noqa: PLC0415 - its folder is added by `surroundings`

    random_model.write(folder / "asr", small=small)
    large, characters = ((516, 12, 2, 256), (256, 8, 1, 128)) if small else (made.LARGE, made.CHARACTERS)
    package = find_spec("jieba")
    assert package is not None
    assert package.origin is not None
    lines = Path(package.origin).with_name("dict.txt").read_text(encoding="utf-8").splitlines()
    known = list(dict.fromkeys(line.split(" ")[0] for line in lines))
    if small:
        known = known[:20_000]
    single = list(dict.fromkeys([*(w for w in known if len(w) == 1), *real_text.TEXT]))
    made.random_model(
        folder / "ct-punc",
        large,
        dictionary=known[:1000] if small else known,
        words=filled(known, 0 if small else LARGE_WORDS),
    )
    made.random_model(folder / "ct-punc-c", characters, words=filled(single, 0 if small else C_WORDS))


def filled(words: Sequence[str], count: int) -> list[str]:
    """At least `count` words: the embedding is as large as the official one."""
    return [*words, *(f"\ue000{i}" for i in range(count - len(words) - 1))]


def table(figures: Mapping[str, Any]) -> str:
    """The figures of the engine, for people."""
    lines = [
        f"{'':14} {'x real time':>11} {'share %':>8} {'goal':>5} {'host s':>8} {'device s':>9} {'launches':>9}"
    ]
    for name, one in figures.items():
        if isinstance(one, dict):
            lines.append(
                f"{name:14} {one['rtfx']:>11} {one['share_percent']:>8} {one.get('goal_percent', ''):>5} "
                f"{sum(one['host_s'].values()):>8.3f} {one.get('device_s_more', ''):>9} {one.get('launches_more', ''):>9}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--small", action="store_true", help="few narrow layers and little audio: tries the script"
    )
    parser.add_argument("--only", default="engine,daemon", help="engine, daemon or both")
    parser.add_argument("--hours", type=float, default=60.0, help="audio of a round of the engine")
    parser.add_argument("--daemon-hours", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of a recording")
    parser.add_argument("--streams", type=int, default=200, help="recordings that arrive at a time")
    parser.add_argument("--batch-s", type=float, default=0.0, help="as engine.batch_s; 0: the default")
    parser.add_argument("--repeat", type=int, default=2, help="timed rounds; the best counts")
    parser.add_argument(
        "--profile-hours", type=float, default=8.0, help="audio of the round under the profiler"
    )
    parser.add_argument("--no-profile", action="store_true", help="without the round under torch's profiler")
    parser.add_argument("--root", type=Path, help="the daemon works in a new folder below this one")
    sampling.options_of(parser)
    options = parser.parse_args()
    if options.small:
        options.hours = options.daemon_hours = 0.02
        options.seconds, options.repeat = 24.0, 1
    wanted = set(options.only.split(","))
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dropscribe-stages-") as name:
        folder = Path(name)
        began = time.monotonic()
        write_models(folder, small=options.small)
        figures["models_written_s"] = round(time.monotonic() - began, 1)
        if "engine" in wanted:
            figures["engine"] = engine(folder, options)
        if "daemon" in wanted:
            figures["daemon"] = daemon(folder, options)
    surroundings.report("stage_costs", options, figures)
    if "engine" in figures:
        print(table(figures["engine"]))


if __name__ == "__main__":
    main()
