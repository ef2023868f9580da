"""Decide when to write the partial text of a recording in progress. Pure: `now` is an argument.

A short job gets no partial text. A long or slow job gets one with its first segment; the file is then rewritten when
the text has grown, but not faster than a reader can follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.pipeline.assembly import Heard

#: Length of a recording, ms, from which the total time is estimated from its pace, instead of waiting for it to pass.
LONG_MS = 600_000
#: Shortest interval between two writes of a partial text, seconds …
RENEW_S = 1.0
#: … unless its number of segments has grown by this factor.
GROWN = 2.0


@dataclass(frozen=True, slots=True)
class Shown:
    """Last partial text of a job that was passed on for writing."""

    at: float  #: monotonic seconds
    segments: int


def due(heard: Heard, shown: Shown | None, *, after_s: float, now: float) -> bool:
    """Whether to write the partial text now.

    1. Never without segments, or for `after_s` 0, which turns partial texts off.
    2. First write: once the job has run for `after_s` seconds, or if the recording is long and at its pace will run
       that long.
    3. Later writes: if there are more segments, and either `RENEW_S` have passed or they have grown `GROWN`-fold.
    """
    if after_s <= 0 or heard.segments < 1:
        return False
    if shown is not None:
        more = heard.segments > shown.segments
        return more and (now - shown.at >= RENEW_S or heard.segments >= shown.segments * GROWN)
    return _expected_s(heard, now - heard.started) >= after_s


def _expected_s(heard: Heard, worked_s: float) -> float:
    """Estimated total time of the job, seconds; at least the time elapsed."""
    if heard.declared_ms is None or heard.declared_ms * heard.parts < LONG_MS:
        return worked_s
    done_ms = heard.parts_done * heard.declared_ms + heard.until_ms
    return worked_s * max(1.0, heard.parts * heard.declared_ms / max(1, done_ms))
