"""Text for people: plain, and Markdown with times."""

from __future__ import annotations

import re

from dropscribe.transcript.layout.line_breaks import lines_of
from dropscribe.transcript.remarks import remarks
from dropscribe.transcript.renderers.content import Content, clock, encode

#: Characters with a meaning in Markdown, anywhere in a line, or at its beginning.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~#&]|^[+-](?=\s)|^\d+(?=[.)]\s)|^=+$|^-+$")


def txt(content: Content) -> bytes:
    """Plain text: a line per speech segment, several for a long one; remarks in brackets at the end."""
    transcript = content.transcript
    lines = [line for segment in transcript.segments for line in lines_of(segment)]
    said = [f"[{r.text}]" for r in remarks(transcript)]
    if lines and said:
        lines.append("")
    return encode("\n".join([*lines, *said]) + "\n")


def md(content: Content) -> bytes:
    """Markdown: a heading, remarks as a quotation, and a paragraph per speech segment with the time of its start."""
    transcript = content.transcript
    parts = [f"# {_escape(transcript.recording_name)}"]
    said = [f"> {_escape(r.text)}" for r in remarks(transcript)]
    if said:
        parts.append("\n>\n".join(said))
    parts += [
        f"**{clock(s.start_ms // 1000)}** {_escape(' '.join(s.text.split()))}"
        for s in transcript.segments
        if s.text.strip()
    ]
    return encode("\n\n".join(parts) + "\n")


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(lambda m: m.group()[:-1] + "\\" + m.group()[-1], text)
