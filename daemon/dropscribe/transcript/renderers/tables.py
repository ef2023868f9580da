"""Tables for programs: tab-separated values, labels of Audacity, RTTM."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dropscribe.transcript.renderers.content import Content, encode

_SPACE = re.compile(r"\s+")


def tsv(content: Content) -> bytes:
    """Tab-separated values with a header: start and end in milliseconds, text, and the speaker if asked for.

    A row per sentence, or per speech segment where there are no marks. Remarks are rows at the end of the recording, in
    brackets.
    """
    named = bool(content.labels)
    rows = [
        f"{start}\t{end}\t{text}" + (f"\t{content.labels.get(speaker, '')}" if named else "")
        for start, end, speaker, text in _rows(content)
    ]
    head = "start\tend\ttext\tspeaker" if named else "start\tend\ttext"
    return encode("\n".join([head, *rows]) + "\n")


def labels(content: Content) -> bytes:
    """Label track of Audacity (File > Import > Labels): as `tsv`, without a header, with seconds, the speaker first."""
    rows = [
        f"{start / 1000:.3f}\t{end / 1000:.3f}\t{content.label(speaker)}{text}"
        for start, end, speaker, text in _rows(content)
    ]
    return encode("\n".join(rows) + "\n")


def rttm(content: Content) -> bytes:
    """RTTM (Rich Transcription Time Marked, NIST): who speaks when, a turn a line; remarks are comments.

    Names have `_` for spaces, which divide the fields; the speaker is `<NA>` if not known or not asked for.
    """
    name = _field(content.transcript.recording_name)
    said = [f";; {r.text}" for r in content.remarks]
    turns = [
        f"SPEAKER {name} 1 {turn.start_ms / 1000:.3f} {(turn.end_ms - turn.start_ms) / 1000:.3f} <NA> <NA> "
        f"{_field(content.labels.get(turn.speaker, '')) or '<NA>'} <NA> <NA>"
        for turn in content.turns
    ]
    return encode("\n".join([*said, *turns]) + "\n")


def _field(text: str) -> str:
    return _SPACE.sub("_", text.strip())


def _rows(content: Content) -> Iterator[tuple[int, int, int, str]]:
    for sentence in content.sentences:
        yield sentence.start_ms, sentence.end_ms, sentence.speaker, sentence.text
    end = content.transcript.media.duration_ms
    for remark in content.shown_remarks:
        yield end, end, 0, f"[{remark.text}]"
