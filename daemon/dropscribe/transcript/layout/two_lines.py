"""Choose the cues of text with marks, and their lines: they end behind marks where they can. Pure policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    max_ms: int
    pause_ms: int  #: a pause this long is as good a place to divide as any, ms

    @property
    def width(self) -> int:
        """Width of text that surely has a place to break at, half characters."""
        return self.line if self.lines == 1 else 2 * self.line - min(_SLACK, self.line)


def pack(phrase: Units, frame: Frame) -> list[Units]:
    """Divide a phrase into cues that fit `frame`: behind marks, within words only where one is too long by itself."""
    if sum(phrase.widths) <= frame.line and not _inner_sentences(phrase) and _ms(phrase) <= frame.max_ms:
        return [phrase]
    blocks = [block for clause in _clauses(phrase) for block in _blocks(clause, frame)]
    bounds = _bounds(blocks, frame)
    return [_joined(blocks[a:b]) for a, b in pairwise(bounds)]


def two_lines(units: Units, frame: Frame) -> str:
    """Text of a cue, divided where it is longer than a line: behind a mark, else between words, near its middle."""
    whole = "".join(units.texts).strip()
    widths = list(accumulate(units.widths))
    if widths[-1] <= frame.line or frame.lines == 1 or len(widths) == 1:
        return whole
    offsets = list(accumulate(map(len, units.texts)))
    words = frozenset(accumulate(word_lengths("".join(units.texts))))
    best, least = 0, math.inf
    for i, (before, offset) in enumerate(zip(widths[:-1], offsets[:-1], strict=True), start=1):
        after = widths[-1] - before
        over = max(0, before - frame.line) + max(0, after - frame.line)
        cost = abs(after - before) / frame.line + 10.0 * over
        if not units.marks[i - 1]:
            cost += _LINE_WITHOUT_MARK if offset in words else 2.0
        if cost < least:
            best, least = i, cost
    return "".join(units.texts[:best]).strip() + "\n" + "".join(units.texts[best:]).strip()


def _ms(units: Units) -> int:
    return max(units.ends) - min(units.starts)


def _inner_sentences(units: Units) -> bool:
    return any(mark in ENDS for mark in units.marks[:-1])


def _clauses(phrase: Units) -> list[Units]:
    """Parts of a phrase up to each mark."""
    ends = [i for i, mark in enumerate(phrase.marks, start=1) if mark]
    if not ends or ends[-1] < len(phrase.texts):
        ends.append(len(phrase.texts))
    return [phrase[a:b] for a, b in pairwise([0, *ends])]


def _blocks(clause: Units, frame: Frame) -> list[Units]:
    """A clause, or its parts if it does not fit a cue."""
    if sum(clause.widths) <= frame.width and _ms(clause) <= frame.max_ms:
        return [clause]
    plain = Units(clause.texts, clause.starts, clause.ends, clause.widths)
    found = [
        Units(part.texts, part.starts, part.ends, part.widths, bytes(len(part.texts)))
        for part in divide(plain, frame.width, frame.max_ms, frame.pause_ms)
    ]
    last = found[-1]
    marks = last.marks[:-1] + clause.marks[-1:]
    found[-1] = Units(last.texts, last.starts, last.ends, last.widths, marks)
    return found


def _bounds(blocks: list[Units], frame: Frame) -> list[int]:
    """Numbers of blocks before each cue, and of all: where the sum of the costs of the cues is least."""
    widths = [0, *accumulate(sum(block.widths) for block in blocks)]
    ends = [max(block.ends) for block in blocks]
    starts = [block.starts[0] for block in blocks]
    last = [block.marks[-1] for block in blocks]
    best = [0.0] + [math.inf] * len(blocks)
    from_ = [0] * (len(blocks) + 1)
    for a in range(len(blocks)):
        inside = 0.0
        for b in range(a + 1, len(blocks) + 1):
            width = widths[b] - widths[a]
            if b > a + 1 and (width > frame.lines * frame.line or max(ends[a:b]) - starts[a] > frame.max_ms):
                break
            inside_before = inside
            inside += _SENTENCE_INSIDE if last[b - 1] in ENDS else 0.0
            if b > a + 1 and not _fits(widths, a, b, frame):
                continue
            shown = (starts[b] if b < len(blocks) else ends[b - 1] + _SHORTEST_MS) - starts[a]
            cost = (
                best[a]
                + 1.0
                + inside_before
                + _END_COST[last[b - 1]]
                + (_TOO_SHORT if shown < _SHORTEST_MS else 0.0)
            )
            cost += _UNUSED * (1 - width / frame.width) ** 2
            if cost < best[b]:
                best[b], from_[b] = cost, a
    bounds = [len(blocks)]
    while bounds[-1]:
        bounds.append(from_[bounds[-1]])
    return bounds[::-1]


def _fits(widths: list[int], a: int, b: int, frame: Frame) -> bool:
    """True if the blocks fit the lines of a cue, with a line that ends at a word or behind a block."""
    width = widths[b] - widths[a]
    if width <= frame.width:
        return True
    if frame.lines == 1:
        return False
    return any(
        widths[i] - widths[a] <= frame.line and widths[b] - widths[i] <= frame.line for i in range(a + 1, b)
    )


def _joined(blocks: list[Units]) -> Units:
    if len(blocks) == 1:
        return blocks[0]
    return Units(
        [text for block in blocks for text in block.texts],
        [start for block in blocks for start in block.starts],
        [end for block in blocks for end in block.ends],
        [width for block in blocks for width in block.widths],
        b"".join(block.marks for block in blocks),
    )
