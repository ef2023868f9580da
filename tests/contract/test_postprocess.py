"""Contract between `dropscribe.engine.core.interfaces.PostprocessingStage` and the scheduler.

To test a new stage: add an entry to `STAGES`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Hypothesis, PostprocessingStage, SpeechSegment
from dropscribe.engine.core.postprocess import Postprocessing, Postprocessor
from dropscribe.engine.core.postprocess_threads import MOST_BATCHES, PostprocessingThreads
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.models.null import NullRecogniser, NullStage, NullVadModel
from dropscribe.engine.models.punctuation.stage import Punctuation
from dropscribe.engine.models.punctuation.words import CharacterSplitter, Vocabulary
from dropscribe.engine.models.speakers.stage import SpeakerStage
from dropscribe.engine.protocol import (
    Abort,
    Annotations,
    Event,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
    StreamOptions,
)
from dropscribe.engine.wire import Aborted, Report
from dropscribe.errors import EngineDiedError, EngineError
from dropscribe.transcript.types import Tokens
from tests.support.engines import Script


class ReadsNothing:
    """A punctuation model that sets no marks."""

    splitter = CharacterSplitter(Vocabulary({}, 0))

    def read(self, windows: Sequence[Any]) -> bytes:
        return bytes(sum(map(len, windows)))


class OneVoice:
    """An embedder for which every window is of the same voice."""

    batch = 4
    runs_ahead = False

    def joined(self, sounds: Sequence[Any]) -> Any:
        counts = [len(sound) // 160 for sound in sounds]
        return np.zeros((sum(counts), 80), np.float32), counts

    def begin(self, windows: Sequence[Any]) -> Any:
        return SimpleNamespace(windows=sum(map(len, windows)), ready=True)

    def finish(self, launched: Any) -> tuple[Any, float]:
        return np.full((launched.windows, 192), 192**-0.5, np.float16), 0.0


STAGES: dict[str, Callable[[], PostprocessingStage]] = {
    "null": NullStage,
    "punctuation": lambda: Punctuation("auto", ReadsNothing(), passes=1),  # type: ignore[arg-type]
    "speakers": lambda: SpeakerStage(OneVoice()),  # type: ignore[arg-type]
}
#: So that every stage takes part.
ALL = StreamOptions(punctuation="auto", speakers=0)
MINUTE = 60 * 16_000
#: Time limit for the thread of a stage, seconds; only a hang reaches it.
WAIT_S = 60.0
BOTH_WAYS = pytest.mark.parametrize("beside", [False, True], ids=["in turn", "beside"])

FailsOn = Callable[[str, Sequence[int]], bool]


class Watched:
    """A wrapper that records the calls of a stage and checks each against the contract; may inject failures."""

    def __init__(
        self,
        inner: PostprocessingStage,
        fails_on: FailsOn = lambda *_: False,
        error: Exception | None = None,
        name: str = "watched",
    ) -> None:
        self.name = name
        self.inner = inner
        self.fails_on = fails_on
        self.error = error or EngineError("it broke")
        self.segments: dict[int, set[int]] = {}
        self.finished: list[int] = []
        self.together: list[list[int]] = []
        self.dropped: set[int] = set()

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        assert [(s.stream, s.index) for s in segments] == [(h.stream, h.index) for h in hypotheses]
        self._check([s.stream for s in segments], "recognised")
        self.inner.recognised(segments, hypotheses)
        for s in segments:
            assert s.index not in self.segments.setdefault(s.stream, set())
            self.segments[s.stream].add(s.index)

    def wants(self, options: StreamOptions) -> bool:
        return self.inner.wants(options)

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        self._check(streams, "finish")
        found = self.inner.finish(streams)
        self.finished += streams
        self.together.append(list(streams))
        return found

    def drop(self, stream: int) -> None:
        self.inner.drop(stream)
        self.dropped.add(stream)

    def _check(self, streams: Sequence[int], call: str) -> None:
        assert streams
        assert not self.dropped & set(streams)
        assert not set(self.finished) & set(streams)
        if self.fails_on(call, streams):
            raise self.error


class Bench:
    """The scheduler with null models and the stages under test, which run on threads of their own if `beside`."""

    def __init__(self, *stages: PostprocessingStage, budget_s: float = 600.0, beside: bool = False) -> None:
        self.now = 0.0
        self.woken = threading.Event()
        self.notes: list[str] = []
        self.reports: list[Report] = []
        batcher: Batcher[SpeechSegment] = Batcher(budget_s, max_wait_s=1.0)
        self.postprocessor: Postprocessing = (
            PostprocessingThreads(stages, self.notes.append, self.woken.set)
            if beside
            else Postprocessor(stages, self.notes.append)
        )
        self.loop = Scheduler(
            NullVadModel(),
            NullRecogniser(),
            batcher,
            read=lambda b: np.zeros(b.samples, np.int16),
            send=self.reports.append,
            clock=lambda: self.now,
            postprocessor=self.postprocessor,
        )

    def run(self, *messages: PcmBlock | Abort, turns: int = 12) -> None:
        inbox = Script(*messages)
        for _ in range(turns):
            self.loop.turn(inbox)
            self.now += 1.0

    def wait_for_ends(self, count: int) -> None:
        """Turn the loop until so many streams have ended, whenever a stage has completed some."""
        while len(self.ends) < count:
            assert self.woken.wait(WAIT_S), "the stages do not answer"
            self.woken.clear()
            self.loop.turn(Script())

    @property
    def events(self) -> list[Event | Aborted]:
        return [e for r in self.reports for e in r.events]

    @property
    def ends(self) -> dict[int, StreamDone]:
        return {e.stream: e for e in self.events if isinstance(e, StreamDone)}

    @property
    def words(self) -> dict[int, int]:
        """Number of delivered segments of each stream."""
        found: dict[int, int] = {}
        for e in self.events:
            if isinstance(e, SegmentDone):
                assert e.text
                found[e.stream] = found.get(e.stream, 0) + 1
        return found


@pytest.fixture(params=STAGES)
def make(request: pytest.FixtureRequest) -> Callable[[], PostprocessingStage]:
    return STAGES[request.param]


def blocks(*minutes: int) -> list[PcmBlock]:
    """Blocks of one stream for each of these lengths, numbered from 0."""
    return [PcmBlock(i, i, n * MINUTE, final=True, options=ALL) for i, n in enumerate(minutes)]


@BOTH_WAYS
def test_every_segment_comes_once_and_the_end_after_the_last(
    make: Callable[[], PostprocessingStage], beside: bool
) -> None:
    stage = Watched(make())
    bench = Bench(stage, budget_s=120.0, beside=beside)
    bench.run(*blocks(3, 1, 0, 2))
    bench.wait_for_ends(4)
    assert {s: len(i) for s, i in stage.segments.items()} == bench.words == {0: 3, 1: 1, 3: 2}
    assert sorted(stage.finished) == sorted(bench.ends) == [0, 1, 2, 3]
    assert stage.dropped == set()
    assert all(end.remarks == () for end in bench.ends.values())


def test_streams_that_end_together_are_finished_in_one_call(
    make: Callable[[], PostprocessingStage],
) -> None:
    stage = Watched(make())
    Bench(stage).run(*blocks(1, 1))
    assert stage.together == [[0, 1]]


def test_a_stream_that_is_aborted_is_dropped_and_not_finished(
    make: Callable[[], PostprocessingStage],
) -> None:
    stage = Watched(make())
    bench = Bench(stage)
    bench.run(
        PcmBlock(1, 0, 2 * MINUTE, final=False, options=ALL), PcmBlock(2, 0, MINUTE, final=True, options=ALL)
    )
    bench.run(Abort(1), Abort(99))
    assert stage.dropped == {1, 99}
    assert stage.finished == [2]


def test_unknown_streams_are_accepted(make: Callable[[], PostprocessingStage]) -> None:
    stage = make()
    stage.drop(5)
    assert not stage.finish([6]).get(6, Annotations()).marks


@BOTH_WAYS
@pytest.mark.parametrize("call", ["recognised", "finish"])
def test_a_stage_failing_on_one_stream_adds_a_remark_and_keeps_its_text(call: str, beside: bool) -> None:
    stage = Watched(NullStage(), lambda now, streams: now == call and 1 in streams, name="punctuation")
    after = Watched(NullStage())
    bench = Bench(stage, after, budget_s=120.0, beside=beside)
    bench.run(*blocks(3, 3, 3))
    bench.wait_for_ends(3)
    assert bench.words == {0: 3, 1: 3, 2: 3}
    assert {s: end.remarks for s, end in bench.ends.items()} == {
        0: (), 1: ("punctuation failed: it broke",), 2: (),
    }  # fmt: skip
    assert stage.dropped == {1}
    assert sorted(stage.finished) == [0, 2]
    # The next stage is not affected.
    assert sorted(after.finished) == [0, 1, 2]
    assert {s: len(i) for s, i in after.segments.items()} == bench.words
    assert bench.notes == ["punctuation failed: it broke; the transcripts without it have a remark"]


@BOTH_WAYS
def test_stages_come_and_go_and_a_stream_may_have_remarks_without_one(beside: bool) -> None:
    bench = Bench(beside=beside)
    first, second = Watched(NullStage()), Watched(Marks())
    bench.postprocessor.add(first)
    bench.run(*blocks(1))
    bench.wait_for_ends(1)
    bench.postprocessor.remove(first)
    bench.postprocessor.add(second)
    for stream in (7, 8):
        bench.postprocessor.remark(stream, "language", "language fr was not used")
    bench.run(Abort(8), PcmBlock(7, 7, MINUTE, final=True, options=ALL), PcmBlock(9, 9, MINUTE, final=True))
    bench.wait_for_ends(3)
    assert (first.finished, second.finished) == ([0], [7])
    assert bench.ends[7].annotations.marks == b"\x01"
    assert {s: end.remarks for s, end in bench.ends.items()} == {
        0: (),
        7: ("language fr was not used",),
        9: (),
    }


def test_an_unexpected_error_becomes_a_remark() -> None:
    bench = Bench(Watched(NullStage(), lambda *_: True, ValueError("3 marks for 2 words"), "punctuation"))
    bench.run(*blocks(1))
    assert bench.ends[0].remarks == ("punctuation failed: ValueError: 3 marks for 2 words",)


@BOTH_WAYS
def test_two_failing_stages_add_two_remarks(beside: bool) -> None:
    stages = [Watched(NullStage(), lambda *_: True, name=name) for name in ("punctuation", "speakers")]
    bench = Bench(*stages, beside=beside)
    bench.run(*blocks(1))
    bench.wait_for_ends(1)
    assert bench.ends[0].remarks == ("punctuation failed: it broke", "speakers failed: it broke")


@BOTH_WAYS
def test_a_lost_device_ends_the_engine(beside: bool) -> None:
    bench = Bench(Watched(NullStage(), lambda *_: True, EngineDiedError("the device is gone")), beside=beside)
    with pytest.raises(EngineDiedError):  # noqa: PT012 - in which turn depends on the thread
        bench.run(*blocks(1))
        bench.wait_for_ends(1)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.sets(st.integers(0, 5)),
    st.sets(st.integers(0, 5)),
    st.integers(1, 6),
    st.booleans(),
)
def test_words_never_depend_on_a_stage(
    minutes: list[int], batches_fail: set[int], ends_fail: set[int], budget: int, beside: bool
) -> None:
    def fails(call: str, streams: Sequence[int]) -> bool:
        return bool(set(streams) & (batches_fail if call == "recognised" else ends_fail))

    stage = Watched(NullStage(), fails)
    bench = Bench(stage, budget_s=60.0 * budget, beside=beside)
    bench.run(*blocks(*minutes), turns=40)
    bench.wait_for_ends(len(minutes))
    assert bench.words == {i: n for i, n in enumerate(minutes) if n}
    assert sorted(bench.ends) == list(range(len(minutes)))
    assert not [e for e in bench.events if isinstance(e, StreamFailed)]
    for i, n in enumerate(minutes):
        failed = (n > 0 and i in batches_fail) or i in ends_fail
        assert bool(bench.ends[i].remarks) == failed
        assert (i in stage.finished) != failed


class Marks(NullStage):
    """Adds a mark to each token of the streams that ask for punctuation."""

    name = "punctuation"

    def wants(self, options: StreamOptions) -> bool:
        return bool(options.punctuation)

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        return {stream: Annotations(marks=b"\x01") for stream in streams}


def test_a_stage_is_called_for_the_streams_that_want_it() -> None:
    marks, speakers = Watched(Marks()), Watched(NullStage())
    bench = Bench(marks, speakers)
    bench.run(
        PcmBlock(1, 0, MINUTE, final=True, options=StreamOptions(punctuation="auto")),
        PcmBlock(2, 1, MINUTE, final=True),
    )
    assert {s: end.annotations.marks for s, end in bench.ends.items()} == {1: b"\x01", 2: b""}
    assert marks.segments == {1: {0}}
    assert sorted(speakers.finished) == [1, 2]


def test_annotations_of_two_stages_are_put_together() -> None:
    one = Annotations(marks=b"\x01", seconds=(("punctuation", 1.0),))
    other = Annotations(speakers=b"\x02", voices=(b"v",), seconds=(("clustering", 2.0),))
    both = Annotations(b"\x01", b"\x02", (b"v",), (("punctuation", 1.0), ("clustering", 2.0)))
    assert one.with_(other) == both


def test_every_token_has_a_value_in_each_column(make: Callable[[], PostprocessingStage]) -> None:
    bench = Bench(make())
    bench.run(*blocks(3, 1))
    for end in bench.ends.values():
        for column in (end.annotations.marks, end.annotations.speakers):
            assert len(column) in (0, end.segments), "a segment of the null model has one token"
        assert end.remarks == ()


class Gated(NullStage):
    """A stage whose calls wait until the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.calls: list[list[tuple[int, int]]] = []
        self.finished: list[int] = []
        self.dropped: list[int] = []

    def recognised(self, segments: Sequence[SpeechSegment], _: Sequence[Hypothesis]) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        self.calls.append([(s.stream, s.index) for s in segments])

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        self.finished += streams
        return {}

    def drop(self, stream: int) -> None:
        self.dropped.append(stream)


