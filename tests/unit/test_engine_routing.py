"""Streams get the models they ask for, with fakes: sharing, memory, failures, turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from dropscribe.engine.core import routing
from dropscribe.engine.core.interfaces import Hypothesis, Recogniser, SpeechSegment, VadModel
from dropscribe.engine.core.model_cache import RETRY_S, FoundModel, ModelCache, ReadyModel
from dropscribe.engine.core.residency import Part
from dropscribe.engine.core.routing import TURN_S, WAIT_S, Router
from dropscribe.engine.models.null import NullStage, NullVadModel
from dropscribe.engine.protocol import (
    Abort,
    Annotations,
    BlockFreed,
    Event,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
    StreamOptions,
)
from dropscribe.engine.wire import Aborted, Held, Report
from dropscribe.errors import DeviceFailedError, EngineError
from dropscribe.transcript.roles import ModelSet
from dropscribe.transcript.types import Tokens
from tests.support.engines import Script

SECOND = 16_000
MIB = 1 << 20
A, B, C = (ModelSet(name, "vad") for name in "abc")


class Named:
    """A recogniser whose text is its name and the language; it knows zh and en."""

    languages = ("en", "zh")

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return [
            Hypothesis(s.stream, s.index, f"{self.name} {s.options.language}", Tokens("x", (0,), (1,)))
            for s in segments
        ]


class Stage(NullStage):
    """Marks each token of streams that name it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.name = part.role

    def wants(self, options: StreamOptions) -> bool:
        return options.punctuation == self.part.name or (
            options.speakers is not None
            and options.models is not None
            and options.models.speakers == self.part.name
        )

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        return {stream: Annotations(marks=b"\1") for stream in streams if self.part.role == "punctuation"}


