"""Transcripts for tests of renderers."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from dropscribe.transcript.types import (
    GAP,
    AudioTrack,
    EngineFacts,
    Loss,
    MediaFacts,
    Segment,
    Speaker,
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
        recipe="paraformer-zh|fsmn-vad",
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


#: Codes of the marks in `said`.
CODES = {"，": 1, "。": 2, "？": 3, "、": 4}


def said(index: int, start_ms: int, spoken: str, *, asked: bool = False) -> Segment:
    """Segment of tokens divided by spaces: each Chinese character is one of 200 ms, each other word one of 400 ms.

    A mark at the end of a token is the one behind it, `{2}` changes to a speaker, `_900` is a pause in ms. `asked`:
    there are speakers.
    """
    words: list[tuple[str, int, int]] = []
    marks, speakers = bytearray(), bytearray()
    at, speaker = start_ms, 0
    for part in spoken.split():
        if part.startswith("{"):
            speaker = int(part[1:-1])
        elif part.startswith("_"):
            at += int(part[1:])
        else:
            mark = CODES.get(part[-1], 0)
            text = part[:-1] if mark else part
            letters = [text] if text.isascii() else list(text)
            for letter in letters:
                step = 400 if text.isascii() else 200
                words.append((letter, at, at + step))
                at += step
            marks += bytes(len(letters) - 1) + bytes([mark])
            speakers += bytes([speaker]) * len(letters)
    spaced = " ".join(word for word, _, _ in words)
    text = re.sub(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])", "", spaced)
    return Segment(
        index, start_ms, at, text, Tokens.of(words), bytes(marks), bytes(speakers) if asked else b""
    )


def talk() -> Transcript:
    """Two people, one with a name; Chinese and English, numbers, sentences over two segments, unsure words."""
    first = said(
        0,
        300,
        "{1} 大家好， 今天讨论 MIT 的 open source 项目。 _500 {2} 好的， 上个月花了二零二四块",
        asked=True,
    )
    second = said(
        1, 9000, "{2} 还有别的吗？ {1} hello everyone， welcome to the meeting。 we use python", asked=True
    )
    third = said(2, 16000, "{1} every day。 _2500 谢谢。", asked=True)
    return replace(
        transcript(
            first,
            replace(second, tokens=sure(second.tokens)),
            third,
            media=replace(MEDIA, duration_ms=21_000),
        ),
        speakers=(Speaker(1, "王芳", "voice"), Speaker(2, None, "voice")),
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
