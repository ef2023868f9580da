"""Join a model's tokens to words and merge their timestamps: `hel@@ lo`, `a t & t`, `2@@ 0@@ 2@@ 4 年`. Pure.

For ordinary sequences (CJK characters, words, subwords, spelt letters) the result equals that of FunASR's
`sentence_postprocess`. That function raises IndexError on `a . b . c d`, loses all timestamps of a segment with `&` or
`.`, does not join `2@@`, and drops or moves a subword without continuation. Here every token but special ones
contributes its characters and its time to exactly one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from functools import lru_cache
from typing import NamedTuple

from dropscribe.engine.models.text import spacing
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

# Most sequences consist of ideographs and English words. These are told by one letter a token and joined by regular
# expressions: the rules below take ten times as long, and a GPU emits a hundred thousand tokens a second.

#: An ideograph or kana; an English word; a subword that goes on; one letter; anything else.
_IDEOGRAPH, _WHOLE, _SUBWORD, _ONE, _OTHER = "cwslx"
#: Spelt letters, figures, symbols. In an ordinary sequence, without these, nothing but subwords is joined.
_SPECIAL = re.compile(r"x|ll")
#: Subwords of an ordinary sequence with what continues them.
_JOINED_SUBWORDS = re.compile(r"s+[wl]?")
#: Words of an ordinary sequence without subwords, neighbouring ideographs together.
_ORDINARY_WORDS = re.compile(r"c+|w|l")
#: Between two of these nothing on one side influences the other.
_APART_LETTERS = frozenset((_IDEOGRAPH, _WHOLE))


@dataclass(frozen=True, slots=True)
class Joined:
    """Words, the text of them, and the numbers of the first and the last token of each."""

    text: str
    words: list[str]
    firsts: list[int]
    lasts: list[int]


def join_words(tokens: Sequence[str], spans: Sequence[Span] | None) -> tuple[list[str], list[Span] | None]:
    """The words of `join_tokens`, with their spans if those of the tokens are given, of which there must be as many.

    A word lasts from the start of its first token to the end of its last.
    """
    joined = join_tokens(tokens)
    if spans is None:
        return joined.words, None
    return joined.words, [
        (spans[a][0], spans[b][1]) for a, b in zip(joined.firsts, joined.lasts, strict=True)
    ]


def letters_of(tokens: Iterable[str]) -> str:
    """One letter for the kind of each token, for `join_tokens`."""
    return "".join(map(_LETTERS.__getitem__, tokens))


def join_tokens(tokens: Sequence[str], letters: str | None = None) -> Joined:
    """Join `tokens` to words. letters: their `letters_of`, if known.

    Subwords are joined (`hel@@ lo` → `hello`), spelt letters become an abbreviation in capitals (`u s b` → `USB`),
    digits become a number. Letters, numbers and symbols between them are one word where English writes them so: `AT&T`,
    `v2.0`, `5g`. Never raises.
    """
    if letters is None:
        letters = letters_of(tokens)
    if not _SPECIAL.search(letters):
        return _join_ordinary(tokens, letters, 0, len(letters))
    portions = [
        _join_ordinary(tokens, letters, begin, end) if ordinary else join_by_rules(tokens[begin:end], begin)
        for begin, end, ordinary in _portions(letters)
    ]
    words = [word for portion in portions for word in portion.words]
    firsts = [first for portion in portions for first in portion.firsts]
    lasts = [last for portion in portions for last in portion.lasts]
    return Joined(spacing.join(words), words, firsts, lasts)


def _portions(letters: str) -> Iterator[tuple[int, int, bool]]:
    """Portions that do not depend on each other: (begin, end, whether it is ordinary)."""
    at = 0
    while (special := _SPECIAL.search(letters, at)) is not None:
        begin, end = special.span()
        while begin > at and not _apart(letters, begin):
            begin -= 1
        while end < len(letters) and not _apart(letters, end):
            end += 1
        yield at, begin, True
        yield begin, end, False
        at = end
    yield at, len(letters), True


def _apart(letters: str, at: int) -> bool:
    """True if what is before and after this place does not influence each other."""
    return letters[at - 1] in _APART_LETTERS and letters[at] in _APART_LETTERS


def _join_ordinary(tokens: Sequence[str], letters: str, begin: int, end: int) -> Joined:
    words = [*tokens[begin:end]]
    firsts, lasts = [*range(begin, end)], [*range(begin, end)]
    kinds = letters[begin:end]
    if _SUBWORD in kinds:
        # The last ones first: they do not move those before them.
        for match in reversed([*_JOINED_SUBWORDS.finditer(kinds)]):
            first, until = match.span()
            words[first:until] = ["".join(words[first:until]).replace(_GOES_ON, "")]
            del firsts[first + 1 : until], lasts[first : until - 1]
        kinds = _JOINED_SUBWORDS.sub(_WHOLE, kinds)
    # As `spacing.join`, for English words and ideographs.
    texts = ["".join(words[match.start() : match.end()]) for match in _ORDINARY_WORDS.finditer(kinds)]
    return Joined(" ".join(texts), words, firsts, lasts)


def join_by_rules(tokens: Sequence[str], begin: int = 0) -> Joined:
    """As `join_tokens`, by the rules for tokens of any kind; slow. begin: number of the first one."""
    parts = _parts(tokens)
    words: list[str] = []
    places: list[tuple[int, int]] = []
    start, left = 0, _NO_PART
    for i, right in enumerate([*parts, _NO_PART]):
        if i and not (right.kind and _joined(parts, i)):
            words.append(left.text if i - start == 1 else _written(parts[start:i]))
            places.append((begin + parts[start].first, begin + left.last))
            start = i
        left = right
    return Joined(spacing.join(words), words, [a for a, _ in places], [b for _, b in places])


class _Letters(dict[str, str]):
    """The letter of each token seen. A dictionary, which is asked several times as fast as a cache."""

    def __missing__(self, token: str) -> str:
        if len(self) >= _CACHED_TOKENS:
            self.clear()
        letter = self[token] = _letter(token)
        return letter


_LETTERS = _Letters()


def _letter(token: str) -> str:
    """The letter of a token in `_ORDINARY_WORDS`."""
    text, kind, goes_on = _read(token)
    if kind is _Kind.CJK and token == text and spacing.all_cjk(text):
        return _IDEOGRAPH
    english = kind in (_Kind.WORD, _Kind.LETTER) and text.isascii() and text.isalpha()
    if english and goes_on and token == text + _GOES_ON:
        return _SUBWORD
    if english and token == text:
        return _ONE if kind is _Kind.LETTER else _WHOLE
    return _OTHER


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
