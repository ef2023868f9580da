"""Contract of `dropscribe.engine.protocol.Engine`, for the null models and the bundled real ones.

Real processes and shared memory. No assertions on durations.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.models import store
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import (
    PLAIN,
    Abort,
    BlockFreed,
    Event,
    LocalEngine,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
    StreamOptions,
)
from dropscribe.errors import EngineDiedError, EngineError
from dropscribe.transcript.roles import ModelSet
from tests.support import seaco, sense_voice
from tests.support.engines import pid_of, started

SLOT = 163_840  #: samples
SLOTS = 64
#: Time limit, seconds; only a hang reaches it.
DEADLINE_S = 120.0


class Arena:
    """Slots in shared memory."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("engine-test", os.MFD_CLOEXEC)
        self.size = SLOT * 2 * SLOTS
        os.ftruncate(self.fd, self.size)
        self._map = mmap.mmap(self.fd, self.size)
        self.free = [i * SLOT * 2 for i in range(SLOTS)]

    def put(self, pcm: Pcm) -> int:
        offset = self.free.pop()
        data = pcm.astype("<i2").tobytes()
        self._map[offset : offset + len(data)] = data
        return offset

    def close(self) -> None:
        self._map.close()
        os.close(self.fd)


E = TypeVar("E", bound=LocalEngine)


