"""From speech/silence decisions per frame to speech regions: the end-point rules of FSMN-VAD. Pure.

The rules are those of FunASR's `FsmnVADStreaming` (detect mode 1, fixed silence), stated over frame
numbers; `tests/unit/test_vad_endpoint.py` compares the two on random decisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from daemon.engine.stages import Region


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """The numbers of the rules, counted in frames of `frame_ms`."""

    frame_ms: int
    window: int  #: frames looked at to decide between speech and silence
    speech_at: int  #: so many speech frames in the window make it speech
    silence_at: int  #: so few make it silence
    end_silence: int  #: frames of silence after which a region ends
    lookback: int  #: a region begins this much before its window
    lookahead: int  #: and ends this much after its last speech
    longest: int  #: a region that gets longer is cut
    extend: bool  #: whether lookback and lookahead apply

    @property
    def start_latency(self) -> int:
        """How many frames before the current one a region can begin."""
        return self.window + (self.lookback if self.extend else 0)


class Endpointer:
    """Holds one frame back, since the rules treat the last frame of a recording differently."""

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
        """No region still to come begins earlier."""
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
