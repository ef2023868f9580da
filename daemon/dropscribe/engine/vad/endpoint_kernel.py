"""End-point rules as one function over plain arrays, compiled by numba for a GPU where that is installed.

Compiled it takes nanoseconds per frame, as Python 2 µs: 0.2 ms per second of audio, which matters to a GPU and not to a
CPU. There the import of numba would take a sixth of the engine's start, and an environment can do without its 210 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Decisions = NDArray[np.bool_]
#: (rules, states, decisions, ends, finals, found, counts); see `advance`.
Advance = Callable[[Integers, Integers, Decisions, Integers, Decisions, Integers, Integers], None]


class State(IntEnum):
    """Indexes of a stream's state array; the window, a ring buffer of decisions, follows these fields."""

    FRAME = 0  #: number of the next frame to be processed
    HELD = 1  #: the delayed decision, 0 or 1
    WINDOW_AT = 2  #: index of the oldest decision in the window
    WINDOW_SUM = 3  #: speech frames in the window
    WINDOW_SPEECH = 4  #: 1 if the window counts as speech
    SILENCE = 5  #: consecutive frames of silence, by the window
    EARLIEST = 6  #: first frame that belongs to no region yet
    IN_SPEECH = 7  #: 1 if a region is open
    CONFIRMED_START = 8
    LAST_SPEECH = 9
    OPEN_START = 10
    OPEN_END = 11  #: exclusive


FIELDS = len(State)
#: Value of `State.HELD` before the first frame and after the last.
NOTHING_HELD = -1


@cache
def compiled() -> Advance:
    """The rules as machine code: compiled at the first call (about 2 s), later read from numba's cache.

    Without numba: the rules as Python.

    The cache is beside this file if that is writable, else in the home directory (HOME, XDG_CACHE_HOME) or in
    NUMBA_CACHE_DIR. Without a writable place the code is compiled in every process.
    """
    numba = _numba()
    if numba is None:
        return advance
    nothing = np.zeros(1, np.bool_)
    for cached in (True, False):
        try:
            # Without the interpreter's lock, which the threads that make texts can use meanwhile.
            made: Advance = numba.njit(cache=cached, nogil=True)(advance)
            # The first call compiles and accesses the cache.
            made(
                np.ones(9, np.int64),
                np.zeros((1, FIELDS + 1), np.int64),
                nothing,
                np.zeros(1, np.int64),
                nothing,
                np.zeros((2, 2), np.int64),
                np.zeros(1, np.int64),
            )
        except (OSError, RuntimeError):  # RuntimeError: numba found no directory that it may write to
            if not cached:
                raise
        else:
            return made
    raise AssertionError("unreachable")


def _numba() -> Any:
    """The module; None where it is not installed."""
    try:
        import numba  # noqa: PLC0415 - takes a second, and a CPU does not need it
    except ImportError:  # left out of environments for the CPU
        return None
    return numba


def advance(  # noqa: PLR0915, PLR0917 - numba inlines no method: in parts it would pass a dozen numbers around
    rules: Integers,
    states: Integers,
    decisions: Decisions,
    ends: Integers,
    finals: Decisions,
    found: Integers,
    counts: Integers,
) -> None:
    """Process frame decisions of several streams, one stream after another.

    `rules`: in the order of `Endpointer`; `states` (streams, FIELDS + window): updated in place; `decisions`: of all
    streams, those of stream i up to `ends[i]`; `finals`: true for a stream's last. Writes the regions of stream i, in
    frames, end exclusive, to the rows of `found` from `ends[i - 1] + 2 * i` on, and their number to `counts[i]`.
    """
    # One by one, since numba does not support unpacking of arrays.
    window, speech_at, silence_at = rules[0], rules[1], rules[2]
    end_silence, ends_back, lookahead = rules[3], rules[4], rules[5]
    longest, extend, latency = rules[6], rules[7], rules[8]
    begin = 0
    for stream in range(len(ends)):
        end, final, state = ends[stream], finals[stream], states[stream]
        frame, held, window_at, window_sum = state[0], state[1], state[2], state[3]
        window_speech, silence, earliest, in_speech = state[4], state[5], state[6], state[7]
        confirmed, last, open_start, open_end = state[8], state[9], state[10], state[11]
        count = 0
        row = begin + 2 * stream
        ahead = 1 if held >= 0 else 0
        known = end - begin + ahead
        judged = known if final else max(0, known - 1)
        for i in range(judged):
            speech = held if i < ahead else np.int64(decisions[begin + i - ahead])
            at_end = final and i == known - 1
            place = FIELDS + window_at
            window_sum += speech - state[place]
            state[place] = speech
            window_at = (window_at + 1) % window
            goes_on = False
            ends_at = -1
            # Frames added to the open region: `take_from` to `take_to`, exclusive.
            take_from, take_to = frame, frame
            if window_speech == 0 and window_sum >= speech_at:
                window_speech = 1
                silence = 0
                if in_speech:
                    take_from = last + 1
                    goes_on = True
                else:
                    in_speech = 1
                    open_start = confirmed = max(earliest, frame - latency)
                    earliest = max(earliest, open_start) + 1
                    open_end = open_start + 1
                    take_from, take_to = open_start + 1, frame + 1
            elif window_speech:
                if window_sum <= silence_at:
                    window_speech = 0
                silence = 0
                goes_on = in_speech == 1
            else:
                silence += 1
                if in_speech == 0:
                    if frame >= latency:
                        earliest = max(earliest, frame - latency)
                elif silence >= end_silence:
                    ends_at = frame - ends_back
                elif frame - confirmed + 1 > longest:
                    ends_at = frame
                elif extend and not at_end:
                    if silence <= lookahead:
                        take_to = frame + 1
                elif at_end:
                    ends_at = frame
            for t in range(take_from, take_to):
                last = t
                earliest = max(earliest, t) + 1
                open_end = t + 1
            if goes_on:
                if at_end or frame - confirmed + 1 > longest:
                    ends_at = frame
                else:
                    last = frame
                    earliest = max(earliest, frame) + 1
                    open_end = frame + 1
            if ends_at >= 0:
                for t in range(last + 1, ends_at + 1):
                    earliest = max(earliest, t) + 1
                    open_end = t + 1
                if last >= ends_at:
                    earliest = max(earliest, ends_at) + 1
                    open_end = ends_at + 1
                found[row + count, 0] = open_start
                found[row + count, 1] = open_end
                count += 1
                in_speech = window_speech = silence = last = window_at = window_sum = 0
                state[FIELDS:] = 0
            frame += 1
        if final:
            held = -1
            if in_speech:
                found[row + count, 0] = open_start
                found[row + count, 1] = open_end
                count += 1
                in_speech = 0
        elif end > begin:
            held = np.int64(decisions[end - 1])
        state[0], state[1], state[2], state[3] = frame, held, window_at, window_sum
        state[4], state[5], state[6], state[7] = window_speech, silence, earliest, in_speech
        state[8], state[9], state[10], state[11] = confirmed, last, open_start, open_end
        counts[stream] = count
        begin = end
