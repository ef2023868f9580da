"""Choose the cues of text with marks, and their lines: they end behind marks where they can. Pure policy."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from dropscribe.transcript.layout.line_breaks import divide
from dropscribe.transcript.layout.words import word_lengths
from dropscribe.transcript.written.marks import COMMA, ENDS, FULL_STOP, NONE, PAUSE, QUESTION
from dropscribe.transcript.written.units import Units

#: Cost of the end of a cue by the mark there; a cue itself costs 1.
_END_COST = {FULL_STOP: 0.0, QUESTION: 0.0, COMMA: 0.15, PAUSE: 0.4, NONE: 0.6}
#: Cost of a sentence that ends inside a cue: more than a cue, so that short sentences have cues of their own,
_SENTENCE_INSIDE = 1.5
#: but less than that of a cue that cannot stand for as long as it must.
_TOO_SHORT = 2.0
#: Weight of the square of the unused share of a cue, which makes cues of a sentence similar in length.
_UNUSED = 0.3
#: Shortest time that a cue should stand, ms.
_SHORTEST_MS = 833
#: Cost of a line that ends between two words, without a mark, against a difference in width of a whole line.
_LINE_WITHOUT_MARK = 0.35
#: Half characters of two lines that are left free, so that there is an end of a word to break them at.
_SLACK = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """Limits of a cue."""

    line: int  #: half characters
    lines: int  #: 1 or 2
    #: Width of text that surely has a place to break at, half characters.
    width: int
    max_ms: int
    pause_ms: int  #: a pause this long is as good a place to divide as any, ms

    @classmethod
    def of(cls, line: int, lines: int, max_ms: int, pause_ms: int) -> Frame:
        """Limits with the width that follows from those of the lines."""
        return cls(line, lines, line if lines == 1 else 2 * line - min(_SLACK, line), max_ms, pause_ms)


def pack(phrase: Units, frame: Frame) -> list[Units]:
    """Divide a phrase into cues that fit `frame`: behind marks, within words only where one is too long by itself."""
    width = sum(phrase.widths)
    if width <= frame.line and _ms(phrase) <= frame.max_ms and not ENDS.intersection(phrase.marks[:-1]):
        return [phrase]
    ends = [i for i, mark in enumerate(phrase.marks, start=1) if mark]
    if not ends or ends[-1] < len(phrase.texts):
        ends.append(len(phrase.texts))
    phrase, ends = _divide_long_clauses(phrase, ends, frame)
    firsts = [0, *ends]
    return [phrase[firsts[a] : firsts[b]] for a, b in pairwise(_bounds(phrase, ends, frame))]


def two_lines(units: Units, frame: Frame) -> str:
    """Text of a cue, divided where it is longer than a line: behind a mark, else between words, near its middle."""
    whole = "".join(units.texts)
    widths = list(accumulate(units.widths))
    total = widths[-1]
    if total <= frame.line or frame.lines == 1 or len(widths) == 1:
        return whole.strip()

    def cost(at: int) -> float:
        before = widths[at - 1]
        over = max(0, before - frame.line) + max(0, total - before - frame.line)
        return abs(total - 2 * before) / frame.line + 10.0 * over

    places = [(cost(i), i) for i, mark in enumerate(units.marks[:-1], start=1) if mark]
    best = min(places, default=(math.inf, 0))
    if best[0] > _LINE_WITHOUT_MARK:
        ends = _word_ends_at_middle(units, whole, widths)
        best = min([best, *((cost(i) + _LINE_WITHOUT_MARK, i) for i in ends)])
    at = best[1]
    return "".join(units.texts[:at]).strip() + "\n" + "".join(units.texts[at:]).strip()


def _word_ends_at_middle(units: Units, whole: str, widths: list[int]) -> list[int]:
    """Numbers of units up to the ends of words before and behind the middle of a text; the middle itself without any."""
    middle = min(max(1, bisect_left(widths, widths[-1] / 2)), len(widths) - 1)
    offsets = list(accumulate(map(len, units.texts)))
    words = frozenset(accumulate(word_lengths(whole)))
    ends = [next((i for i in range(middle, 0, -1) if offsets[i - 1] in words), 0)]
    ends.append(next((i for i in range(middle + 1, len(widths)) if offsets[i - 1] in words), 0))
    return [i for i in ends if i] or [middle]


def _ms(units: Units) -> int:
    return max(units.ends) - min(units.starts)


def _divide_long_clauses(phrase: Units, ends: list[int], frame: Frame) -> tuple[Units, list[int]]:
    """The phrase, in words where a clause does not fit a cue, and the ends of its parts that fit.

    `ends`: of the clauses, numbers of units.
    """
    clauses = list(pairwise([0, *ends]))
    widths = [0, *accumulate(phrase.widths)]
    long = [
        widths[b] - widths[a] > frame.width or phrase.ends[b - 1] - phrase.starts[a] > frame.max_ms
        for a, b in clauses
    ]
    if not any(long):
        return phrase, ends
    parts: list[Units] = []
    for (a, b), is_long in zip(clauses, long, strict=True):
        clause = phrase[a:b]
        divided = divide(clause, frame.width, frame.max_ms, frame.pause_ms) if is_long else [clause]
        parts += [replace(part, marks=bytes(len(part.texts))) for part in divided[:-1]]
        last = divided[-1]
        parts.append(replace(last, marks=bytes(len(last.texts) - 1) + clause.marks[-1:]))
    return Units(
        [text for part in parts for text in part.texts],
        [start for part in parts for start in part.starts],
        [end for part in parts for end in part.ends],
        [width for part in parts for width in part.widths],
        b"".join(part.marks for part in parts),
    ), list(accumulate(len(part.texts) for part in parts))


def _bounds(phrase: Units, parts: list[int], frame: Frame) -> list[int]:
    """Numbers of parts before each cue, and of all: where the sum of the costs of the cues is least.

    `parts`: end of each part of the phrase that fits a cue, in units.
    """
    count = len(parts)
    if count == 1:
        return [0, 1]
    until_width = [0, *accumulate(phrase.widths)]
    widths = [0, *(until_width[end] for end in parts)]
    starts = [phrase.starts[first] for first in (0, *parts[:-1])]
    until_ms = list(accumulate(phrase.ends, max))
    ends = [until_ms[end - 1] for end in parts]
    last = [phrase.marks[end - 1] for end in parts]
    #: End of the time that a cue can stand which ends with each part.
    until = [*starts[1:], ends[-1] + _SHORTEST_MS]
    widest = frame.lines * frame.line
    best = [0.0] + [math.inf] * count
    from_ = [0] * (count + 1)
    for a in range(count):
        inside = best[a] + 1.0
        for b in range(a + 1, count + 1):
            width, mark = widths[b] - widths[a], last[b - 1]
            if b > a + 1 and (width > widest or ends[b - 1] - starts[a] > frame.max_ms):
                break
            if width <= frame.width or b == a + 1 or _fits(widths, a, b, frame):
                cost = inside + _END_COST[mark] + _UNUSED * (1 - width / frame.width) ** 2
                if until[b - 1] - starts[a] < _SHORTEST_MS:
                    cost += _TOO_SHORT
                if cost < best[b]:
                    best[b], from_[b] = cost, a
            if mark in ENDS:
                inside += _SENTENCE_INSIDE
    bounds = [count]
    while bounds[-1]:
        bounds.append(from_[bounds[-1]])
    return bounds[::-1]


def _fits(widths: list[int], a: int, b: int, frame: Frame) -> bool:
    """True if parts wider than any text that surely fits can be divided into lines behind one of them."""
    if frame.lines == 1:
        return False
    line = frame.line
    return any(widths[i] - widths[a] <= line and widths[b] - widths[i] <= line for i in range(a + 1, b))
