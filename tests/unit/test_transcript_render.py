"""Content of each transcript file. `UPDATE_GOLDEN=1 pytest …` rewrites the golden files; review the difference."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe import __version__, escapes
from dropscribe.transcript.naming import BINARY_FORMATS, DEFAULT_FORMATS, FORMATS
from dropscribe.transcript.reading import read_timing, read_transcript, with_timing
from dropscribe.transcript.render import RENDERERS, Options, render
from dropscribe.transcript.timing import timing_log
from dropscribe.transcript.types import STAGES, Segment, Timings
from tests.support.transcripts import ENGINE, MEDIA, rich_transcript, talk, text_of, tokens, transcript

GOLDEN = Path(__file__).parent / "golden"
TRUNCATED = replace(MEDIA, truncated="half of it is missing")
NOTICE = replace(ENGINE, notice="for demonstration only")


def text(*segments: Segment, name: str = "txt", **kinds: object) -> str:
    return text_of(render(transcript(*segments, **kinds), name, Options()), name)  # type: ignore[arg-type]


def assert_golden(name: str, data: bytes) -> None:
    file = GOLDEN / name
    data = data.replace(f'"version": "{__version__}"'.encode(), b'"version": "VERSION"')
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_bytes(data)
    assert data == file.read_bytes()


def test_every_format_that_settings_take_has_its_renderer() -> None:
    assert tuple(RENDERERS) == FORMATS
    assert {*DEFAULT_FORMATS, *BINARY_FORMATS} < {*FORMATS}


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_golden(name: str) -> None:
    assert_golden(f"meeting.{name}", render(rich_transcript(), name, Options()))


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_golden_of_people_who_talk(name: str) -> None:
    assert_golden(f"talk.{name}", render(talk(), name, Options(numbers="written")))


def test_golden_timing_log() -> None:
    data = timing_log(rich_transcript(), started=1_772_352_002.5, ended=1_772_352_003.25)
    assert_golden("meeting.timing.json", data)


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_format_is_deterministic_and_ends_with_a_newline(name: str) -> None:
    first, second = (render(rich_transcript(), name, Options()) for _ in range(2))
    assert first == second
    assert first.endswith(b"\n") or name == "docx"


@pytest.mark.parametrize("name", sorted(RENDERERS))
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"media": TRUNCATED}, "half of it is missing"),
        ({"engine": NOTICE}, "for demonstration only"),
    ],
)
def test_every_format_has_truncation_and_notice(name: str, changes: dict[str, object], words: str) -> None:
    segment = Segment(0, 0, 1000, "你好", tokens(list("你好"), 0))
    # All of these is shown to an audience, which the notice does not concern, or read by programs.
    without_notice = name in {"srt", "tsv", "labels"}
    assert (words in text(segment, name=name, **changes)) == (not without_notice or "media" in changes)
    assert words not in text(segment, name=name)


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_format_tells_what_a_failed_stage_left_out(name: str) -> None:
    whole = transcript(Segment(0, 0, 1000, "你好", tokens(list("你好"), 0)))
    lacking = replace(whole, incomplete=("punctuation failed: it broke",))
    data = render(lacking, name, Options())
    assert "punctuation failed: it broke" in text_of(data, name)
    if name == "json":
        read = read_transcript(data).transcript
        assert read.incomplete == lacking.incomplete
        assert render(read, name, Options()) == data


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_format_reports_missing_speech(name: str) -> None:
    assert "no speech found" in text(name=name)
    assert "no words recognised" in text(Segment(0, 0, 500, ""), name=name)


def test_text_has_one_line_per_segment_and_remarks_last() -> None:
    segments = (Segment(0, 0, 1000, "你好"), Segment(1, 2000, 3000, "hello"), Segment(2, 4000, 5000, ""))
    assert text(*segments, engine=NOTICE) == "你好\nhello\n\n[for demonstration only]\n"
    assert text() == "[no speech found]\n"


def test_a_minute_of_speech_without_a_pause_is_several_lines_of_text() -> None:
    said = "今天的会议主要讨论明年的工作计划和预算安排" * 8
    lines = text(Segment(0, 0, 60_000, said, tokens(list(said), 0))).splitlines()
    assert "".join(lines) == said
    assert [len(line) <= 40 for line in lines] == [True] * 5


def test_long_text_keeps_the_words_that_its_tokens_lack() -> None:
    said = "今天的会议主要讨论明年的工作计划和预算安排" * 4
    lacking = tokens(list(said[:-10]), 0)
    assert "".join(text(Segment(0, 0, 60_000, said, lacking)).split()) == said


def test_json_has_every_segment_and_token() -> None:
    given = rich_transcript()
    document = json.loads(render(given, "json", Options()))
    assert document["schema"] == "dropscribe/transcript/1"
    assert document["generator"] == {"name": "dropscribe", "version": __version__}
    assert [s["index"] for s in document["segments"]] == [0, 1, 2, 3]
    assert [[t["text"] for t in s["tokens"]] for s in document["segments"]] == [
        [t.text for t in s.tokens] for s in given.segments
    ]
    assert document["media"]["truncated"] == given.media.truncated
    assert document["recording"]["admitted"] == "2026-03-01T08:00:00.250Z"


def test_json_does_not_contain_the_warm_up_time() -> None:
    # The same job done again after a crash must give the same bytes.
    again = replace(ENGINE, warmup_s=99.0)
    assert text(name="json") == text(name="json", engine=again)


def test_srt_is_numbered_and_the_remark_comes_last() -> None:
    srt = text(*rich_transcript().segments, name="srt", media=TRUNCATED, engine=NOTICE)
    blocks = srt.strip().split("\n\n")
    assert [b.split("\n")[0] for b in blocks] == [str(i + 1) for i in range(len(blocks))]
    assert blocks[-1].split("\n")[2:] == [
        "[the recording is cut short: half of it is missing]",
    ]
    times = re.findall(r"(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})", srt)
    assert len(times) == len(blocks)
    assert all(a < b for a, b in times)
    assert all(times[i][1] <= times[i + 1][0] for i in range(len(times) - 1))


def test_vtt_escapes_what_would_be_markup_or_an_arrow() -> None:
    vtt = text(Segment(0, 0, 2000, "1 < 2 & 3 --> 4"), name="vtt", engine=replace(ENGINE, notice="a --> b"))
    assert "1 &lt; 2 &amp; 3 --&gt; 4" in vtt
    assert vtt.startswith("WEBVTT\n\nNOTE a -> b\n")
    assert vtt.count("-->") == 1


def test_an_arrow_in_speech_does_not_break_srt() -> None:
    assert text(Segment(0, 0, 2000, "a --> b"), name="srt").count("-->") == 1


def test_positions_of_more_than_one_and_more_than_a_hundred_hours() -> None:
    late = 101 * 3_600_000 + 62_003
    assert "101:01:02,003 --> " in text(Segment(0, late, late + 900, "好"), name="srt")
    assert "101:01:02.003 --> " in text(Segment(0, late, late + 900, "好"), name="vtt")


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 10), st.floats(0, 4e9), st.floats(0, 4e9))
def test_a_timing_log_that_is_read_writes_the_same_file(
    wall_s: float, stage_s: float, waste: float, started: float, ended: float
) -> None:
    """Otherwise `transcribe --write` and `adopt` would take it for a stranger's."""
    timings = Timings(seconds=(("vad", stage_s),), wall_s=wall_s, padding_waste=waste)
    made = replace(rich_transcript(), timings=timings)
    data = timing_log(made, started=started, ended=ended)
    log = read_timing(data, made)
    again = timing_log(with_timing(made, log), started=log.started, ended=log.ended, version=log.version)
    assert again == data


