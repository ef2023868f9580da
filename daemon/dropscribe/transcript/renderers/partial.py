"""Render the partial text of a recording in progress. Pure: no disk access."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.durations import clock
from dropscribe.transcript.layout.line_breaks import lines_of
from dropscribe.transcript.renderers.content import encode
from dropscribe.transcript.written.units import spread


def partial_text(
    texts: Sequence[str], *, until_ms: int, declared_ms: int | None, notice: str | None
) -> bytes:
    """Content of a partial file: the segment texts so far, then in brackets the progress.

    `texts`: of the first segments, in order, without a gap. The words are those of the finished text; a long segment may
    be divided into lines elsewhere, since pauses are not known here. `declared_ms`: duration that the container
    declares, if any. `notice`: the engine's, if it has one.
    """
    # The declared duration may be wrong; it is left out where it is shorter than the text so far.
    whole = f" of {clock(declared_ms // 1000)}" if declared_ms is not None and declared_ms >= until_ms else ""
    said = [f"[{' '.join(notice.split())}]"] if notice is not None else []
    said.append(
        f"[unfinished: up to {clock(until_ms // 1000)}{whole}; this file goes when the transcript is complete]"
    )
    spoken = filter(None, (" ".join(text.split()) for text in texts))
    lines = [line for text in spoken for line in lines_of(text, spread(text, 0, 0))]
    return encode("\n".join([*lines, "", *said]) + "\n")
