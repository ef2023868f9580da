"""How much was done in the last minute. Pure: the time is passed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

#: Time over which is averaged, seconds.
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the machine is doing: rates of the last `WINDOW_S`, and its decoders."""

    recordings_per_min: float = 0.0
    #: Times real time.
    audio_rate: float = 0.0
    decoders: int = 0
    decoders_busy: int = 0


class Throughput:
    """What was done: recordings that have ended, and audio, also of those in progress. Owned by the main thread."""

    def __init__(self, now: float) -> None:
        self._since = now
        #: When recordings ended; and (monotonic seconds, audio recognised so far) at each call of `load`.
        self._ended: deque[float] = deque()
        self._recognised: deque[tuple[float, float]] = deque([(now, 0.0)])
        self._audio_s = 0.0

    def add(self, audio_s: float, now: float) -> None:
        """Note a recording; `audio_s` 0 if the result of another one was used. `now`: monotonic seconds."""
        self._ended.append(now)
        self._audio_s += audio_s

    def load(self, now: float, *, in_progress_s: float, decoders: int, idle: int) -> Load:
        """Rates up to `now`. `in_progress_s`: audio recognised of the recordings in progress."""
        while self._ended and self._ended[0] < now - WINDOW_S:
            self._ended.popleft()
        self._recognised.append((now, self._audio_s + in_progress_s))
        while self._recognised[0][0] < now - WINDOW_S:
            self._recognised.popleft()
        over = min(WINDOW_S, max(1.0, now - self._since))
        began, before = self._recognised[0]
        # An attempt that was given up takes back what it had.
        done = max(0.0, self._audio_s + in_progress_s - before)
        return Load(
            60.0 * len(self._ended) / over,
            done / (now - began) if now > began else 0.0,
            decoders,
            max(0, decoders - idle),
        )
