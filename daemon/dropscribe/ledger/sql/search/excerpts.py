"""Excerpts of segments round what was found in them, and the time at which it was said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropscribe.ledger.records import Match
from dropscribe.ledger.sql.search.terms import fold
from dropscribe.transcript.types import Segment, Tokens

#: Characters of text shown on each side of a match.
AROUND = 30
#: Marks of parts of words in a model's tokens: "hel@@ lo", "▁hello".
_PIECE_MARKS = re.compile(r"@@$|^\u2581")
#: Longest distance from one token to the next in the text, characters: more means that the text lacks the token.
_NEXT_TOKEN = 8


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters [first, last) of a segment, and the matches in them."""

    segment: Segment
    first: int
    last: int
    spans: tuple[tuple[int, int], ...]


def excerpt(found: Sequence[tuple[Segment, tuple[int, int]]]) -> tuple[str, tuple[Match, ...]]:
    """Text round matches on one line, and the matches in order of time.

    `found`: segments of one recording with the characters [first, last) that match.
    """
    line, matches = "", []
    before: _Piece | None = None
    for piece in _pieces(found):
        line += _link(before, piece)
        moved = len(line) - piece.first
        # Character for character, so that the positions stay right.
        line += "".join(" " if c.isspace() else c for c in piece.segment.text[piece.first : piece.last])
        for first, last in piece.spans:
            start_ms, end_ms = said_at(piece.segment, first, last)
            matches.append(Match(first + moved, last + moved, start_ms, end_ms))
        before = piece
    if before is not None and before.last < len(before.segment.text):
        line += "…"
    return line, tuple(matches)


def said_at(segment: Segment, first: int, last: int) -> tuple[int, int]:
    """Start and end of the characters [first, last) of a segment's text, ms."""
    placed = [(a, b, i) for a, b, i in _places(segment.text, segment.tokens) if a < last and b > first]
    if placed:
        starts, ends = segment.tokens.starts_ms, segment.tokens.ends_ms
        start = starts[placed[0][2]]
        return start, max(start, ends[placed[-1][2]])
    # Without tokens the text counts as spoken evenly.
    length, span = max(1, len(segment.text)), segment.end_ms - segment.start_ms
    return segment.start_ms + span * first // length, segment.start_ms + span * last // length


def _places(text: str, tokens: Tokens) -> Iterator[tuple[int, int, int]]:
    """(first, last, index) of each token that the text contains, in order. Text may lack tokens and have more."""
    folded, cursor = fold(text), 0
    for i, token in enumerate(tokens.texts):
        core = fold(_PIECE_MARKS.sub("", token).strip())
        at = folded.find(core, cursor, cursor + _NEXT_TOKEN + len(core)) if core else -1
        if at >= 0:
            cursor = at + len(core)
            yield at, cursor, i


def _pieces(found: Sequence[tuple[Segment, tuple[int, int]]]) -> Iterator[_Piece]:
    """Pieces in order of time; those that overlap are one."""
    piece: _Piece | None = None
    for segment, (first, last) in sorted(found, key=lambda one: (one[0].index, one[1])):
        begin, end = max(0, first - AROUND), min(len(segment.text), last + AROUND)
        if piece is not None and piece.segment is segment and begin <= piece.last:
            piece = _Piece(segment, piece.first, max(piece.last, end), (*piece.spans, (first, last)))
            continue
        if piece is not None:
            yield piece
        piece = _Piece(segment, begin, end, ((first, last),))
    if piece is not None:
        yield piece


def _link(before: _Piece | None, piece: _Piece) -> str:
    """Text between two pieces; an ellipsis where something is left out."""
    if before is None:
        return "…" if piece.first else ""
    whole = before.last == len(before.segment.text) and piece.first == 0
    return " " if whole and piece.segment.index == before.segment.index + 1 else " … "
