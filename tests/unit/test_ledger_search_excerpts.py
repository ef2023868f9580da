"""Queries as terms, and when and in which words a match was said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.ledger.records import Match
from dropscribe.ledger.sql.search.excerpts import excerpt
from dropscribe.ledger.sql.search.terms import fold, parse
from dropscribe.transcript.types import Segment, Tokens

#: A Chinese character, or a word.
WORD = re.compile(r"[\u4e00-\u9fff]|[\w]+")


def spoken(text: str) -> Segment:
    """A segment from 10 s on, with a token for each word or Chinese character: 80 ms, every 100 ms."""
    words = WORD.findall(text)
    begins = [10_000 + 100 * n for n in range(len(words))]
    return Segment(0, 10_000, 20_000, text, Tokens(words, begins, [begin + 80 for begin in begins]))


def found(segment: Segment, query: str) -> tuple[str, tuple[Match, ...]]:
    spans = [(segment, m.span()) for t in parse(query) for m in t.pattern.finditer(segment.text)]
    return excerpt(spans)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("预算", ["预算"]),
        ("  预算   会议 ", ["预算", "会议"]),
        ('"next  year" budget', ["next year", "budget"]),
        ("“明年 预算”和", ["明年 预算", "和"]),
        ("「你好 世界」", ["你好 世界"]),
        ('say"', ['say"']),
        ('a "b', ["a", '"b']),
        ('NEAR(a, b) -c* ^d AND "', ["NEAR(a,", "b)", "-c*", "^d", "AND", '"']),
        ("Budget budget", ["Budget"]),
        ('" "', []),
        ("", []),
        ("\x00\x02 \udcff", []),
    ],
)
def test_a_query_is_words_and_phrases(query: str, terms: list[str]) -> None:
    assert [t.text for t in parse(query)] == terms


@given(st.text(st.sampled_from("预算 a1A\"“”「」*'-\n"), max_size=12))
def test_a_term_finds_its_own_text_and_its_needle_is_in_it(query: str) -> None:
    for term in parse(query):
        assert term.pattern.fullmatch(term.text)
        assert term.needle
        assert term.needle in term.text


@pytest.mark.parametrize(
    ("text", "query", "start_ms", "end_ms"),
    [
        ("今天讨论预算", "预算", 400, 580),
        ("yesterday we met Anna at the station", '"met anna AT"', 200, 480),
        ("yesterday we met Anna at the station", "stat", 600, 680),
        ("我们用 AI 技术", "用AI", 200, 380),
        ("好，我们开始。谁先说？", "先", 600, 680),
        ("，，好。。 我 们", "们", 200, 280),
        ("Ünïcode ist ΟΔΟΣ", "οδος", 200, 280),
    ],
)
def test_a_match_has_the_time_of_its_tokens(text: str, query: str, start_ms: int, end_ms: int) -> None:
    _, matches = found(spoken(text), query)
    assert [(m.start_ms, m.end_ms) for m in matches] == [(10_000 + start_ms, 10_000 + end_ms)]


def test_subwords_and_missing_tokens_leave_the_times_of_others_right() -> None:
    tokens = Tokens(
        ["tran@@", "scribe", "oh", "the", "▁mee", "ting"],
        [0, 100, 200, 300, 500, 600],
        [90, 190, 290, 400, 590, 700],
    )
    segment = Segment(0, 0, 1_000, "transcribe um the meeting", tokens)
    for query, start_ms, end_ms in (("transcribe", 0, 190), ("the", 300, 400), ("meeting", 500, 700)):
        _, (match,) = found(segment, query)
        assert (match.start_ms, match.end_ms) == (start_ms, end_ms)


def test_without_tokens_the_time_follows_from_the_place_in_the_text() -> None:
    _, (match,) = found(Segment(0, 10_000, 20_000, "一二三四五六七八九十"), "六")
    assert (match.start_ms, match.end_ms) == (15_000, 16_000)


def test_each_place_of_a_word_is_marked_and_what_lies_between_is_left_out() -> None:
    text = "长" * 40 + "预算" + "长" * 100 + "预算" + "短" * 10 + "预算" + "长" * 10
    line, matches = found(spoken(text), "预算")
    assert (
        line
        == "…" + "长" * 30 + "预算" + "长" * 30 + " … " + "长" * 30 + "预算" + "短" * 10 + "预算" + "长" * 10
    )
    assert [line[m.first : m.last] for m in matches] == ["预算"] * 3
    assert [m.start_ms for m in matches] == [14_000, 24_200, 25_400]


def test_matches_of_several_segments_are_in_order_of_time() -> None:
    first, second = Segment(3, 0, 900, "one two"), Segment(4, 1_000, 1_900, "three\nfour")
    far = Segment(9, 9_000, 9_900, "five")
    line, matches = excerpt([(far, (0, 4)), (second, (6, 10)), (first, (0, 3))])
    assert line == "one two three four … five"
    assert [line[m.first : m.last] for m in matches] == ["one", "four", "five"]


def test_folding_keeps_the_length() -> None:
    odd = "ẞßİıŉǅﬁΣς예"
    assert len(fold(odd)) == len(odd)
    assert fold("ΑΣ Straße") == fold("ας STRAßE")
