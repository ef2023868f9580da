"""Join a model's tokens to words and merge their timestamps: `hel@@ lo`, `a t & t`, `2@@ 0@@ 2@@ 4 年`. Pure.

For ordinary sequences (CJK characters, words, subwords, spelt letters) the result equals that of FunASR's
`sentence_postprocess`. That function raises IndexError on `a . b . c d`, loses all timestamps of a segment with `&` or
`.`, does not join `2@@`, and drops or moves a subword without continuation. Here every token but special ones
contributes its characters and its time to exactly one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import IntEnum, auto
from functools import lru_cache
from typing import NamedTuple

from dropscribe.engine.models.text.spacing import Span, is_cjk

#: Special tokens: `<s>`, `</s>`, `<unk>`, `<sos/eos>`, `<blank>`, `<|zh|>`.
_MARK = re.compile(r"</?[A-Za-z_][A-Za-z_/]*>|<\|[^|]*\|>")
#: Suffix of a token that the next one continues.
_GOES_ON = "@@"
_APOSTROPHES = frozenset("'\u2019")
#: Endings of English words: after the apostrophe, and as whole tokens.
_TAILS = frozenset({"s", "t", "d", "m", "ll", "re", "ve"})
_TAIL_TOKENS = frozenset(
    {a + tail for a in _APOSTROPHES for tail in _TAILS} | {f"n{a}t" for a in _APOSTROPHES}
)
_LINKS = frozenset("@-_/")
#: Between digits these are part of a number or a time: 1,000, 10:30.
_WITHIN_NUMBERS = frozenset(",:")
#: Abbreviations in lower case.
_SMALL = frozenset({"e.g", "i.e"})
#: Single letters that are English words: next to a longer word they are not part of a number (`a 5 year plan`).
_ONE_LETTER_WORDS = frozenset("ai")
#: Longest word that forms an abbreviation with `&` and a letter, letters: `at & t` is one, `rhythm & b` is not.
_SHORT = 3
#: Tokens in each cache; vocabularies have some ten thousand.
_CACHED_TOKENS = 1 << 15


class _Kind(IntEnum):
    """Kind of a token or a joined word, as far as joining depends on it."""

    NOTHING = 0  #: a special token, or blank
    CJK = auto()  #: begins with an ideograph or kana: a word on its own
    WORD = auto()
    LETTER = auto()  #: one ASCII letter
    FIGURE = auto()  #: digits only
    TAIL = auto()  #: the ending of an English word: 's, n't
    APOSTROPHE = auto()
    DOT = auto()
    AMPERSAND = auto()
    LINK = auto()
    OPENER = auto()
    CLOSER = auto()
    SIGN = auto()  #: any other character that is not a letter or digit


#: Kinds that never join each other; by far the most frequent.
_APART = frozenset({_Kind.CJK, _Kind.WORD})
#: Kinds that consist of letters or digits of a spaced script.
_SPOKEN = frozenset({_Kind.WORD, _Kind.LETTER, _Kind.FIGURE, _Kind.TAIL})
#: Kinds of individual symbols; the kind of others depends on their Unicode category.
_SIGNS = {
    **dict.fromkeys(_APOSTROPHES, _Kind.APOSTROPHE),
    **dict.fromkeys(_LINKS, _Kind.LINK),
    **dict.fromkeys('"*\\', _Kind.SIGN),
    ".": _Kind.DOT,
    "&": _Kind.AMPERSAND,
    "#": _Kind.OPENER,
    "°": _Kind.CLOSER,
}
#: Kinds by Unicode category: brackets, quotation marks and currencies open; punctuation, accents, vowel signs close.
_CATEGORIES = {
    **dict.fromkeys(("Ps", "Pi", "Sc"), _Kind.OPENER),
    **dict.fromkeys(("Pe", "Pf", "Po", "Mn", "Mc", "Me"), _Kind.CLOSER),
}


class _Part(NamedTuple):
    """A token, or the joined subwords of a word: tokens `first` to `last`."""

    text: str
    kind: _Kind
    first: int
    last: int


_NO_PART = _Part("", _Kind.NOTHING, -1, -1)


def join_words(tokens: Sequence[str], spans: Sequence[Span] | None) -> tuple[list[str], list[Span] | None]:
    """Join `tokens` to words; also merge their spans, if given.

    Subwords are joined (`hel@@ lo` → `hello`), spelt letters become an abbreviation in capitals (`u s b` → `USB`),
    digits become a number. Letters, numbers and symbols between them are one word where English writes them so: `AT&T`,
    `v2.0`, `5g`. A word lasts from the start of its first token to the end of its last. Never raises if there are as
    many spans as tokens.
    """
    parts = _parts(tokens)
    words: list[str] = []
    places: list[tuple[int, int]] = []
    begin, left = 0, _NO_PART
    for i, right in enumerate([*parts, _NO_PART]):
        if i and not (right.kind and _joined(parts, i)):
            words.append(left.text if i - begin == 1 else _written(parts[begin:i]))
            places.append((parts[begin].first, left.last))
            begin = i
        left = right
    return words, None if spans is None else [(spans[a][0], spans[b][1]) for a, b in places]


def _parts(tokens: Sequence[str]) -> list[_Part]:
    """Tokens with subwords joined and special tokens removed. A subword without continuation is a word."""
    parts: list[_Part] = []
    texts: list[str] = []
    first = last = 0

    def close() -> None:
        text = "".join(texts)
        if text:
            kind = _kind(text)
            # A single letter left of subwords is not a spelt letter.
            parts.append(_Part(text, _Kind.WORD if kind is _Kind.LETTER else kind, first, last))
        texts.clear()

    for i, token in enumerate(tokens):
        text, kind, goes_on = _read(token)
        if not texts and not goes_on and kind:
            parts.append(_Part(text, kind, i, i))
            continue
        if kind is _Kind.NOTHING and not goes_on:
            continue
        if kind is _Kind.CJK:
            close()
            parts.append(_Part(text, kind, i, i))
            continue
        if not texts:
            first = i
        texts.append(text)
        last = i
        if not goes_on:
            close()
    close()
    return parts


@lru_cache(_CACHED_TOKENS)
def _read(token: str) -> tuple[str, _Kind, bool]:
    """Text and kind of a token, and true if the next one continues it."""
    if _MARK.fullmatch(token):
        return "", _Kind.NOTHING, False
    text = "".join(token.replace(_GOES_ON, "").split())
    return text, _kind(text), token.endswith(_GOES_ON)


@lru_cache(_CACHED_TOKENS)
def _kind(text: str) -> _Kind:
    if not text:
        return _Kind.NOTHING
    if is_cjk(text[0]):
        return _Kind.CJK
    if not any(map(str.isalnum, text)):
        by_category = _CATEGORIES.get(unicodedata.category(text[0]), _Kind.SIGN)
        return _SIGNS.get(text[0], by_category)
    if text.isdecimal():
        return _Kind.FIGURE
    if len(text) == 1 and text.isascii():
        return _Kind.LETTER
    return _Kind.TAIL if text in _TAIL_TOKENS else _Kind.WORD


def _joined(parts: Sequence[_Part], i: int) -> bool:
    """True if part `i` belongs to the word of the part before it."""
    before, after = parts[i - 1], parts[i]
    left, right = before.kind, after.kind
    if left in _APART and right in _APART:
        return False
    if right is _Kind.CLOSER:
        return left is not _Kind.OPENER
    if left is _Kind.OPENER:
        return right not in (_Kind.SIGN, _Kind.OPENER)
    if left is _Kind.CJK or right is _Kind.CJK:
        return False
    if left is _Kind.CLOSER:
        return (
            before.text in _WITHIN_NUMBERS
            and right is _Kind.FIGURE
            and _at(parts, i - 2).kind is _Kind.FIGURE
        )
    if left in _SPOKEN and right in _SPOKEN:
        return _spoken_together(parts, i)
    if left in _SPOKEN:
        return _sign_follows(before, after, _at(parts, i + 1))
    if right in _SPOKEN:
        return _sign_leads(_at(parts, i - 2), before, after)
    return left is right is _Kind.DOT


def _at(parts: Sequence[_Part], i: int) -> _Part:
    return parts[i] if 0 <= i < len(parts) else _NO_PART


def _spoken_together(parts: Sequence[_Part], i: int) -> bool:
    """True if two parts of letters and digits join: spelt letters, numbers, both together, `'s` after anything."""
    before, after = parts[i - 1], parts[i]
    if after.kind is _Kind.TAIL:
        return True
    if {before.kind, after.kind} <= {_Kind.LETTER, _Kind.FIGURE}:
        if after.kind is _Kind.FIGURE and before.kind is _Kind.LETTER:
            return not _is_english(before, _at(parts, i - 2))
        if after.kind is _Kind.LETTER and before.kind is _Kind.FIGURE:
            return not _is_english(after, _at(parts, i + 1))
        return True
    return False


def _is_english(letter: _Part, beyond: _Part) -> bool:
    """True if a letter is an English word, judged by the part on its other side."""
    return letter.text.lower() in _ONE_LETTER_WORDS and beyond.kind is _Kind.WORD and beyond.text.isalpha()


def _sign_follows(before: _Part, sign: _Part, after: _Part) -> bool:
    """True if a symbol belongs to the word before it; `after`: the part after the symbol."""
    if sign.kind is _Kind.LINK:
        return after.kind in _SPOKEN
    if sign.kind is _Kind.AMPERSAND:
        return _is_spelt(before, after)
    return sign.kind in (_Kind.DOT, _Kind.APOSTROPHE)


def _sign_leads(before: _Part, sign: _Part, after: _Part) -> bool:
    """True if a symbol belongs to the word after it; `before`: the part before the symbol."""
    if sign.kind is _Kind.LINK:
        return before.kind in _SPOKEN or after.kind is _Kind.FIGURE
    if sign.kind is _Kind.AMPERSAND:
        return _is_spelt(before, after)
    if sign.kind is _Kind.APOSTROPHE:
        return after.text in _TAILS or _Kind.LETTER in (before.kind, after.kind)
    return sign.kind is _Kind.DOT


def _is_spelt(before: _Part, after: _Part) -> bool:
    """True if `&` is inside an abbreviation (`r & b`, `at & t`) and not between words (`johnson & johnson`)."""
    if before.kind is after.kind is _Kind.WORD:
        return False
    return all(p.kind in (_Kind.LETTER, _Kind.FIGURE) or _is_short(p) for p in (before, after))


def _is_short(part: _Part) -> bool:
    """True if a word is short enough to be part of an abbreviation."""
    return (
        part.kind is _Kind.WORD and len(part.text) <= _SHORT and part.text.isascii() and part.text.isalpha()
    )


def _written(parts: Sequence[_Part]) -> str:
    """Text of a word: spelt letters, adjacent or separated by `.` or `&`, become capitals."""
    text = "".join([p.text for p in parts])
    if text.rstrip(".").lower() in _SMALL:
        return text
    return "".join([p.text.upper() if _is_capital(parts, i) else p.text for i, p in enumerate(parts)])


def _is_capital(parts: Sequence[_Part], i: int) -> bool:
    part = parts[i]
    if part.kind is not _Kind.LETTER and not _is_short(part):
        return False
    for step in (-1, 1):
        beside = _at(parts, i + step).kind
        if beside is _Kind.AMPERSAND:
            return True
        if part.kind is _Kind.LETTER and beside is _Kind.DOT:
            beside = _at(parts, i + 2 * step).kind
        if part.kind is beside is _Kind.LETTER:
            return True
    return False
