"""Tables for programs: tab-separated values, and labels of Audacity."""

from __future__ import annotations

from collections.abc import Iterator

from dropscribe.transcript.remarks import shown_remarks
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
    transcript = content.transcript
    for segment in transcript.segments:
        text = " ".join(segment.text.split())
        if text:
            yield segment.start_ms, segment.end_ms, text
    end = transcript.media.duration_ms
    for remark in shown_remarks(transcript):
        yield end, end, f"[{remark.text}]"
