"""Where subtitles begin and end. Pure policy over segments and their tokens; positions are milliseconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

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


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is never divided: a character or a word. `text` ends with the space that follows it, if any."""

    text: str
    start_ms: int
    end_ms: int


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
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _units(segment: Segment) -> list[_Unit]:
    text = " ".join(segment.text.split())
    if not segment.tokens:
        return _spread(text, segment.start_ms, segment.end_ms)
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


def _phrases(units: list[_Unit], pause_ms: int) -> list[list[_Unit]]:
    phrases: list[list[_Unit]] = []
    for unit in units:
        if phrases and unit.start_ms - phrases[-1][-1].end_ms < pause_ms:
            phrases[-1].append(unit)
        else:
            phrases.append([unit])
    return phrases


def _divide(units: list[_Unit], max_width: int, max_ms: int) -> list[list[_Unit]]:
    """As few parts as the limits allow and, among those, the most even ones (least sum of squared widths)."""
    widths = [width(u.text) for u in units]
    bare = [width(u.text.rstrip()) for u in units]
    #: best[j]: (parts, sum of squares, where the last part begins) of the first j units
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for j in range(1, len(units) + 1):
        options: list[tuple[int, int, int]] = []
        total = 0
        latest_ms = units[j - 1].end_ms
        for i in range(j - 1, -1, -1):
            total += bare[i] if i == j - 1 else widths[i]
            latest_ms = max(latest_ms, units[i].end_ms)
            too_much = total > max_width or latest_ms - units[i].start_ms > max_ms
            if too_much and i < j - 1:
                break
            parts, squares, _ = best[i]
            options.append((parts + 1, squares + total * total, i))
        best.append(min(options))
    parts_found: list[list[_Unit]] = []
    j = len(units)
    while j:
        i = best[j][2]
        parts_found.append(units[i:j])
        j = i
    return parts_found[::-1]


def _cue(units: list[_Unit]) -> Cue:
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
