"""Durations, positions in recordings, and speeds as text. Pure.

Three forms, each for its place: `length` is the shortest, for columns and for a position beside a length; `position` is
what a player shows, for sentences; `clock` always has the same width, for transcripts, in which it begins lines and
subtitle formats demand hours.
"""

from __future__ import annotations

from functools import lru_cache

#: Durations from here on are written with minutes, seconds.
_MINUTES_FROM_S = 600


def length(seconds: float) -> str:
    """Length of a recording, or a position beside one: `0:07`, `51:11`, `3:05:00`."""
    hours, minutes, rest = _parts(int(seconds))
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def position(ms: int) -> str:
    """Position in a recording as a player shows it: `07:05`, from one hour on `1:07:05`."""
    hours, minutes, rest = _parts(ms // 1000)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


@lru_cache(1 << 14)
def clock(seconds: int) -> str:
    """Position in a recording with hours: `01:02:03`. Cached, since a transcript has each second several times."""
    hours, minutes, rest = _parts(seconds)
    return f"{hours:02}:{minutes:02}:{rest:02}"


def clock_ms(ms: int, mark: str) -> str:
    """The same with milliseconds, `mark` before them: `01:02:03.456`."""
    return f"{clock(ms // 1000)}{mark}{ms % 1000:03}"


def spent(seconds: float) -> str:
    """Time that something took: `0.3 s`, `71 s`, `12:07`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < _MINUTES_FROM_S else length(round(seconds))


def speed(audio_s: float, seconds: float) -> str:
    """Times real time: `0.8×`, `43×`; "" when no time passed."""
    if seconds <= 0:
        return ""
    times = audio_s / seconds
    return f"{times:.1f}×" if times < 9.95 else f"{times:.0f}×"


def work_done(audio_s: float, seconds: float) -> str:
    """Length of a recording and the time it took: `51:11 in 71 s (43×)`."""
    times = speed(audio_s, seconds)
    return f"{length(audio_s)} in {spent(seconds)}" + (f" ({times})" if times else "")


def _parts(seconds: int) -> tuple[int, int, int]:
    """Hours, minutes, seconds."""
    minutes, rest = divmod(seconds, 60)
    return *divmod(minutes, 60), rest
