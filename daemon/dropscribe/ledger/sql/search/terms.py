"""Parse a search query into terms. Pure.

A query is words separated by blanks, all of which must be found; quotes ("…", “…”, 「…」) make a phrase of several words.
Every other character, also a quote without a partner, stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product

from dropscribe.ledger.columns import storable
from dropscribe.ledger.sql.search.schema import SENTINEL
from dropscribe.transcript.written.numbers import replacements
from dropscribe.transcript.written.numerals.spoken import ways_to_say

#: Characters of a term of the indexes.
TERM = 3
#: Sorts after every character that can follow in a term.
LAST = "\U0010ffff"
#: Most readings of a query that are searched for.
_READINGS = 12
#: A phrase in quotes.
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|「([^」]+)」")
#: Marks that most recognisers do not write, so that the index does not have them; not those within figures.
_MARKS = re.compile(r"[，。？！、；：]|[,.?!;:](?!\d)")
#: Characters written without spaces between them: CJK ideographs, kana, full-width forms and CJK punctuation.
_UNSPACED = re.compile(
    r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af]"
)


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase to be found in a segment."""

    text: str
    #: Finds it in a text, ignoring case, and spaces between Chinese and other characters.
    pattern: re.Pattern[str]
    #: Longest part of `text` that a matching segment contains literally; looked up in the index.
    needle: str


def parse(query: str) -> tuple[Term, ...]:
    """Terms of a query in order, each once; () if there is nothing to search for."""
    texts: dict[str, str] = {}
    for text in _texts(clean(query)):
        texts.setdefault(fold(text), text)
    return tuple(map(_term, texts.values()))


def readings(terms: Sequence[Term]) -> list[tuple[Term, ...]]:
    """The terms, and the same without marks, with numbers in words instead of figures, or in figures instead of words.

    People search for what they read, `2024年，`; the index has what was recognised, 二零二四年. At most `_READINGS`.
    """
    ways = [[t, *map(_term, _other_forms(t.text))] for t in terms]
    return list(islice(product(*ways), _READINGS))


def _other_forms(text: str) -> tuple[str, ...]:
    bare = _MARKS.sub("", text)
    if bare not in {"", text}:
        return (bare, *_in_other_numbers(bare))
    return _in_other_numbers(text)


def _in_other_numbers(text: str) -> tuple[str, ...]:
    said = ways_to_say(text)
    if said:
        return said
    written = list(text)
    for found in reversed(replacements(written)):
        written[found.first : found.end] = [found.text]
    form = "".join(written)
    return () if form == text else (form,)


def clean(query: str) -> str:
    """The query without surrounding blanks and without characters that no transcript contains."""
    kept = (c for c in query if c not in {"\0", SENTINEL} and not "\ud800" <= c <= "\udfff")
    return "".join(kept).strip()


def containing(text: str) -> str:
    """The pattern of LIKE for what contains `text`. It may find more: what is found is compared with the query."""
    escaped = storable(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    # No database knows that all of these are one letter.
    return f"%{re.sub('[σςΣ]', '_', escaped)}%"


def fold(text: str) -> str:
    """Fold case as the index does: character by character, keeping the length."""
    return "".join(_fold(c) for c in text)


def _texts(query: str) -> Iterator[str]:
    start = 0
    for quoted in _QUOTED.finditer(query):
        yield from query[start : quoted.start()].split()
        phrase = " ".join("".join(filter(None, quoted.groups())).split())
        if phrase:
            yield phrase
        start = quoted.end()
    yield from query[start:].split()


def _term(text: str) -> Term:
    pieces = [text[:1]]
    for before, after in pairwise(text):
        if before != " " != after and _is_unspaced(before) != _is_unspaced(after):
            pieces.append("")
        pieces[-1] += after
    pattern = r"\s?".join(r"\s+".join(map(re.escape, piece.split(" "))) for piece in pieces)
    return Term(text, re.compile(pattern, re.IGNORECASE), max(pieces, key=len))


def _is_unspaced(character: str) -> bool:
    return _UNSPACED.match(character) is not None


def _fold(c: str) -> str:
    folded = c.casefold()
    if len(folded) == 1:
        return folded
    lower = c.lower()
    return lower if len(lower) == 1 else c
