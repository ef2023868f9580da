"""Division of segments into subtitle cues."""

from __future__ import annotations

import sys
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.transcript.layout import line_breaks
from dropscribe.transcript.layout.cues import Cue, Limits, cues
from dropscribe.transcript.types import Segment, Token, Tokens
from dropscribe.transcript.written.runs import Rules, runs_of
from dropscribe.transcript.written.units import _WIDE_LETTERS, Units, width
from tests.support.transcripts import tokens


def divide(*segments: Segment, chars: int = 20, seconds: float = 7.0, pause: int = 400) -> tuple[Cue, ...]:
    return cues(runs_of(segments, Rules()), Limits(chars, seconds, pause), {})


def texts(found: tuple[Cue, ...]) -> list[str]:
    return [c.text for c in found]


def chinese(text: str, start_ms: int = 0, step_ms: int = 200) -> Segment:
    made = tokens(list(text), start_ms, step_ms)
    return Segment(0, start_ms, made[-1].end_ms, text, made)


def test_a_pause_ends_a_cue_and_a_shorter_one_does_not() -> None:
    placed = Tokens("你好再见", (0, 200, 800, 1399), (200, 400, 1000, 1600))
    assert texts(divide(Segment(0, 0, 1600, "你好再见", placed), pause=400)) == ["你好", "再见"]
    assert texts(divide(Segment(0, 0, 1600, "你好再见", placed), pause=401)) == ["你好再见"]


def test_a_long_text_is_divided_evenly() -> None:
    found = divide(chinese("我们明天上午九点出发"), chars=8)
    assert texts(found) == ["我们明天上午", "九点出发"]


def test_a_cue_is_shown_no_longer_than_allowed() -> None:
    found = divide(chinese("一二三四五六七八", step_ms=1000), seconds=3.0)
    assert "".join(texts(found)) == "一二三四五六七八"
    assert all(c.end_ms - c.start_ms <= 3000 for c in found)
    assert len(found) == 3


def test_latin_letters_count_half_and_words_stay_whole() -> None:
    words = ["yester@@", "day", "we", "met", "in", "cambridge"]
    segment = Segment(0, 0, 1500, "yesterday we met in cambridge", tokens(words, 0))
    assert texts(divide(segment, chars=8)) == ["yesterday we met", "in cambridge"]


SPEECH = "今天的会议主要讨论明年的工作计划和预算安排首先请市场部介绍上半年的销售情况最后决定下个月在上海举行产品发布会"
WORDS = (
    "今天 的 会议 主要 讨论 明年 的 工作 计划 和 预算 安排 首先 请 市场部 介绍 上半年 的 销售 情况 "
    "最后 决定 下个月 在 上海 举行 产品 发布会"
).split()
WORD_ENDS = set(accumulate(map(len, WORDS)))


@pytest.mark.parametrize("chars", range(4, 21))
def test_no_line_ends_inside_a_word(chars: int) -> None:
    found = texts(divide(chinese(SPEECH), chars=chars, seconds=30.0))
    assert "".join(found) == SPEECH
    assert all(len(t) <= chars for t in found)
    assert set(accumulate(map(len, found))) <= WORD_ENDS


def test_a_line_ends_at_the_longest_pause_near_its_middle() -> None:
    """Two parts of equal length would be divided at 18; the pause is before 最后."""
    starts, at = [], 0
    for i in range(36):
        at += 200 + (300 if i == 19 else 0)
        starts.append(at)
    text = SPEECH[-36:]
    pause = Tokens(text, tuple(starts), tuple(s + 200 for s in starts))
    first, second = texts(divide(Segment(0, 0, at + 200, text, pause), chars=24, seconds=30.0))
    assert (first + second, len(first)) == (text, 19)


def test_a_long_text_of_another_script_is_divided_between_its_words() -> None:
    said = "안녕하세요 오늘 회의는 내년 사업 계획과 예산 배분을 주로 논의합니다"
    found = texts(divide(Segment(0, 0, 9000, said), chars=12, seconds=30.0))
    assert " ".join(found) == said
    assert len(found) == 3


def test_text_keeps_its_spacing_and_punctuation() -> None:
    segment = Segment(0, 0, 2000, "他说 hello, world。好", tokens(["他", "说", "hello", "world", "好"], 0))
    assert texts(divide(segment)) == ["他说 hello, world。", "好"]


def test_tokens_that_differ_from_the_text_are_shown_instead() -> None:
    segment = Segment(0, 0, 2000, "something else", tokens(["good", "mor@@", "ning", "你", "好"], 0))
    assert texts(divide(segment)) == ["good morning你好"]


def test_without_tokens_the_whole_text_is_spread_over_the_segment() -> None:
    found = divide(Segment(0, 1000, 9000, "甲乙丙丁戊己庚辛"), chars=4)
    assert texts(found) == ["甲乙丙丁", "戊己庚辛"]
    assert (found[0].start_ms, found[0].end_ms, found[1].start_ms, found[1].end_ms) == (
        1000,
        5000,
        5000,
        9000,
    )


