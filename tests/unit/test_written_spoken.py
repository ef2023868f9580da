"""Ways to say a number in figures: what is searched for beside the figures themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.transcript.written.numbers import replacements
from dropscribe.transcript.written.numerals.spoken import ways_to_say


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ("2024年", "二零二四年"),
        ("2024", "两千零二十四"),
        ("2000", "二千"),
        ("320元", "三百二十元"),
        ("15", "十五"),
        ("50%", "百分之五十"),
        ("3.14", "三点一四"),
        ("10,500", "一万零五百"),
        ("100000000", "一亿"),
        ("10010000", "一千零一万"),
        ("1000100010", "十亿零一十万零一十"),
        ("120300", "十二万零三百"),
        ("3:20", "三点二十"),
        ("13800138000", "幺三八零零幺三八零零零"),
        ("007", "零零七"),
        ("0", "零"),
        ("320", "three hundred twenty"),
        ("1200 dollars", "one thousand two hundred dollars"),
        ("5.5%", "five point five percent"),
    ],
)
def test_figures_are_said_in_these_ways(figures: str, said: str) -> None:
    assert said in ways_to_say(figures)


@pytest.mark.parametrize("text", ["", "会议", "二零二四年", "meeting"])
def test_a_text_without_figures_is_said_as_it_stands(text: str) -> None:
    assert ways_to_say(text) == ()


@given(st.integers(10, 10**9 - 1))
def test_what_is_said_in_chinese_is_written_as_the_same_figures(value: int) -> None:
    said = ways_to_say(f"{value}元")[1]
    (found,) = replacements(list(said))
    written = found.text.replace(",", "")
    for unit, zeros in (("亿", 8), ("万", 4)):
        if written.endswith(unit) and "." not in written:
            written = written.removesuffix(unit) + "0" * zeros
    if written.isdigit():
        assert int(written) == value


@given(st.text(max_size=30))
def test_any_text_is_taken(text: str) -> None:
    assert text not in ways_to_say(text)
