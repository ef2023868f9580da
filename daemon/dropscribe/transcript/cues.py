"""Divide segments into subtitle cues. Pure policy; positions are milliseconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import add, gt, sub

from dropscribe.transcript.types import Segment

#: Shortest display time of a cue where the next one allows it, ms: less cannot be read.
SHORTEST_MS = 800

#: One CJK character (with what is attached to it), or a run of anything else up to a space.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff][^\w\s]*\s*"
    r"|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+\s*"
)
#: Wide letters that can be divided at any point, without combining marks: kana, CJK ideographs, Hangul.
_WIDE_LETTERS = re.compile(
    r"[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]*"
)
#: Subword markers of models: "hel@@ lo", "▁hello".
_PIECE_MARKS = re.compile(r"@@$|^\u2581")
#: Words in each function's cache.
_CACHED_WORDS = 1 << 14


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one line of text, shown from `start_ms` until `end_ms`."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class _Units:
    """Indivisible units in columns: characters or words, each with the space that follows it, if any."""

    texts: Sequence[str]
    starts: Sequence[int]
    ends: Sequence[int]
    widths: Sequence[int]

    def __getitem__(self, part: slice) -> _Units:
        return _Units(self.texts[part], self.starts[part], self.ends[part], self.widths[part])


def cues(segments: Iterable[Segment], *, max_chars: int, max_s: float, pause_ms: int) -> tuple[Cue, ...]:
    """Divide a recording into subtitles: every token once, in order, no overlap, each at least 1 ms.

    A cue ends with its segment, at a pause of `pause_ms` or more, and before it would pass `max_chars` (a
    Latin letter counts half) or `max_s`; a single word that passes a limit by itself stays whole and is shown for
    `max_s`. A longer phrase is divided into as few cues as possible, of similar length.
    """
    max_ms = round(max_s * 1000)
    parts: list[_Units] = []
    for segment in segments:
        for phrase in _phrases(_units(segment), pause_ms):
            if _fits(phrase, 2 * max_chars, max_ms):
                parts.append(phrase)
            else:
                parts += _divide(phrase, 2 * max_chars, max_ms)
    return tuple(_in_order(parts, max_ms))


@lru_cache(_CACHED_WORDS)
def width(text: str) -> int:
    """Width in half characters: 2 for a wide (CJK) character, 1 for any other, 0 for a combining one."""
    return sum(map(_width_of, text))


@lru_cache(1 << 16)
def _width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _units(segment: Segment) -> _Units:
    text, tokens = " ".join(segment.text.split()), segment.tokens
    if not tokens:
        return _spread(text, segment.start_ms, segment.end_ms)
    starts, ends = tokens.starts_ms, tokens.ends_ms
    if any(map(gt, starts, ends)):
        ends = tuple(map(max, starts, ends))
    if tokens.texts == text and _WIDE_LETTERS.fullmatch(text):
        # By far the most common case in Chinese; the general path below is slow.
        return _Units(text, starts, ends, (2,) * len(text))
    pieces = _slices(text, tokens.texts)
    if pieces is None:
        pieces = _joined(tokens.texts)
    return _merge_subwords(pieces, starts, ends)


def _merge_subwords(pieces: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> _Units:
    """Build units from the pieces of tokens; the subwords of a word become one unit."""
    whole: list[str] = []
    begins: list[int] = []
    until: list[int] = []
    for piece, start, end in zip(pieces, starts, ends, strict=True):
        if whole and _inseparable(whole[-1], piece):
            whole[-1] += piece
            until[-1] = max(until[-1], end)
        else:
            whole.append(piece)
            begins.append(start)
            until.append(end)
    return _Units(whole, begins, until, list(map(width, whole)))


def _slices(text: str, tokens: Iterable[str]) -> list[str] | None:
    """Slice the text at its tokens, keeping spacing and punctuation; None if text and tokens disagree."""
    starts: list[int] = []
    cursor = 0
    for core in map(_core, tokens):
        at = text.find(core, cursor)
        # Letters between two tokens mean that the text has words which the tokens lack.
        if not core or at < 0 or _has_letter(text[cursor:at]):
            return None
        starts.append(at)
        cursor = at + len(core)
    if _has_letter(text[cursor:]):
        return None
    starts[0] = 0
    return [text[a:b] for a, b in pairwise([*starts, len(text)])]


def _joined(tokens: Sequence[str]) -> list[str]:
    """Text of each token, with a space between two words of a script that uses spaces."""
    pieces = [_core(t) for t in tokens]
    for i, (token, following) in enumerate(pairwise(tokens)):
        one_word = token.endswith("@@")
        if not one_word and pieces[i] and _spaced(pieces[i][-1]) and _spaced(_core(following)[:1]):
            pieces[i] += " "
    return pieces


@lru_cache(_CACHED_WORDS)
def _core(token: str) -> str:
    """Text of a token without subword markers and surrounding space."""
    return " ".join(_PIECE_MARKS.sub("", token).split()) or token.strip()


def _has_letter(text: str) -> bool:
    return any(map(str.isalnum, text))


def _spaced(character: str) -> bool:
    return character.isalnum() and width(character) == 1


def _inseparable(before: str, after: str) -> bool:
    """True for two pieces of one word, and where either has no letter (punctuation stays with its word)."""
    if not _has_letter(after) or not _has_letter(before):
        return True
    return _spaced(before[-1]) and _spaced(after[0])


def _spread(text: str, start_ms: int, end_ms: int) -> _Units:
    """Units of a text without token positions: time is spread in proportion to width."""
    words = _WORD.findall(text)
    widths = list(map(width, words))
    before = list(accumulate(widths, initial=0))
    bounds = [start_ms + (end_ms - start_ms) * done // max(1, before[-1]) for done in before]
    return _Units(words, bounds[:-1], bounds[1:], widths)


def _phrases(units: _Units, pause_ms: int) -> list[_Units]:
    """Split at pauses of `pause_ms` or more."""
    if not units.texts:
        return []
    pauses = list(map(sub, units.starts[1:], units.ends))
    if max(pauses, default=pause_ms) < pause_ms:
        return [units]
    breaks = [i for i, pause in enumerate(pauses, start=1) if pause >= pause_ms]
    return [units[a:b] for a, b in pairwise([0, *breaks, len(units.texts)])]


def _fits(units: _Units, max_width: int, max_ms: int) -> bool:
    return sum(units.widths) <= max_width and max(units.ends) - min(units.starts) <= max_ms


def _divide(units: _Units, max_width: int, max_ms: int) -> list[_Units]:
    """Divide into as few parts as the limits allow, as even as possible (least sum of squared widths).

    Dynamic programming over the position of the last division.
    """
    #: before[i]: width of the first i units
    before = [0, *accumulate(units.widths)]
    # Model timestamps may run backwards. Made monotonic, a part can only become longer than it is.
    starts = list(accumulate(reversed(units.starts), min))[::-1]
    ends = list(accumulate(units.ends, max))
    if isinstance(units.texts, str):
        bounds = _even_bounds(len(units.texts), max_width // 2)
        if all(ends[b - 1] - starts[a] <= max_ms for a, b in pairwise(bounds)):
            return [units[a:b] for a, b in pairwise(bounds)]
    #: cost[j] of the first j units: number of parts and, in the lower digits, the sum of squares;
    #: begins[j]: first unit of the last part
    one_part = before[-1] ** 2 + 1
    cost, begins = [0], [0]
    first = 0
    # A space at the end of a line is not shown.
    shown = map(width, map(str.rstrip, units.texts))
    for j, until in enumerate(map(add, before, shown), start=1):
        while first < j - 1 and (until - before[first] > max_width or ends[j - 1] - starts[first] > max_ms):
            first += 1
        costs = [c + (until - b) ** 2 for c, b in zip(cost[first:], before[first:], strict=False)]
        least = min(costs)
        cost.append(one_part + least)
        begins.append(first + costs.index(least))
    parts: list[_Units] = []
    j = len(units.texts)
    while j:
        parts.append(units[begins[j] : j])
        j = begins[j]
    return parts[::-1]


def _even_bounds(count: int, most: int) -> list[int]:
    """Bounds of the fewest parts of at most `most` letters; lengths differ by one at most, longer ones last."""
    parts = -(-count // most)
    letters, longer = divmod(count, parts)
    return [letters * i + max(0, i - (parts - longer)) for i in range(parts + 1)]


def _in_order(parts: Sequence[_Units], max_ms: int) -> Iterator[Cue]:
    """Cues with display times: monotonic, not overlapping, not too long, readable where there is room."""
    earliest = 0
    for i, part in enumerate(parts):
        start = max(part.starts[0], earliest)
        end = min(max(*part.ends, start + min(SHORTEST_MS, max_ms)), start + max_ms)
        if i + 1 < len(parts):
            end = min(end, parts[i + 1].starts[0])
        earliest = max(end, start + 1)
        yield Cue(start, earliest, "".join(part.texts).strip())
