"""The text of a recording that is still being worked on. Pure: nothing here looks at a disk."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.transcript.render import clock, encode, spoken_lines


def partial_text(
    texts: Sequence[str], *, until_ms: int, declared_ms: int | None, notice: str | None
) -> bytes:
    """What a partial file says: the segments' texts so far, as the finished text will have them, then in brackets
    that it is unfinished and how far it has come.

    `texts`: of the first segments in order, none missing between. `declared_ms`: length of the recording, where the
    file says it. `notice`: the engine's, if it has one.
    """
    # What a file declares may be wrong; it is not said where it cannot be true.
    whole = f" of {clock(declared_ms // 1000)}" if declared_ms is not None and declared_ms >= until_ms else ""
    said = [f"[{' '.join(notice.split())}]"] if notice is not None else []
    said.append(
        f"[unfinished: up to {clock(until_ms // 1000)}{whole}; this file goes when the transcript is complete]"
    )
    return encode("\n".join([*spoken_lines(texts), "", *said]) + "\n")
