"""Fillers of speech that are left out, and those that mean something and stay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.transcript.written.fillers import FILLERS, replacements
from dropscribe.transcript.written.types import Replacement

DATA = Path(__file__).parent / "data" / "fillers.tsv"
CASES = [
    tuple(line.split("\t"))
    for line in DATA.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
_TOKEN = re.compile(r"[\u3400-\u9fff]|[a-z@▁]+|[，。？、,.?|‖]")
_MARKS = {"，": 1, ",": 1, "。": 2, ".": 2, "？": 3, "?": 3, "、": 4}
_PAUSES_MS = {"|": 300, "‖": 500}


def speech_of(spoken: str) -> tuple[list[str], list[int], list[int], bytes]:
    texts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    marks = bytearray()
    now = 0
    for piece in _TOKEN.findall(spoken):
        if piece in _PAUSES_MS:
            now += _PAUSES_MS[piece]
        elif piece in _MARKS:
            marks[-1] = _MARKS[piece]
        else:
            texts.append(piece)
            starts.append(now)
            now += 200
            ends.append(now)
            marks.append(0)
    return texts, starts, ends, bytes(marks) if any(marks) else b""


def kept(texts: Sequence[str], found: Sequence[Replacement]) -> list[str]:
    gone = {i for one in found for i in range(one.first, one.end)}
    return [text for i, text in enumerate(texts) if i not in gone]


@pytest.mark.parametrize(("spoken", "expected"), CASES)
def test_only_fillers_without_a_meaning_go(spoken: str, expected: str) -> None:
    texts, starts, ends, marks = speech_of(spoken)
    found = replacements(texts, starts, ends, marks)
    assert kept(texts, found) == _TOKEN.findall(expected)
    if all(len(text) == 1 for text in texts):
        assert replacements("".join(texts), starts, ends, marks) == found


def test_there_are_cases_of_both_kinds() -> None:
    stays = [c for c in CASES if _TOKEN.findall(c[1]) == speech_of(c[0])[0]]
    assert len(CASES) >= 60
    assert len(stays) >= 25
    assert len(CASES) - len(stays) >= 25


def test_words_in_one_token_and_with_a_piece_mark_are_fillers() -> None:
    assert replacements(("▁Um", "▁we", "go"), (0, 1, 2), (1, 2, 3), b"") == (Replacement(0, 1, ""),)
    assert replacements(("那个", "我们"), (0, 900), (200, 1100), bytes([1, 2])) == (Replacement(0, 1, ""),)
    assert replacements(("那", "个我", "们"), (0, 1, 2), (1, 2, 3), bytes([1, 1, 2])) == ()


WORDS = [
    *"嗯呃啊额那个这就是人的我",
    "um",
    "uh",
    "er",
    "hmm",
    "you",
    "know",
    "huh",
    "那个",
    "▁um",
    "a@@",
    "",
    "7",
]


@given(
    st.lists(st.tuples(st.sampled_from(WORDS) | st.text(max_size=3), st.integers(0, 600), st.integers(0, 4)))
)
def test_nothing_but_fillers_ever_goes(tokens: list[tuple[str, int, int]]) -> None:
    texts = [text for text, _, _ in tokens]
    starts = [sum(pause for _, pause, _ in tokens[: i + 1]) + 100 * i for i in range(len(tokens))]
    ends = [start + 100 for start in starts]
    for marks in (b"", bytes(mark for _, _, mark in tokens)):
        found = replacements(texts, starts, ends, marks)
        reached = 0
        for one in found:
            assert reached <= one.first < one.end
            reached = one.end
            words = [text.strip("▁ ").lower() for text in texts[one.first : one.end]]
            assert one.text == ""
            assert "".join(words) in FILLERS or " ".join(filter(None, words)) in FILLERS


@given(st.lists(st.sampled_from(["嗯", "呃", "那", "个", "人", "um", "好"]), max_size=12))
def test_what_is_left_out_once_leaves_no_more_to_go(texts: list[str]) -> None:
    """Without marks and pauses only what is a filler anywhere, or repeated, goes."""
    times = [100 * i for i in range(len(texts) + 1)]
    found = replacements(texts, times[:-1], times[1:], b"")
    rest = kept(texts, found)
    if rest:
        again = replacements(rest, times[: len(rest)], times[1 : len(rest) + 1], b"")
        assert all("".join(rest[r.first : r.end]) == "那个" for r in again)
