"""How a number in figures is said, in Chinese and in English: for finding it in what was recognised. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_DIGITS = "零一二三四五六七八九"
_UNITS = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿")
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_THOUSANDS = ("", " thousand", " million", " billion")
#: A number in figures, with its fraction and percent sign.
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?%?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2})[:\uff1a](\d{2})", re.ASCII)
#: Longer numbers are said digit by digit only.
_MOST_DIGITS = 12


def ways_to_say(text: str) -> tuple[str, ...]:
    """Texts that say the same with each number in words, the likeliest first; () for a text without figures.

    `2024年` → 二零二四年, 二千零二十四年, 两千零二十四年; `50%` → 百分之五十. All numbers of a text are said in the same way.
    """
    if not any(map(str.isdigit, text)):
        return ()
    clock = _CLOCK.sub(lambda m: f"{_cardinal(m[1])}点{_cardinal(m[2])}", text)
    ways = [clock] if clock != text else [_with_numbers(text, way) for way in _WAYS]
    return tuple(dict.fromkeys(w for w in ways if w != text))


def _with_numbers(text: str, say: Callable[[str], str]) -> str:
    return _NUMBER.sub(lambda m: say(m[0]), text)


def _one_by_one(number: str) -> str:
    return "".join(_DIGITS[int(c)] if c.isdigit() else {".": "点"}.get(c, "") for c in number)


def _by_phone(number: str) -> str:
    return _one_by_one(number).replace("一", "幺")


def _in_chinese(number: str) -> str:
    whole, point, rest = number.replace(",", "").rstrip("%").partition(".")
    said = _cardinal(whole) + ("点" + _one_by_one(rest) if point else "")
    return f"百分之{said}" if number.endswith("%") else said


def _in_chinese_with_liang(number: str) -> str:
    return re.sub(r"二(?=[千万亿])", "两", _in_chinese(number))


def _in_english(number: str) -> str:
    whole, point, rest = number.replace(",", "").rstrip("%").partition(".")
    said = _english(whole)
    if point:
        said += " point " + " ".join(_SMALL[int(c)] for c in rest)
    return f"{said} percent" if number.endswith("%") else said


_WAYS = (_one_by_one, _in_chinese, _in_chinese_with_liang, _in_english, _by_phone)


def _cardinal(digits: str) -> str:
    """A whole number in Chinese; digit by digit if it begins with 0 or is too long."""
    if len(digits) > _MOST_DIGITS or (digits.startswith("0") and digits != "0"):
        return _one_by_one(digits)
    if int(digits) == 0:
        return "零"
    groups = [digits[max(0, end - 4) : end] for end in range(len(digits), 0, -4)][::-1]
    said = ""
    for at, group in enumerate(groups):
        value = int(group)
        if value == 0:
            continue
        if said and (value < 1000 or groups[at - 1].endswith("0000")):
            said += "零"
        said += _below_ten_thousand(value) + _GROUPS[len(groups) - 1 - at]
    # 十五, not 一十五, at the beginning.
    return said.removeprefix("一") if said.startswith("一十") else said


def _below_ten_thousand(value: int) -> str:
    said, gap = "", False
    for place in range(3, -1, -1):
        digit = value // 10**place % 10
        if digit:
            said += ("零" if gap and said else "") + _DIGITS[digit] + _UNITS[place]
            gap = False
        else:
            gap = True
    return said


def _english(digits: str) -> str:
    if len(digits) > _MOST_DIGITS:
        return " ".join(_SMALL[int(c)] for c in digits)
    value = int(digits)
    return " ".join(_english_parts(value)) if value else "zero"


def _english_parts(value: int) -> Iterator[str]:
    for power in range(len(_THOUSANDS) - 1, -1, -1):
        group = value // 1000**power % 1000
        if group:
            yield _below_thousand(group) + _THOUSANDS[power]


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{_SMALL[hundreds]} hundred"] if hundreds else []
    if 0 < rest < len(_SMALL):
        words.append(_SMALL[rest])
    elif rest:
        words.append(_TENS[rest // 10] + (f" {_SMALL[rest % 10]}" if rest % 10 else ""))
    return " ".join(words)
