"""From speech/silence decisions per frame to speech regions: the end-point rules of FSMN-VAD. Pure.

The rules are those of FunASR's `FsmnVADStreaming` (detect mode 1, fixed silence), stated over frame
numbers; `tests/unit/test_engine_vad_endpoint.py` compares the two on random decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.core.interfaces import Region
from dropscribe.engine.vad.endpoint_kernel import FIELDS, NOTHING_HELD, State, compiled


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

    @property
    def ends_back(self) -> int:
        """How many frames before the one that proves it a region ends."""
        return max(0, self.end_silence - self.lookahead - 1) if self.extend else self.end_silence


class Endpointer:
    """Holds one frame back, since the rules treat the last frame of a recording differently."""

    def __init__(self, options: EndpointOptions) -> None:
        o = options
        self._frame_ms = o.frame_ms
        self._latency = o.start_latency
        self._rules = np.array(
            (
                o.window,
                o.speech_at,
                o.silence_at,
                o.end_silence,
                o.ends_back,
                o.lookahead,
                o.longest,
                o.extend,
                o.start_latency,
            ),
            np.int64,
        )
        self._state = np.zeros(FIELDS + o.window, np.int64)
        self._state[State.HELD] = NOTHING_HELD
        self._advance = compiled()

    @property
    def needed_from_ms(self) -> int:
        """No region still to come begins earlier."""
        state = self._state
        if state[State.IN_SPEECH]:
            return int(state[State.OPEN_START]) * self._frame_ms
        first = max(state[State.EARLIEST], state[State.FRAME] - self._latency, 0)
        return int(first) * self._frame_ms

    def accept(self, speech: Sequence[bool] | NDArray[np.bool_], *, final: bool) -> list[Region]:
        """Regions completed by these frames, in order; with `final` also one that is still open."""
        decisions = np.ascontiguousarray(speech, np.bool_)
        # No frame completes more than one region; at the end the held one is judged and an open one closed.
        found = np.empty((len(decisions) + 2, 2), np.int64)
        count = self._advance(self._rules, self._state, decisions, final, found)
        ms = self._frame_ms
        return [Region(start * ms, end * ms) for start, end in found[:count].tolist()]
