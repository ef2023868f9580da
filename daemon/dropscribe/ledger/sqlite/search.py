"""Full-text search over the segments of all finished jobs, newest first.

The index holds trigrams, because Chinese has no spaces between words. A query of three characters and more is a phrase for
FTS5. One of one or two characters is shorter than any term and is looked up as a prefix of terms. Many terms begin with a
common character, so the newest segments are read first. The index is used only when they do not have enough hits, and then
the query is rare enough for a fast look-up.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.ledger.columns import path_of
from dropscribe.ledger.records import Hit
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.search_schema import SENTINEL

#: Characters of a term of the index.
TERM = 3
#: Newest segments that are read for a query shorter than a term.
WINDOW = 5_000
#: Characters of text shown on each side of a match.
AROUND = 30
#: Sorts after every character that can follow in a term.
_LAST = "\U0010ffff"

_PHRASE = sa.text(
    "SELECT rowid FROM segment_search WHERE segment_search MATCH :phrase ORDER BY rowid DESC LIMIT :limit"
)
_NEWEST = sa.text("SELECT id, text FROM segments ORDER BY id DESC LIMIT :window")
_TERMS = sa.text(
    "SELECT DISTINCT doc FROM segment_terms WHERE term >= :first AND term <= :last "
    "ORDER BY doc DESC LIMIT :limit"
)
_HITS = sa.text(
    "SELECT s.job_id, s.idx, s.start_ms, s.end_ms, s.text, r.path_raw, j.finished_at "
    "FROM segments s JOIN jobs j ON j.id = s.job_id JOIN recordings r ON r.id = j.recording_id "
    "WHERE s.id IN (SELECT value FROM json_each(:ids)) ORDER BY s.id DESC"
)


class TranscriptSearch:
    """Search in transcripts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def search(self, query: str, limit: int) -> list[Hit]:
        """See `Ledger.search`."""
        wanted = clean(query)
        if not wanted or limit < 1:
            return []
        with self._db.read("search transcripts") as connection:
            ids = (
                _short(connection, wanted, limit) if len(wanted) < TERM else _long(connection, wanted, limit)
            )
            found = connection.execute(_HITS, {"ids": "[" + ",".join(map(str, ids)) + "]"})
            return [_hit(row, wanted) for row in found]


def clean(query: str) -> str:
    """The query without surrounding blanks and without characters that no transcript contains."""
    kept = (c for c in query if c not in {"\0", SENTINEL} and not "\ud800" <= c <= "\udfff")
    return "".join(kept).strip()


def fold(text: str) -> str:
    """Fold case as the index does: character by character, keeping the length."""
    return "".join(_fold(c) for c in text)


def snippet(text: str, wanted: str) -> tuple[str, tuple[int, int]]:
    """An excerpt of `text` round `wanted` on one line, and the position of `wanted` in it; (0, 0) when it is absent."""
    found = _pattern(wanted).search(text)
    start, end = found.span() if found else (0, 0)
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    # Character for character, so that the position stays right.
    line = "".join(" " if c.isspace() else c for c in text[first:last])
    lead = "…" if first else ""
    moved = len(lead) - first if found else 0
    return lead + line + ("…" if last < len(text) else ""), (start + moved, end + moved)


def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile(re.escape(wanted), re.IGNORECASE)


def _fold(c: str) -> str:
    folded = c.casefold()
    if len(folded) == 1:
        return folded
    lower = c.lower()
    return lower if len(lower) == 1 else c


def _long(connection: Connection, wanted: str, limit: int) -> list[int]:
    phrase = '"' + wanted.replace('"', '""') + '"'
    return list(connection.scalars(_PHRASE, {"phrase": phrase, "limit": limit}))


def _short(connection: Connection, wanted: str, limit: int) -> list[int]:
    pattern = _pattern(wanted)
    ids: list[int] = []
    for segment, text in connection.execute(_NEWEST, {"window": WINDOW}):
        if pattern.search(text):
            ids.append(int(segment))
            if len(ids) == limit:
                return ids
    found = set(ids)
    # The index does not fold letters that are newer than SQLite's case tables.
    for first in {fold(wanted), wanted}:
        found.update(connection.scalars(_TERMS, {"first": first, "last": first + _LAST, "limit": limit}))
    return sorted(found, reverse=True)[:limit]


def _hit(row: Row[tuple[object, ...]], wanted: str) -> Hit:
    line, match = snippet(row.text, wanted)
    return Hit(
        job_id=row.job_id,
        recording=path_of(row.path_raw),
        finished_at=row.finished_at,
        segment=row.idx,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        snippet=line,
        match=match,
    )
