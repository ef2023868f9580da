"""Durations and speeds as text for people. Pure."""

from __future__ import annotations

#: Durations from here on are written with minutes, seconds.
_MINUTES_FROM_S = 600


def length(seconds: float) -> str:
    """Length of a recording, or a position in it: `0:07`, `51:11`, `3:05:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
