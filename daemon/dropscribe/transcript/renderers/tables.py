"""Tables for programs: tab-separated values, and labels of Audacity."""

from __future__ import annotations

from collections.abc import Iterator

from dropscribe.transcript.renderers.content import Content, encode


def tsv(content: Content) -> bytes:
    """Tab-separated values with a header: start and end in milliseconds, text; a row per speech segment.

    Remarks are rows at the end of the recording, in brackets.
    """
    rows = [f"{start}\t{end}\t{text}" for start, end, text in _rows(content)]
    return encode("\n".join(["start\tend\ttext", *rows]) + "\n")


def labels(content: Content) -> bytes:
    """Label track of Audacity (File > Import > Labels): as `tsv`, without a header and with seconds."""
    rows = [f"{start / 1000:.3f}\t{end / 1000:.3f}\t{text}" for start, end, text in _rows(content)]
    return encode("\n".join(rows) + "\n")


def _rows(content: Content) -> Iterator[tuple[int, int, str]]:
    for segment, text in content.spoken:
        yield segment.start_ms, segment.end_ms, text
    end = content.transcript.media.duration_ms
    for remark in content.shown_remarks:
        yield end, end, f"[{remark.text}]"
