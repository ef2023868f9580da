"""Fit text into columns of a terminal. Pure: control characters must be escaped before."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

#: Between two columns of a table.
GAP = "  "
#: Share of the room for names and texts in a table that names get where both are too long.
NAME_SHARE = 0.55
#: Longest ending of a file name that is kept when the name is shortened, characters.
_LONGEST_ENDING = 8


def columns(text: str) -> int:
    """Columns that `text` takes: two for a Chinese character, none for a combining one."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def padded(text: str, width: int) -> str:
    """Text with blanks up to `width` columns."""
    return text + " " * (width - columns(text))


def cropped(text: str, width: int) -> str:
    """Text of at most `width` columns, with an ellipsis where it was cut."""
    return text if columns(text) <= width else _first(text, width - 1).rstrip() + "…"


def shortened(path: str, width: int) -> str:
    """Path of at most `width` columns: its middle is left out, the file's name is kept as far as there is room."""
    if columns(path) <= width:
        return path
    name = path.rpartition("/")[2]
    if len(name) < len(path) and columns(name) + 2 <= width:
        kept = "/" + name
        return _first(path, width - columns(kept) - 1) + "…" + kept
    dot = name.rfind(".")
    fits = len(name) - dot <= _LONGEST_ENDING and columns(name[dot:]) < width
    ending = name[dot:] if dot > 0 and fits else ""
    room = max(0, width - 1 - columns(ending))
    last = _last(name.removesuffix(ending), room // 2)
    return _first(name, room - columns(last)) + "…" + last + ending


def folded(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, divided at blanks; a longer word, such as a path, stays whole."""
    lines = [""]
    for word in text.split(" "):
        line = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(line) <= width or not lines[-1]:
            lines[-1] = line
        else:
            lines.append(word)
    return lines


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of a table, one for each row, of at most `width` columns.

    The first column has paths, which are shortened, the last one text, which is cropped; the others are as wide as needed.
    """
    widths = [max(columns(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    room = width - sum(widths[1:-1]) - len(GAP) * (len(titles) - 1)
    if widths[0] + widths[-1] > room:
        widths[0] = max(1, min(widths[0], max(room - widths[-1], int(room * NAME_SHARE))))
        widths[-1] = max(1, room - widths[0])
    lines = []
    for row in [titles, *rows]:
        cells = [shortened(row[0], widths[0]), *row[1:-1], cropped(row[-1], widths[-1])]
        lines.append(GAP.join(map(padded, cells, widths)).rstrip())
    return lines


def _first(text: str, width: int) -> str:
    """The longest beginning of `text` that takes at most `width` columns."""
    taken = 0
    for i, character in enumerate(text):
        taken += _columns_of(character)
        if taken > width:
            return text[:i]
    return text


def _last(text: str, width: int) -> str:
    """The longest end of `text` that takes at most `width` columns."""
    taken = 0
    for i, character in enumerate(reversed(text)):
        taken += _columns_of(character)
        if taken > width:
            return text[len(text) - i :]
    return text


@lru_cache(1 << 14)
def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
