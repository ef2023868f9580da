"""When the text of a recording still being worked on is worth writing. Pure: `now` is an argument.

A short job never shows any. A long or slow one shows its first text as soon as there is some; after that the file is
renewed when there is more to read and a person could have read what was there.
"""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.pipeline.assembly import Heard

#: A recording of this length, ms, need not have been worked on for long: what it will take is judged by its pace.
LONG_MS = 600_000
#: A partial text is renewed at most so often, seconds …
RENEW_S = 1.0
#: … or as soon as it has grown to so many times its segments.
GROWN = 2.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What was last handed over to be written of one job."""

    at: float  #: monotonic seconds
    segments: int


def due(heard: Heard, shown: Shown | None, *, after_s: float, now: float) -> bool:
    """Whether to write what has been heard.

    1. Never while there is no segment, nor for `after_s` 0, which turns partial texts off.
    2. The first time: when the job has been worked on for `after_s` seconds, or when the recording is long and by its
       pace so far will be.
    3. Again: when there is more, and either `RENEW_S` have passed or it has grown `GROWN`-fold.
    """
    if after_s <= 0 or heard.segments < 1:
        return False
    if shown is not None:
        more = heard.segments > shown.segments
        return more and (now - shown.at >= RENEW_S or heard.segments >= shown.segments * GROWN)
    return _expected_s(heard, now - heard.started) >= after_s


def _expected_s(heard: Heard, worked_s: float) -> float:
    """How long the job takes as far as can be told, seconds: at least what it has taken."""
    if heard.declared_ms is None or heard.declared_ms < LONG_MS:
        return worked_s
    return worked_s * max(1.0, heard.declared_ms / max(1, heard.until_ms))
