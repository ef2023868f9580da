"""Divide text into lines: at the longest pauses, between words, with lines of similar length. Pure policy."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import gt, sub

from dropscribe.transcript.layout.words import word_lengths
from dropscribe.transcript.written.units import Units, spread

#: Longest line of a text file, in half characters: 40 Chinese characters, the width of a terminal.
LINE_WIDTH = 80
#: Pause that ends a line of a text file if the line would otherwise be too long, ms.
LINE_PAUSE_MS = 400
#: Weight of a break without any pause, against a line half as long as wanted (0.25).
_WITHOUT_PAUSE = 0.2
#: Widest run of characters that counts as one word, in half characters: more is text that is not divided into words.
_WIDEST_WORD = 16


def lines_of(text: str, units: Units) -> list[str]:
    """Lines of a run without marks in a text file: its `text`, divided where it is longer than `LINE_WIDTH`."""
    if 2 * len(text) <= LINE_WIDTH:
        return [text]
    if "".join(units.texts).split() != text.split():
        # The tokens lack words of the text, or have others.
        units = spread(text, min(units.starts), max(units.ends))
    if sum(units.widths) <= LINE_WIDTH:
        return [text]
    return ["".join(part.texts).strip() for part in divide(units, LINE_WIDTH, None, LINE_PAUSE_MS)]


def divide(units: Units, max_width: int, max_ms: int | None, pause_ms: int) -> list[Units]:
    """Divide into parts of at most `max_width` half characters and `max_ms`; a wider or longer word stays whole.

    Each part ends where the sum of two costs is least: the square of its distance from an even share of the rest, and
    the lack of a pause, which `pause_ms` or more makes nothing.
    """
    limits = _Limits(max_width, max_ms, pause_ms)
    words = _words(units, limits)
    bounds = _Breaks(words, limits).bounds()
    return [words[a:b] for a, b in pairwise(bounds)]


@dataclass(frozen=True, slots=True)
class _Limits:
    """Limits of a line."""

    max_width: int  #: half characters
    max_ms: int | None
    pause_ms: int

    def fits(self, width_: int, ms: int) -> bool:
        """True for a part of this width in half characters and this duration."""
        return width_ <= self.max_width and (self.max_ms is None or ms <= self.max_ms)


class _Breaks:
    """Choice of the words after which a text is divided."""

    def __init__(self, words: Units, limits: _Limits) -> None:
        self._limits = limits
        #: Sum of the widths of the first words.
        self._before = before = [0, *accumulate(words.widths)]
        #: The same without a space at the end of the last, which is not shown.
        self._shown = before
        if any(text[-1:] == " " for text in words.texts):
            self._shown = [0, *(w - (t[-1:] == " ") for w, t in zip(before[1:], words.texts, strict=True))]
        # Model timestamps may run backwards. Made monotonic, a part can only become longer than it is.
        self._starts = list(accumulate(reversed(words.starts), min))[::-1]
        self._ends = list(accumulate(words.ends, max))
        #: Cost of the lack of a pause after each word.
        longest = limits.pause_ms
        self._lacks = [
            _WITHOUT_PAUSE
            if pause <= 0
            else _WITHOUT_PAUSE * (1 - pause / longest)
            if pause < longest
            else 0.0
            for pause in map(sub, words.starts[1:], words.ends)
        ]
        self._lacks.append(0.0)

    def bounds(self) -> list[int]:
        """Numbers of words before each part, and of all words."""
        found = [0]
        while found[-1] < len(self._ends):
            found.append(self._end_after(found[-1]))
        return found

    def _end_after(self, first: int) -> int:
        """End of the part that begins with word `first`."""
        limits, origin, start_ms = self._limits, self._before[first], self._starts[first]
        rest = self._before[-1] - origin
        parts = -(-rest // limits.max_width)
        #: Ends of parts that are wide and long at most as permitted, exclusive.
        last = bisect_right(self._shown, origin + limits.max_width, first + 1)
        if limits.max_ms is not None:
            parts = max(parts, -(-(self._ends[-1] - start_ms) // limits.max_ms))
            last = min(last, bisect_right(self._ends, start_ms + limits.max_ms, first) + 1)
        wanted = origin + rest / max(1, parts)
        best, least, scale = first + 1, math.inf, limits.max_width**2
        # A part of less than half its share would cost more than one without a pause at its end.
        from_ = max(first + 1, bisect_left(self._shown, (origin + wanted) / 2, first + 1))
        ends = zip(
            range(from_, last), self._shown[from_:last], self._lacks[from_ - 1 : last - 1], strict=True
        )
        for end, shown, lack in ends:
            cost = (shown - wanted) ** 2 / scale + lack
            if cost <= least:
                best, least = end, cost
        return best


def _words(units: Units, limits: _Limits) -> Units:
    """The units joined to words; a run that is wider than any word, or does not fit a line, stays divided."""
    lengths = word_lengths("".join(units.texts))
    # Model timestamps may run backwards; then the last character of a word does not end it.
    backwards = any(map(gt, units.ends, units.ends[1:]))
    narrow = 2 * max(lengths, default=0) <= min(_WIDEST_WORD, limits.max_width)
    if isinstance(units.texts, str) and narrow and not backwards:
        firsts = [0, *accumulate(lengths)]
        starts = [units.starts[a] for a in firsts[:-1]]
        ends = [units.ends[b - 1] for b in firsts[1:]]
        if limits.max_ms is None or max(map(sub, ends, starts), default=0) <= limits.max_ms:
            texts = [units.texts[a:b] for a, b in pairwise(firsts)]
            return Units(texts, starts, ends, [2 * n for n in lengths])
    return _words_of_units(units, frozenset(accumulate(lengths)), limits)


def _words_of_units(units: Units, ends: AbstractSet[int], limits: _Limits) -> Units:
    """As `_words`, for units of any kind. ends: offsets at which words end."""
    texts: list[str] = []
    starts: list[int] = []
    until: list[int] = []
    widths: list[int] = []
    offset, open_ = 0, False
    for text, start, end, wide in zip(units.texts, units.starts, units.ends, units.widths, strict=True):
        if open_ and widths[-1] + wide <= _WIDEST_WORD and limits.fits(widths[-1] + wide, end - starts[-1]):
            texts[-1] += text
            until[-1] = max(until[-1], end)
            widths[-1] += wide
        else:
            texts.append(text)
            starts.append(start)
            until.append(end)
            widths.append(wide)
        offset += len(text)
        open_ = offset not in ends
    return Units(texts, starts, until, widths)
