"""English numbers in speech: twenty five dollars → $25, three point one four → 3.14, june fifth → june 5th.

A number from ten is written in figures; a smaller one only before a unit of measure, percent, money, o'clock, a.m. or
p.m. and in decimals. A run with two readings (seven forty five: a time, or a price) stays words unless what stands
before or after decides.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from dropscribe.transcript.written.numerals.forms import Form, values_of

_ONES = {w: i for i, w in enumerate("zero one two three four five six seven eight nine".split())}
_TEENS = {
    w: i
    for i, w in enumerate(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), start=10
    )
}
_TENS = {
    w: 10 * i for i, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SMALL = {**_ONES, **_TEENS, **_TENS}
_CARDINALS = {*_SMALL, "hundred", *_LARGE}
_ORDINAL_OF = {
    "first": "one", "second": "two", "third": "three", "fourth": "four", "fifth": "five", "sixth": "six",
    "seventh": "seven", "eighth": "eight", "ninth": "nine", "tenth": "ten", "eleventh": "eleven", "twelfth": "twelve",
    "thirteenth": "thirteen", "fourteenth": "fourteen", "fifteenth": "fifteen", "sixteenth": "sixteen",
    "seventeenth": "seventeen", "eighteenth": "eighteen", "nineteenth": "nineteen", "twentieth": "twenty",
    "thirtieth": "thirty", "fortieth": "forty", "fiftieth": "fifty", "sixtieth": "sixty", "seventieth": "seventy",
    "eightieth": "eighty", "ninetieth": "ninety", "hundredth": "hundred", "thousandth": "thousand",
}  # fmt: skip
_PARTS = {
    "third": 3, "thirds": 3, "quarters": 4, "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6,
    "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8, "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10,
}  # fmt: skip
#: Words of which one begins each number.
WORDS = frozenset({*_CARDINALS, *_ORDINAL_OF, *_PARTS})

_W = "(?:" + "|".join(sorted(WORDS, key=len, reverse=True)) + ")"
_CANDIDATE = re.compile(rf"\b{_W}(?: (?:(?:and|point) )?(?:{_W}|oh))*\b", re.ASCII)
_MONTHS = "january february march april may june july august september october november december".split()
_MONTH_BEFORE = re.compile(
    rf"(?:^|[^a-z])(?:(on|by|of|until|since|from|before|after) )?({'|'.join(_MONTHS)}) $"
)
_MONTH_AFTER = re.compile(rf" of (?:{'|'.join(_MONTHS)})\b")
_TIME_BEFORE = re.compile(
    r"\b(?:at|by|until|till|around|before|after|since|from|about (?:at|around)) (?:the )?$"
)
_YEAR_BEFORE = re.compile(r"\b(?:in|since|by|of|year|during|until|from|before|after|late|early|\d) $")
_HALVES = re.compile(r" ?(a ?m|p ?m|am|pm|a\. ?m\.?|p\. ?m\.?)\b\.?")
_CURRENCY = re.compile(r" (dollars?|euros?)\b(?: and ([a-z ]+?) cents?\b)?")
_SIGNS = {"dollar": "$", "euro": "€"}
_PERCENT = re.compile(r" per ?cent\b")
_MEASURE = re.compile(
    r" (?:o'? ?clock|(?:square |cubic )?(?:kilo|centi|milli|micro)?(?:meters?|metres?|grams?|liters?|litres?|watts?|hertz)"
    r"|(?:square )?miles?|kilos?|pounds|ounces?|tons?|tonnes?|feet|inches|acres|gallons?|degrees"
    r"|(?:kilo|mega|giga|tera)?(?:bytes?|bits?)|volts?|amps?|pixels?|(?:km|cm|mm|kg|mph|mb|gb|tb)|megahertz|gigahertz)\b"
)
_ORDERED = re.compile(
    r" (?:century|amendment|street|avenue|floor|edition|anniversary|birthday|annual|of|day|place|time|chapter)\b"
)
_IDIOMS = re.compile(
    r"\b(?:one on one|one by one|twenty four seven|fifty fifty|nine eleven|seven eleven|catch twenty two|twenty twenty vision"
    r"|ten to (?:one|two|three|four|five|six|seven|eight|nine)|nine to five|one thousand and one nights|(?:double|triple|treble) [a-z]+"
    r"|second to none|at first|first of all|ten out of ten)\b"
)


def forms(text: str) -> list[Form]:
    """Numbers of a lower-case text with their form in figures, in order. A line break in `text` separates numbers."""
    found: list[Form] = []
    for match in _CANDIDATE.finditer(text):
        before = text[max(0, match.start() - 24) : match.start()]
        for start, end in _divided(match[0], match.start(), joined="between " not in before):
            form = _form(text, start, end)
            if form is None:
                continue
            if (first := _range_start(text, form)) is not None and (
                not found or found[-1].end <= first.start
            ):
                found.append(first)
            if not found or found[-1].end <= form.start:
                found.append(form)
    return found


def _divided(said: str, offset: int, *, joined: bool) -> list[tuple[int, int]]:
    """Bounds of the numbers in a run: an ordinal ends one, "and" joins only what follows hundred, thousand and so on."""
    bounds, start = [], 0
    for link in re.finditer(" (?:and )?", said):
        left = said[start : link.start()].rpartition(" ")[2]
        apart = link[0] == " and " and not (joined and (left == "hundred" or left in _LARGE))
        if apart or left in _ORDINAL_OF:
            bounds.append((offset + start, offset + link.start()))
            start = link.end()
    bounds.append((offset + start, offset + len(said)))
    return bounds


def _range_start(text: str, form: Form) -> Form | None:
    """The number below ten before "to" and a number in figures with a unit: five to ten percent."""
    found = re.search(
        r"(?:^|[^a-z-])(one|two|three|four|five|six|seven|eight|nine) to $", text[: form.start][-12:]
    )
    if found is None or not form.text[:1].isdecimal() or _CANDIDATE.match(text, form.start) is None:
        return None
    start = form.start - len(found[1]) - 4
    if re.search(r"[a-z] $", text[:start]) and re.search(
        rf"\b(?:{'|'.join(WORDS)}|point|and|oh) $", text[:start][-14:]
    ):
        return None
    return Form(start, start + len(found[1]), str(_ONES[found[1]]))


def _form(text: str, start: int, end: int) -> Form | None:
    """Form of a candidate in its surroundings; None if it stays words."""
    said, before, after = text[start:end], text[max(0, start - 24) : start], text[end : end + 40]
    low = max(0, start - 12)
    if any(low + m.start() < end and low + m.end() > start for m in _IDIOMS.finditer(text[low : end + 12])):
        return None
    if re.search(r"(?:\d|\bpoint|\boh|-) ?$", before) or re.match(r" ?[\d-]| (?:point|oh) ", after):
        return None
    words = said.split(" ")
    if words[-1] in _ORDINAL_OF or words[-1] in _PARTS:
        written = _ordinal_or_part(words, before, after)
        return None if written is None else Form(start, end, written)
    half = _HALVES.match(after)
    if half is not None and (clock := _clock(words)) is not None:
        return Form(start, end + half.end(), f"{clock} {half[1][0]}.m.")
    number = _number(said)
    if number is None:
        if (clock := _clock(words)) is not None and " " in said and _TIME_BEFORE.search(before):
            return Form(start, end, clock)
        year = _year(words, after_preposition=_YEAR_BEFORE.search(before) is not None)
        return None if year is None else Form(start, end, year)
    if (
        words[0] in _ONES
        and "point" in words
        and re.search(r"\b(?:at|this|that|some) $", before)
        and words[0] == "one"
    ):
        return None
    small = len(words) == 1 and words[0] in _ONES
    if (money := _CURRENCY.match(after)) is not None:
        return _money(start, end, number, money)
    if (percent := _PERCENT.match(after)) is not None:
        return _negative(text, start, end + percent.end(), f"{number}%")
    if (
        small
        and not (_MEASURE.match(after) and words[0] != "zero")
        and not (after.startswith(" cents") and said != "one")
    ):
        return None
    if said == "one" and not re.match(r" (?:o'? ?clock|kilo|centi|milli|percent)", after):
        return None
    return _negative(text, start, end, number)


def _negative(text: str, start: int, end: int, written: str) -> Form:
    """The number with its sign where "minus" or "negative" stands before it, but not between two numbers."""
    sign = re.search(r"(?:^|([a-z]+) |\n)((?:minus|negative) )$", text[max(0, start - 32) : start])
    if sign is None or sign[1] in WORDS or (sign[1] is None and start > len(sign[0]) and sign[0][0] != "\n"):
        return Form(start, end, written)
    return Form(start - len(sign[2]), end, f"-{written}")


def _money(start: int, end: int, number: str, money: re.Match[str]) -> Form:
    sign = _SIGNS[money[1].rstrip("s")]
    if money[2] is not None and number.replace(",", "").isdecimal():
        cents = _cardinal(tuple(money[2].split(" ")))
        if cents is not None and 0 < cents < 100:
            return Form(start, end + money.end(), f"{sign}{number}.{cents:02d}")
    return Form(start, end + 1 + len(money[1]), f"{sign}{number}")


def _ordinal_or_part(words: list[str], before: str, after: str) -> str | None:
    last = words[-1]
    if len(words) == 2 and last in _PARTS and words[0] in _ONES and words[0] != "zero":
        if re.search(r"\band $", before) or (last == "quarters" and not after.startswith(" of ")):
            return None
        if (words[0] == "one") != (not last.endswith("s")):
            return None
        return f"{_ONES[words[0]]}/{_PARTS[last]}"
    if last not in _ORDINAL_OF or "point" in words or "oh" in words:
        return None
    value = _cardinal((*words[:-1], _ORDINAL_OF[last]))
    if value is None and len(words) == 1 and last in {"hundredth", "thousandth"}:
        return None
    if value is None:
        return None
    month = _MONTH_BEFORE.search(before)
    dated = value <= 31 and (
        (month is not None and (month[2] not in {"march", "may"} or month[1] is not None))
        or _MONTH_AFTER.match(after) is not None
    )
    if not dated and (value < 10 or (last == "second" and not _ORDERED.match(after))):
        return None
    return f"{value:,}{_suffix(value)}" if value >= 10**4 else f"{value}{_suffix(value)}"


def _suffix(value: int) -> str:
    if value % 100 in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")


def _clock(words: list[str]) -> str | None:
    """`three thirty` → `3:30`; None if the words are no time of day."""
    hour = _SMALL.get(words[0], 0)
    if not 1 <= hour <= 12:
        return None
    if len(words) == 1:
        return str(hour)
    if words[1] == "oh":
        minute = _ONES.get(words[2], 0) if len(words) == 3 else 0
    else:
        minute = _cardinal(tuple(words[1:])) or 0
        minute = minute if minute >= 10 else 0
    return f"{hour}:{minute:02d}" if 0 < minute < 60 else None


def _year(words: list[str], *, after_preposition: bool) -> str | None:
    """`nineteen eighty four` → `1984`; None for other pairs of numbers."""
    century = _SMALL.get(words[0], 0)
    if century not in {17, 18, 19, 20} or len(words) < 2:
        return None
    if words[1:] == ["hundred"]:
        return f"{century}00"
    if words[1] == "oh" and len(words) == 3 and words[2] in _ONES:
        return f"{century}0{_ONES[words[2]]}"
    rest = _cardinal(tuple(words[1:]))
    if rest is None or not 10 <= rest < 100 or (rest == century + 1 and not after_preposition):
        return None
    return f"{century}{rest}"


@lru_cache(1 << 14)
def _number(said: str) -> str | None:
    """A number in figures; None if the words have no single reading."""
    words = tuple(said.split(" "))
    if words.count("point") == 1:
        return _decimal(words)
    if len(words) > 2 and all(w in _ONES or w == "oh" for w in words):
        digits = [_ONES.get(w, 0) for w in words]
        steps = {b - a for a, b in pairwise(digits)}
        counted = len(steps) == 1 and steps <= {1, 2, -1, -2} and len(words) < 10
        return None if counted else "".join(map(str, digits))
    value = _cardinal(words)
    if value is None or words[0] in {"hundred", *_LARGE}:
        return None
    for name, unit in reversed(_LARGE.items()):
        if unit >= 10**6 and words[-1] == name and value % unit == 0:
            return f"{value // unit:,} {name}" if value // unit >= 10**4 else f"{value // unit} {name}"
    return f"{value:,}" if value >= 10**4 else str(value)


def _decimal(words: tuple[str, ...]) -> str | None:
    at = words.index("point")
    times = f" {words[-1]}" if words[-1] in _LARGE else ""
    digits = words[at + 1 : len(words) - bool(times)]
    whole = 0 if words[:at] == ("zero",) else _cardinal(words[:at])
    if whole is None or not digits or any(w not in _ONES and w != "oh" for w in digits):
        return None
    return f"{whole}." + "".join(str(_ONES.get(w, 0)) for w in digits) + times


@lru_cache(1 << 14)
def _cardinal(words: tuple[str, ...]) -> int | None:
    """Value of a number read out by the rules, at least 1; None for everything else."""
    total, scale, section = 0, 10**15, []
    for word in (*words, ""):
        if word and word not in _LARGE:
            section.append(word)
            continue
        unit = _LARGE.get(word, 1)
        value = _below_thousand(section, after_larger=bool(total))
        if value is None:
            return None if word or section or not total else total
        if unit >= scale:
            return None
        total, scale, section = total + value * unit, unit, []
    return total or None


def _below_thousand(words: list[str], *, after_larger: bool) -> int | None:
    if after_larger and words[:1] == ["and"]:
        words = words[1:]
    value = 0
    if "hundred" in words[1:3]:
        at = words.index("hundred", 1)
        value = 100 * _hundreds(words[:at], alone=not after_larger)
        words = words[at + 1 :]
        if not value:
            return None
        if not words:
            return value
        words = words[1:] if words[0] == "and" else words
    if len(words) == 1 and words[0] in _SMALL:
        small = _SMALL[words[0]]
    elif len(words) == 2 and words[0] in _TENS and words[1] in _ONES:
        small = _TENS[words[0]] + (_ONES[words[1]] or -(10**6))
    else:
        return None
    return value + small if small > 0 else None


def _hundreds(words: list[str], *, alone: bool) -> int:
    """Number of hundreds, up to nine, or `alone` one like twelve or twenty five; 0 for any other."""
    if len(words) == 1 and (words[0] in _ONES or not alone):
        return _ONES.get(words[0], 0)
    hundreds = sum(_SMALL.get(word, 0) for word in words)
    # Tens of hundreds are thousands.
    in_order = len(words) == 1 or (words[0] in _TENS and words[1] in _ONES)
    return hundreds if alone and in_order and hundreds % 10 else 0


def keeps_value(said: str, written: str) -> bool:
    """Whether the written form has the numbers of the spoken one, and only units were written as signs.

    Numbers are read in another way than for writing, so that a fault in one is found by the other.
    """
    rest = re.sub(
        rf"\b(?:{_W}|and|point|oh|minus|negative|dollars?|euros?|cents?|per ?cent|[ap] ?\.? ?m)\b|[ .]",
        "",
        said,
    )
    if rest:
        return False
    if ":" in written:
        hour, minute = (int(re.sub(r"\D", "", part)) for part in written.split(":"))
        digits = [w for w in said.replace("oh", "zero").split() if w in WORDS]
        return [hour, minute] == [_summed(digits[:1]), _summed(digits[1:])]
    if (spoken := re.search(r" (?:dollars?|euros?) and (.+) cents?$", said)) is not None:
        whole = _summed(said[: spoken.start()].split(" "))
        return values_of(written) == (whole + Fraction(_summed(spoken[1].split(" ")), 100),)
    return values_of(written) == (_read([w for w in said.split() if w in WORDS or w in {"point", "oh"}]),)


def _read(words: list[str]) -> Fraction:
    if "point" in words:
        at = words.index("point")
        unit = _LARGE.get(words[-1], 1)
        digits = "".join(str(_ONES.get(w, 0)) for w in words[at + 1 :] if w not in _LARGE)
        return (_summed(words[:at]) + Fraction(int(digits or "0"), 10 ** len(digits))) * unit
    if len(words) == 2 and words[1] in _PARTS and words[0] in _ONES:
        return Fraction(_ONES[words[0]], _PARTS[words[1]])
    if len(words) > 2 and all(w in _ONES or w == "oh" for w in words):
        return Fraction(int("".join(str(_ONES.get(w, 0)) for w in words)))
    if len(words) > 1 and words[0] in {"seventeen", "eighteen", "nineteen", "twenty"}:
        rest = [w for w in words[1:] if w not in {"oh", "hundred"}]
        if words[1] in {*_TEENS, *_TENS, "oh", "hundred"}:
            return Fraction(_SMALL[words[0]] * 100 + _summed(rest))
    return Fraction(_summed(words))


def _summed(words: list[str]) -> int:
    """Value by summing up from the left, whatever the order of the units."""
    total = section = 0
    for said in words:
        word = _ORDINAL_OF.get(said, said)
        if word == "hundred":
            section = (section or 1) * 100
        elif word in _LARGE:
            total += (section or 1) * _LARGE[word]
            section = 0
        else:
            section += _SMALL.get(word, 0)
    return total + section
