"""Compiled end-point rules equal the reference rules on thousands of random decisions."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numba
import pytest

from dropscribe.engine.core.interfaces import Region
from dropscribe.engine.vad import endpoint_kernel
from dropscribe.engine.vad.endpoint import Endpointer, EndpointOptions
from tests.support.endpointing import OFFICIAL

#: Options that reach more branches than the official ones.
OTHERS = (
    EndpointOptions(10, 20, 15, 15, 65, 20, 10, 90, extend=True),
    EndpointOptions(10, 20, 15, 15, 65, 20, 10, 300, extend=False),
    EndpointOptions(10, 5, 3, 1, 4, 2, 7, 40, extend=True),
    EndpointOptions(10, 1, 1, 0, 1, 0, 0, 5, extend=True),
)


class Plain:
    """Readable reference implementation of the rules."""

    def __init__(self, options: EndpointOptions) -> None:
        self._o = options
        self._frame = 0  #: number of the next frame to be judged
        self._held: bool | None = None
        self._window = [False] * options.window
        self._window_at = 0
        self._window_sum = 0
        self._window_speech = False
        self._silence = 0  #: frames of silence in a row, as the window sees it
        self._earliest = 0  #: first frame that belongs to no region yet
        self._in_speech = False
        self._confirmed_start = 0
        self._last_speech = 0
        self._open_start = 0
        self._open_end = 0  #: exclusive
        self._found: list[Region] = []

    @property
    def needed_from_ms(self) -> int:
        """Earliest start of any later region, ms."""
        if self._in_speech:
            return self._open_start * self._o.frame_ms
        return max(self._earliest, self._frame - self._o.start_latency, 0) * self._o.frame_ms

    def accept(self, speech: Iterable[bool], *, final: bool) -> list[Region]:
        """Regions completed by these frames, in order; with `final` also one that is still open."""
        for state in speech:
            if self._held is not None:
                self._judge(self._held, final=False)
            self._held = state
        if final:
            if self._held is not None:
                self._judge(self._held, final=True)
                self._held = None
            if self._in_speech:
                self._close()
        found, self._found = self._found, []
        return found

    def _judge(self, speech: bool, *, final: bool) -> None:
        frame = self._frame
        self._frame += 1
        o = self._o
        self._window_sum += speech - self._window[self._window_at]
        self._window[self._window_at] = speech
        self._window_at = (self._window_at + 1) % o.window
        was_speech = self._window_speech
        if not was_speech and self._window_sum >= o.speech_at:
            self._window_speech = True
            self._silence = 0
            self._on_speech_begins(frame, final=final)
        elif was_speech and self._window_sum <= o.silence_at:
            self._window_speech = False
            self._silence = 0
            if self._in_speech:
                self._go_on(frame, final=final)
        elif was_speech:
            self._silence = 0
            if self._in_speech:
                self._go_on(frame, final=final)
        else:
            self._silence += 1
            self._on_silence(frame, final=final)

    def _on_speech_begins(self, frame: int, *, final: bool) -> None:
        if self._in_speech:
            for t in range(self._last_speech + 1, frame):
                self._take(t)
            self._go_on(frame, final=final)
            return
        start = max(self._earliest, frame - self._o.start_latency)
        self._in_speech = True
        self._confirmed_start = start
        self._open_start = start
        self._extend(start)
        for t in range(start + 1, frame + 1):
            self._take(t)

    def _on_silence(self, frame: int, *, final: bool) -> None:
        o = self._o
        if not self._in_speech:
            if frame >= o.start_latency:
                self._earliest = max(self._earliest, frame - o.start_latency)
        elif self._silence >= o.end_silence:
            back = max(0, o.end_silence - o.lookahead - 1) if o.extend else o.end_silence
            self._end(frame - back)
        elif self._too_long(frame):
            self._end(frame)
        elif o.extend and not final:
            if self._silence <= o.lookahead:
                self._take(frame)
        elif final:
            self._end(frame)

    def _go_on(self, frame: int, *, final: bool) -> None:
        if final or self._too_long(frame):
            self._end(frame)
        else:
            self._take(frame)

    def _too_long(self, frame: int) -> bool:
        return frame - self._confirmed_start + 1 > self._o.longest

    def _take(self, frame: int) -> None:
        self._last_speech = frame
        self._extend(frame)

    def _extend(self, frame: int) -> None:
        self._earliest = max(self._earliest, frame) + 1
        self._open_end = frame + 1

    def _end(self, frame: int) -> None:
        for t in range(self._last_speech + 1, frame):
            self._take(t)
        self._extend(frame)
        self._close()
        self._silence = 0
        self._last_speech = 0
        self._window = [False] * self._o.window
        self._window_at = 0
        self._window_sum = 0
        self._window_speech = False

    def _close(self) -> None:
        ms = self._o.frame_ms
        self._found.append(Region(self._open_start * ms, self._open_end * ms))
        self._in_speech = False


def decisions(rng: random.Random) -> list[bool]:
    """Random runs of speech and silence with errors."""
    frames = rng.choice([0, 1, 2, 19, 40, 200, 700, 1500])
    error = rng.choice([0.0, 0.02, 0.1, 0.3, 0.5])
    longest_run = rng.choice([3, 30, 120, 900])
    speech = rng.random() < 0.5
    states: list[bool] = []
    while len(states) < frames:
        states += [speech != (rng.random() < error) for _ in range(rng.randint(1, longest_run))]
        speech = not speech
    return states[:frames]


@pytest.mark.parametrize("options", [OFFICIAL, *OTHERS])
@pytest.mark.parametrize("hundred", range(6))
def test_equal_to_the_plain_rules(options: EndpointOptions, hundred: int) -> None:
    regions = 0
    for seed in range(hundred * 100, hundred * 100 + 100):
        rng = random.Random(seed)
        states = decisions(rng)
        plain, compiled = Plain(options), Endpointer(options, endpoint_kernel.compiled())
        at = 0
        while True:
            size = rng.choice([0, 1, 7, 100, 1024])
            final = at + size >= len(states) and rng.random() < 0.7
            piece = states[at : at + size]
            found = compiled.accept(piece, final=final)
            assert found == plain.accept(piece, final=final), f"seed {seed}, frame {at}"
            assert compiled.needed_from_ms == plain.needed_from_ms, f"seed {seed}, frame {at}"
            regions += len(found)
            at += size
            if final:
                break
    assert regions > 20


def test_a_minute_without_a_pause_is_cut_where_the_plain_rules_cut_it() -> None:
    states = [True] * 20_000
    compiled = Endpointer(OFFICIAL, endpoint_kernel.compiled())
    assert compiled.accept(states, final=True) == Plain(OFFICIAL).accept(states, final=True)


@pytest.fixture
def not_compiled_yet() -> Iterator[None]:
    endpoint_kernel.compiled.cache_clear()
    yield
    endpoint_kernel.compiled.cache_clear()


@pytest.mark.usefixtures("not_compiled_yet")
def test_without_numba_the_rules_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it raises ImportError
    rules = endpoint_kernel.compiled()
    assert rules is endpoint_kernel.advance
    for seed in range(60):
        states = decisions(random.Random(seed))
        found = Endpointer(OFFICIAL, rules).accept(states, final=True)
        assert found == Plain(OFFICIAL).accept(states, final=True), f"seed {seed}"


@pytest.mark.usefixtures("not_compiled_yet")
@pytest.mark.parametrize("problem", [RuntimeError("no locator available"), OSError(28, "No space left")])
def test_without_a_cache_the_rules_are_compiled_nevertheless(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_ = numba.njit

    def njit(*, cache: bool, **options: Any) -> Callable[[Any], Any]:
        if cache:
            raise problem
        plain: Callable[[Any], Any] = compile_(cache=False, **options)
        return plain

    monkeypatch.setattr(numba, "njit", njit)
    compiled = Endpointer(OFFICIAL, endpoint_kernel.compiled())
    assert compiled.accept([True] * 100, final=True) == [Region(0, 1000)]
