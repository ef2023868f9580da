"""Indivisible units of a segment's text, with their times: characters or words. Pure; positions are milliseconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import gt, sub

from dropscribe.transcript.types import Segment

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
class Units:
    """Indivisible units in columns: characters or words, each with the space that follows it, if any."""

    texts: Sequence[str]
    starts: Sequence[int]
    ends: Sequence[int]
    widths: Sequence[int]  #: half characters
    #: Code of the mark at the end of each unit, see `written.marks`; empty: not punctuated.
    marks: bytes = b""
    #: Least confidence of the tokens of each unit, in 255ths; empty: not known.
    confidence: bytes = b""

    def __getitem__(self, part: slice) -> Units:
        return Units(
            self.texts[part],
            self.starts[part],
            self.ends[part],
            self.widths[part],
            self.marks[part],
            self.confidence[part],
        )


@lru_cache(_CACHED_WORDS)
def width(text: str) -> int:
    """Width in half characters: 2 for a wide (CJK) character, 1 for any other, 0 for a combining one."""
    return sum(map(_width_of, text))


@lru_cache(1 << 16)
def _width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def is_wide(text: str) -> bool:
    """True for letters that are each as wide as two others and can be divided anywhere: Chinese, kana, Hangul."""
    return _WIDE_LETTERS.fullmatch(text) is not None


def units_of(segment: Segment) -> Units:
    """Units of a segment with the times of its tokens; where these differ from the text, of the tokens."""
    text, tokens = " ".join(segment.text.split()), segment.tokens
    if not tokens:
        return spread(text, segment.start_ms, segment.end_ms)
    starts, ends = tokens.starts_ms, forward(tokens.starts_ms, tokens.ends_ms)
    if tokens.texts == text and is_wide(text):
        # By far the most common case in Chinese; the general path below is slow.
        return Units(text, starts, ends, (2,) * len(text), confidence=tokens.confidence)
    return merge_subwords(pieces_of(text, tokens.texts), starts, ends, confidence=tokens.confidence)


def forward(starts: Sequence[int], ends: Sequence[int]) -> Sequence[int]:
    """Ends that are not before the starts."""
    return tuple(map(max, starts, ends)) if any(map(gt, starts, ends)) else ends


def pieces_of(text: str, tokens: Sequence[str]) -> list[str]:
    """What each token is in a text, with the spaces and marks behind it; where they disagree, the tokens themselves."""
    pieces = _slices(text, tokens)
    return _joined(tokens) if pieces is None else pieces


def merge_subwords(
    pieces: Sequence[str],
    starts: Sequence[int],
    ends: Sequence[int],
    marks: bytes = b"",
    confidence: bytes = b"",
) -> Units:
    """Build units from the pieces of tokens; the subwords of a word become one unit, unless a mark is between them."""
    whole: list[str] = []
    begins: list[int] = []
    until: list[int] = []
    firsts: list[int] = []
    marked: Sequence[int] = marks or bytes(len(pieces))
    for i, (piece, start, end) in enumerate(zip(pieces, starts, ends, strict=True)):
        if whole and not marked[i - 1] and _inseparable(whole[-1], piece):
            whole[-1] += piece
            until[-1] = max(until[-1], end)
        else:
            whole.append(piece)
            begins.append(start)
            until.append(end)
            firsts.append(i)
    if len(whole) < len(pieces):
        spans = list(pairwise([*firsts, len(pieces)]))
        marks = bytes(marks[b - 1] for _, b in spans) if marks else b""
        confidence = bytes(min(confidence[a:b]) for a, b in spans) if confidence else b""
    return Units(whole, begins, until, list(map(width, whole)), marks, confidence)


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


def spread(text: str, start_ms: int, end_ms: int) -> Units:
    """Units of a text without token positions: time is spread in proportion to width."""
    words = _WORD.findall(text)
    widths = list(map(width, words))
    before = list(accumulate(widths, initial=0))
    bounds = [start_ms + (end_ms - start_ms) * done // max(1, before[-1]) for done in before]
    return Units(words, bounds[:-1], bounds[1:], widths)


def phrases_of(units: Units, pause_ms: int) -> list[Units]:
    """Split at pauses of `pause_ms` or more."""
    if not units.texts:
        return []
    pauses = list(map(sub, units.starts[1:], units.ends))
    if max(pauses, default=pause_ms) < pause_ms:
        return [units]
    breaks = [i for i, pause in enumerate(pauses, start=1) if pause >= pause_ms]
    return [units[a:b] for a, b in pairwise([0, *breaks, len(units.texts)])]
