"""Text for people: plain, and Markdown with times."""

from __future__ import annotations

import re

from dropscribe.durations import clock
from dropscribe.transcript.layout.line_breaks import lines_of
from dropscribe.transcript.renderers.content import Content, encode

#: Characters with a meaning in Markdown, anywhere in a line, or at its beginning.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~#&]|^[+-](?=\s)|^\d+(?=[.)]\s)|^=+$|^-+$")


def txt(content: Content) -> bytes:
    """Plain text: paragraphs with an empty line between them; remarks in brackets at the end.

    Text without marks has a line per speech segment instead, several for a long one. With `txt_times`, the time of its
    start before each; with `txt_speakers`, the speaker where that changes.
    """
    options = content.options
    lines: list[str] = []
    flowing = False
    for paragraph in content.paragraphs:
        if lines and (flowing or paragraph.flowing):
            lines.append("")
        flowing = paragraph.flowing
        before = f"[{clock(paragraph.start_ms // 1000)}] " if options.txt_times else ""
        if paragraph.begins and options.txt_speakers:
            before += content.label(paragraph.speaker)
        said = [paragraph.text] if flowing else lines_of(paragraph.text, paragraph.sentences[0].parts[0])
        lines += [before + said[0], *said[1:]]
    said = [f"[{r.text}]" for r in content.remarks]
    if lines and said:
        lines.append("")
    return encode("\n".join([*lines, *said]) + "\n")


def md(content: Content) -> bytes:
    """Markdown: a heading, remarks as a quotation, and paragraphs with time and, where that changes, speaker."""
    parts = [f"# {_escape(content.transcript.recording_name)}"]
    said = [f"> {_escape(r.text)}" for r in content.remarks]
    if said:
        parts.append("\n>\n".join(said))
    for paragraph in content.paragraphs:
        name = content.labels.get(paragraph.speaker, "") if paragraph.begins else ""
        head = f"{clock(paragraph.start_ms // 1000)} {_escape(name)}".strip()
        parts.append(f"**{head}** {_escape(paragraph.text)}")
    return encode("\n\n".join(parts) + "\n")


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(lambda m: m.group()[:-1] + "\\" + m.group()[-1], text)
