"""Subtitles and lyrics: SubRip, WebVTT, LRC."""

from __future__ import annotations

from dropscribe.durations import clock_ms
from dropscribe.transcript.layout.cues import Cue
from dropscribe.transcript.remarks import Remark
from dropscribe.transcript.renderers.content import Content, encode

#: Display time of the remark at the end of a subtitle file, ms.
REMARK_MS = 4000


def srt(content: Content) -> bytes:
    """SubRip. Remarks are one cue at the end of the recording; a notice of the engine is left out.

    SubRip has no comments: what stands in the file is shown to the audience.
    """
    shown, said = list(content.cues), content.shown_remarks
    if said:
        shown.append(_remark_cue(said, shown, content.transcript.media.duration_ms))
    blocks = [
        # Players would parse a text that contains `-->` as a timing line.
        f"{i}\n{clock_ms(c.start_ms, ',')} --> {clock_ms(c.end_ms, ',')}\n{c.text.replace('-->', '->')}\n"
        for i, c in enumerate(shown, start=1)
    ]
    return encode("\n".join(blocks) or "\n")


def vtt(content: Content) -> bytes:
    """WebVTT. Remarks are NOTE blocks before the first cue; `&`, `<` and `>` are escaped."""
    notes = [f"NOTE {r.text.replace('-->', '->')}\n" for r in content.remarks]
    blocks = [
        f"{clock_ms(c.start_ms, '.')} --> {clock_ms(c.end_ms, '.')}\n{_escape(c.text)}\n"
        for c in content.cues
    ]
    return encode("\n".join(["WEBVTT\n", *notes, *blocks]))


def lrc(content: Content) -> bytes:
    """LRC: a line of lyrics per subtitle, as music players show them; remarks in tags of their own at the top."""
    notes = [f"[re: {r.text.replace(']', ')')}]" for r in content.remarks]
    lines = [f"[{_minutes(c.start_ms)}]{c.text.replace('[', '(').replace(']', ')')}" for c in content.cues]
    return encode("\n".join([*notes, *lines]) + "\n")


def _remark_cue(said: tuple[Remark, ...], shown: list[Cue], duration_ms: int) -> Cue:
    """Cue with the remarks: in the last `REMARK_MS` of the recording, or after the last cue if that is later."""
    spoken_until = shown[-1].end_ms if shown else 0
    start = max(spoken_until, duration_ms - REMARK_MS)
    return Cue(start, start + REMARK_MS, "\n".join(f"[{r.text}]" for r in said))


def _minutes(ms: int) -> str:
    """Position as LRC has it: `62:03.45`, minutes without hours and hundredths of a second."""
    seconds, rest = divmod(ms, 1000)
    return f"{seconds // 60:02}:{seconds % 60:02}.{rest // 10:02}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