class FakeLoader:
    """Models of 10 MiB each; a detector takes none by default."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.broken: dict[str, EngineError] = {}
        self.own_marks: set[str] = set()
        self.fails_warm_up = ""
        #: Name of a detector that no recogniser can be warmed up with.
        self.fails_with_vad: str | None = None
        self.vads: dict[str, NullVadModel] = {}
        self.dies = False
        self.memory_mib = 1000
        self.vad_mib = 0

    def find(self, part: Part) -> FoundModel:
        if part.name in self.broken:
            raise self.broken[part.name]
        size = (self.vad_mib if part.role == "vad" else 10) * MIB
        return FoundModel(part, size, part.name in self.own_marks)

    def load(self, found: FoundModel) -> ReadyModel:
        self.loaded.append(found.part.name)
        if found.part.role == "vad":
            vad = self.vads[found.part.name] = NullVadModel()
            return ReadyModel(vad)
        if found.part.role == "asr":
            return ReadyModel(Named(found.part.name), "fp32", f"notice of {found.part.name}")
        return ReadyModel(Stage(found.part))

    def warm_up(self, vad: VadModel, recogniser: Recogniser) -> float:
        if self.dies:
            raise DeviceFailedError("CUDA error")
        bad_vad = self.fails_with_vad is not None and vad is self.vads.get(self.fails_with_vad)
        if bad_vad or (isinstance(recogniser, Named) and recogniser.name == self.fails_warm_up):
            raise ValueError("bad shape")
        return 60.0

    def unloaded(self) -> None:
        pass

    def memory(self) -> int:
        return self.memory_mib * MIB


class Later(ModelCache):
    """A cache whose work is done when the test says so."""

    def __init__(self, loader: FakeLoader, clock: Callable[[], float], note: Callable[[str], None]) -> None:
        super().__init__(loader, clock=clock, note=note)
        self.hold_back = False
        self.due: list[Callable[[], None]] = []

    def run(self, work: Callable[[], object]) -> Future:  # type: ignore[type-arg]
        if not self.hold_back:
            return super().run(work)
        later: Future[object] = Future()

        def do() -> None:
            try:
                later.set_result(work())
            except Exception as e:
                later.set_exception(e)

        self.due.append(do)
        return later

    def catch_up(self) -> None:
        """Do the work that was held back."""
        while self.due:
            self.due.pop(0)()


class Bench:
    def __init__(self, memory_mib: int = 1000) -> None:
        self.now = 0.0
        self.loader = FakeLoader()
        self.loader.memory_mib = memory_mib
        self.notes: list[str] = []
        self.sent: list[Report | Held] = []
        self.inbox = Script()
        self.cache = Later(self.loader, lambda: self.now, self.notes.append)
        self.router = Router(
            self.cache, self.loader, default=A, max_wait_s=0.0,
            read=lambda b: np.zeros(b.samples, np.int16), send=self.sent.append,
            clock=lambda: self.now, note=self.notes.append,
        )  # fmt: skip

    def give(self, *messages: PcmBlock | Abort, turns: int = 4) -> None:
        self.inbox.messages.extend(messages)
        self.turn(turns)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.router.turn(self.inbox)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.turn(3)

    @property
    def events(self) -> list[Event | Aborted]:
        return [e for r in self.sent if isinstance(r, Report) for e in r.events]

    @property
    def released(self) -> int:
        return [r.released for r in self.sent if isinstance(r, Report)][-1]

    def texts(self) -> dict[int, str]:
        return {e.stream: e.text for e in self.events if isinstance(e, SegmentDone)}

    def ends(self) -> dict[int, StreamDone | StreamFailed]:
        return {e.stream: e for e in self.events if isinstance(e, (StreamDone, StreamFailed))}

    def done(self, stream: int) -> StreamDone:
        end = self.ends()[stream]
        assert isinstance(end, StreamDone)
        return end

    def failure(self, stream: int) -> StreamFailed:
        end = self.ends()[stream]
        assert isinstance(end, StreamFailed)
        return end

    def freed(self) -> list[int]:
        return sorted(e.offset for e in self.events if isinstance(e, BlockFreed))

    def held(self) -> dict[str, str]:
        return {m.name: m.state for m in self.cache.held()}


def block(
    stream: int,
    models: ModelSet | None = None,
    *,
    final: bool = True,
    offset: int | None = None,
    **options: object,
) -> PcmBlock:
    chosen = StreamOptions(models=models, **options)  # type: ignore[arg-type]
    return PcmBlock(stream, stream if offset is None else offset, SECOND, final, chosen)


def test_each_stream_is_recognised_by_its_own_models_and_says_which() -> None:
    bench = Bench()
    bench.give(block(1, A), block(2, B), block(3))
    assert {s: text.split()[0] for s, text in bench.texts().items()} == {1: "a", 2: "b", 3: "a"}
    used = bench.done(2).used
    assert used is not None
    assert (used.models, used.precision, used.notice) == (
        (("asr", "b"), ("vad", "vad")),
        "fp32",
        "notice of b",
    )
    assert sorted(bench.loader.loaded) == ["a", "b", "vad"], "each once, the detector shared"
    assert bench.freed() == [1, 2, 3]
    assert bench.released == 3 * SECOND
    assert [*bench.router._route_of, *bench.router._parts_of, *bench.router._used] == []


def test_segments_of_all_models_have_batches_of_their_own() -> None:
    bench = Bench()
    bench.give(block(1, A), block(2, B))
    batches = [e.batch for e in bench.events if isinstance(e, SegmentDone)]
    assert len(set(batches)) == 2


def test_the_least_recently_used_models_make_room() -> None:
    bench = Bench(memory_mib=20)
    bench.give(block(1, A))
    bench.wait(1.0)
    bench.give(block(2, B))
    bench.wait(1.0)
    bench.give(block(3, A))
    bench.wait(1.0)
    bench.give(block(4, C), turns=6)
    assert bench.held() == {"a": "loaded", "c": "loaded", "vad": "loaded"}
    assert "unloaded b (asr): another model needs its memory" in bench.notes
    bench.give(block(5, B), turns=6)
    assert bench.texts()[5].startswith("b")
    assert bench.released == 5 * SECOND, "samples of unloaded models stay counted"


def test_models_in_use_are_not_unloaded_and_the_others_get_a_turn() -> None:
    bench = Bench(memory_mib=15)
    bench.give(block(1, A, final=False))
    bench.give(block(2, B, final=False))
    assert bench.held()["b"] == "waiting"
    bench.give(block(3, A))
    assert bench.texts()[3].startswith("a"), "what is loaded goes on meanwhile"
    bench.wait(WAIT_S)
    assert (bench.failure(2).code, bench.failure(2).retryable) == ("models_busy", True)
    bench.give(block(4, A))
    assert bench.failure(4).code == "models_busy", "it is b's turn now"
    assert "recordings for b" in bench.failure(4).reason
    bench.give(block(1, A, offset=11), block(2, B, offset=12), turns=6)
    assert isinstance(bench.ends()[1], StreamDone), "a stream that has begun is never ended for that"
    assert bench.held() == {"b": "loaded", "vad": "loaded"}
    bench.wait(30.0)
    bench.give(block(5, B), turns=6)
    assert bench.texts()[5].startswith("b")
    assert bench.freed() == [1, 2, 3, 4, 5, 11, 12]
    assert bench.released == 7 * SECOND


def test_a_model_that_two_sets_share_has_to_fit_beside_one_of_them_only() -> None:
    bench = Bench(memory_mib=25)
    bench.loader.vad_mib = 1
    with_stage = [ModelSet(name, "vad", "punc") for name in "ab"]
    for since in range(3):
        for number, models in enumerate(with_stage):
            bench.give(block(10 * since + number, models, punctuation="auto"), turns=8)
            bench.wait(1.0)
    assert {m.problem for m in bench.cache.held()} == {""}
    assert all(isinstance(end, StreamDone) for end in bench.ends().values())
    assert {bench.done(i).annotations.marks for i in bench.ends()} == {b"\1"}


def test_a_model_that_does_not_fit_beside_the_others_of_its_set_is_refused() -> None:
    bench = Bench(memory_mib=15)
    bench.give(block(1, ModelSet("a", "vad", "punc"), punctuation="auto"), turns=6)
    (remark,) = bench.done(1).remarks
    assert "10 MiB beside 10 MiB of the models that work with it" in remark


def test_of_two_models_that_wait_for_long_only_the_first_has_the_turn() -> None:
    bench = Bench(memory_mib=15)
    bench.loader.vad_mib = 1
    bench.give(block(1, A, final=False))
    for since in range(int(TURN_S) + 5):
        bench.give(block(100 + since, B), block(200 + since, C))
        bench.wait(1.0)
    assert bench.held() == {"a": "loaded", "b": "waiting", "c": "waiting", "vad": "loaded"}
    bench.give(block(2, B), block(3, C), block(4, A))
    assert bench.failure(4).reason == "it is the turn of recordings for b"
    assert not {2, 3} & bench.ends().keys(), "they take no room, and wait"
    bench.give(block(1, A, offset=11), turns=6)
    assert bench.texts()[2].startswith("b")


def test_a_model_that_waits_for_long_does_not_send_its_own_streams_back() -> None:
    bench = Bench(memory_mib=25)
    bench.give(
        block(1, A, final=False), block(2, ModelSet("c", "vad", "punc"), final=False, punctuation="auto")
    )
    own = ModelSet("b", "vad", "punc")
    bench.wait(1.0)
    bench.give(block(3, own, punctuation="auto"))
    bench.wait(TURN_S - 1.0)
    bench.give(block(4, own, punctuation="auto"))
    bench.wait(2.0)
    assert 4 not in bench.ends()


def test_a_model_larger_than_the_memory_is_refused_with_the_setting() -> None:
    bench = Bench(memory_mib=5)
    bench.give(block(1, A))
    failure = bench.failure(1)
    assert failure.code == "model_unusable"
    assert "10 MiB" in failure.reason
    assert "model_memory_mb" in failure.remedy


def test_a_set_that_cannot_be_loaded_fails_its_streams_only_and_is_tried_again() -> None:
    bench = Bench()
    bench.loader.broken["b"] = EngineError("no such directory", operation="load model", remedy="give another")
    bench.give(block(1, A, final=False), block(2, B, final=False))
    failure = bench.failure(2)
    assert (failure.code, failure.reason, failure.remedy) == (
        "model_unusable", "load model: no such directory", "give another",
    )  # fmt: skip
    bench.give(block(2, B, offset=12), block(1, A, offset=11))
    assert bench.texts()[1].startswith("a")
    assert bench.freed() == [1, 2, 11, 12], "later blocks of a refused stream are freed"
    del bench.loader.broken["b"]
    bench.give(block(3, B))
    assert bench.failure(3).reason == failure.reason, "not tried for every recording"
    bench.wait(RETRY_S)
    bench.give(block(4, B), turns=6)
    assert bench.texts()[4].startswith("b")


def test_a_model_that_fails_its_warm_up_fails_its_streams_only(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench()
    bench.loader.fails_warm_up = "b"
    bench.give(block(1, A), block(2, B), turns=6)
    bench.wait(routing.POLL_S)
    assert bench.failure(2).reason == "load b: ValueError: bad shape"
    assert "bad shape" in capsys.readouterr().err, "the traceback is for the report"
    assert bench.texts()[1].startswith("a")
    assert bench.held()["b"] == "failed"


@pytest.mark.usefixtures("capsys")
def test_a_failed_warm_up_with_another_detector_leaves_a_model_in_use_as_it_is() -> None:
    bench = Bench(memory_mib=15)
    bench.give(block(1, A, final=False))
    bench.loader.fails_with_vad = "other"
    with_other = ModelSet("a", "other")
    bench.give(block(2, with_other))
    bench.wait(routing.POLL_S)
    assert bench.failure(2).reason == "load a: ValueError: bad shape"
    bench.give(block(3, with_other), block(4, A))
    assert bench.failure(3).reason == "load a: ValueError: bad shape"
    assert bench.texts()[4].startswith("a")
    bench.wait(RETRY_S)
    bench.loader.fails_with_vad = None
    bench.give(block(5, with_other), block(1, A, offset=11))
    assert bench.texts()[5].startswith("a"), "it is tried again"
    assert isinstance(bench.ends()[1], StreamDone)
    assert bench.loader.loaded.count("a") == 1
    bench.give(block(6, B), turns=6)
    assert bench.texts()[6].startswith("b"), "nothing keeps a any more"


@pytest.mark.usefixtures("capsys")
def test_a_model_that_is_discarded_is_gone_from_its_other_pairs_too() -> None:
    bench = Bench()
    bench.give(block(1, A))
    bench.loader.fails_with_vad = "other"
    bench.give(block(2, ModelSet("a", "other")))
    bench.wait(routing.POLL_S)
    assert bench.failure(2).code == "model_unusable"
    bench.wait(RETRY_S)
    bench.give(block(3, A), turns=6)
    assert bench.texts()[3].startswith("a")
    assert bench.loader.loaded.count("a") == 2
    (route,) = bench.router._routes.values()
    held = bench.cache.loaded(Part("asr", "a"))
    assert held is not None
    assert route.recogniser is held.model, "the first one is not kept beside it"
    assert bench.released == 3 * SECOND


def aborted_in_its_warm_up(bench: Bench) -> None:
    """A stream of B that is aborted while its models are warmed up."""
    bench.give(block(1, A))
    bench.cache.hold_back = True
    bench.give(block(2, B, final=False))
    for _ in range(2):  # found and loaded
        bench.cache.catch_up()
        bench.wait(routing.POLL_S)
    bench.give(Abort(2))
    assert bench.router._warming


def test_a_warm_up_that_nobody_waits_for_any_more_ends_all_the_same() -> None:
    bench = Bench(memory_mib=20)
    aborted_in_its_warm_up(bench)
    bench.cache.catch_up()
    bench.turn(2)
    assert not bench.router._warming
    assert bench.inbox.timeouts[-1] is None, "nothing is due"
    bench.cache.hold_back = False
    bench.wait(100.0)
    bench.give(block(3, A), block(4, C), turns=6)
    assert bench.held() == {"a": "loaded", "c": "loaded", "vad": "loaded"}, "b is not in use"


def test_a_warm_up_that_loses_the_device_ends_the_engine_though_nobody_waits_for_it() -> None:
    bench = Bench()
    aborted_in_its_warm_up(bench)
    bench.loader.dies = True
    bench.cache.catch_up()
    with pytest.raises(DeviceFailedError):
        bench.turn()


def test_streams_of_other_models_go_on_while_one_is_loaded() -> None:
    bench = Bench()
    bench.give(block(1, A))
    bench.cache.hold_back = True
    bench.give(block(2, B), block(3, A))
    assert sorted(bench.texts()) == [1, 3]
    assert bench.inbox.timeouts[-1] == routing.POLL_S
    while bench.cache.due:
        bench.cache.due.pop(0)()
        bench.turn(2)
    bench.wait(routing.POLL_S)
    assert bench.texts()[2].startswith("b")


def test_a_stream_that_is_aborted_while_it_waits_leaves_nothing() -> None:
    bench = Bench()
    bench.cache.hold_back = True
    bench.give(block(1, A, final=False), Abort(1), Abort(9))
    assert bench.freed() == [1]
    assert [e for e in bench.events if isinstance(e, Aborted)] == [Aborted(1), Aborted(9)]
    assert bench.router._waiting == {}
    assert bench.released == SECOND


def test_a_loading_that_loses_the_device_ends_the_engine() -> None:
    bench = Bench()
    bench.loader.broken["a"] = DeviceFailedError("CUDA error")
    with pytest.raises(DeviceFailedError):
        bench.give(block(1, A))


def test_stages_are_loaded_for_streams_that_ask_for_them() -> None:
    bench = Bench()
    full = ModelSet("a", "vad", "punc", "voices")
    bench.give(block(1, full))
    assert sorted(bench.loader.loaded) == ["a", "vad"]
    bench.give(block(2, full, punctuation="auto"), turns=6)
    assert bench.done(2).annotations.marks == b"\1"
    assert "voices" not in bench.loader.loaded
    bench.give(block(3, full, punctuation="auto", speakers=0), turns=6)
    used = bench.done(3).used
    assert used is not None
    assert dict(used.models) == {"asr": "a", "vad": "vad", "punctuation": "punc", "speakers": "voices"}
    assert bench.done(1).annotations.marks == b""


def test_a_stage_that_cannot_be_loaded_leaves_a_remark_and_costs_no_word() -> None:
    bench = Bench()
    bench.loader.broken["punc"] = EngineError("it is damaged")
    bench.give(block(1, ModelSet("a", "vad", "punc"), punctuation="auto"), turns=6)
    assert bench.done(1).remarks == ("punctuation failed: it is damaged",)
    assert bench.texts()[1].startswith("a")


def test_a_recogniser_that_writes_marks_itself_is_not_punctuated() -> None:
    bench = Bench()
    bench.loader.own_marks.add("a")
    bench.give(block(1, ModelSet("a", "vad", "punc"), punctuation="auto"), turns=6)
    assert "punc" not in bench.loader.loaded
    assert bench.done(1).remarks == ()


def test_a_language_goes_to_a_model_that_knows_it_else_there_is_a_remark() -> None:
    bench = Bench()
    bench.give(block(1, A, language="en"), block(2, A, language="fr"), block(3, A, language="fr"))
    assert bench.texts() == {1: "a en", 2: "a auto", 3: "a auto"}
    (remark,) = bench.done(2).remarks
    assert remark == "language fr was not used: a does not know it (it knows en, zh)"
    assert bench.notes.count(remark) == 1


def test_all_sets_are_loaded_at_the_start_and_one_that_cannot_be_is_named() -> None:
    bench = Bench()
    bench.loader.broken["b"] = EngineError("no such directory", operation="load model")
    used, batch_s = bench.router.preload([A, B, C])
    assert (dict(used.models)["asr"], batch_s) == ("a", 60.0)
    assert sorted(bench.loader.loaded) == ["a", "c", "vad"]
    assert any("no such directory" in note for note in bench.notes)


def test_an_engine_without_any_usable_set_does_not_start() -> None:
    bench = Bench()
    bench.loader.broken["a"] = EngineError("no such directory")
    with pytest.raises(EngineError, match="no such directory"):
        bench.router.preload([A])
    assert bench.loader.loaded == [], "directories are checked before anything is loaded"


def test_sets_beyond_the_memory_are_left_until_they_are_needed() -> None:
    bench = Bench(memory_mib=15)
    bench.router.preload([A, B])
    assert bench.held()["a"] == "loaded"
    assert any(note.startswith("b has no room") for note in bench.notes)
    bench.wait(200.0)
    bench.give(block(1, B), turns=8)
    assert bench.texts()[1].startswith("b")


def test_a_set_without_room_at_the_start_takes_no_room_of_the_others_while_nobody_needs_it() -> None:
    bench = Bench(memory_mib=15)
    bench.loader.broken["d"] = EngineError("no such directory")
    bench.router.preload([A, B, ModelSet("c", "d")])
    bench.wait(100.0)
    assert bench.held() == {"a": "loaded", "vad": "loaded", "d": "failed"}
    assert bench.loader.loaded == ["a", "vad"]
    assert bench.inbox.timeouts[-1] is None, "it sleeps until something comes"


def test_the_turn_comes_before_streams_have_waited_in_vain_for_long() -> None:
    assert TURN_S <= WAIT_S
