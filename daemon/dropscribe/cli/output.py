"""Print tables, facts, times, JSON documents and errors, with control characters escaped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from dropscribe import escapes
from dropscribe.columns import GAP, columns, folded, table
from dropscribe.errors import DropscribeError
from dropscribe.escapes import readable
from dropscribe.views.errors import error_document

#: Width of lines if standard output is not a terminal, columns: lines are not wrapped.
_NO_LIMIT = 100_000
#: Width of a terminal that does not say its width, columns.
_USUAL_WIDTH = 80


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


def print_list(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output as `columns.table` does: each row is one line of the terminal."""
    cells = [[escapes.one_line(cell) for cell in row] for row in rows]
    head, *lines = table(titles, cells, terminal_width())
    if sys.stdout.isatty():
        head = f"\x1b[1m{head}\x1b[0m"
    # Not with `typer.echo`, which writes UTF-8 on a terminal that cannot show it.
    sys.stdout.writelines(f"{line}\n" for line in [head, *lines])


def print_marked(lead: str, text: str, marks: Iterable[tuple[int, int]]) -> None:
    """Print text on standard output, indented by `lead` and folded to the terminal; `marks` are emphasised on it.

    `marks`: characters [first, last) of `text`.
    """
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
    room = max(_USUAL_WIDTH // 4, console.width - columns(lead))
    for i, line in enumerate(marked.wrap(console, room)):
        console.print(Text(lead if i == 0 else " " * columns(lead)) + line, soft_wrap=True)


def shows_blocks() -> bool:
    """True if standard output can show block characters, of which bars are made."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def terminal_width() -> int:
    """Width of lines on standard output, columns; without limit if that is not a terminal."""
    if not sys.stdout.isatty():
        return _NO_LIMIT
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH


def print_facts(facts: Iterable[tuple[str, str]], paths: Collection[str] = ()) -> None:
    """Print lines `name  value` with aligned values, folded to the terminal.

    `paths`: names of facts that are paths, which are not folded, so that they can be copied.
    """
    listed = [(name, escapes.one_line(value)) for name, value in facts]
    width = max((columns(name) for name, _ in listed), default=0)
    room = max(_USUAL_WIDTH // 4, terminal_width() - width - len(GAP))
    for name, value in listed:
        first, *others = [value] if name in paths else folded(value, room)
        typer.echo(f"{name:<{width}}{GAP}{first}".rstrip())
        for line in others:
            typer.echo(" " * width + GAP + line)


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


def moment(instant: float | None, now: float) -> str:
    """Local time, as short as is clear at `now` (both epoch seconds): of today `11:04:12`, of this year `11-28 09:12`."""
    if instant is None or not sys.stdout.isatty():
        return local(instant)
    at, today = (datetime.fromtimestamp(i, UTC).astimezone() for i in (instant, now))
    if at.date() == today.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%m-%d %H:%M" if at.year == today.year else "%Y-%m-%d")


def brief(path: Path) -> str:
    """Path as text, relative to the working directory if it is below that."""
    here = Path(os.curdir).absolute()
    return readable(path.relative_to(here) if path.is_relative_to(here) else path)
