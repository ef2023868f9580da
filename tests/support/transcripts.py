"""Transcripts for tests of renderers."""

from __future__ import annotations

import io
import json
import re
import zipfile
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from dropscribe.transcript.types import (
    GAP,
    AudioTrack,
    EngineFacts,
    Loss,
    MediaFacts,
    Segment,
    Timings,
    Tokens,
    Transcript,
)

ENGINE = EngineFacts(
    models=(("asr", "paraformer-zh"), ("vad", "fsmn-vad")),
    device="cpu",
    precision="fp32",
    versions=(("funasr", "1.4.16"), ("torch", "2.13.0")),
    notice=None,
    warmup_s=3.25,
)
MEDIA = MediaFacts(
    duration_ms=12_500, container="mov", codec="aac", sample_rate_hz=48_000, channels=2, decoder="av"
)


def tokens(words: list[str], start_ms: int, step_ms: int = 250) -> Tokens:
    """Consecutive words, each `step_ms` long."""
    bounds = [start_ms + i * step_ms for i in range(len(words) + 1)]
    return Tokens(words, bounds[:-1], bounds[1:])


def sure(said: Tokens) -> Tokens:
    """The same tokens with a confidence each, from 1 down."""
    return Tokens(
        said.texts, said.starts_ms, said.ends_ms, bytes(255 - i * 7 % 256 for i in range(len(said)))
    )


def transcript(
    *segments: Segment,
    media: MediaFacts = MEDIA,
    engine: EngineFacts = ENGINE,
    timings: Timings | None = None,
) -> Transcript:
    return Transcript(
        recording_name="meeting.m4a",
        sha256="0123456789abcdef" * 4,
        job_id=7,
        created_at=1_772_352_000.25,
        media=media,
        engine=engine,
        segments=segments,
        timings=timings or Timings(),
    )


def rich_transcript() -> Transcript:
    """A transcript with all features: two scripts, subwords, a pause, a long segment, no tokens, no text, characters
    to escape, truncation, a notice.
    """
    long_text = "我们今天讨论明年的预算以及上海分公司的租金问题请大家先看第一页"
    first = Tokens.of([*tokens(["hel@@", "lo", "every@@", "one"], 300), *tokens(list("大家好"), 2300)])
    return transcript(
        Segment(0, 300, 3050, "hello everyone 大家好", first),
        Segment(1, 3500, 11_500, long_text, sure(tokens(list(long_text), 3500, 240))),
        Segment(2, 11_600, 11_900, ""),
        Segment(3, 11_900, 12_400, "a <b> & c --> d"),
        media=MediaFacts(
            duration_ms=12_500,
            container="mov",
            codec="aac",
            sample_rate_hz=48_000,
            channels=2,
            decoder="av",
            warnings=("3.5 s of 16.0 s are missing",),
            truncated="3.5 s of 16.0 s are missing",
            losses=(Loss(GAP, 11_500, 100, "0.1 s without audio"),),
            tracks=(
                AudioTrack(1, "zho", None, "aac", 2, default=True, chosen=True),
                AudioTrack(2, "eng", "Interpreter", "aac", 2, default=False, chosen=False),
            ),
        ),
        engine=EngineFacts(
            (("asr", "paraformer-mini"), ("vad", "vad-mini")),
            "cpu",
            "fp32",
            (("funasr", "1.4.16"), ("torch", "2.13.0")),
            "Made with a demonstration model; not for use in earnest.",
            3.25,
        ),
        timings=Timings(
            seconds=(
                ("settling", 2.0),
                ("waiting", 0.125),
                ("decoding", 0.05),
                ("vad", 0.01),
                ("batch_queue", 0.1),
                ("recognition", 0.4),
                ("rendering", 0.002),
                ("publishing", 0.004),
            ),
            batch_sizes=(4, 8),
            padding_waste=0.125,
            speech_ms=11_550,
            wall_s=0.625,
        ),
    )


def text_of(data: bytes, name: str) -> str:
    """What a reader of a transcript file sees: text without the escapes of its format, one paragraph a line."""
    if name == "docx":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            document = ET.fromstring(archive.read("word/document.xml"))
        word = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
        paragraphs = document.iter(f"{word}p")
        return "\n".join("".join(t.text or "" for t in p.iter(f"{word}t")) for p in paragraphs) + "\n"
    text = data.decode()
    if name == "html":
        page = _Page()
        page.feed(text)
        return page.text
    if name == "md":
        return re.sub(r"\\([^\n])", r"\1", text)
    if name == "json":
        document = json.loads(text)
        return "\n".join([*(r["text"] for r in document["remarks"]), document["text"], ""])
    return text


class _Page(HTMLParser):
    """Text of an HTML page, without style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden = tag in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data
