r"""SQL for several databases: statements with functions that each database spells in its own way.

Statements stand where they are used, in SQL that SQLite and PostgreSQL have in common. Where they differ, a statement calls
a function `@name(arguments)`, which is spelt when the statement is compiled for a database. The functions:

| function | value |
|---|---|
| `@ids(:list)`, `@texts(:list)` | rows of one column: the numbers or texts in a JSON list |
| `@rows(:list, a, b text, …)` | rows of these columns: the lists in a JSON list; whole numbers unless a type is named |
| `@numbered(:list)` | the numbers in a JSON list as `value`, with their order as `key` |
| `@entry(:object, name)` | the number of this name in a JSON object, else NULL |
| `@plain(x)` | `x`, without an index on it, unless statistics speak for it |
| `@changing(x)` | a text, without an index on it: it changes faster than statistics of it |
| `@storage(x)` | what the key of a path begins with: `Places.storages` |
| `@joined()`, `@cross()` | JOIN and CROSS JOIN that are carried out in the order in which they are written |
| `@unlocked(table, :list)` | true for rows of a table with these ids that no other transaction has locked |
| `@within(x, :first, :last)` | true if a path is in these bounds, as of `below` |
| `@digest(x)` | what a path is told apart from others by in an index |
| `@hex(x)`, `@slash(x)` | bytes in hexadecimal capitals; position of the first `/` in bytes, 0 without one |
| `@position(text, part)` | position of `part`, 0 without one |
| `@ending(text, n)` | the last `n` characters |
| `@like(x, :pattern)` | true if a text matches a pattern of LIKE with the escape `\\`, whatever the case |
| `@least(x, y)`, `@greatest(x, y)` | the smaller and the larger number |
| `@whole(x)`, `@rounded(x)` | a number without its fraction; the nearest whole one |
| `@decimals(x, n)` | a number rounded to `n` decimals |
| `@flag(condition)`, `@chosen(condition, x, y)` | 1 or 0; `x` if it is met, else `y` |
| `@named(name)` | the name of a subquery, where it must have one |
| `@stored(table, column)` | in ON CONFLICT DO UPDATE, the value in the row that is there |
| `@date(x)`, `@month(x)`, `@time(x)` | an instant, epoch seconds, as a date, a month, or date and time, UTC |
| `@list(x)`, `@object(key, x)` | aggregates: texts with commas between them; a JSON object |
| `@numbers(n)` | rows from 0 to n - 1, column `bucket` |
| `@last_number(table)` | the highest number that was ever given to a row, 0 if none was |
| `@newest_with(:phrase, :before, :limit)` | ids of segments that have a phrase, newest first |
| `@between_with(:phrase, :first, :last)` | the same between two ids, oldest first |
| `@newest_beginning(:first, :last, :needle, :pattern, :limit)` | ids of segments with a term of the index in these bounds, newest first; `needle`: what the term begins with |
| `@segments_with(:phrase, :needle, :pattern)`, `@segments_beginning(:first, :last, :needle, :pattern)` | their ids, in any order |
| `@recordings_with(:terms, :pattern)`, `@recordings_beginning(:first, :last, :pattern)` | the same for paths |
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles

from dropscribe.errors import UnusableLedgerError
from dropscribe.ledger.columns import Places
from dropscribe.ledger.sql.lock_waits import LockWaits

#: Functions of a database by name; each takes its arguments as SQL and returns SQL.
Functions = Mapping[str, Callable[..., str]]

#: A function, or a text in quotes, in which there is none.
_CALL = re.compile(r"'[^']*'|@([a-z_]+)\(")


class Database(Protocol):
    """Transactions on one database. Thread-safe: each transaction has a connection of its own.

    After a thread has found the database unusable, it is not accessed again: see `fault`.
    """

    #: Why this database cannot be used any more; set once, by any thread. Every later call raises it.
    fault: UnusableLedgerError | None
    waits: LockWaits
    #: What paths are kept as.
    places: Places
    #: True if the index of the segments has phrases of three characters and more, newest first.
    indexes_phrases: bool
    #: True if it takes `SegmentRows` apart itself.
    unpacks_segments: bool
    #: True if instants are by the clock of the server, False if by that of this host.
    by_server_clock: bool

    def instant(self, now: float) -> float:
        """The instant that counts where this host has `now`: the same, or by the clock of the server."""

    def kept(self) -> tuple[str, ...]:
        """Those of `Places.storages` whose files this daemon, and no other one, moves, renames and removes."""

    def write(self, operation: str) -> AbstractContextManager[Connection]:
        """What the block writes is committed, or none of it if the block raises. No other writer runs beside it.

        Writers of several threads may share a transaction; each returns after the commit. Raises DatabaseLockedError,
        StorageError (disk full, I/O, no connection, read-only) and UnusableLedgerError (damaged, removed, replaced), naming
        `operation`.
        """

    def read(self, operation: str) -> AbstractContextManager[Connection]:
        """One consistent view of the database. Raises as `write` does."""

    def overwriting(self, operation: str) -> AbstractContextManager[Connection]:
        """As `write`; what is deleted in it is overwritten, where the database can do so."""

    def merge_search(self, pages: int) -> bool:
        """Rewrite up to `pages` pages of the search index, so that deleted words are gone; False when nothing is left."""

    def shrink_log(self, operation: str) -> bool:
        """Remove what the database keeps of deleted rows outside its tables; False if a reader prevents it.

        Raises as `write` does.
        """

    def verify(self, operation: str) -> None:
        """Raise UnusableLedgerError when this is not the database any more that was opened. Cheap."""

    def close(self) -> None:
        """Close the pooled connections; may be called twice."""


def here(db: Database) -> str:
    """The storages that this host reaches, as a JSON list: `@storage(x) IN @texts(:here)`."""
    return json.dumps(db.places.storages)


def ahead_s(db: Database) -> float:
    """How far the clock by which the database has its instants is ahead of that of this host, seconds."""
    now = time.time()
    return db.instant(now) - now


class Statement(sa.TextClause):
    """A statement as text with functions of `Functions`, spelt when it is compiled for a database."""

    inherit_cache = True


def sql(text: str) -> Statement:
    """A statement with `:name` for its values, and functions."""
    return Statement(text)


def register(database: str, functions: Functions) -> None:
    """Spell the functions of statements for a database, by its name in SQLAlchemy."""

    def compiled(element: Statement, compiler: Any, **options: Any) -> str:
        text = sa.text(spelt(element.text, functions))
        # With the values and kinds that `bindparams` has set, as far as this database needs them.
        needed = text._bindparams.keys()  # noqa: SLF001 - there is no other way to them
        text = text.bindparams(*(b for name, b in element._bindparams.items() if name in needed))  # noqa: SLF001
        return str(compiler.visit_textclause(text, **options))

    compiles(Statement, database)(compiled)


def spelt(text: str, functions: Functions) -> str:
    """SQL in which every function is replaced by what it is in a database."""
    parts: list[str] = []
    start = 0
    while call := _CALL.search(text, start):
        if call[1] is None:
            parts.append(text[start : call.end()])
            start = call.end()
            continue
        parts.append(text[start : call.start()])
        arguments, start = _arguments(text, call.end())
        parts.append(functions[call[1]](*(spelt(argument, functions) for argument in arguments)))
    return "".join(parts) + text[start:]


def _arguments(text: str, start: int) -> tuple[list[str], int]:
    """The arguments of a call that begin at `start`, and where the text after the call begins."""
    arguments, depth, first = [], 0, start
    for at, character in _outside_quotes(text, start):
        if character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif character in ",)" and not depth:
            arguments.append(text[first:at].strip())
            first = at + 1
            if character == ")":
                return [a for a in arguments if a], first
    raise ValueError(f"a function without its end in {text!r}")


def _outside_quotes(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Position and character of all that is not within quotes."""
    quoted = False
    for at in range(start, len(text)):
        if text[at] == "'":
            quoted = not quoted
        elif not quoted:
            yield at, text[at]
