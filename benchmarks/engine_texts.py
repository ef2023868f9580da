"""Measure what turning tokens into text, punctuation and reports cost the interpreter of the engine, without a GPU.

    .venv/bin/python benchmarks/engine_texts.py [--recordings 27] [--segments 67] [--tokens 20] [--repeat 5]

The output of the networks is made up: random tokens, and marks that depend on the words. What the engine does with it on
a GPU runs here on one thread, each part by itself: `words` (tokens to text and times, the thread of that name),
`punctuation` (its stage, less the made-up network) and `outbox` (pickling; `received`: the same in the parent process).
Figures are processor time in ms per recording, the best of --repeat rounds.

`characters`: all tokens are single characters; `mixed`: some are English words and sub-words. `no_marks`: none at
all, as random weights may give, so that windows grow to 1,000 words; `sentences`: a mark every 12 words. `at_once`: all segments
of a recording in one batch; `in_parts`: in --parts batches.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import surroundings
import torch

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models import store
from dropscribe.engine.models.paraformer.forward import decoded_of
from dropscribe.engine.models.paraformer.recogniser import hypotheses_of
from dropscribe.engine.models.punctuation.model import PunctuationModel
from dropscribe.engine.models.punctuation.network import Ids
from dropscribe.engine.models.punctuation.stage import Punctuation
from dropscribe.engine.models.text.hotwords import Spelling
from dropscribe.engine.models.text.vocabulary import Characters
from dropscribe.engine.protocol import SegmentDone, StreamOptions
from dropscribe.engine.registry import CUDA_PASSES
from dropscribe.engine.wire import Report
from dropscribe.transcript.roles import PUNCTUATION

#: Characters in the vocabulary; the English words and sub-words follow.
CHARACTERS = 8000
ENGLISH = ("hello", "world", "meet@@", "ing", "to@@", "day", "python", "ok")
#: Probability of an English token in `mixed`.
ENGLISH_SHARE = 0.05
#: Upsampled frames of a token: a third of 60 ms each.
TOKEN_FRAMES = 10


def vocabulary() -> Characters:
    """Special tokens, characters, English."""
    characters = [chr(0x4E00 + i) for i in range(CHARACTERS)]
    tokens = ["<blank>", "<s>", "</s>", *characters, *ENGLISH, "<unk>"]
    return Characters(tokens, Spelling({}, 0, {}))


class Batch:
    """Segments of all recordings, and what the network gives for them."""

    def __init__(self, recordings: int, segments: int, tokens: int, *, english: float) -> None:
        rng = np.random.default_rng(0)
        options = StreamOptions(punctuation="auto")
        self.counts = rng.integers(1, 2 * tokens, recordings * segments).tolist()
        self.frames = [n * TOKEN_FRAMES + 30 for n in self.counts]
        self.segments = [
            SpeechSegment(stream, index, index * 4500, index * 4500 + 4000, 64_000, 0.0, options)
            for stream in range(recordings)
            for index in range(segments)
        ]
        total, most = sum(self.counts), max(self.counts)
        ids = rng.integers(3, 3 + CHARACTERS, total, dtype=np.int32)
        words = rng.integers(3 + CHARACTERS, 3 + CHARACTERS + len(ENGLISH), total, dtype=np.int32)
        self.ids = np.where(rng.random(total) < english, words, ids)
        self.sure = rng.integers(0, 256, total, dtype=np.uint8)
        steps = rng.integers(1, 2 * TOKEN_FRAMES - 2, (len(self.counts), most + 1), dtype=np.int32)
        self.fires = steps.cumsum(axis=1, dtype=np.int32)


def in_words(batch: Batch, known: Characters) -> list[Hypothesis]:
    """What the thread `words` does with the output of the network."""
    order = range(len(batch.segments))
    decoded = decoded_of(batch.ids, batch.sure, batch.counts, batch.fires, batch.frames, order)
    return hypotheses_of(known, batch.segments, decoded)


class Network:
    """A network that knows its marks from the words; adds up the processor time it takes."""

    def __init__(self, *, marks: bool) -> None:
        self._marks = marks
        self.seconds = 0.0
        self.passes = self.words = 0

    def __call__(self, windows: Sequence[Ids]) -> bytes:
        """See `dropscribe.engine.models.punctuation.network.Network`."""
        began = time.thread_time()
        ids = np.concatenate(windows).astype(np.int64)
        lengths = np.array([len(window) for window in windows])
        self.passes += 1
        self.words += len(ids)
        # One word in 24 ends a sentence and one has a comma, except for some windows.
        first = np.repeat(ids[np.cumsum(lengths) - lengths], lengths)
        place = np.where((ids * 31 + first) % 17 == 0, 1, ids % 24)
        found = np.select([place == 0, place == 12], [3, 2], 1) if self._marks else np.ones(len(ids))
        made = found.astype(np.uint8).tobytes()
        self.seconds += time.thread_time() - began
        return made


def punctuated(
    model: PunctuationModel, parts: Sequence[tuple[Sequence[SpeechSegment], Sequence[Hypothesis]]]
) -> bytes:
    """Pass batches to the stage of punctuation, then end all streams; returns the marks of all."""
    stage = Punctuation("auto", model, passes=CUDA_PASSES)
    for segments, hypotheses in parts:
        stage.recognised(segments, hypotheses)
    made = stage.finish(sorted({s.stream for segments, _ in parts for s in segments}))
    return b"".join(one.marks for one in made.values())


def divided(
    segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis], parts: int
) -> list[tuple[list[SpeechSegment], list[Hypothesis]]]:
    """Segments of a batch in several: the first ones of all recordings, then the next ones."""
    most = 1 + max(s.index for s in segments)
    pairs = list(zip(segments, hypotheses, strict=True))
    chosen = [[p for p in pairs if p[0].index * parts // most == part] for part in range(parts)]
    return [([s for s, _ in own], [h for _, h in own]) for own in chosen]


def report_of(segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> Report:
    """The events of a batch, as the scheduler sends them."""
    audio_s = sum(s.audio_s for s in segments)
    return Report(
        tuple(
            SegmentDone(
                s.stream, s.index, s.start_ms, s.end_ms, h.text, h.tokens, 7, len(segments), audio_s * 1.1, audio_s,
                0.25 + s.index / 1000, s.audio_s / 1000, h.tags,
            )
            for s, h in zip(segments, hypotheses, strict=True)
        ),
        64_000,
    )  # fmt: skip


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--recordings", type=int, default=27, help="that share a batch")
    parser.add_argument("--segments", type=int, default=67, help="of each recording")
    parser.add_argument("--tokens", type=int, default=20, help="of each segment, on average")
    parser.add_argument("--parts", type=int, default=8, help="batches that a recording is divided among")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    def ms(work: Callable[[], Any], less: Callable[[], float] = lambda: 0.0) -> float:
        """Processor time of a call in ms per recording, without what `less` adds up."""
        rounds = []
        for _ in range(options.repeat):
            began, apart = time.thread_time(), less()
            work()
            rounds.append(time.thread_time() - began - (less() - apart))
        return round(1000 * min(rounds) / options.recordings, 3)

    known = vocabulary()
    figures: dict[str, Any] = {"words": {}, "punctuation": {}, "outbox": {}, "received": {}}
    for name, english in (("characters", 0.0), ("mixed", ENGLISH_SHARE)):
        batch = Batch(options.recordings, options.segments, options.tokens, english=english)
        hypotheses = in_words(batch, known)
        figures["words"][name] = ms(lambda batch=batch: in_words(batch, known))  # type: ignore[misc]
        report = report_of(batch.segments, hypotheses)
        data = pickle.dumps(report)
        figures["outbox"][name] = ms(lambda report=report: pickle.dumps(report))  # type: ignore[misc]
        figures["received"][name] = ms(lambda data=data: pickle.loads(data))  # type: ignore[misc]
        config = store.resolve("ct-punc-mini", PUNCTUATION, lambda _: None).config
        for marks in ("no_marks", "sentences") if name == "characters" else ("sentences",):
            for arrival, parts in (("at_once", 1), ("in_parts", options.parts)):
                model, network = (
                    PunctuationModel(config, torch.device("cpu")),
                    Network(marks=marks == "sentences"),
                )
                model._network = network  # noqa: SLF001 - the product has no made-up networks
                arriving = divided(batch.segments, hypotheses, parts)
                taken = ms(
                    lambda model=model, arriving=arriving: punctuated(model, arriving),  # type: ignore[misc]
                    lambda network=network: network.seconds,  # type: ignore[misc]
                )
                rounds = options.repeat * options.recordings
                figures["punctuation"][f"{name}, {marks}, {arrival}"] = {
                    "ms": taken,
                    "passes": network.passes // options.repeat,
                    "words_read": network.words // rounds,
                }
    surroundings.report("engine_texts", options, figures)


if __name__ == "__main__":
    main()
