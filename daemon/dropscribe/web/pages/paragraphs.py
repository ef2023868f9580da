"""The paragraphs of a transcript as HTML. In Python, because a template takes ten times as long for thousands of sentences."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from dropscribe import durations
from dropscribe.transcript.renderers.content import UNSURE, Content
from dropscribe.transcript.written.sentences import Paragraph, Sentence


def paragraphs_of(content: Content, edit: str | None = None) -> Markup:
    """Times, speakers and sentences, each a link to its second; doubtful words are in `u`. All text is escaped.

    `edit`: address of the form for corrections; None: they cannot be corrected.
    """
    return Markup("\n".join(_paragraph(content, paragraph, edit) for paragraph in content.paragraphs))  # noqa: S704 - see above


def _paragraph(content: Content, paragraph: Paragraph, edit: str | None) -> str:
    who = content.label(paragraph.speaker) if paragraph.begins else ""
    label = f'<b class="who">{escape(who)}</b>' if who else ""
    said = "".join(
        f"{escape(one.before) if i else ''}{_sentence(one)}" for i, one in enumerate(paragraph.sentences)
    )
    at = durations.position(paragraph.start_ms)
    if edit is not None:
        at = f'<a href="{edit}?at={paragraph.start_ms}" rel="nofollow">{at} ✎</a>'
    return f'<div class="said"><span class="at">{at}</span><p>{label}{said}</p></div>'


def _sentence(one: Sentence) -> str:
    words = "".join(
        f"<u>{escape(text)}</u>" if doubtful else escape(text) for text, doubtful in one.spans(UNSURE)
    )
    start = f"{one.start_ms / 1000:.3f}"
    return f'<a class="s" href="#t={start}" data-start="{start}">{words}</a>'
