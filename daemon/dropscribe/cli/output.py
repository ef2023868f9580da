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
#: Width of tables if standard output is not a terminal, characters: lines are not wrapped.
_NO_LIMIT = 100_000


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

    width = None if sys.stdout.isatty() else _NO_LIMIT
    table = Table(box=None, pad_edge=False, header_style="bold")
    aligned = frozenset(right)
    for i, title in enumerate(titles):
        table.add_column(title, justify="right" if i in aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(escapes.one_line(cell)) for cell in row))
    Console(width=width, highlight=False).print(table)


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
