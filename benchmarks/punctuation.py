"""Measure punctuation: characters per second, passes over the network, and its share of the recogniser's time.

    .venv/bin/python benchmarks/punctuation.py [--model ct-punc-mini] [--device cuda:0] [--characters 200000]
        [--streams 500] [--together 1000] [--precision auto] [--speed 36900] [--text FILE] [--out FILE.json]

A text is divided among streams, in segments of some seconds. Batches hold segments of many streams, as on a busy
device. `alone` is one stream whose whole text arrives at once. `share` is the time of punctuation in that of a
recogniser of the given speed (audio seconds per second) for the same audio, at 4.5 characters a second. Random weights
set marks at random, so passes and words read per word are those of a text only with the weights of a real model.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import surroundings
import torch

from dropscribe.engine import registry
from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models import store
from dropscribe.engine.models.hub import client
from dropscribe.engine.models.loading import choose_device, describe_device
from dropscribe.engine.models.punctuation.model import PunctuationModel
from dropscribe.engine.models.punctuation.stage import Punctuation
from dropscribe.engine.protocol import StreamOptions
from dropscribe.transcript.roles import PUNCTUATION
from dropscribe.transcript.types import Tokens

CHARACTERS_PER_S = 4.5
#: Characters of a segment, from 1 to twice the mean.
SEGMENT = 40
#: Said when no text is given; real punctuation needs real sentences.
TEXT = (
    "甚至出现交易几乎停滞的情况我们今天讨论一下明年的工作计划你觉得这个办法怎么样大家好欢迎收听今天的节目"
    "他说明天下午三点到北京开会这本书的作者是一位年轻的医生请问去火车站应该怎么走经济发展需要科学技术的支持"
    "因为昨天下了一场大雨所以比赛改在星期三举行苹果香蕉和梨都卖完了中国的人口超过十三亿一下子就忘记了"
)


class Counted:
    """A model that counts what it reads."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.splitter = model.splitter
        self.passes = self.words = 0

    def read(self, windows: Sequence[Any]) -> bytes:
        self.passes += 1
        self.words += sum(map(len, windows))
        marks: bytes = self._model.read(windows)
        return marks


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--model", default="ct-punc-mini", help="name or directory")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "fp16"))
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--characters", type=int, default=200_000)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--together", type=int, default=1000, help="segments in a batch")
    parser.add_argument("--speed", type=float, default=36_900, help="of the recogniser, times real time")
    parser.add_argument("--text", type=Path, help="a text file without marks")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    half = device.type != "cpu" and options.precision != "fp32"
    source = store.resolve(options.model, PUNCTUATION, lambda name: client.locate(name, print))
    began = time.monotonic()
    model = PunctuationModel(source.config, device, half=half)
    model.warm_up()
    load_s = time.monotonic() - began
    text = TEXT if options.text is None else options.text.read_text(encoding="utf-8").replace("\n", "")
    passes = registry.CPU_PASSES if device.type == "cpu" else registry.CUDA_PASSES
    each = options.characters // options.streams
    texts = {stream: drawn(text, each, stream) for stream in range(options.streams)}
    alone = {0: drawn(text, options.characters, 1)}
    # The first run compiles kernels.
    measure(model, {0: alone[0][:5000]}, passes, options)
    figures: dict[str, Any] = {
        "model": options.model,
        "device": describe_device(device),
        "precision": "fp16" if half else "fp32",
        "load_s": round(load_s, 2),
        "streams": measure(model, texts, passes, options),
        "alone": measure(model, alone, 0, options),
    }
    surroundings.report("punctuation", options, figures)


def measure(model: Any, texts: dict[int, str], passes: int, options: Any) -> dict[str, float]:
    """Time of punctuating texts; `passes` after each batch, none: all at the end."""
    counted = Counted(model)
    stage = Punctuation("auto", counted, passes=passes)  # type: ignore[arg-type]
    arrivals = [s for number, text in texts.items() for s in segments(number, text)]
    # The first segments of all streams come before the second ones.
    arrivals.sort(key=lambda one: (one[0].index, one[0].stream))
    began = time.monotonic()
    for first in range(0, len(arrivals), options.together):
        batch = arrivals[first : first + options.together]
        stage.recognised([s for s, _ in batch], [h for _, h in batch])
    made = stage.finish(list(texts))
    seconds = time.monotonic() - began
    characters = sum(map(len, texts.values()))
    in_passes = sum(dict(one.seconds)["punctuation"] for one in made.values())
    words = sum(len(one.marks) for one in made.values())
    return {
        "characters_per_s": round(characters / seconds, 1),
        "seconds": round(seconds, 3),
        "of_it_in_passes_s": round(in_passes, 3),
        "passes": counted.passes,
        "words_read_per_character": round(counted.words / characters, 2),
        "marks_per_character": round(
            sum(len(one.marks) - one.marks.count(0) for one in made.values()) / words, 3
        ),
        "share": round(seconds / (characters / CHARACTERS_PER_S / options.speed), 4),
    }


def drawn(text: str, characters: int, seed: int) -> str:
    start = random.Random(seed).randrange(len(text))
    return (text[start:] + text * (characters // len(text) + 1))[:characters]


def segments(stream: int, text: str) -> list[tuple[SpeechSegment, Hypothesis]]:
    rng = random.Random(stream)
    found, at = [], 0
    while at < len(text):
        part = text[at : at + rng.randrange(1, 2 * SEGMENT)]
        times = range(len(part))
        segment = SpeechSegment(stream, len(found), 0, 1000, 16_000, 0.0, StreamOptions(punctuation="auto"))
        found.append((segment, Hypothesis(stream, len(found), part, Tokens(part, times, times))))
        at += len(part)
    return found


if __name__ == "__main__":
    main()
