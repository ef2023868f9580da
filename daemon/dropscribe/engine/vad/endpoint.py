"""Turn speech/silence decisions per frame into speech regions by the end-point rules of FSMN-VAD. Pure.

The rules are those of FunASR's `FsmnVADStreaming` (detect mode 1, fixed end silence), expressed in frame numbers;
`tests/integration/test_engine_vad_endpoint.py` compares both on random decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.core.interfaces import Region
from dropscribe.engine.vad.endpoint_kernel import FIELDS, NOTHING_HELD, Advance, State, advance


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Parameters of the rules, in frames of `frame_ms`."""

    frame_ms: int
    window: int  #: length of the sliding window that decides between speech and silence
    speech_at: int  #: speech frames in the window at which silence becomes speech
    silence_at: int  #: speech frames in the window at which speech becomes silence
    end_silence: int  #: frames of silence after which a region ends
    lookback: int  #: a region begins this many frames before its window
    lookahead: int  #: a region ends this many frames after its last speech
    longest: int  #: a longer region is cut
    extend: bool  #: True if lookback and lookahead apply

    @property
    def start_latency(self) -> int:
        """Largest distance of a region's start before the current frame, frames."""
        return self.window + (self.lookback if self.extend else 0)

    @property
    def ends_back(self) -> int:
        """Distance of a region's end before the frame at which it is detected, frames."""
        return max(0, self.end_silence - self.lookahead - 1) if self.extend else self.end_silence


class Endpointer:
    """State of the rules for one stream. One frame is delayed, since the rules treat the last frame differently.

    `state` is an array of the fields in `dropscribe.engine.vad.endpoint_kernel.State`, which `accept_each` changes.
    """

    def __init__(self, options: EndpointOptions, advance: Advance = advance) -> None:
        """`advance`: the rules, as Python or `compiled`."""
        o = options
        self.frame_ms = o.frame_ms
        self._latency = o.start_latency
        self.rules = np.array(
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
        self.state = np.zeros(FIELDS + o.window, np.int64)
        self.state[State.HELD] = NOTHING_HELD
        self.advance = advance

    @property
    def needed_from_ms(self) -> int:
        """Earliest start of any later region, ms."""
        state = self.state
        if state[State.IN_SPEECH]:
            return int(state[State.OPEN_START]) * self.frame_ms
        first = max(state[State.EARLIEST], state[State.FRAME] - self._latency, 0)
        return int(first) * self.frame_ms

    def accept(self, speech: Sequence[bool] | NDArray[np.bool_], *, final: bool) -> list[Region]:
        """Regions completed by these frames, in order; with `final` also one that is still open."""
        return [Region(start, end) for start, end in accept_each([self], [speech], [final])[0]]


def accept_each(
    endpointers: Sequence[Endpointer],
    speech: Sequence[Sequence[bool] | NDArray[np.bool_]],
    finals: Sequence[bool],
) -> list[list[tuple[int, int]]]:
    """As `Endpointer.accept`, for several streams with the same options: start and end of each one's regions, ms."""
    if not endpointers:
        return []
    one = endpointers[0]
    ends = np.cumsum([len(own) for own in speech])
    decisions = np.concatenate([np.asarray(own, np.bool_) for own in speech])
    states = np.stack([endpointer.state for endpointer in endpointers])
    # One region per frame at most; at the end the delayed frame is processed and an open region is closed.
    found = np.empty((len(decisions) + 2 * len(endpointers), 2), np.int64)
    counts = np.empty(len(endpointers), np.int64)
    one.advance(one.rules, states, decisions, ends, np.array(finals, np.bool_), found, counts)
    for endpointer, state in zip(endpointers, states, strict=True):
        endpointer.state[:] = state
    firsts = ends - np.diff(ends, prepend=0) + 2 * np.arange(len(ends))
    return [
        [(start, end) for start, end in (found[first : first + count] * one.frame_ms).tolist()]
        for first, count in zip(firsts.tolist(), counts.tolist(), strict=True)
    ]
