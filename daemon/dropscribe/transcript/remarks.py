"""Remarks on a transcript besides its words; decided here for every format."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe import escapes
from dropscribe.transcript.types import Transcript


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark. `kind` is stable: "no_speech", "no_words", "truncated", "incomplete" or "notice"."""

    kind: str
    text: str  #: one line


def remarks(transcript: Transcript) -> tuple[Remark, ...]:
    """All remarks on a transcript, the engine's notice last. A transcript without words has at least one."""
    found: list[Remark] = []
    if not transcript.segments:
        found.append(Remark("no_speech", "no speech found"))
    elif not any(s.text.strip() or s.tokens for s in transcript.segments):
        found.append(Remark("no_words", "speech found, but no words recognised in it"))
    if transcript.media.truncated is not None:
        found.append(Remark("truncated", f"the recording is cut short: {_line(transcript.media.truncated)}"))
    for text in transcript.incomplete:
        found.append(Remark("incomplete", _line(text)))  # noqa: PERF401 - one kind of remark after the other
    if transcript.engine.notice is not None:
        found.append(Remark("notice", _line(transcript.engine.notice)))
    return tuple(found)


def _line(text: str) -> str:
    return escapes.one_line(" ".join(text.split()))
