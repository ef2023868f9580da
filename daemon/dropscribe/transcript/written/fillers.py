"""Leave out fillers of speech: 嗯, 呃, um, and 那个 or "you know" where they mean nothing.

Pure. A word is left out only where it cannot mean anything, so some fillers stay:

- 嗯, 呃, um, uh, erm, hmm: anywhere, but not as a whole sentence, where they answer (嗯。).
- 啊, 额, er: only between two borders inside a sentence. After a word 啊 is a particle (好啊).
- 那个, 这个, 就是: only as a clause of their own before a comma (那个，我们走吧), and the first ones where they are
  repeated (那个那个人). 那个人 and 就是说 stay.
- "you know": only as a clause of its own before a comma.

A border is a mark, a pause, or an end of the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dropscribe.transcript.written.marks import COMMA, ENDS, NONE, PAUSE, QUESTION
from dropscribe.transcript.written.token_text import Bounds, piece
from dropscribe.transcript.written.types import Replacement

#: Fillers wherever they stand.
_SOUNDS = frozenset({"嗯", "呃", "uh", "um", "uhm", "erm", "hmm"})
#: Fillers between borders inside a sentence.
_BETWEEN_BORDERS = frozenset({"啊", "额", "er"})
#: Fillers as a clause of their own, and all but the last where they are repeated.
_CLAUSES = frozenset({"那个", "这个", "就是"})
_PHRASES = frozenset({"you know"})
FILLERS = _SOUNDS | _BETWEEN_BORDERS | _CLAUSES | _PHRASES

_CANDIDATE = re.compile(
    r"(?<!打)呃(?!逆)|嗯(?!哼)|啊|额|那个|这个|就是"
    r"|(?<![^\W_0-9\u3040-\ufaff'-])(?:um|uhm|erm|hmm|er|uh(?! (?:huh|oh)\b)|you know)(?= |$)"
)
#: A shorter silence between two tokens is no border, ms.
_PAUSE_MS = 250
#: Silence that replaces a comma in a text without marks, ms.
_LONG_PAUSE_MS = 400


@dataclass(frozen=True, slots=True)
class _Found:
    """A filler word: tokens `[first, end)`."""

    word: str
    first: int
    end: int


class _Speech:
    """Times and marks of tokens."""

    def __init__(self, starts_ms: Sequence[int], ends_ms: Sequence[int], marks: bytes) -> None:
        self._starts, self._ends = starts_ms, ends_ms
        self._marks = marks if len(marks) == len(starts_ms) else b""

    @property
    def punctuated(self) -> bool:
        return bool(self._marks)

    def mark_before(self, token: int) -> int:
        """Code of the mark before a token; 0: none, or the first token."""
        return self._marks[token - 1] if self._marks and token else NONE

    def pause_before(self, token: int, shortest_ms: int = _PAUSE_MS) -> bool:
        """Whether a pause, or an end of the tokens, is before `token`, which may be one beyond the last."""
        return token in {0, len(self._starts)} or self._starts[token] - self._ends[token - 1] >= shortest_ms

    def border_before(self, token: int) -> bool:
        return self.mark_before(token) != NONE or self.pause_before(token)

    def clause_ends(self, token: int) -> bool:
        """Whether a comma, or without marks a long pause, is before `token`."""
        if self.punctuated:
            return self.mark_before(token) in {COMMA, PAUSE}
        return token < len(self._starts) and self.pause_before(token, _LONG_PAUSE_MS)

    def sentence_ends(self, token: int) -> bool:
        """Whether a sentence certainly ends before `token`."""
        if token < len(self._starts) or self.punctuated:
            return self.mark_before(token) in ENDS
        return True


def replacements(
    texts: Sequence[str], starts_ms: Sequence[int], ends_ms: Sequence[int], marks: bytes
) -> tuple[Replacement, ...]:
    """Fillers among the tokens of a segment, each with an empty text, in order and disjoint.

    `marks`: codes of the marks after the tokens (see `marks.py`), or empty. A filler takes no mark with it: the one
    after it stays for the caller, who gives it to the word before if that has a weaker one.
    """
    pieces = texts if isinstance(texts, str) else list(map(piece, texts))
    text = "".join(pieces)
    if _CANDIDATE.search(text) is None:
        return ()
    bounds, speech = Bounds(pieces), _Speech(starts_ms, ends_ms, marks)
    found = []
    for match in _CANDIDATE.finditer(text):
        tokens = bounds.tokens(*match.span())
        if tokens is not None:
            found.append(_Found(match[0], *tokens))
    fillers = [f for i, f in enumerate(found) if _is_filler(i, found, speech)]
    chains = _chains(fillers, speech)
    return tuple(
        Replacement(f.first, f.end, "") for chain in chains if not _answers(chain, speech) for f in chain
    )


def _is_filler(at: int, found: Sequence[_Found], speech: _Speech) -> bool:
    one = found[at]
    if one.word in _SOUNDS:
        return True
    if one.word in _BETWEEN_BORDERS:
        inside = one.first > 0 and speech.mark_before(one.first) not in ENDS
        return inside and speech.border_before(one.first) and _goes_on(one, speech)
    if one.word in _CLAUSES:
        first = last = at
        while last + 1 < len(found) and _repeats(found[last], found[last + 1], speech):
            last += 1
        while first and _repeats(found[first - 1], found[first], speech):
            first -= 1
        if first != last and one.word == "就是" and speech.border_before(found[last].end):
            return False  # 就是就是 agrees
        if at < last:
            return True
        begin = found[first].first
    elif speech.punctuated:
        begin = one.first
    else:
        return False
    # After a question it may be the answer.
    begins = speech.border_before(begin) and speech.mark_before(begin) != QUESTION
    return begins and speech.clause_ends(one.end)


def _repeats(one: _Found, following: _Found, speech: _Speech) -> bool:
    return (one.word, one.end) == (following.word, following.first) and not speech.mark_before(one.end)


def _goes_on(one: _Found, speech: _Speech) -> bool:
    """Whether a border, but no end of a sentence, follows."""
    return speech.border_before(one.end) and not speech.sentence_ends(one.end)


def _chains(fillers: Sequence[_Found], speech: _Speech) -> list[list[_Found]]:
    """Fillers that follow each other in one sentence without another word between them."""
    chains: list[list[_Found]] = []
    for one in fillers:
        if chains and chains[-1][-1].end == one.first and speech.mark_before(one.first) not in ENDS:
            chains[-1].append(one)
        else:
            chains.append([one])
    return chains


def _answers(chain: Sequence[_Found], speech: _Speech) -> bool:
    """Whether fillers are a whole sentence."""
    first, end = chain[0].first, chain[-1].end
    return (first == 0 or speech.mark_before(first) in ENDS) and speech.sentence_ends(end)
