"""Spoken numbers in figures: cases of data/numbers_*.tsv, and that no number is ever lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropscribe.transcript.written.numbers import replacements
from dropscribe.transcript.written.numerals.forms import values_of
from dropscribe.transcript.written.types import Replacement

DATA = Path(__file__).parent / "data"
_TOKEN = re.compile(r"[\u3007\u3400-\u9fff]|[^\s\u3007\u3400-\u9fff]+")


def cases(name: str) -> list[tuple[str, str, str]]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(spoken, written, kind) for spoken, written, kind in rows]


def tokens_of(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


def applied(texts: Sequence[str], found: Sequence[Replacement]) -> list[str]:
    out: list[str] = []
    at = 0
    for one in found:
        assert at <= one.first < one.end <= len(texts)
        assert one.text == one.text.strip() != ""
        out += [*texts[at : one.first], one.text]
        at = one.end
    return [*out, *texts[at:]]


def written(text: str) -> str:
    texts = tokens_of(text)
    return squeezed(" ".join(applied(texts, replacements(texts))))


def squeezed(text: str) -> str:
    """Without the spaces beside Chinese, which are a matter of layout."""
    return re.sub(r" ?([\u3007\u3400-\u9fff]) ?", r"\1", text)


@pytest.mark.parametrize("name", ["numbers_kinds.tsv", "numbers_own.tsv", "numbers_further.tsv"])
def test_numbers_are_written_as_an_editor_would(name: str) -> None:
    rows = cases(name)
    wrong = [f"{s} → {written(s)}, not {w}" for s, w, _ in rows if written(s) != squeezed(w)]
    assert not wrong, f"{len(rows) - len(wrong)} of {len(rows)}: {wrong}"


def test_there_are_cases_of_every_kind() -> None:
    kinds = cases("numbers_kinds.tsv")
    chinese = [s for s, _, _ in kinds if not s.isascii()]
    assert (len(chinese), len(kinds)) == (40, 60)
    assert len(cases("numbers_own.tsv")) >= 200
    assert len(cases("numbers_further.tsv")) >= 200


@pytest.mark.parametrize("name", ["numbers_kinds.tsv", "numbers_own.tsv", "numbers_further.tsv"])
def test_written_text_is_not_changed_again(name: str) -> None:
    for _, text, _ in cases(name):
        texts = tokens_of(text)
        once = applied(texts, replacements(texts))
        assert replacements(once) == ()


def test_a_text_of_single_characters_gives_the_same_as_a_tuple_of_them() -> None:
    text = "一共三千五百块钱百分之三十三到五公里"
    assert replacements(text) == replacements(tuple(text)) != ()


def test_tokens_of_a_number_are_named_exactly() -> None:
    assert replacements("共三千五百块") == (Replacement(1, 5, "3500"),)
    assert replacements(("twen@@", "ty", "three", "peo@@", "ple")) == (Replacement(0, 3, "23"),)
    assert replacements(("▁Twenty", "▁three", "▁people")) == (Replacement(0, 2, "23"),)
    assert replacements(("at", "3", "twenty")) == ()


def test_a_number_does_not_begin_or_end_within_a_token() -> None:
    assert replacements(("三百", "五十人")) == ()
    assert replacements(("三百", "五十", "人")) == (Replacement(0, 2, "350"),)


def test_a_mark_separates_numbers() -> None:
    text = "有二十三十人"
    assert replacements(text) == ()
    assert replacements(text, bytes([0, 0, 4, 0, 0, 0])) == (Replacement(1, 3, "20"), Replacement(3, 5, "30"))
    assert replacements("二十五十", bytes([0, 1, 0, 1])) == (Replacement(0, 2, "20"), Replacement(2, 4, "50"))
    words = ("thirty", "forty", "people")
    assert replacements(words) == ()
    assert replacements(words, bytes([1, 0, 0])) == (Replacement(0, 1, "30"), Replacement(1, 2, "40"))


def test_no_tokens() -> None:
    assert replacements("") == replacements(()) == replacements(("", " ", "▁", "@@")) == ()


DIGITS = "零一二三四五六七八九"


def said_section(number: int) -> str:
    said, gap = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit:
            said += ("零" if gap and said else "") + DIGITS[digit] + name
        gap = not digit
    return said


def said_in_chinese(number: int) -> str:
    said = ""
    for unit, name in ((10**8, "亿"), (10**4, "万"), (1, "")):
        section = number // unit % 10**4
        if section:
            said += ("零" if said and section < 1000 else "") + said_section(section) + name
    return said.removeprefix("一") if said.startswith("一十") else said


ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()


def said_in_english(number: int) -> str:
    for unit, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= unit:
            rest = f" {said_in_english(number % unit)}" if number % unit else ""
            return f"{said_in_english(number // unit)} {name}{rest}"
    if number < 20:
        return ONES[number]
    return TENS[number // 10] + (f" {ONES[number % 10]}" if number % 10 else "")


#: Numbers of all lengths alike.
numbers = st.integers(1, 11).flatmap(lambda digits: st.integers(11, 10**digits + 11))


@given(numbers)
def test_chinese_numbers_keep_their_value(number: int) -> None:
    assert values_of(written(f"总数是{said_in_chinese(number)}米")) == (Fraction(number),)


@given(numbers)
def test_english_numbers_keep_their_value(number: int) -> None:
    assert values_of(written(f"a total of {said_in_english(number)} people")) == (Fraction(number),)


@given(numbers, st.text("0123456789", min_size=1, max_size=6))
def test_decimals_keep_their_value(whole: int, decimals: str) -> None:
    value = Fraction(f"{whole}.{decimals}")
    said = f"{said_in_chinese(whole)}点{''.join(DIGITS[int(d)] for d in decimals)}"
    assert values_of(written(f"是百分之{said}")) == (value,)
    in_english = f"{said_in_english(whole)} point {' '.join(ONES[int(d)] for d in decimals)}"
    assert values_of(written(f"that is {in_english} percent")) == (value,)


@given(st.text("0123456789", min_size=10, max_size=20))
def test_long_series_of_digits_are_kept(digits: str) -> None:
    assert written("".join(DIGITS[int(d)] for d in digits)) == digits
    assert written(" ".join(ONES[int(d)] for d in digits)) == digits


@given(st.integers(2, 9999), st.integers(1, 9999))
def test_fractions_keep_their_value(bottom: int, top: int) -> None:
    below = said_in_chinese(bottom)
    if below[0] in "百千":
        return
    assert written(f"占{below}分之{said_in_chinese(top)}") == f"占{top}/{bottom}"


SURROUNDINGS = [
    *"零一二两三四五六七八九十百千万亿幺点分之第负月日号年块又到至半几多的我上午周是",
    "ok",
    "7",
    "ok",
    "7",
]
WORDS = [
    *ONES, *TENS, "hundred", "thousand", "million", "and", "point", "oh", "percent", "dollars", "cents", "to", "a", "p",
    "m", "at", "in", "june", "third", "thirds", "minus", "twenty-one", "o'clock", "kilometers", "我", "三",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(SURROUNDINGS) | st.sampled_from(WORDS) | st.text(max_size=3), max_size=30),
    st.data(),
)
def test_whatever_is_said_no_other_word_is_lost(texts: list[str], data: st.DataObject) -> None:
    marks = data.draw(st.binary(max_size=0) | st.binary(min_size=len(texts), max_size=len(texts)))
    found = replacements(texts, marks)
    applied(texts, found)
    for one in found:
        assert not any(marks[one.first : one.end - 1])
        assert values_of(one.text)
        other = {t for t in texts[one.first : one.end] if t not in SURROUNDINGS and t.lower() not in WORDS}
        assert all(not t.strip(" ▁@") or not t.isalnum() or t.isnumeric() for t in other), other
    again = applied(texts, found)
    assert replacements(texts, marks) == found
    assert len(again) == len(texts) - sum(r.end - r.first - 1 for r in found)


@given(st.lists(st.sampled_from(SURROUNDINGS[:40]), max_size=40))
def test_figures_of_chinese_are_the_numbers_said(characters: list[str]) -> None:
    """Reading the written form aloud gives the numerals back, in order."""
    text = "".join(characters)
    for one in replacements(text):
        said = text[one.first : one.end]
        assert digits_read(one.text) == digits_said(said), (said, one.text)


@pytest.mark.parametrize("said", ["版本是一点零十点二", "版本十十点一点二", "十块零百", "元零万十块零万"])
def test_numerals_without_a_reading_stay_as_they_were_said(said: str) -> None:
    assert "None" not in written(said)
    assert written(said).endswith(said[-2:])


def test_a_version_with_a_ten_is_written() -> None:
    assert written("版本是三点十点二十一") == "版本是3.10.21"
    assert written("hundred hundredth") == "hundred hundredth"


#: What numbers, shares, versions, scores, money and times are said with.
CHINESE_PARTS = [
    *"零〇一二两三四五六七八九十百千万亿幺", *("点", "版本", "版本是", "比", "比分", "战胜", "分之", "百分之", "千分之"),
    *("块", "元", "角", "毛", "年", "月", "日", "号", "度", "负", "第", "又", "到", "至", "上午", "周", "分", "秒", "刻"),
]  # fmt: skip
ENGLISH_PARTS = [
    *ONES, *TENS, "hundred", "hundredth", "thousand", "million", "thirds", "half", "quarters", "fifth", "and", "point",
    "oh", "percent", "dollars", "cents", "to", "a", "p", "m", "minus", "o'clock", "of", "the",
]  # fmt: skip


@given(
    st.sampled_from(["", "版本是", "十块", "比分是", "百分之"]),
    st.lists(st.sampled_from(CHINESE_PARTS), max_size=9),
    st.lists(st.sampled_from(ENGLISH_PARTS), max_size=6),
)
@settings(max_examples=300)
def test_no_sequence_of_numerals_raises(head: str, chinese: list[str], english: list[str]) -> None:
    for texts in (tokens_of(head + "".join(chinese)), tuple(english)):
        applied(texts, replacements(texts))


def digits_said(said: str) -> list[int]:
    """Digits of a spoken number that are not zero, in order; 十 at the beginning counts as a one."""
    found, last = [], ""
    for character in said.replace("两", "二").replace("幺", "一"):
        if character in DIGITS[1:]:
            found.append(DIGITS.index(character))
        elif (character == "十" and last not in set(DIGITS[1:])) or (
            character == "百" and said.endswith("百分之百") and last == "之"
        ):
            found.append(1)
        last = character
    # The denominator is written last.
    if "分之" in said and not said.startswith(("百分之", "千分之", "负百")):
        head, _, _ = said.rpartition("分之")
        head = head.rpartition("又")[2]
        whole = said.rpartition("又")[0] if "又" in said else ""
        first, below = len(digits_said(whole)), len(digits_said(head))
        return [*found[:first], *found[first + below :], *found[first : first + below]]
    return found


def digits_read(figures: str) -> list[int]:
    return [int(c) for c in figures if c in "123456789"]
