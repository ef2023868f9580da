"""Print tables, times, JSON documents and errors, with control characters escaped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from dropscribe import escapes
from dropscribe.errors import DropscribeError
from dropscribe.views.fields import readable

ERROR_SCHEMA = "dropscribe/error/1"
#: Width of lines if standard output is not a terminal, columns: lines are not wrapped.
_NO_LIMIT = 100_000
#: Width of a terminal that does not say its width, columns.
_USUAL_WIDTH = 80
#: Longest ending of a file name that is kept when the name is shortened, characters.
_LONGEST_ENDING = 8


def print_json(document: Any) -> None:
    """Print one document on standard output, in UTF-8 regardless of the locale."""
    _print_utf8(escapes.dumps(document, indent=2))


def print_json_line(document: Any) -> None:
    """Print one of several documents, as one line."""
    _print_utf8(escapes.dumps(document))


def _print_utf8(text: str) -> None:
    typer.echo(text.encode("utf-8") + b"\n", nl=False)


def print_json_text(document: str) -> None:
    """Print a JSON document that is serialised already."""
    _print_utf8(escapes.in_json(document).removesuffix("\n"))


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line of text; control characters in it are escaped."""
    typer.echo(escapes.one_line(text), err=err)


def print_text(text: str) -> None:
    """Print text of several lines on standard output, such as a transcript."""
    typer.echo(escapes.lines(text), nl=False)


def print_error(error: DropscribeError, *, as_json: bool) -> None:
    """Print one line on stderr; with `as_json` also `error_document` on standard output."""
    # Without a usable standard error the exit status still reports the error.
    with contextlib.suppress(OSError):
        say(f"dropscribe: {error}", err=True)
    if as_json:
        print_json(error_document(error))


def error_document(error: DropscribeError) -> dict[str, Any]:
    """`{"schema": "dropscribe/error/1", "error": {code, operation, path (null or text), reason, remedy, exit_code}}`."""
    return {
        "schema": ERROR_SCHEMA,
        "error": {
            "code": error.code,
            "operation": error.operation,
            "path": None if error.path is None else readable(error.path),
            "reason": error.reason,
            "remedy": error.remedy,
            "exit_code": error.exit_code,
        },
    }


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print a table on standard output, columns `right` right-aligned. Markup in cells is not interpreted."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    aligned = frozenset(right)
    for i, title in enumerate(titles):
        table.add_column(title, justify="right" if i in aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(escapes.one_line(cell)) for cell in row))
    Console(width=terminal_width(), highlight=False).print(table)


def print_marked(lead: str, text: str, marks: Iterable[tuple[int, int]]) -> None:
    """Print text on standard output, indented by `lead` and folded to the terminal; `marks` are emphasised on it.

    `marks`: characters [first, last) of `text`.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    marked = Text()
    cursor = 0
    for begin, last in marks:
        first = max(begin, cursor)
        if last <= first:
            continue
        marked.append(escapes.one_line(text[cursor:first]))
        marked.append(escapes.one_line(text[first:last]), "bold reverse")
        cursor = last
    marked.append(escapes.one_line(text[cursor:]))
    console = Console(width=terminal_width(), highlight=False)
    room = max(_USUAL_WIDTH // 4, console.width - cell_len(lead))
    for i, line in enumerate(marked.wrap(console, room)):
        console.print(Text(lead if i == 0 else " " * cell_len(lead)) + line, soft_wrap=True)


def terminal_width() -> int:
    """Width of lines on standard output, columns; without limit if that is not a terminal."""
    if not sys.stdout.isatty():
        return _NO_LIMIT
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH


def shortened(path: str, width: int) -> str:
    """Path of at most `width` columns: its middle is left out, and the file's name is kept as far as there is room."""
    from rich.cells import cell_len

    if cell_len(path) <= width:
        return path
    name = path.rpartition("/")[2]
    if len(name) < len(path) and cell_len(name) + 2 <= width:
        kept = "/" + name
        return _first_columns(path, width - cell_len(kept) - 1) + "…" + kept
    ending = name[max(name.rfind("."), len(name) - _LONGEST_ENDING) :] if "." in name else ""
    room = max(0, width - 1 - cell_len(ending))
    last = _first_columns(name.removesuffix(ending)[::-1], room // 2)[::-1]
    return _first_columns(name, room - cell_len(last)) + "…" + last + ending


def cropped(text: str, width: int) -> str:
    """Text of at most `width` columns, with an ellipsis where it was cut."""
    from rich.cells import cell_len

    return text if cell_len(text) <= width else _first_columns(text, width - 1) + "…"


def _first_columns(text: str, width: int) -> str:
    """The longest beginning of `text` that takes at most `width` columns: a Chinese character takes two."""
    from rich.cells import cell_len

    taken = 0
    for i, character in enumerate(text):
        taken += cell_len(character)
        if taken > width:
            return text[:i]
    return text


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print lines `name  value` with aligned values."""
    listed = list(facts)
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        say(f"{name:<{width}}  {value}".rstrip())


def local(instant: float | None) -> str:
    """Epoch seconds as local date and time, for people; "-" for None."""
    if instant is None:
        return "-"
    return datetime.fromtimestamp(instant, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """`0.25 s`, `42.1 s`, `12:07`, `3:05:00`; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def position(ms: int) -> str:
    """Format a position in a recording: `0:07`, `12:07`, `3:05:00`."""
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def brief(path: Path) -> str:
    """Path as text, relative to the working directory if it is below that."""
    here = Path(os.curdir).absolute()
    return readable(path.relative_to(here) if path.is_relative_to(here) else path)
