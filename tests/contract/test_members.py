"""Contract of `dropscribe.engine.group.Member`, for an engine process and `FakeMember`.

`test_engine.py` tests recognition; these tests cover what a group relies on.
"""

from __future__ import annotations

import itertools
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.group import Member
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import (
    SAMPLE_RATE_HZ,
    Abort,
    BlockFreed,
    Event,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
)
from dropscribe.errors import EngineDiedError, EngineError
from dropscribe.pipeline.local.arena import SLOT_BYTES, Arena
from tests.support.engines import pid_of
from tests.support.fake_member import FakeMember

#: Time limit, seconds; only a hang reaches it.
LONG_S = 120.0
CAPACITY_S = 1000.0
SECOND = SAMPLE_RATE_HZ


@dataclass
class Bench:
    """A member, and all its events."""

    member: Member
    #: Makes a fake member send its due events; does nothing for a real one.
    work: Callable[[], None]
    get_ready: Callable[[], None]
    kill: Callable[[], None]
    events: list[Event] = field(default_factory=list)
    offsets: Iterator[int] = field(default_factory=lambda: itertools.count(0, SLOT_BYTES))

    def wait_ready(self) -> None:
        self.get_ready()
        deadline = time.monotonic() + LONG_S
        while not self.member.wait_ready(0.0):
            assert time.monotonic() < deadline
            select.select([self.member.fileno()], [], [], 1.0)

    def send(self, stream: int, *, final: bool, samples: int = SECOND) -> int:
        offset = next(self.offsets)
        self.member.submit(PcmBlock(stream, offset, samples, final))
        self.member.flush()
        return offset

    def listen_until(self, met: Callable[[list[Event]], bool]) -> None:
        deadline = time.monotonic() + LONG_S
        while not met(self.events):
            assert time.monotonic() < deadline, self.events
            self.work()
            self.events += self.member.results(1.0)

    def readable(self) -> bool:
        return bool(select.select([self.member.fileno()], [], [], 0.0)[0])

    def freed(self) -> list[int]:
        return [e.offset for e in self.events if isinstance(e, BlockFreed)]


def ended(*streams: int) -> Callable[[Sequence[Event]], bool]:
    def all_have(events: Sequence[Event]) -> bool:
        return {e.stream for e in events if isinstance(e, (StreamDone, StreamFailed))} >= set(streams)

    return all_have


def fake() -> Iterator[Bench]:
    member = FakeMember(ready=False, room_s=CAPACITY_S)

    def get_ready() -> None:
        member.ready = True

    yield Bench(member, member.recognise, get_ready, member.die)
    member.close()


def process() -> Iterator[Bench]:
    arena = Arena(200.0)
    settings = EngineSettings(model="null", device="cpu")
    member = ProcessEngine(settings, arena_fd=arena.fd, arena_bytes=arena.size_bytes, capacity_s=CAPACITY_S)
    yield Bench(member, lambda: None, lambda: None, lambda: os.kill(pid_of(member), 9))
    member.close()
    arena.close()


@pytest.fixture(params=[fake, process])
def starting(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from request.param()


@pytest.fixture
def bench(starting: Bench) -> Bench:
    starting.wait_ready()
    return starting


def test_it_is_not_ready_before_it_is_warm(starting: Bench) -> None:
    assert not starting.member.wait_ready(0.0)
    with pytest.raises(EngineError):
        _ = starting.member.facts
    starting.wait_ready()
    assert starting.member.facts.model
    assert starting.member.wait_ready(0.0), "and stays so"


def test_death_while_loading_is_reported(starting: Bench) -> None:
    starting.kill()
    with pytest.raises(EngineDiedError):
        starting.wait_ready()


def test_each_block_comes_back_once_and_each_stream_ends_once(bench: Bench) -> None:
    offsets = [bench.send(stream, final=final) for final in (False, True) for stream in (1, 2)]
    bench.listen_until(ended(1, 2))
    bench.listen_until(lambda _: len(bench.freed()) == len(offsets))
    assert sorted(bench.freed()) == sorted(offsets)
    for stream in (1, 2):
        of_stream = [e for e in bench.events if not isinstance(e, BlockFreed) and e.stream == stream]
        done = of_stream[-1]
        assert isinstance(done, StreamDone)
        assert {e.index for e in of_stream[:-1] if isinstance(e, SegmentDone)} == set(range(done.segments))
    assert bench.member.results(0.0) == []


def test_submitted_audio_reduces_the_capacity(bench: Bench) -> None:
    whole = bench.member.capacity()
    bench.send(1, final=False, samples=3 * SECOND)
    assert bench.member.capacity(1) == pytest.approx(whole - 3.0)
    bench.send(1, final=True, samples=2 * SECOND)
    assert bench.member.capacity() == pytest.approx(whole - 5.0)
    bench.listen_until(ended(1))
    assert bench.member.capacity() == whole


def test_its_descriptor_is_readable_while_events_are_pending(bench: Bench) -> None:
    assert not bench.readable()
    bench.send(1, final=True)
    bench.work()
    assert select.select([bench.member.fileno()], [], [], LONG_S)[0]
    bench.listen_until(lambda _: ended(1)(bench.events) and len(bench.freed()) == 1)
    assert not bench.readable()


def test_after_an_abort_only_blocks_come_back(bench: Bench) -> None:
    first = bench.send(1, final=False)
    bench.member.submit(Abort(1))
    bench.send(2, final=True)
    bench.listen_until(lambda _: ended(2)(bench.events) and len(bench.freed()) == 2)
    assert first in bench.freed()
    assert {e.stream for e in bench.events if not isinstance(e, BlockFreed)} == {2}


def test_without_work_it_is_not_idle(bench: Bench) -> None:
    far = time.monotonic() + 1000.0
    assert bench.member.idle_s(far) == 0.0
    bench.send(1, final=True)
    bench.listen_until(ended(1))
    assert bench.member.idle_s(far) == 0.0


def test_events_before_its_death_are_delivered_first(bench: Bench) -> None:
    bench.send(1, final=True)
    bench.work()
    assert select.select([bench.member.fileno()], [], [], LONG_S)[0]
    bench.kill()
    said: list[Event] = []
    with pytest.raises(EngineDiedError):
        _read_to_the_end(bench.member, said)
    assert said
    assert bench.readable(), "the descriptor is readable, so that a waiting caller notices the end"
    for _ in range(2):
        with pytest.raises(EngineDiedError):
            bench.member.results(0.0)
        with pytest.raises(EngineDiedError):
            bench.send(2, final=True)
    bench.member.close()
    bench.member.close()


def _read_to_the_end(member: Member, said: list[Event]) -> None:
    deadline = time.monotonic() + LONG_S
    while time.monotonic() < deadline:
        said += member.results(1.0)


def test_a_dismissed_member_accepts_nothing(bench: Bench) -> None:
    bench.member.dismiss()
    with pytest.raises(EngineDiedError):
        bench.send(1, final=True)
    bench.member.close()
