"""Text for people: plain, and Markdown with times."""

from __future__ import annotations

import re

from dropscribe.durations import clock
from dropscribe.transcript.layout.line_breaks import lines_of
from dropscribe.transcript.renderers.content import Content, encode

#: Characters with a meaning in Markdown, anywhere in a line, or at its beginning.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~#&]|^[+-](?=\s)|^\d+(?=[.)]\s)|^=+$|^-+$")


def txt(content: Content) -> bytes:
    """Plain text: a line per speech segment, several for a long one; remarks in brackets at the end."""
    lines = [line for segment, text in content.spoken for line in lines_of(segment, text)]
    said = [f"[{r.text}]" for r in content.remarks]
    if lines and said:
        lines.append("")
    return encode("\n".join([*lines, *said]) + "\n")


def md(content: Content) -> bytes:
    """Markdown: a heading, remarks as a quotation, and a paragraph per speech segment with the time of its start."""
    parts = [f"# {_escape(content.transcript.recording_name)}"]
    said = [f"> {_escape(r.text)}" for r in content.remarks]
    if said:
        parts.append("\n>\n".join(said))
    parts += [f"**{clock(s.start_ms // 1000)}** {_escape(text)}" for s, text in content.spoken]
    return encode("\n\n".join(parts) + "\n")


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(lambda m: m.group()[:-1] + "\\" + m.group()[-1], text)