def test_timing_log_has_every_stage_and_rtfx() -> None:
    log = json.loads(timing_log(rich_transcript(), started=1.0, ended=2.0))
    assert tuple(log["stages"]) == STAGES
    assert log["rtfx"] == pytest.approx(12.5 / 0.625)
    assert log["batches"] == {"count": 2, "sizes": [4, 8], "mean_size": 6.0, "padding_waste": 0.125}
    empty = json.loads(timing_log(transcript(), started=1.0, ended=2.0))
    assert empty["rtfx"] is None
    assert set(empty["stages"].values()) == {0.0}


HOSTILE = [
    "<script>alert(1)</script>",
    "</button></main><img src=x onerror=alert(1)>",
    "]]> &amp; <w:p/> \x00\x08\ufffe",
    "# no heading *no emphasis* [no](link) `no code` | no table",
    "[00:01.00] no tag",
    "tab\tand\nline\r\nbreak",
    "\ud800 half a character",
]


@pytest.mark.parametrize("name", sorted(RENDERERS))
@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_text_cannot_leave_its_place(name: str, said: str) -> None:
    """As many paragraphs, cells and tags as without it, and the letters are there."""
    plain, hostile = (
        # A recording's name is one harmless line already.
        replace(transcript(Segment(0, 0, 9000, t)), recording_name=f"{escapes.one_line(t)}.wav")
        for t in ("word", said)
    )
    data = render(hostile, name, Options())
    shown = text_of(data, name)
    if name != "json":
        wanted = text_of(render(plain, name, Options()), name)
        # Long lines of text and subtitles are divided.
        assert shown.count("\n") == wanted.count("\n") or name in {"txt", "srt", "vtt", "lrc"}
        assert shown.count("\t") == wanted.count("\t")
    letters = re.sub("[^a-z]", "", said.lower())
    assert letters in re.sub("[^a-z]", "", shown.lower()) or name in {"vtt", "rttm"}


def test_the_page_runs_its_own_script_only_and_fetches_nothing() -> None:
    page = render(rich_transcript(), "html", Options()).decode()
    policy = re.search('Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    allowed = dict(part.split(" ", 1) for part in policy[1].split("; "))
    assert allowed.pop("default-src") == "'none'"
    assert allowed.pop("media-src") == "'self' file:"
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed.pop(kind) == f"'sha256-{digest}'"
    assert allowed == {}
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_plays_the_recording_beside_it_whatever_its_name() -> None:
    page = render(replace(rich_transcript(), recording_name='a #1? "x" 会议.m4a'), "html", Options()).decode()
    source = re.search('<audio [^>]*src="([^"]*)"', page)
    assert source is not None
    assert unquote(source[1]) == 'a #1? "x" 会议.m4a'


def test_a_word_document_has_no_date_of_its_own() -> None:
    with zipfile.ZipFile(io.BytesIO(render(rich_transcript(), "docx", Options()))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None
        for entry in archive.namelist():
            ET.fromstring(archive.read(entry))
