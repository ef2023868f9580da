"""Write spoken Chinese numbers in digits, for comparison only: the result need not be good style, but equal for equal numbers.

Both texts of a comparison get the same treatment, so that converting a numeral of an idiom (`一下子`) costs nothing.
"""

from __future__ import annotations

import re

_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"\u3007": 0, "两": 2, "幺": 1}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_GROUPS = {"万": 10**4, "亿": 10**8}
_NUMERAL = "".join((*_DIGITS, *_UNITS, *_GROUPS))
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PERCENT = re.compile(rf"(\d+(?:\.\d+)?|[{_NUMERAL}]+(?:点[{''.join(_DIGITS)}]+)?)%")
_SPOKEN = re.compile(rf"[{_NUMERAL}0-9]+(?:(?:点|\.)[{''.join(_DIGITS)}0-9]+)?")


def canonical(text: str) -> str:
    """Text with each number in digits, `点` for a decimal point and `百分之` for a percent sign."""
    plain = _PERCENT.sub(r"百分之\1", _GROUPED.sub("", text))
    return _SPOKEN.sub(lambda found: _written(found.group()), plain)


def _written(number: str) -> str:
    whole, point, part = number.replace(".", "点").partition("点")
    return _whole(whole) + point + "".join(_digit(c) for c in part)


def _whole(numeral: str) -> str:
    """`二零二四` → `2024`, `三百二十` → `320`, `3万5` → `30005`; each digit by itself where there is no unit."""
    if not any(c in _UNITS or c in _GROUPS for c in numeral):
        return "".join(map(_digit, numeral))
    total = section = 0
    digit: int | None = None
    for c in re.findall(r"\d+|\D", numeral):
        if c in _UNITS:
            section += (1 if digit is None else digit) * _UNITS[c]
            digit = None
        elif c in _GROUPS:
            group, current = _GROUPS[c], section + (digit or 0)
            # A smaller group after a larger one is added to it (`一亿三万`), a larger one multiplies (`一万亿`).
            total = total + current * group if total >= group else (total + current or 1) * group
            section, digit = 0, None
        elif c.isdigit():
            digit = int(c) if digit is None else digit * 10 ** len(c) + int(c)
        else:
            digit = _DIGITS[c] if digit is None else digit * 10 + _DIGITS[c]
    return str(total + section + (digit or 0))


def _digit(character: str) -> str:
    return str(_DIGITS.get(character, character))
