"""Values of Chinese numbers, read in another way than for writing, so that a fault in one is found by the other. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from dropscribe.transcript.written.numerals.chinese_words import DIGITS, NUMERAL, UNITS
from dropscribe.transcript.written.numerals.forms import values_of


def keeps_value(said: str, written: str) -> bool:
    """Whether the written form has the numbers of the spoken one and no other word of it is lost.

    Numbers are read in another way than for writing, so that a fault in one is found by the other.
    """
    if said.count("点") > 1:
        return [_summed(part) for part in said.split("点")] == [int(part) for part in written.split(".")]
    words = re.sub(rf"[百千]分之|{NUMERAL}|分之|负", "", said)
    left = re.sub(r"[\d.,/%‰万亿-]", "", written)
    if words.replace("点", "") != left.replace("点", ""):
        return False
    return tuple(_read(said, decimal="点" not in written)) == values_of(written)


def _read(said: str, *, decimal: bool) -> Iterator[Fraction]:
    said = re.sub("^负", "", said)
    for percent in ("百分之", "千分之"):
        if said.startswith(percent):
            said = said.removeprefix(percent)
            if said == "百":
                said = "一百"
    for piece in re.split("[块又]" if decimal else "[块又点]", said):
        below, slash, above = piece.partition("分之")
        if slash:
            yield Fraction(_summed(above), _summed(below) or 1)
            continue
        whole, point, decimals = piece.partition("点")
        digits = decimals.rstrip("万亿")
        value = Fraction(_summed(whole))
        if point:
            value += Fraction(int(figures(digits) or "0"), 10 ** len(digits))
            for sign in decimals[len(digits) :]:
                value *= 10**4 if sign == "万" else 10**8
        yield value


def _summed(said: str) -> int:
    """Value by summing up from the left, whatever the order of the units."""
    said = said.replace("两", "二")
    if set(said) <= DIGITS.keys():
        return int(figures(said) or "0")
    total = section = digit = 0
    power = 1
    for character in said:
        if character in DIGITS:
            digit = DIGITS[character]
            if not digit:
                power = 10
        elif character in UNITS:
            section += (digit or 1) * UNITS[character]
            digit, power = 0, UNITS[character]
        else:
            unit = 10**4 if character == "万" else 10**8
            total = (total + section + digit) * unit if unit == 10**8 else total + (section + digit) * unit
            section, digit, power = 0, 0, unit
    return total + section + digit * (power // 10 if power > 10 else 1)


def figures(digits: str) -> str:
    """Digits, each as a figure: 二零二四 → 2024."""
    return "".join(str(DIGITS[d]) for d in digits)
