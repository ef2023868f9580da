"""Join SentencePiece tokens (`▁chief`, `tain`, `。`) to words and text. Pure.

Kudo and Richardson, "SentencePiece" (2018): `▁` is a space; a piece without it continues the previous one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dropscribe.engine.models.text.spacing import Span
from dropscribe.engine.models.text.tags import TAG, tags_of
from dropscribe.transcript.types import Tags

SPACE = "▁"
#: One byte of a character that is not in the vocabulary, like <0xE4>.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
#: Characters that are words on their own (CJK ideographs, kana), and full-width symbols.
_SOLITARY = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")
_OPENING = frozenset({"Ps", "Pi"})


@dataclass(frozen=True, slots=True)
class Words:
    """Text with spaces, and its words with their spans."""

    text: str
    words: list[str]
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Properties of a piece, computed once: a hundred thousand pieces a second are joined."""

    text: str  #: without the space before it
    spaced: bool  #: preceded by a space
    silent: bool  #: a tag, not part of the text
    byte: int | None  #: value of a byte piece
    blank: bool  #: only spaces
    closes: bool  #: only punctuation that belongs to the word before it
    opens: bool  #: only punctuation that belongs to the word after it
    solitary: bool  #: begins with a character that is a word on its own
    ends_solitary: bool

    @classmethod
    def of(cls, text: str, *, spaced: bool = False, silent: bool = False) -> _Piece:
        kinds = [unicodedata.category(c) for c in text]
        opening = [kind in _OPENING for kind in kinds]
        byte = _BYTE.fullmatch(text)
        return cls(
            text,
            spaced,
            silent or TAG.fullmatch(text) is not None,
            None if byte is None else int(byte[1], 16),
            not text.strip(),
            all(kind[0] == "P" for kind in kinds) and not any(opening),
            all(opening),
            bool(text) and _SOLITARY.match(text[0]) is not None,
            bool(text) and _SOLITARY.match(text[-1]) is not None,
        )


class Pieces:
    """Vocabulary of a SentencePiece model."""

    def __init__(self, pieces: Sequence[str], silent: Sequence[bool]) -> None:
        """pieces: by token number; silent: True for control tokens (start, end, unknown)."""
        self._pieces = [
            _Piece.of(
                piece.removeprefix(SPACE).replace(SPACE, " "), spaced=piece.startswith(SPACE), silent=mute
            )
            for piece, mute in zip(pieces, silent, strict=True)
        ]
        #: Token number → name of a tag.
        self._tags = {i: found[1] for i, piece in enumerate(pieces) if (found := TAG.fullmatch(piece))}

    @classmethod
    def of(cls, processor: Any) -> Pieces:
        """`processor`: a SentencePieceProcessor."""
        numbers = range(processor.GetPieceSize())
        silent = [processor.IsControl(i) or processor.IsUnknown(i) for i in numbers]
        return cls([processor.IdToPiece(i) for i in numbers], silent)

    def tags(self, ids: Sequence[int]) -> Tags:
        """The tags among the tokens `ids`."""
        return tags_of(self._tags[i] for i in ids if i in self._tags)

    def words(self, ids: Sequence[int], spans: Sequence[Span]) -> Words:
        """Join the tokens `ids`, located at `spans`, to words.

        A CJK piece is a word; consecutive other pieces without a space are one word, from the start of the first to the
        end of the last. Punctuation is added to the word before it (opening punctuation: after it) without its time.
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
        """Text pieces without tags; the byte pieces of a character are combined."""
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
