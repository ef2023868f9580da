"""Write marks into text: which form a mark has, where a sentence ends, which letter is raised. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dropscribe.transcript.written.marks import COMMA, ENDS, FULL_STOP, NARROW, PAUSE, QUESTION, WIDE
from dropscribe.transcript.written.units import Units, is_wide, width

#: A text with marks of its own: one that ends a sentence.
_OWN_MARKS = re.compile(r"[。？！]|[.?!][\"'”’)）」』]*(?=\s|$)")
_WIDE_LETTER = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_CLOSING = "\"'”’)）」』】"
#: Codes of the marks that a model writes into its text.
_CODES = {
    **dict.fromkeys("。！!…", FULL_STOP),
    **dict.fromkeys("？?", QUESTION),
    **dict.fromkeys("，,；;：:", COMMA),
    "、": PAUSE,
}
#: Words with a dot that end no sentence.
_ABBREVIATIONS = frozenset({"mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "e.g.", "i.e.", "no."})
#: Characters of addresses, file names and versions, whose first letter is not raised.
_NO_WORD = re.compile(r"[./\\@:_]\S")


@dataclass(slots=True)
class Position:
    """Position in a sentence, carried from one run of the same speaker to the next."""

    at_start: bool = True  #: no word of the sentence yet
    wide: bool = False  #: the sentence has a wide (Chinese) letter
    narrow: bool = False  #: the sentence has a letter of another script


def has_marks(text: str) -> bool:
    """True for a text with marks of its own: a model that punctuates (SenseVoice) wrote it."""
    return _OWN_MARKS.search(text) is not None


def own_marks(units: Units) -> bytes:
    """Code of the mark with which each unit ends in a text that has marks of its own."""
    return bytes(map(_own_mark, units.texts))


def _own_mark(text: str) -> int:
    bare = text.rstrip().rstrip(_CLOSING)
    if bare.endswith("."):
        abbreviated = bare.lower() in _ABBREVIATIONS or (len(bare) == 2 and bare[0].isalpha())
        return 0 if abbreviated else FULL_STOP
    return _CODES.get(bare[-1:], 0)


def punctuate(units: Units, position: Position, *, spoken: str) -> Units:
    """Units with their marks written, the first letter of each sentence raised. `position` is carried on.

    A mark is half-width in a sentence without a Chinese character, and between two words of other scripts: `Good
    morning, everyone.`, `我用 Python, Java 和 Go。` A sentence of figures only is as the text `spoken` for it.
    """
    texts, widths, marks = list(units.texts), list(units.widths), units.marks
    if isinstance(units.texts, str) and is_wide(units.texts):
        # By far the most common case: every mark is full-width, no letter has a capital.
        for i, mark in enumerate(marks):
            if mark:
                texts[i] += WIDE[mark]
                widths[i] += 2
        position.at_start = marks[-1] in ENDS
        position.wide, position.narrow = not position.at_start, False
        return Units(texts, units.starts, units.ends, widths, marks, units.confidence)
    chinese = _WIDE_LETTER.search(spoken) is not None
    for i, mark in enumerate(marks):
        text = texts[i]
        if position.at_start or i == 0:
            position.wide = position.wide or _has_wide(texts, marks, i)
        if position.at_start:
            text = _raised(text)
            position.at_start = False
        if not position.wide and any(map(str.isalpha, text)):
            position.narrow = True
        if mark:
            following = texts[i + 1] if i + 1 < len(texts) else ""
            wide = position.wide or (chinese and not position.narrow)
            text = _marked(text, mark, following, wide=wide)
            if mark in ENDS:
                position.at_start, position.wide, position.narrow = True, False, False
        texts[i] = text
        widths[i] = width(text)
    return Units(texts, units.starts, units.ends, widths, marks, units.confidence)


def _has_wide(texts: list[str], marks: bytes, first: int) -> bool:
    """Whether the rest of the sentence, as far as it is in these units, has a wide letter."""
    for text, mark in zip(texts[first:], marks[first:], strict=True):
        if _WIDE_LETTER.search(text):
            return True
        if mark in ENDS:
            return False
    return False


def _marked(text: str, mark: int, following: str, *, wide: bool) -> str:
    """Text of a unit with its mark; as it is if it ends with one already."""
    bare = text.rstrip()
    last = bare[-1:]
    if last in _CODES or (last and last in ".~" and not last.isalnum()):
        return text
    narrow = not last or width(last) == 1
    letters = any(map(str.isalpha, bare + following))
    between = mark not in ENDS and following[:1].isalnum() and width(following[:1]) == 1 and letters
    half = narrow and (not wide or between)
    return bare + (f"{NARROW[mark]} " if half else WIDE[mark])


def _raised(text: str) -> str:
    """Text with its first letter raised, unless it has capitals of its own or is no plain word (iPhone, www.a.com)."""
    if text[:1].islower() and text.islower() and _NO_WORD.search(text) is None:
        return text[0].upper() + text[1:]
    return text


def joint(left: str, right: str) -> str:
    """Space or nothing, between two texts that follow each other: as between the words of one text.

    None between two wide characters, behind a full-width mark, and between a wide character and a figure.
    """
    if not left or not right or left[-1].isspace():
        return ""
    before, after = left[-1], right[0]
    wide = width(before) == 2, width(after) == 2
    if all(wide) or (wide[0] and not before.isalnum()):
        return ""
    if any(wide) and (before.isdecimal() or after.isdecimal()):
        return ""
    return " "
