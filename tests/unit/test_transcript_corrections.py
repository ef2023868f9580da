"""Sentences that people correct."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropscribe.transcript.renderers.content import Content, Options
from dropscribe.transcript.types import Segment, Tokens
from dropscribe.transcript.written.corrections import corrected
from dropscribe.transcript.written.marks import COMMA, FULL_STOP, QUESTION
from tests.support.transcripts import tokens, transcript


def content_of(*segments: Segment, numbers: str = "off") -> Content:
    return Content(transcript(*segments), Options(numbers=numbers))


def correct(content: Content, number: int, text: str) -> Content:
    segments = corrected(content.transcript.segments, content.runs, content.sentences, number, text)
    return Content(replace(content.transcript, segments=segments), content.options)


def chinese(*, marked: bool = True, speakers: bytes = b"") -> Segment:
    marks = bytes([0, COMMA, 0, FULL_STOP, 0, 0, QUESTION])
    said = tokens(list("你好再见明天吗"), 1000, 200)
    said = Tokens(said.texts, said.starts_ms, said.ends_ms, bytes([100] * 7))
    return Segment(0, 1000, 2400, "你好再见明天吗", said, marks if marked else b"", speakers)


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        (0, "你好，再会。", "你好，再会。明天吗？"),
        (0, "您好，小王，再见。", "您好，小王，再见。明天吗？"),
        (0, "你好。再见。", "你好。再见。明天吗？"),
        (1, "后天《红楼梦》吗？", "你好，再见。后天《红楼梦》吗？"),
        (1, "", "你好，再见。"),
        (1, "see you  tomorrow", "你好，再见。See you tomorrow"),
    ],
)
def test_a_sentence_with_marks_is_written_as_corrected(number: int, text: str, expected: str) -> None:
    made = correct(content_of(chinese()), number, text)
    assert made.text == expected
    (segment,) = made.transcript.segments
    assert len(segment.marks) == len(segment.tokens)


def test_words_keep_their_times_and_are_sure() -> None:
    made = correct(content_of(chinese()), 0, "你好，小王再见。").transcript.segments[0].tokens
    assert [t.text for t in made] == list("你好小王再见明天吗")
    assert [t.start_ms for t in made] == [1000, 1200, 1400, 1400, 1400, 1600, 1800, 2000, 2200]
    assert made.confidence == bytes([255] * 6 + [100] * 3)
    replaced = correct(content_of(chinese()), 1, "大后天吗？").transcript.segments[0].tokens
    assert [(t.text, t.start_ms) for t in replaced][4:7] == [("大", 1800), ("后", 1900), ("天", 2000)]


def test_speakers_and_other_sentences_stay() -> None:
    content = content_of(chinese(speakers=b"\1\1\1\1\2\2\2"))
    made = correct(content, 1, "今天吧？")
    assert [(s.speaker, s.text) for s in made.sentences] == [(1, "你好，再见。"), (2, "今天吧？")]
    made = correct(made, 0, "你好，再会。")
    assert [(s.speaker, s.text) for s in made.sentences] == [(1, "你好，再会。"), (2, "今天吧？")]


def test_without_marks_a_segment_is_a_sentence() -> None:
    content = content_of(chinese(marked=False), replace(chinese(marked=False), index=1))
    made = correct(content, 1, "你好，再会")
    assert [s.text for s in made.sentences] == ["你好再见明天吗", "你好，再会"]


def test_a_sentence_over_several_segments() -> None:
    first = Segment(0, 0, 400, "你好", tokens(list("你好"), 0, 200), bytes([0, 0]))
    other = Segment(1, 900, 1300, "再见", tokens(list("再见"), 900, 200), bytes([0, FULL_STOP]))
    made = correct(content_of(first, other), 0, "您好再见了。")
    assert made.text == "您好再见了。"
    assert [s.text for s in made.transcript.segments] == ["您好", "再见了"]


def test_text_without_tokens_and_with_marks_of_its_model() -> None:
    plain = Segment(0, 0, 3000, "今天很好。明天再说。")
    made = correct(content_of(plain), 1, "明天，再说！")
    assert made.text == "今天很好。明天，再说！"
    english = tokens(["Hello", "world", "Good", "bye"], 0)
    said = Segment(0, 0, 1000, "Hello, world. Good bye.", english)
    made = correct(content_of(said), 0, "Hello, new world.")
    assert made.text == "Hello, new world. Good bye."
    assert [t.text for t in made.transcript.segments[0].tokens] == ["Hello", "new", "world", "Good", "bye"]


def test_numbers_in_figures_stay_as_they_are_read() -> None:
    said = tokens(list("二零二四年春天"), 0)
    segment = Segment(0, 0, 1750, "二零二四年春天", said, bytes([0, 0, 0, 0, 0, 0, FULL_STOP]))
    content = content_of(segment, numbers="written")
    assert content.text == "2024年春天。"
    assert correct(content, 0, "2024年夏天。").text == "2024年夏天。"