def test_a_word_longer_than_a_line_stays_whole() -> None:
    assert texts(divide(Segment(0, 0, 900, "x" * 60), chars=10)) == ["x" * 60]


def test_a_short_cue_is_shown_long_enough_to_be_read_where_there_is_room() -> None:
    found = divide(
        Segment(0, 0, 60, "好", tokens(["好"], 0, 60)), Segment(1, 500, 560, "对", tokens(["对"], 500, 60))
    )
    assert found == (Cue(0, 500, "好"), Cue(500, 1300, "对"))


def test_a_segment_in_which_nothing_was_recognised_gives_no_cue() -> None:
    assert divide(Segment(0, 0, 900, "  ")) == ()


_WORDS = st.one_of(
    st.sampled_from(list("的一是不了人我在有他这中大来上")),
    st.text("abcdefghij", min_size=1, max_size=12),
    st.text("abcdefghij", min_size=1, max_size=6).map(lambda w: w + "@@"),
)


@st.composite
def _segments(draw: st.DrawFn) -> list[Segment]:
    """Segments as from an engine, with timestamps that may repeat, overlap or run backwards."""
    made: list[Segment] = []
    cursor = draw(st.integers(0, 5000))
    for index in range(draw(st.integers(0, 4))):
        placed: list[Token] = []
        start = cursor
        for word in draw(st.lists(_WORDS, max_size=40)):
            begin = max(0, cursor + draw(st.integers(-300, 900)))
            end = begin + draw(st.integers(-50, 700))
            placed.append(Token(word, begin, end))
            cursor = max(cursor, end)
        cursor += draw(st.integers(0, 2000))
        text = " ".join(t.text for t in placed).replace("@@ ", "").removesuffix("@@")
        text = draw(st.sampled_from([text, "", text.upper()]))
        made.append(Segment(index, start, max(cursor, start), text, Tokens.of(placed)))
    return made


def _bare(text: str) -> str:
    return "".join(text.split()).replace("@@", "").lower()


@given(_segments(), st.integers(4, 30), st.floats(0.5, 10), st.integers(50, 1500))
def test_every_token_once_in_order_within_the_limits(
    segments: list[Segment], chars: int, seconds: float, pause: int
) -> None:
    found = divide(*segments, chars=chars, seconds=seconds, pause=pause)
    assert _bare("".join(c.text for c in found)) == _bare("".join(t.text for s in segments for t in s.tokens))
    for cue in found:
        assert cue.text.strip()
        assert "\n" not in cue.text
        assert 1 <= cue.end_ms - cue.start_ms <= max(1, round(seconds * 1000))
        several = " " in cue.text or any(width(c) == 2 for c in cue.text[1:])
        assert width(cue.text) <= 2 * chars or not several
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(found))


@given(
    st.text(st.characters(), max_size=200), st.integers(0, 10**7), st.integers(0, 60_000), st.integers(4, 30)
)
def test_any_text_without_tokens_is_kept(text: str, start: int, length: int, chars: int) -> None:
    found = divide(Segment(0, start, start + length, text), chars=chars)
    assert "".join("".join(c.text for c in found).split()) == "".join(text.split())
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(found))
    assert all(c.end_ms > c.start_ms for c in found)


def test_the_fast_path_accepts_only_wide_letters() -> None:
    letters = [c for c in map(chr, range(sys.maxunicode + 1)) if _WIDE_LETTERS.fullmatch(c)]
    assert len(letters) > 20_000
    assert all(c.isalnum() and width(c) == 2 for c in letters)


_HAN = st.text(st.sampled_from("今天的会议主要讨论明年工作计划和预算安排上海一二三"), min_size=1, max_size=90)


def test_a_word_whose_times_run_backwards_is_as_long_as_its_last_end() -> None:
    starts, ends = [0, 321, 320], [180, 501, 500]
    letters = Units("一三一", starts, ends, [2, 2, 2])
    parts = line_breaks.divide(letters, 8, 500, 400)
    assert [max(p.ends) - min(p.starts) for p in parts] == [180, 180]


@given(_HAN, st.integers(4, 30), st.integers(500, 9_000), st.data())
def test_letters_of_one_width_are_divided_as_units_of_any_kind(
    text: str, chars: int, max_ms: int, data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.integers(-200, 700), min_size=len(text), max_size=len(text)))
    starts = list(accumulate(gaps))
    ends = [start + 180 for start in starts]
    letters = Units(text, starts, ends, [2] * len(text))
    units = Units(list(text), starts, ends, [2] * len(text))
    found, expected = (line_breaks.divide(u, 2 * chars, max_ms, 400) for u in (letters, units))
    assert [("".join(p.texts), p.starts[0]) for p in found] == [
        ("".join(p.texts), p.starts[0]) for p in expected
    ]
