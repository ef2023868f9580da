"""From sentence pieces (`▁chief`, `tain`, `。`) to words and text. Pure.

Kudo and Richardson, "SentencePiece" (2018): `▁` stands for a space, and a piece without one goes on where the last one ended.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dropscribe.engine.models.text.spacing import Span

SPACE = "▁"
#: Marks of language, emotion, sound and style, like <|zh|>.
_MARK = re.compile(r"<\|[^|]*\|>")
#: A byte of a character that the vocabulary lacks, like <0xE4>.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
#: Characters that are words by themselves, and the full-width signs that stand between such: CJK ideographs, kana.
_SOLITARY = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")
_OPENING = frozenset({"Ps", "Pi"})


@dataclass(frozen=True, slots=True)
class Words:
    """What was said, with spaces where they belong, and its words with their places."""

    text: str
    words: list[str]
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is to be known of a piece, found once: words are made of a hundred thousand pieces a second."""

    text: str  #: without the space before it
    spaced: bool  #: whether a space stands before it
    silent: bool  #: whether it is a mark and no part of the text
    byte: int | None  #: what it is of a character
    blank: bool  #: whether there is nothing but space in it
    closes: bool  #: whether it is all punctuation that belongs to what stands before it
    opens: bool  #: whether it is all punctuation that belongs to what follows
    solitary: bool  #: whether it begins with a character that is a word by itself
    ends_solitary: bool

    @classmethod
    def of(cls, text: str, *, spaced: bool = False, silent: bool = False) -> _Piece:
        kinds = [unicodedata.category(c) for c in text]
        opening = [kind in _OPENING for kind in kinds]
        byte = _BYTE.fullmatch(text)
        return cls(
            text,
            spaced,
            silent or _MARK.fullmatch(text) is not None,
            None if byte is None else int(byte[1], 16),
            not text.strip(),
            all(kind[0] == "P" for kind in kinds) and not any(opening),
            all(opening),
            bool(text) and _SOLITARY.match(text[0]) is not None,
            bool(text) and _SOLITARY.match(text[-1]) is not None,
        )


class Pieces:
    """The vocabulary of a sentence piece model."""

    def __init__(self, pieces: Sequence[str], silent: Sequence[bool]) -> None:
        """pieces: by token number; silent: which of them are control tokens (start, end, unknown)."""
        self._pieces = [
            _Piece.of(
                piece.removeprefix(SPACE).replace(SPACE, " "), spaced=piece.startswith(SPACE), silent=mute
            )
            for piece, mute in zip(pieces, silent, strict=True)
        ]

    @classmethod
    def of(cls, processor: Any) -> Pieces:
        """`processor`: a SentencePieceProcessor."""
        numbers = range(processor.GetPieceSize())
        silent = [processor.IsControl(i) or processor.IsUnknown(i) for i in numbers]
        return cls([processor.IdToPiece(i) for i in numbers], silent)

    def words(self, ids: Sequence[int], spans: Sequence[Span]) -> Words:
        """Words of the tokens `ids`, which stand at `spans`.

        A CJK piece is a word; other pieces that follow each other without a space are one, from the start of the first to
        the end of the last. Punctuation belongs to the word it follows, or opens, and gives it no time.
        """
        text: list[str] = []
        words: list[str] = []
        placed: list[Span] = []
        space = opened = solitary = False
        for piece, span in self._whole(ids, spans):
            space = space or piece.spaced
            if piece.blank:
                continue
            if space and text:
                text.append(" ")
            text.append(piece.text)
            joined = bool(words) and not space
            space = False
            if joined and piece.closes:
                words[-1] += piece.text
            elif joined and opened:
                words[-1] += piece.text
                placed[-1] = span
                opened = piece.opens
            elif joined and not solitary and not piece.solitary:
                words[-1] += piece.text
                placed[-1] = (placed[-1][0], span[1])
            else:
                words.append(piece.text)
                placed.append(span)
                opened = piece.opens
            solitary = piece.ends_solitary
        return Words("".join(text), words, placed)

    def _whole(self, ids: Sequence[int], spans: Sequence[Span]) -> list[tuple[_Piece, Span]]:
        """Pieces that are text, with the bytes of a character put together."""
        whole: list[tuple[_Piece, Span]] = []
        pending = bytearray()
        since = until = 0
        for number, span in zip(ids, spans, strict=True):
            piece = self._pieces[number]
            if piece.byte is not None:
                since, until = (since if pending else span[0]), span[1]
                pending.append(piece.byte)
                continue
            if pending:
                whole.append((_decoded(pending), (since, until)))
                pending.clear()
            if not piece.silent:
                whole.append((piece, span))
        if pending:
            whole.append((_decoded(pending), (since, until)))
        return whole


def _decoded(raw: bytearray) -> _Piece:
    return _Piece.of(raw.decode("utf-8", errors="replace"))
