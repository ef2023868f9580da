"""Divide text into lines: at the longest pauses, between words, with lines of similar length. Pure policy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import sub

from dropscribe.transcript.layout.units import Units, units_of, width
from dropscribe.transcript.layout.words import word_ends
from dropscribe.transcript.types import Segment

#: Longest line of a text file, in half characters: 40 Chinese characters, the width of a terminal.
LINE_WIDTH = 80
#: Pause that ends a line of a text file if the line would otherwise be too long, ms.
LINE_PAUSE_MS = 400
#: Weight of a break without any pause, against a line half as long as wanted (0.25).
_WITHOUT_PAUSE = 0.2
#: Widest run of characters that counts as one word, in half characters: more is text that is not divided into words.
_WIDEST_WORD = 16


def lines_of(segment: Segment) -> Iterator[str]:
    """Lines of a segment's text in a text file: one, or several where it is longer than `LINE_WIDTH`."""
    text = " ".join(segment.text.split())
    if width(text) <= LINE_WIDTH:
        if text:
            yield text
        return
    for part in divide(units_of(segment), LINE_WIDTH, None, LINE_PAUSE_MS):
        yield "".join(part.texts).strip()


def divide(units: Units, max_width: int, max_ms: int | None, pause_ms: int) -> list[Units]:
    """Divide into parts of at most `max_width` half characters and `max_ms`; a wider or longer word stays whole.

    Each part ends where the sum of two costs is least: the square of its distance from an even share of the rest, and
    the lack of a pause, which `pause_ms` or more makes nothing.
    """
    limits = _Limits(max_width, max_ms, pause_ms)
    words = _words(units, limits)
    # Model timestamps may run backwards. Made monotonic, a part can only become longer than it is.
    starts = list(accumulate(reversed(words.starts), min))[::-1]
    ends = list(accumulate(words.ends, max))
    pauses = [*map(sub, words.starts[1:], words.ends), pause_ms]
    bounds = [0]
    while (first := bounds[-1]) < len(words.texts):
        bounds.append(first + limits.length(words[first:], starts[first], ends[first:], pauses[first:]))
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

    def length(self, words: Units, start_ms: int, ends: Sequence[int], pauses: Sequence[int]) -> int:
        """Number of the words that make the next part. `pauses`: after each word, ms."""
        rest = sum(words.widths)
        parts = -(-rest // self.max_width)
        if self.max_ms is not None:
            parts = max(parts, -(-(ends[-1] - start_ms) // self.max_ms))
        share = rest / max(1, parts)
        best, least, before = 1, math.inf, 0
        for count, (text, wide, end, pause) in enumerate(
            zip(words.texts, words.widths, ends, pauses, strict=True), start=1
        ):
            # A space at the end of a line is not shown.
            shown = before + (wide - 1 if text[-1:] == " " else wide)
            before += wide
            if count > 1 and not self.fits(shown, end - start_ms):
                break
            lack = 1 - min(max(pause, 0), self.pause_ms) / self.pause_ms
            cost = ((shown - share) / self.max_width) ** 2 + _WITHOUT_PAUSE * lack
            if cost <= least:
                best, least = count, cost
        return best


def _words(units: Units, limits: _Limits) -> Units:
    """The units joined to words; a run that is wider than any word, or does not fit a line, stays divided."""
    ends = word_ends("".join(units.texts))
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
