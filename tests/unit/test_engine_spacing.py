"""Joining of words to text in Chinese, English and mixtures of both."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dropscribe.engine.models.text import spacing


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["今", "天", "开", "会"], "今天开会"),
        (["yesterday", "was", "星", "期", "一"], "yesterday was 星期一"),
        (["用", "AI", "写"], "用 AI 写"),
        (["2", "0", "2", "4", "年"], "2024年"),
        (["it's", "five", "o'clock"], "it's five o'clock"),
        (["カ", "メ", "ラ"], "カメラ"),
        ([], ""),
    ],
)
def test_join(words: list[str], text: str) -> None:
    assert spacing.join(words) == text


@pytest.mark.parametrize("text", ["今天开会", "yesterday was 星期一", "用 AI 写", ""])
def test_split_inverts_join(text: str) -> None:
    assert spacing.join(spacing.split(text)) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["今", "天"], "今天"),
        ([], ""),
        (["今", "AI"], None),
        (["今", "a"], None),
        (["今天", "天"], None),
        (["今天", ""], None),
    ],
)
def test_only_single_chinese_characters_need_no_joining(words: list[str], text: str | None) -> None:
    assert spacing.unspaced(words) == text


def test_words_without_positions_fill_the_segment_in_order() -> None:
    tokens = spacing.spread(["a", "b", "c"], 1000, 2000)
    assert [t.text for t in tokens] == ["a", "b", "c"]
    assert tokens[0].start_ms == 1000
    assert tokens[-1].end_ms == 2000
    assert all(a.end_ms == b.start_ms for a, b in pairwise(tokens))


def test_no_words_have_no_spans() -> None:
    assert spacing.spread([], 0, 1000) == ()
