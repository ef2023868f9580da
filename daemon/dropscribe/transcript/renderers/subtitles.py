"""Subtitles and lyrics: SubRip, WebVTT, LRC."""

from __future__ import annotations

from dataclasses import replace

from dropscribe.durations import clock_ms
from dropscribe.transcript.layout.cues import Cue
from dropscribe.transcript.remarks import Remark
from dropscribe.transcript.renderers.content import Content, encode
from dropscribe.transcript.written.punctuation import joint

#: Display time of the remark at the end of a subtitle file, ms.
REMARK_MS = 4000


def srt(content: Content) -> bytes:
    """SubRip, with the speaker where that changes. Remarks are one cue at the end; a notice of the engine is left out.

    SubRip has no comments: what stands in the file is shown to the audience.
    """
    shown = [(c.start_ms, c.end_ms, _named(content, c)) for c in content.cues]
    if said := content.shown_remarks:
        shown.append(_remark_cue(said, shown, content.transcript.media.duration_ms))
    blocks = [
        # Players would parse a text that contains `-->` as a timing line.
        f"{i}\n{clock_ms(start, ',')} --> {clock_ms(end, ',')}\n{text.replace('-->', '->')}\n"
        for i, (start, end, text) in enumerate(shown, start=1)
    ]
    return encode("\n".join(blocks) or "\n")


def vtt(content: Content) -> bytes:
    """WebVTT, each cue with its speaker as voice. Remarks are NOTE blocks before the first; `&`, `<`, `>` are escaped."""
    notes = [f"NOTE {r.text.replace('-->', '->')}\n" for r in content.remarks]
    blocks = [
        f"{clock_ms(c.start_ms, '.')} --> {clock_ms(c.end_ms, '.')}\n{_voices(content, c)}\n"
        for c in content.cues
    ]
    return encode("\n".join(["WEBVTT\n", *notes, *blocks]))


def lrc(content: Content) -> bytes:
    """LRC: a line of lyrics per subtitle, as music players show them; remarks in tags of their own at the top."""
    notes = [f"[re: {r.text.replace(']', ')')}]" for r in content.remarks]
    lines: list[str] = []
    for cue in content.cues:
        for one in (cue, cue.beside):
            if one is not None:
                label = content.label(one.speaker) if one.begins else ""
                text = label + one.text.replace("\n", _between_lines(one.text))
                lines.append(f"[{_minutes(cue.start_ms)}]{text.replace('[', '(').replace(']', ')')}")
    return encode("\n".join([*notes, *lines]) + "\n")


def _named(content: Content, cue: Cue) -> str:
    """Text of a cue with its speaker, if that changes; of two speakers at once, a line each, with a dash."""
    text = (content.label(cue.speaker) if cue.begins else "") + cue.text
    return text if cue.beside is None else f"- {text}\n- {_named(content, cue.beside)}"


def _voices(content: Content, cue: Cue) -> str:
    """Text of a cue in voice spans; of two speakers at once, a line each, with a dash."""
    name = content.labels.get(cue.speaker)
    text = _escape(cue.text if cue.beside is None else f"- {cue.text}")
    if name is not None:
        text = f"<v {_escape(name)}>{text}</v>"
    if cue.beside is None:
        return text
    return f"{text}\n{_voices(content, replace(cue.beside, text='- ' + cue.beside.text))}"


def _between_lines(text: str) -> str:
    """What stands for the line break of a cue in one line of text."""
    left, _, right = text.partition("\n")
    return joint(left, right)


def _remark_cue(
    said: tuple[Remark, ...], shown: list[tuple[int, int, str]], duration_ms: int
) -> tuple[int, int, str]:
    """Cue with the remarks: in the last `REMARK_MS` of the recording, or after the last cue if that is later."""
    spoken_until = shown[-1][1] if shown else 0
    start = max(spoken_until, duration_ms - REMARK_MS)
    return start, start + REMARK_MS, "\n".join(f"[{r.text}]" for r in said)


def _minutes(ms: int) -> str:
    """Position as LRC has it: `62:03.45`, minutes without hours and hundredths of a second."""
    seconds, rest = divmod(ms, 1000)
    return f"{seconds // 60:02}:{seconds % 60:02}.{rest // 10:02}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
