"""The record of a number found in a text, and the check that its written form keeps the value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Form:
    """Characters `[start, end)` of a text, written as `text`."""

    start: int
    end: int
    text: str


#: Decimal multipliers that stay words after figures.
MULTIPLIERS = {
    "万亿": 10**12,
    "亿": 10**8,
    "万": 10**4,
    " thousand": 10**3,
    " million": 10**6,
    " billion": 10**9,
    " trillion": 10**12,
}
_FIGURES = re.compile(
    r"(?P<top>\d+)/(?P<bottom>\d+)"
    r"|(?P<figures>\d{1,3}(?:,\d{3})+|\d+)(?P<decimals>\.\d+)?(?P<times>万亿|亿|万| thousand| million| billion| trillion)?"
)


def values_of(written: str) -> tuple[Fraction, ...]:
    """Values of all figures in a written text, in order, without signs; `3.5万` is 35000, `2/3` a fraction."""
    found = []
    for match in _FIGURES.finditer(written):
        if match["top"]:
            found.append(Fraction(int(match["top"]), int(match["bottom"]) or 1))
            continue
        value = Fraction(match["figures"].replace(",", "") + (match["decimals"] or ""))
        found.append(value * MULTIPLIERS.get(match["times"] or "", 1))
    return tuple(found)