def test_a_slow_stage_holds_up_only_the_streams_that_want_it() -> None:
    slow = Gated()
    slow.wants = lambda options: options.speakers is not None  # type: ignore[method-assign,assignment]
    bench = Bench(slow, Watched(NullStage()), beside=True)
    bench.run(PcmBlock(1, 0, MINUTE, final=True, options=ALL), PcmBlock(2, 1, MINUTE, final=True))
    bench.wait_for_ends(1)
    assert (list(bench.ends), bench.words) == ([2], {1: 1, 2: 1})
    slow.gate.set()
    bench.wait_for_ends(2)


def test_a_stream_that_is_aborted_while_it_ends_has_no_end() -> None:
    slow = Gated()
    bench = Bench(slow, beside=True)
    bench.run(*blocks(1, 1))
    assert slow.entered.wait(WAIT_S)
    bench.run(Abort(0))
    slow.gate.set()
    bench.wait_for_ends(1)
    assert list(bench.ends) == [1]
    assert slow.dropped == [0]


def test_batches_wait_for_a_slow_stage_and_reach_it_together() -> None:
    slow = Gated()
    woken = threading.Event()
    threads = PostprocessingThreads([slow], wake=woken.set)
    batches = [
        ([SpeechSegment(0, i, 0, 1, 16, 0.0, ALL)], [Hypothesis(0, i, "", Tokens())])
        for i in range(4 * MOST_BATCHES)
    ]
    posted: list[int] = []

    def post() -> None:
        for number, batch in enumerate(batches):
            threads.recognised(*batch)
            posted.append(number)

    poster = threading.Thread(target=post, daemon=True)
    poster.start()
    assert slow.entered.wait(WAIT_S)
    # Those that had arrived when the stage began are at work, and the queue is full: the next one waits.
    assert len(posted) <= 2 * MOST_BATCHES
    slow.gate.set()
    poster.join(WAIT_S)
    threads.end([StreamDone(0, len(batches), 1, 1, 0.0)], {0: ALL})
    assert woken.wait(WAIT_S)
    assert [end.stream for end in threads.ended()] == [0]
    assert [pair for call in slow.calls for pair in call] == [(0, i) for i in range(len(batches))]
    assert len(slow.calls) < len(batches)
