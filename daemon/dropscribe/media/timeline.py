"""Keep decoded audio at the positions that its timestamps give. Pure policy: no decoder, no file.

A frame whose timestamp is later than the end of the audio before it follows a hole: silence of that length takes its
place. A timestamp that goes back (a file joined from several, a counter that wraps) removes nothing; later timestamps
are taken relative to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dropscribe.transcript.types import GAP, UNDECODABLE, UNREAD, Loss

#: Distance between a timestamp and the end of the audio before it that is not a hole, seconds: containers round
#: timestamps, and recorders of live sound let them vary. FFmpeg fills from the same distance on (aresample's
#: min_hard_comp).
TOLERANCE_S = 0.1

#: Distance by which a timestamp must go back to begin a new count, seconds. Less is a clock that runs apart, which the
#: next hole evens out.
BACK_S = 1.0

#: Longest hole that is believed, seconds. Formats made of a stream without an index (`restarting`) begin a new count
#: anywhere.
MOST_S = 6 * 3600.0
MOST_RESTARTING_S = 3600.0

#: Longest pause of an Opus encoder with discontinuous transmission, seconds: it sends a packet every 400 ms.
PAUSE_S = 0.5

#: Delay of a decoder, seconds.
_DELAY_S = 1.0

#: Places on record for each kind of loss; the last record sums up all others.
MOST_PLACES = 100

#: Shorter gaps are filled, and on record only if they add up to `_SMALL_SUM_S`, seconds.
_SMALL_S = 0.25
_SMALL_SUM_S = 1.0

#: Distance of two places that are one, seconds.
_ADJOINS_S = 0.01


@dataclass(frozen=True, slots=True)
class Hole:
    """Time without audio. `kind`: a kind of loss, or "" for a pause of the encoder, which loses nothing.

    If `believable` is false, no silence may be put there. `filled`: the silence is in the blocks already.
    """

    seconds: float
    kind: str
    believable: bool = True
    filled: bool = False


class Timeline:
    """Expected timestamps of one audio track, seconds."""

    __slots__ = ("_damaged_until_s", "_most_s", "_pauses", "expected_s")

    def __init__(self, *, restarting: bool, pauses: bool) -> None:
        """`pauses`: the encoder may leave out packets in pauses."""
        #: Timestamp that follows the audio so far; NaN before the first frame, which no frame is within a distance of.
        self.expected_s = math.nan
        self._most_s = MOST_RESTARTING_S if restarting else MOST_S
        self._pauses = pauses
        self._damaged_until_s = -math.inf

    def place(self, at_s: float) -> Hole | None:
        """The hole before a frame with this timestamp; None if it follows the audio before it."""
        late_s = at_s - self.expected_s
        if -BACK_S < late_s <= TOLERANCE_S:
            return None
        self.expected_s = at_s
        if math.isnan(late_s) or late_s < 0:
            return None
        if late_s > self._most_s:
            return Hole(late_s, GAP, believable=False)
        if at_s - late_s <= self._damaged_until_s:
            return Hole(late_s, UNDECODABLE)
        return Hole(late_s, "" if self._pauses and late_s <= PAUSE_S else GAP)

    def damaged(self) -> None:
        """Take a hole that follows soon as damage. A decoder may still have frames from before it."""
        self._damaged_until_s = self.expected_s + _DELAY_S


@dataclass(frozen=True, slots=True)
class _Place:
    start_s: float
    seconds: float | None
    text: str
    places: int = 1


class LossLog:
    """Losses of one recording, in a bounded number of records."""

    def __init__(self) -> None:
        self._places: dict[str, list[_Place]] = {GAP: [], UNDECODABLE: [], UNREAD: []}
        self._small_s = 0.0
        self._small: list[_Place] = []

    def add(self, kind: str, at_s: float, seconds: float | None, text: str = "") -> None:
        """Record a loss at a position of the transcript. `seconds`: None if unknown."""
        place = _Place(at_s, seconds, text)
        if kind == GAP and seconds is not None and seconds < _SMALL_S:
            self._small_s += seconds
            _append(self._small, place)
        else:
            _append(self._places[kind], place)

    def records(self) -> tuple[Loss, ...]:
        """All losses, by kind and position."""
        if self._small_s >= _SMALL_SUM_S:
            gaps = sorted([*self._places[GAP], *self._small], key=lambda place: place.start_s)
            self._places[GAP], self._small, self._small_s = [], [], 0.0
            for place in gaps:
                _append(self._places[GAP], place)
        return tuple(_loss(kind, place) for kind, places in self._places.items() for place in places)


def _append(places: list[_Place], new: _Place) -> None:
    """Add a place; one that adjoins the last extends it, and after `MOST_PLACES` the last sums up the rest."""
    last = places[-1] if places else None
    if last is None or last.seconds is None or new.seconds is None:
        if len(places) < MOST_PLACES:
            places.append(new)
    elif last.places == new.places == 1 and abs(last.start_s + last.seconds - new.start_s) < _ADJOINS_S:
        places[-1] = replace(last, seconds=new.start_s + new.seconds - last.start_s)
    elif len(places) < MOST_PLACES:
        places.append(new)
    else:
        places[-1] = replace(last, seconds=last.seconds + new.seconds, places=last.places + new.places)


def _loss(kind: str, place: _Place) -> Loss:
    length_ms = None if place.seconds is None else round(place.seconds * 1000)
    return Loss(kind, round(place.start_s * 1000), length_ms, place.text or _text(kind, place), place.places)


def _text(kind: str, place: _Place) -> str:
    what = "without audio" if kind == GAP else "that could not be decoded"
    length = "audio of unknown length" if place.seconds is None else f"{place.seconds:.1f} s"
    where = f"from {place.start_s:.1f} s" if place.places == 1 else f"in {place.places} further places"
    return f"{length} {what}, {where}"