@dataclass
class Client(Generic[E]):
    """An engine with its arena, and all its events."""

    engine: E
    arena: Arena
    events: list[Event] = field(default_factory=list)
    streams: int = 0
    hotwords: tuple[str, ...] = ()  #: hotwords in the first block of each stream that `send` creates

    def send(self, pcm: Pcm, block: int = SLOT, *, final: bool = True) -> int:
        """Start a stream; returns its number."""
        self.streams += 1
        parts = [pcm[i : i + block] for i in range(0, len(pcm), block)] or [pcm]
        for i, part in enumerate(parts):
            options = StreamOptions(self.hotwords if i == 0 else ())
            self.block(self.streams, part, final=final and i == len(parts) - 1, options=options)
        return self.streams

    def block(self, stream: int, pcm: Pcm, *, final: bool, options: StreamOptions = PLAIN) -> None:
        while not self.arena.free:
            self.listen()
        self.engine.submit(PcmBlock(stream, self.arena.put(pcm), len(pcm), final, options))
        self.engine.flush()

    def listen(self, timeout_s: float = 1.0) -> None:
        events = self.engine.results(timeout_s)
        self.arena.free += [e.offset for e in events if isinstance(e, BlockFreed)]
        self.events += events

    def until_done(self, *streams: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not all(self.ends(s) for s in streams) or len(self.arena.free) < SLOTS:
            assert time.monotonic() < deadline, f"not done: {self.events[-5:]}"
            self.listen()

    def ends(self, stream: int) -> list[StreamDone | StreamFailed]:
        return [e for e in self.events if isinstance(e, (StreamDone, StreamFailed)) and e.stream == stream]

    def segments(self, stream: int) -> list[SegmentDone]:
        found = [e for e in self.events if isinstance(e, SegmentDone) and e.stream == stream]
        return sorted(found, key=lambda s: s.index)

    def done(self, stream: int) -> StreamDone:
        """End of the stream, after checking the contract of a stream."""
        (end,) = self.ends(stream)
        assert isinstance(end, StreamDone)
        segments = self.segments(stream)
        assert [s.index for s in segments] == list(range(end.segments))
        positions = [i for i, e in enumerate(self.events) if e is end or e in segments]
        assert self.events[positions[-1]] is end
        return end


def sample() -> Pcm:
    with wave.open(str(store.SAMPLE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def settings(model: str) -> EngineSettings:
    return EngineSettings(
        model=model, vad_model="vad-mini", device="cpu", threads=1, batch_s=None, max_wait_ms=300
    )


def start(arena: Arena, model: str, capacity_s: float = 1000.0) -> ProcessEngine:
    return started(settings(model), arena_fd=arena.fd, arena_bytes=arena.size, capacity_s=capacity_s)


def start_in_int8(arena: Arena, model: str) -> ProcessEngine:
    """Start an engine with products of 8 bits and two threads."""
    changed = settings(model).model_copy(update={"precision": "int8", "threads": 2})
    return started(changed, arena_fd=arena.fd, arena_bytes=arena.size, capacity_s=1000.0)


#: Models that are not bundled, and functions that write a directory of each.
NOT_BUNDLED: dict[str, Callable[[Path], object]] = {
    "sense-voice": sense_voice.write,
    "seaco": seaco.random_seaco,
}


@pytest.fixture(
    scope="module",
    params=[
        (start, "null"),
        (start, "paraformer-mini"),
        # SeACo: tests/e2e/test_hotwords.py.
        # In brief: tests/integration/test_engine_recogniser.py.
        pytest.param((start_in_int8, "paraformer-mini"), marks=pytest.mark.soak),
        (start, "sense-voice"),
        pytest.param((start, "seaco"), marks=pytest.mark.soak),
    ],
    ids=["null", "paraformer-mini", "int8", "sense-voice", "seaco"],
)
def shared_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalEngine, Arena]]:
    arena = Arena()
    starter, model = request.param
    if model in NOT_BUNDLED:
        folder = tmp_path_factory.mktemp("models") / model
        NOT_BUNDLED[model](folder)
        model = str(folder)
    engine = starter(arena, model)
    yield engine, arena
    engine.close()
    arena.close()


_numbers = iter(range(0, 1_000_000, 1000))


@pytest.fixture
def client(shared_engine: tuple[LocalEngine, Arena]) -> Client[LocalEngine]:
    """The module's engine, with streams of this test only."""
    engine, arena = shared_engine
    assert len(arena.free) == SLOTS, "an earlier test lost slots"
    # Engines without hotword support must accept hotwords, too.
    return Client(engine, arena, streams=next(_numbers), hotwords=seaco.FEW)


@pytest.fixture
def own() -> Iterator[Client[ProcessEngine]]:
    """An engine for this test only, which may kill it."""
    arena = Arena()
    engine = start(arena, "null", capacity_s=100.0)
    yield Client(engine, arena)
    engine.close()
    arena.close()


def test_it_is_a_local_engine_and_reports_its_facts(client: Client[LocalEngine]) -> None:
    engine: LocalEngine = client.engine
    facts = engine.facts
    assert set(facts.device.split(", ")) == {"cpu"}
    # Only bundled demonstration models have a notice.
    assert (facts.notice is None) == (facts.model not in {"null", "paraformer-mini"})
    assert dict(facts.versions).keys() >= {"dropscribe", "python"}
    assert facts.versions == tuple(sorted(facts.versions))
    if facts.model != "null":
        assert facts.precision in {"fp32", "int8"}
        assert dict(facts.versions).keys() >= {"torch", "funasr"}
        assert facts.warmup_s > 0


@pytest.mark.parametrize("block", [SLOT, 7_919])
def test_a_stream_gets_all_its_segments_then_its_end(client: Client[LocalEngine], block: int) -> None:
    stream = client.send(sample(), block)
    client.until_done(stream)
    end = client.done(stream)
    assert end.segments >= 1
    assert end.audio_ms == len(sample()) // 16
    assert all(s.text and s.tokens for s in client.segments(stream))
    assert end.speech_ms == sum(s.end_ms - s.start_ms for s in client.segments(stream))


def test_block_size_does_not_change_the_text(client: Client[LocalEngine]) -> None:
    streams = [client.send(sample(), block) for block in (SLOT, 16_000, 4_001)]
    client.until_done(*streams)
    said = [[(s.start_ms, s.end_ms, s.text, s.tokens) for s in client.segments(x)] for x in streams]
    assert said[0] == said[1] == said[2]


def test_many_streams_share_batches_and_each_is_complete(client: Client[LocalEngine]) -> None:
    lengths = [3.0, 14.35, 5.0, 9.0, 14.35, 1.0, 12.0, 4.6]
    streams = [client.send(sample()[: int(x * 16_000)], final=False) for x in lengths]
    for stream in streams:
        client.block(stream, sample()[:0], final=True)
    client.until_done(*streams)
    for stream, length in zip(streams, lengths, strict=True):
        assert client.done(stream).audio_ms == int(length * 1000)
    segments = [s for stream in streams for s in client.segments(stream)]
    for s in segments:
        assert s.batch_padded_s >= s.batch_audio_s > 0
        assert s.queued_s >= 0
    streams_of = {b: {s.stream for s in segments if s.batch == b} for b in {s.batch for s in segments}}
    assert max(len(x) for x in streams_of.values()) > 1
    for batch in streams_of:
        assert len([s for s in segments if s.batch == batch]) == next(
            s.batch_size for s in segments if s.batch == batch
        )


def test_streams_may_take_turns(client: Client[LocalEngine]) -> None:
    first, second = client.streams + 1, client.streams + 2
    pcm = sample()
    for at in range(0, len(pcm), 32_000):
        final = at + 32_000 >= len(pcm)
        client.block(first, pcm[at : at + 32_000], final=final)
        client.block(second, pcm[at : at + 32_000], final=final)
    client.until_done(first, second)
    assert [s.text for s in client.segments(first)] == [s.text for s in client.segments(second)]
    client.done(first)
    client.done(second)


def test_an_empty_final_block_ends_a_stream(client: Client[LocalEngine]) -> None:
    stream = client.send(sample(), final=False)
    client.block(stream, sample()[:0], final=True)
    client.until_done(stream)
    assert client.done(stream).segments >= 1


def test_a_stream_of_no_samples_is_done_with_no_segments(client: Client[LocalEngine]) -> None:
    stream = client.send(sample()[:0])
    client.until_done(stream)
    assert client.done(stream).segments == 0
    assert client.done(stream).audio_ms == 0


def test_silence_is_done_with_no_segments(client: Client[LocalEngine]) -> None:
    if client.engine.facts.model == "null":
        pytest.skip("the null detector takes everything for speech")
    stream = client.send(np.zeros(20 * 16_000, np.int16))
    client.until_done(stream)
    assert client.done(stream).segments == 0
    assert client.done(stream).audio_ms == 20_000


def test_first_segments_arrive_while_the_recording_is_still_coming(client: Client[LocalEngine]) -> None:
    stream = client.send(np.resize(sample(), 70 * 16_000), final=False)
    deadline = time.monotonic() + DEADLINE_S
    while not client.segments(stream):
        assert time.monotonic() < deadline
        client.listen()
    assert client.ends(stream) == []
    client.block(stream, sample(), final=True)
    client.until_done(stream)
    client.done(stream)


def test_after_an_abort_nothing_but_slots_arrives(client: Client[LocalEngine]) -> None:
    other = client.send(sample())
    gone = client.send(np.resize(sample(), 60 * 16_000), final=False)
    client.engine.submit(Abort(gone))
    before = len(client.events)
    last = client.send(sample())
    client.until_done(other, last)
    assert not [e for e in client.events[before:] if not isinstance(e, BlockFreed) and e.stream == gone]
    client.done(other)
    client.done(last)


def test_aborting_an_unknown_stream_has_no_effect(client: Client[LocalEngine]) -> None:
    client.engine.submit(Abort(client.streams + 500))
    stream = client.send(sample())
    client.until_done(stream)
    client.done(stream)


def test_capacity_falls_with_submitted_audio_and_recovers(client: Client[LocalEngine]) -> None:
    whole = client.engine.capacity()
    stream = client.send(sample())
    assert client.engine.capacity() == pytest.approx(whole - len(sample()) / 16_000)
    client.until_done(stream)
    assert client.engine.capacity() == whole


def test_an_endless_stream_does_not_exhaust_the_capacity(client: Client[LocalEngine]) -> None:
    """Recognised audio is freed before the end of the stream."""
    whole = client.engine.capacity()
    stream = client.streams + 1
    minutes = np.resize(sample(), 180 * 16_000)
    for at in range(0, len(minutes), SLOT):
        client.block(stream, minutes[at : at + SLOT], final=False)
    deadline = time.monotonic() + DEADLINE_S
    while client.engine.capacity() < whole - 60.5:
        assert time.monotonic() < deadline
        client.listen()
    client.block(stream, minutes[:0], final=True)
    client.until_done(stream)
    client.done(stream)
    assert client.engine.capacity() == whole


def test_results_returns_after_its_timeout_without_events(client: Client[LocalEngine]) -> None:
    assert client.engine.results(0.0) == []
    assert client.engine.results(0.01) == []


def test_idle_time_counts_only_with_work_and_without_events(client: Client[LocalEngine]) -> None:
    far = time.monotonic() + 1000
    assert client.engine.idle_s(far) == 0.0
    stream = client.send(sample())
    client.until_done(stream)
    assert client.engine.idle_s(far) == 0.0


def test_a_stopped_engine_shows_as_idle(own: Client[ProcessEngine]) -> None:
    os.kill(pid_of(own.engine), signal.SIGSTOP)
    own.send(sample())
    assert own.engine.idle_s(time.monotonic() + 500) > 400
    os.kill(pid_of(own.engine), signal.SIGCONT)
    own.until_done(1)
    assert own.engine.idle_s(time.monotonic() + 500) == 0.0


def test_submitting_never_waits_for_an_engine_that_is_busy(own: Client[ProcessEngine]) -> None:
    """A stopped process reads nothing; a few hundred messages must be accepted nevertheless."""
    os.kill(pid_of(own.engine), signal.SIGSTOP)
    for i in range(300):
        own.engine.submit(Abort(1000 + i))
        own.engine.flush()
    os.kill(pid_of(own.engine), signal.SIGCONT)
    stream = own.send(sample())
    own.until_done(stream)


def test_a_killed_engine_reports_its_death_after_its_last_events(own: Client[ProcessEngine]) -> None:
    own.until_done(own.send(sample()))
    os.kill(pid_of(own.engine), signal.SIGKILL)
    with pytest.raises(EngineDiedError, match="killed by SIGKILL"):
        own.listen(DEADLINE_S)
    with pytest.raises(EngineDiedError):
        own.engine.submit(PcmBlock(2, 0, 0, final=True))
    with pytest.raises(EngineDiedError):
        own.engine.results(0.0)
    own.engine.close()


def test_events_before_death_are_delivered(own: Client[ProcessEngine]) -> None:
    stream = own.send(sample())
    deadline = time.monotonic() + DEADLINE_S
    while not own.engine._has_report(1.0):
        assert time.monotonic() < deadline
    os.kill(pid_of(own.engine), signal.SIGKILL)
    own.engine._process.join()
    own.listen()
    assert [e for e in own.events if isinstance(e, BlockFreed)]
    assert stream == 1


def test_the_descriptor_is_readable_when_events_are_pending(own: Client[ProcessEngine]) -> None:
    assert select.select([own.engine.fileno()], [], [], 0)[0] == []
    own.send(sample())
    assert select.select([own.engine.fileno()], [], [], DEADLINE_S)[0]
    os.kill(pid_of(own.engine), signal.SIGKILL)
    own.engine._process.join()
    assert select.select([own.engine.fileno()], [], [], DEADLINE_S)[0]


def test_closing_twice_is_allowed_and_leaves_no_process(own: Client[ProcessEngine]) -> None:
    pid = pid_of(own.engine)
    own.send(sample(), final=False)
    own.engine.close()
    own.engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_process_group_do_not_end_it(
    own: Client[ProcessEngine], number: signal.Signals
) -> None:
    """Ctrl-C and systemd's SIGTERM go to the whole group, and the daemon must drain first."""
    os.kill(pid_of(own.engine), number)
    stream = own.send(sample())
    own.until_done(stream)
    own.done(stream)


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys\n"
        "from dropscribe.config import EngineSettings\n"
        "from dropscribe.engine.process import ProcessEngine\n"
        "if __name__ == '__main__':\n"
        "    fd = os.memfd_create('x'); os.ftruncate(fd, 4096)\n"
        "    e = ProcessEngine(EngineSettings(model='null'), arena_fd=fd, arena_bytes=4096, capacity_s=1)\n"
        "    assert e.wait_ready(100)\n"
        "    print(e._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert ended.returncode == -signal.SIGKILL
    pid = int(ended.stdout)
    deadline = time.monotonic() + DEADLINE_S
    while _lives(pid):
        assert time.monotonic() < deadline, "the engine outlived its parent"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_wrong_directory_is_reported_with_its_path_and_a_remedy(tmp_path: Path) -> None:
    arena = Arena()
    with pytest.raises(EngineError) as caught:
        start(arena, str(tmp_path / "nowhere"))
    arena.close()
    assert not isinstance(caught.value, EngineDiedError)
    assert caught.value.path == tmp_path / "nowhere"
    assert "config.yaml" in caught.value.remedy


def test_starting_does_not_block_and_facts_are_there_once_ready() -> None:
    arena = Arena()
    engine = ProcessEngine(settings("null"), arena_fd=arena.fd, arena_bytes=arena.size, capacity_s=1.0)
    with pytest.raises(EngineError, match="not ready"):
        _ = engine.facts
    assert engine.wait_ready(DEADLINE_S)
    assert engine.wait_ready(0.0)
    assert engine.facts.model == "null"
    engine.close()
    arena.close()


def test_a_kill_during_the_start_is_reported_as_a_death() -> None:
    arena = Arena()
    engine = ProcessEngine(
        settings("paraformer-mini"), arena_fd=arena.fd, arena_bytes=arena.size, capacity_s=1.0
    )
    assert not engine.wait_ready(0.0)
    os.kill(pid_of(engine), signal.SIGKILL)
    with pytest.raises(EngineDiedError, match="killed by SIGKILL") as died:
        engine.wait_ready(DEADLINE_S)
    assert died.value.operation == "start engine"
    # Only the supervisor knows whether it will be replaced.
    assert "replaced" not in died.value.remedy
    engine.close()
    arena.close()


def test_a_real_engine_prints_nothing(tmp_path: Path) -> None:
    """FunASR prints, logs and draws progress bars, which must not mix with the daemon's log."""
    script = tmp_path / "quiet.py"
    script.write_text(
        "import os\n"
        "from dropscribe.config import EngineSettings\n"
        "from dropscribe.engine.process import ProcessEngine\n"
        "if __name__ == '__main__':\n"
        "    fd = os.memfd_create('x'); os.ftruncate(fd, 4096)\n"
        "    s = EngineSettings(model='paraformer-mini', vad_model='vad-mini', device='cpu', threads=1)\n"
        "    e = ProcessEngine(s, arena_fd=fd, arena_bytes=4096, capacity_s=1)\n"
        "    assert e.wait_ready(100)\n"
        "    e.close()\n"
    )
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_models_are_loaded_for_the_streams_that_name_them(own: Client[ProcessEngine], tmp_path: Path) -> None:
    real = ModelSet("paraformer-mini", "vad-mini", "ct-punc-mini")
    missing = ModelSet(str(tmp_path / "none"), "vad-mini")

    def send(models: ModelSet | None) -> int:
        own.streams += 1
        options = StreamOptions(models=models, punctuation="auto")
        own.block(own.streams, sample()[: 5 * 16_000], final=True, options=options)
        return own.streams

    first, lost, plain = send(real), send(missing), send(None)
    own.until_done(plain, lost)
    (failure,) = own.ends(lost)
    assert isinstance(failure, StreamFailed)
    assert (failure.code, failure.retryable) == ("model_unusable", True)
    assert "there is no such directory" in failure.reason
    assert failure.remedy
    if own.ends(first):
        # Loading took longer than a stream waits; it goes on all the same.
        (busy,) = own.ends(first)
        assert isinstance(busy, StreamFailed)
        assert busy.code == "models_busy"
    deadline = time.monotonic() + DEADLINE_S
    while not any(m.name == "paraformer-mini" and m.state == "loaded" for m in own.engine.held):
        assert time.monotonic() < deadline, own.engine.held
        own.listen()
    second = send(real)
    own.until_done(second)
    end = own.done(second)
    assert end.used is not None
    assert end.used.models == (
        ("asr", "paraformer-mini"),
        ("vad", "vad-mini"),
        ("punctuation", "ct-punc-mini"),
    )
    assert end.used.notice is not None
    tokens = sum(len(s.tokens) for s in own.segments(second))
    assert len(end.annotations.marks) == tokens > 3
    own.until_done(first)
    again = send(None)
    own.until_done(again)
    assert [s.text for s in own.segments(again)] == ["ø"]
