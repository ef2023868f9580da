"""From sentence pieces (`▁chief`, `tain`, `。`) to words and text. Pure.

Kudo and Richardson, "SentencePiece" (2018): `▁` stands for a space, and a piece without one goes on where the last one ended.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Span = tuple[int, int]
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
    text: str  #: without the space before it
    spaced: bool  #: whether a space stands before it
    silent: bool  #: whether it is a mark and no part of the text


class Pieces:
    """The vocabulary of a sentence piece model."""

    def __init__(self, pieces: Sequence[str], silent: Sequence[bool]) -> None:
        """pieces: by token number; silent: which of them are control tokens (start, end, unknown)."""
        self._pieces = [
            _Piece(
                piece.removeprefix(SPACE).replace(SPACE, " "),
                piece.startswith(SPACE),
                mute or _MARK.fullmatch(piece.removeprefix(SPACE)) is not None,
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
        space = False
        for piece, span in self._whole(ids, spans):
            space = space or piece.spaced
            if not piece.text.strip():
                continue
            if space and text:
                text.append(" ")
            text.append(piece.text)
            joined = bool(words) and not space
            if joined and _closes(piece.text):
                words[-1] += piece.text
            elif joined and _opens(words[-1]):
                words[-1] += piece.text
                placed[-1] = span
            elif joined and not _SOLITARY.match(words[-1][-1]) and not _SOLITARY.match(piece.text):
                words[-1] += piece.text
                placed[-1] = (placed[-1][0], span[1])
            else:
                words.append(piece.text)
                placed.append(span)
            space = False
        return Words("".join(text), words, placed)

    def _whole(self, ids: Sequence[int], spans: Sequence[Span]) -> list[tuple[_Piece, Span]]:
        """Pieces that are text, with the bytes of a character put together."""
        whole: list[tuple[_Piece, Span]] = []
        pending = bytearray()
        since = until = 0
        for number, span in zip(ids, spans, strict=True):
            piece = self._pieces[number]
            byte = _BYTE.fullmatch(piece.text) if piece.text.startswith("<0x") else None
            if byte is None and pending:
                whole.append((_Piece(_decoded(pending), spaced=False, silent=False), (since, until)))
                pending.clear()
            if byte is not None:
                since, until = (since if pending else span[0]), span[1]
                pending.append(int(byte[1], 16))
            elif not piece.silent:
                whole.append((piece, span))
        if pending:
            whole.append((_Piece(_decoded(pending), spaced=False, silent=False), (since, until)))
        return whole


def _decoded(raw: bytearray) -> str:
    return raw.decode("utf-8", errors="replace")


def _closes(text: str) -> bool:
    """Whether it is all punctuation, none of which opens anything."""
    return all((c := unicodedata.category(x))[0] == "P" and c not in _OPENING for x in text)


def _opens(word: str) -> bool:
    """Whether there is nothing but opening punctuation so far."""
    return all(unicodedata.category(x) in _OPENING for x in word)
