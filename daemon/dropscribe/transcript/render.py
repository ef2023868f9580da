"""Render transcript files: one pure function per format, in the table `RENDERERS`.

To add a format, write its function in `renderers/`, enter it in `RENDERERS` and in `naming.FORMATS`, and add its golden
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from dropscribe import __version__
from dropscribe.transcript.naming import AUTO_LANGUAGE
from dropscribe.transcript.renderers.content import Content, Options, Renderer
from dropscribe.transcript.renderers.html import html
from dropscribe.transcript.renderers.json_document import json_document
from dropscribe.transcript.renderers.subtitles import lrc, srt, vtt
from dropscribe.transcript.renderers.tables import labels, rttm, tsv
from dropscribe.transcript.renderers.text import md, txt
from dropscribe.transcript.renderers.word import docx
from dropscribe.transcript.types import Transcript
from dropscribe.transcript.written.speakers import language_of

__all__ = [
    "RENDERERS",
    "Options",
    "render",
    "render_all",
    "subtitle_language",
]

#: The function of each of `naming.FORMATS`.
RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        "txt": txt,
        "srt": srt,
        "vtt": vtt,
        "json": json_document,
        "md": md,
        "html": html,
        "docx": docx,
        "tsv": tsv,
        "lrc": lrc,
        "labels": labels,
        "rttm": rttm,
    }
)


def subtitle_language(transcript: Transcript, suffix: str) -> str:
    """Language in the names of subtitles, by the setting `subtitle_language_suffix`; "auto": that of the text."""
    return language_of(transcript.text) if suffix == AUTO_LANGUAGE else suffix


def render(transcript: Transcript, name: str, options: Options) -> bytes:
    """Bytes of one file: UTF-8, deterministic. Raises KeyError for an unknown format."""
    return render_all(transcript, [name], options)[name]


def render_all(
    transcript: Transcript, names: Iterable[str], options: Options, version: str = __version__
) -> dict[str, bytes]:
    """Bytes of several formats, see `render`; shared values are computed once. `version` as in `Content`."""
    content = Content(transcript, options, version)
    return {name: RENDERERS[name](content) for name in names}
