"""Where subtitles begin and end. Pure policy over segments and their tokens; positions are milliseconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise

from daemon.transcript.types import Segment, Token

#: A cue stands at least so long where the next one leaves room for it: less cannot be read.
SHORTEST_MS = 800

#: One CJK character (with what is attached to it), or a run of anything else up to a space.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff][^\w\s]*\s*"
    r"|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+\s*"
)
#: How models mark a piece of a word: "hel@@ lo", "▁hello".
_PIECE_MARKS = re.compile(r"@@$|^\u2581")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: its text (one line) stands from `start_ms` until `end_ms`."""

    start_ms: int
    end_ms: int
    text: str


#: What is never divided: a character or a word; its text ends with the space that follows it, if any.
_Unit = Token


def cues(segments: Iterable[Segment], *, max_chars: int, max_s: float, pause_ms: int) -> tuple[Cue, ...]:
    """Subtitles of a recording: every token once, in order, never overlapping, each at least 1 ms.

    A cue ends with its segment, at a pause of `pause_ms` or more, and before it would pass `max_chars` (a
    Latin letter counts half) or `max_s`; a single word that passes a limit by itself stays whole and is shown for
    `max_s`. What must be divided is divided into as few cues as possible, of similar length.
    """
    max_ms = round(max_s * 1000)
    found: list[Cue] = []
    for segment in segments:
        for phrase in _phrases(_units(segment), pause_ms):
            found += [_cue(part) for part in _divide(phrase, 2 * max_chars, max_ms)]
    return _in_order(found, max_ms)


def width(text: str) -> int:
    """Width in half characters: 2 for a wide (CJK) character, 1 for any other, 0 for a combining one."""
    return sum(map(_width_of, text))


@lru_cache(1 << 16)
def _width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@lru_cache(1 << 16)
def _stands_alone(text: str) -> bool:
    """One wide letter: nothing before or after it is ever a part of it."""
    return len(text) == 1 and text.isalnum() and _width_of(text) == 2


def _units(segment: Segment) -> Sequence[_Unit]:
    text = " ".join(segment.text.split())
    if not segment.tokens:
        return _spread(text, segment.start_ms, segment.end_ms)
    texts = [t.text for t in segment.tokens]
    if all(map(_stands_alone, texts)) and "".join(texts) == text:
        # By far the most common case in Chinese, and what is below is slow.
        return [t if t.end_ms >= t.start_ms else t._replace(end_ms=t.start_ms) for t in segment.tokens]
    pieces = _slices(text, segment.tokens)
    if pieces is None:
        pieces = _joined(segment.tokens)
    units: list[_Unit] = []
    for piece, token in zip(pieces, segment.tokens, strict=True):
        end_ms = max(token.start_ms, token.end_ms)
        if units and _inseparable(units[-1].text, piece):
            last = units[-1]
            units[-1] = _Unit(last.text + piece, last.start_ms, max(last.end_ms, end_ms))
        else:
            units.append(_Unit(piece, token.start_ms, end_ms))
    return units


def _slices(text: str, tokens: Sequence[Token]) -> list[str] | None:
    """The text divided between its tokens, so that spacing and punctuation stay as they are; None if they differ."""
    starts: list[int] = []
    cursor = 0
    for token in tokens:
        core = _core(token)
        at = text.find(core, cursor)
        # Anything but punctuation and space between two tokens means that text and tokens tell different things.
        if not core or at < 0 or any(c.isalnum() for c in text[cursor:at]):
            return None
        starts.append(at)
        cursor = at + len(core)
    if any(c.isalnum() for c in text[cursor:]):
        return None
    starts[0] = 0
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _joined(tokens: Sequence[Token]) -> list[str]:
    """Tokens' own text, with a space where two words of a spaced script meet."""
    pieces = [_core(t) for t in tokens]
    for i, (token, following) in enumerate(pairwise(tokens)):
        one_word = token.text.endswith("@@")
        if not one_word and pieces[i] and _spaced(pieces[i][-1]) and _spaced(_core(following)[:1]):
            pieces[i] += " "
    return pieces


