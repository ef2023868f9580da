"""Working hours and pace of a watched folder: parse what is written in the settings, and evaluate it at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN = 24 * 60
_SPAN = re.compile(r"(?:(.*\S)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_PACE = re.compile(r"(\d+(?:\.\d+)?)\s*(h|hours?)?\s*/\s*(h|hour|d|day)")
#: Hours ahead in which the next opening is looked for: a week, and the day that a change of the clock may take.
_AHEAD_H = 8 * 24
_HOW = "write 19:00-07:00, or Mon-Fri 19:00-07:00, Sat-Sun 00:00-24:00"


@dataclass(frozen=True, slots=True)
class Span:
    """A span of the day, minutes since midnight. With `end` at or before `start` it ends on the next day."""

    days: frozenset[int]  #: on which it begins; 0 is Monday
    start: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """True at this minute of this day."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or (
            (day - 1) % 7 in self.days and minute < self.end
        )


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours in which a folder's recordings are done, in local time.

    They follow the clock on the wall: when it is put forward, a span is shorter by the hour that is left out, when it is put
    back, longer by the hour that comes twice.
    """

    spans: tuple[Span, ...]

    def is_open(self, now: float, local: Callable[[float], datetime] | None = None) -> bool:
        """True at `now`, epoch seconds. `local` converts these to local time."""
        at = (local or _local)(now)
        return any(span.holds(at.weekday(), at.hour * 60 + at.minute) for span in self.spans)

    def next_opening(self, now: float, local: Callable[[float], datetime] | None = None) -> float:
        """The first full minute after `now` at which they are open; epoch seconds."""
        minute = now - now % 60
        return next(
            minute + 60 * n
            for n in range(1, _AHEAD_H * 60 + 1)
            if n == _AHEAD_H * 60 or self.is_open(minute + 60 * n, local)
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """The most that is done of a folder: `amount` recordings, or seconds of audio, in `per_s` seconds."""

    amount: float
    per_s: float
    audio: bool

    @property
    def rate(self) -> float:
        """Recordings or seconds of audio, a second."""
        return self.amount / self.per_s


def _local(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC).astimezone()


def parse_hours(texts: Iterable[str]) -> Hours:
    """Parse spans: `19:00-07:00`, with days `Mon-Fri 19:00-07:00`, several with commas. Raises ValueError."""
    spans = [_span(part.strip()) for text in texts for part in re.split(r"[,;]", text)]
    if not spans:
        raise ValueError(f"no hours are named; {_HOW}")
    return Hours(tuple(spans))


def _span(text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no span of hours; {_HOW}")
    days, *numbers = found.groups()
    first_h, first_min, last_h, last_min = map(int, numbers)
    start, end = first_h * 60 + first_min, last_h * 60 + last_min
    if first_min > 59 or last_min > 59 or start >= _DAY_MIN or end > _DAY_MIN:
        raise ValueError(f"'{text}' names a time that does not exist; the day is 00:00-24:00")
    if start == end:
        raise ValueError(f"'{text}' is empty; for the whole day write 00:00-24:00")
    return Span(_days(days) if days else frozenset(range(7)), start, end)


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split():
        first, dash, last = part.partition("-")
        a, b = _day(first), _day(last if dash else first)
        days |= {(a + n) % 7 for n in range((b - a) % 7 + 1)}
    return frozenset(days)


def _day(text: str) -> int:
    name = text.strip().lower()
    if len(name) < 3 or name[:3] not in DAYS:
        raise ValueError(f"there is no day '{text}'; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
    return DAYS.index(name[:3])


def parse_pace(text: str) -> Pace:
    """Parse `60/h` (recordings an hour), `500/d` (a day) or `10 h/h` (hours of audio an hour). Raises ValueError."""
    found = _PACE.fullmatch(text.strip().lower())
    if found is None or float(found[1]) <= 0:
        raise ValueError(
            f"'{text}' is no pace; write 60/h (recordings an hour), 500/d (a day), or 10 h/h (hours of audio)"
        )
    audio = found[2] is not None
    per_s = 3600.0 if found[3].startswith("h") else 86_400.0
    return Pace(float(found[1]) * (3600.0 if audio else 1.0), per_s, audio)
