"""Render the partial text of a recording in progress. Pure: no disk access."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.durations import clock
from dropscribe.transcript.layout.line_breaks import lines_of
from dropscribe.transcript.renderers.content import encode
from dropscribe.transcript.written.units import spread


def partial_text(
    texts: Sequence[str],
    *,
    until_ms: int,
    declared_ms: int | None,
    notice: str | None,
    headings: Sequence[tuple[int, str]] = (),
) -> bytes:
    """Content of a partial file: the segment texts so far, then in brackets the progress.

    `texts`: of the first segments, in order, without a gap. The words are those of the finished text; a long segment may
    be divided into lines elsewhere, since pauses are not known here. `declared_ms`: duration that the container
    declares, if any. `notice`: the engine's, if it has one. `headings`: (index of a text, name) for a recording whose parts
    are transcribed apart: the part that begins with that text; `until_ms` is the position in the last of them.
    """
    # The declared duration may be wrong; it is left out where it is shorter than the text so far.
    whole = f" of {clock(declared_ms // 1000)}" if declared_ms is not None and declared_ms >= until_ms else ""
    said = [f"[{_line(notice)}]"] if notice is not None else []
    part = f"{_line(headings[-1][1])}, " if headings else ""
    said.append(
        f"[unfinished: {part}up to {clock(until_ms // 1000)}{whole}; this file goes when the transcript is complete]"
    )
    lines: list[str] = []
    names = dict(headings)
    for index, text in enumerate(map(_line, texts)):
        if index in names:
            lines += ["", f"[{_line(names[index])}]"] if lines else [f"[{_line(names[index])}]"]
        if text:
            lines += lines_of(text, spread(text, 0, 0))
    return encode("\n".join([*lines, "", *said]) + "\n")


def _line(text: str) -> str:
    return " ".join(text.split())