def _core(token: Token) -> str:
    return " ".join(_PIECE_MARKS.sub("", token.text).split()) or token.text.strip()


def _spaced(character: str) -> bool:
    return character.isalnum() and width(character) == 1


def _inseparable(before: str, after: str) -> bool:
    """Two pieces of one word, or something without a letter (a stray sign) that belongs to what is before it."""
    if not any(c.isalnum() for c in after) or not any(c.isalnum() for c in before):
        return True
    return _spaced(before[-1]) and _spaced(after[0])


def _spread(text: str, start_ms: int, end_ms: int) -> list[_Unit]:
    """A text without positions, placed evenly by its width."""
    words = _WORD.findall(text)
    total = sum(width(w) for w in words)
    units: list[_Unit] = []
    done = 0
    for word in words:
        begin = start_ms + (end_ms - start_ms) * done // max(1, total)
        done += width(word)
        units.append(_Unit(word, begin, start_ms + (end_ms - start_ms) * done // max(1, total)))
    return units


def _phrases(units: Sequence[_Unit], pause_ms: int) -> list[Sequence[_Unit]]:
    breaks = [
        i for i, (unit, following) in enumerate(pairwise(units), start=1)
        if following.start_ms - unit.end_ms >= pause_ms
    ]  # fmt: skip
    return [units[a:b] for a, b in pairwise([0, *breaks, len(units)])] if units else []


def _divide(units: Sequence[_Unit], max_width: int, max_ms: int) -> list[Sequence[_Unit]]:
    """As few parts as the limits allow and, among those, the most even ones (least sum of squared widths)."""
    widths = [width(u.text) for u in units]
    #: before[i]: width of the first i units
    before = [0, *accumulate(widths)]
    # Positions may run backwards; made to rise, they only ever make a part look longer than it is.
    starts = list(accumulate((u.start_ms for u in reversed(units)), min))[::-1]
    ends = list(accumulate((u.end_ms for u in units), max))
    if before[-1] <= max_width and ends[-1] - starts[0] <= max_ms:
        return [units]
    #: cost[j] of the first j units: parts and, in the lower digits, the sum of squares; begins[j]: where the last part does
    one_part = before[-1] ** 2 + 1
    cost, begins = [0], [0]
    first = 0
    for j, unit in enumerate(units, start=1):
        # A space at the end of a line is not shown.
        until = before[j - 1] + (width(unit.text.rstrip()) if unit.text[-1:].isspace() else widths[j - 1])
        while first < j - 1 and (until - before[first] > max_width or ends[j - 1] - starts[first] > max_ms):
            first += 1
        costs = [c + (until - b) ** 2 for c, b in zip(cost[first:], before[first:], strict=False)]
        least = min(costs)
        cost.append(one_part + least)
        begins.append(first + costs.index(least))
    parts: list[Sequence[_Unit]] = []
    j = len(units)
    while j:
        parts.append(units[begins[j] : j])
        j = begins[j]
    return parts[::-1]


def _cue(units: Sequence[_Unit]) -> Cue:
    text = "".join(u.text for u in units).strip()
    return Cue(units[0].start_ms, max(u.end_ms for u in units), text)


def _in_order(found: list[Cue], max_ms: int) -> tuple[Cue, ...]:
    """Positions made fit to be shown: rising, apart, long enough to be seen where there is room, not too long."""
    ordered: list[Cue] = []
    earliest = 0
    for i, cue in enumerate(found):
        start = max(cue.start_ms, earliest)
        following = found[i + 1].start_ms if i + 1 < len(found) else None
        end = min(max(cue.end_ms, start + min(SHORTEST_MS, max_ms)), start + max_ms)
        if following is not None:
            end = min(end, following)
        end = max(end, start + 1)
        ordered.append(replace(cue, start_ms=start, end_ms=end))
        earliest = end
    return tuple(ordered)
