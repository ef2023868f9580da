"""Full-text search over the segments of all finished jobs, newest first.

The index holds trigrams, because Chinese has no spaces between words. A needle of three characters and more is a phrase for
FTS5. One of one or two characters is shorter than any term of the index and is looked up as a prefix of its terms. Many
terms begin with a common character, so the newest segments are read first. The index is used only when they do not have
enough hits, and then the needle is rare enough for a fast look-up. What the index finds is compared with the whole query.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.ledger.columns import path_of
from dropscribe.ledger.records import Copy, Hit
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.search_excerpts import excerpt
from dropscribe.ledger.sqlite.search_terms import Term, fold, parse
from dropscribe.transcript.types import Segment, Tokens

#: Characters of a term of the index.
TERM = 3
#: Newest segments that are read for several words, or for one shorter than a term.
WINDOW = 5_000
#: Longest time between the starts of the segments that have the words of a query, ms.
NEAR_MS = 60_000
#: The same in segments; shorter ones than half a second on average are rare.
NEAR_SEGMENTS = 120
#: Most segments with the rarest word that are compared with the others. Only a query of words that are all common and
#: never near each other has more.
CANDIDATES = 20_000
#: Most matches of one word that are marked in a segment.
MARKED = 5
#: Segments compared at a time: few at first, because the newest are mostly enough.
_FIRST, _MORE = 64, 1_024
#: Sorts after every character that can follow in a term.
_LAST = "\U0010ffff"

_PHRASE = sa.text(
    "SELECT rowid FROM segment_search WHERE segment_search MATCH :phrase ORDER BY rowid DESC LIMIT :limit"
)
_NEWEST = sa.text("SELECT id, job_id, idx, start_ms, text FROM segments ORDER BY id DESC LIMIT :window")
_TERMS = sa.text(
    "SELECT DISTINCT doc FROM segment_terms WHERE term >= :first AND term <= :last "
    "ORDER BY doc DESC LIMIT :limit"
)
_TEXTS = sa.text(
    "SELECT id, job_id, idx, start_ms, text FROM segments "
    "WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id DESC"
)
# Twice as far as words may be apart: the first word of the query may be on the other side of the rarest one.
_NEIGHBOURS = sa.text(
    "SELECT DISTINCT n.id, n.job_id, n.idx, n.start_ms, n.text FROM json_each(:ids) c "
    "CROSS JOIN segments s ON s.id = c.value "
    "CROSS JOIN segments n ON n.job_id = s.job_id AND n.idx BETWEEN s.idx - :near AND s.idx + :near "
    "WHERE n.start_ms BETWEEN s.start_ms - :near_ms AND s.start_ms + :near_ms "
    "ORDER BY n.id DESC"
)
_SEGMENTS = sa.text(
    "SELECT id, idx, start_ms, end_ms, text, tokens FROM segments "
    "WHERE id IN (SELECT value FROM json_each(:ids))"
)
# CROSS JOIN: otherwise all finished jobs would be read by their state.
_JOBS = sa.text(
    "SELECT j.id, r.path_raw, coalesce(j.finished_at, j.claimed_at) AS finished_at "
    "FROM json_each(:ids) c CROSS JOIN jobs j ON j.id = c.value CROSS JOIN recordings r ON r.id = j.recording_id"
)
_COPIES = sa.text(
    "SELECT j.reference_job_id AS origin, j.id, r.path_raw FROM json_each(:ids) c "
    "CROSS JOIN jobs j ON j.reference_job_id = c.value CROSS JOIN recordings r ON r.id = j.recording_id "
    "WHERE +j.state = 'done' ORDER BY j.id DESC"
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A segment that may match."""

    id: int
    job: int
    index: int
    start_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class _Place:
    """A segment with the first term, and the segment nearest to it with each term, in the order of the terms."""

    row: _Row
    of_terms: tuple[_Row, ...]


class TranscriptSearch:
    """Search in transcripts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def search(self, query: str, limit: int) -> list[Hit]:
        """See `Ledger.search`."""
        terms = parse(query)
        if not terms or limit < 1:
            return []
        with self._db.read("search transcripts") as connection:
            return _hits(connection, _find(connection, terms, limit), terms)


def _find(connection: Connection, terms: Sequence[Term], limit: int) -> list[_Place]:
    """The newest places, at most `limit`."""
    if len(terms) == 1 and len(terms[0].needle) >= TERM:
        return _by_index(connection, terms, terms[0], limit)
    newest = [_Row(*row) for row in connection.execute(_NEWEST, {"window": WINDOW})]
    counts = [sum(1 for row in newest if t.pattern.search(row.text)) for t in terms]
    if len(newest) == WINDOW and len(terms) > 1:
        # The oldest of these jobs may have further segments.
        newest = [row for row in newest if row.job != newest[-1].job]
    places = list(islice(_places(newest, terms), limit))
    if len(places) == limit:
        return places
    rarest = min(range(len(terms)), key=lambda i: (counts[i], -len(terms[i].needle)))
    return _by_index(connection, terms, terms[rarest], limit)


def _by_index(connection: Connection, terms: Sequence[Term], lead: Term, limit: int) -> list[_Place]:
    """The newest places, by the segments that contain `lead`."""
    neighbours = _texts if len(terms) == 1 else _neighbours
    found: dict[int, _Place] = {}
    for ids in _batches(_containing(connection, lead.needle)):
        for place in _places(neighbours(connection, ids), terms):
            found.setdefault(place.row.id, place)
        # Later segments of the index may be up to one job older than these.
        if len(found) >= limit:
            break
    return [found[i] for i in sorted(found, reverse=True)[:limit]]


def _containing(connection: Connection, needle: str) -> Iterator[int]:
    """Ids of segments that contain `needle` by the index, newest first."""
    if len(needle) >= TERM:
        phrase = '"' + needle.replace('"', '""') + '"'
        yield from connection.scalars(_PHRASE, {"phrase": phrase, "limit": CANDIDATES})
        return
    found: set[int] = set()
    # The index does not fold letters that are newer than SQLite's case tables.
    for first in {fold(needle), needle}:
        found.update(connection.scalars(_TERMS, {"first": first, "last": first + _LAST, "limit": CANDIDATES}))
    yield from sorted(found, reverse=True)


def _batches(ids: Iterator[int]) -> Iterator[list[int]]:
    size = _FIRST
    while batch := list(islice(ids, size)):
        yield batch
        size = _MORE


def _texts(connection: Connection, ids: Sequence[int]) -> list[_Row]:
    return [_Row(*row) for row in connection.execute(_TEXTS, {"ids": json.dumps(ids)})]


def _neighbours(connection: Connection, ids: Sequence[int]) -> list[_Row]:
    bound = {"ids": json.dumps(ids), "near": 2 * NEAR_SEGMENTS, "near_ms": 2 * NEAR_MS}
    return [_Row(*row) for row in connection.execute(_NEIGHBOURS, bound)]


def _places(rows: Iterable[_Row], terms: Sequence[Term]) -> Iterator[_Place]:
    """Places among `rows`, which are ordered by id, newest first."""
    for _, of_job in groupby(rows, key=lambda row: row.job):
        job = list(of_job)
        having = [[row for row in job if term.pattern.search(row.text)] for term in terms]
        if not all(having):
            continue
        for row in having[0]:
            nearest = tuple(min(rows_of, key=_distance_from(row)) for rows_of in having)
            if all(abs(n.start_ms - row.start_ms) <= NEAR_MS for n in nearest):
                yield _Place(row, nearest)


def _distance_from(row: _Row) -> Callable[[_Row], int]:
    return lambda other: abs(other.start_ms - row.start_ms)


def _hits(connection: Connection, places: Sequence[_Place], terms: Sequence[Term]) -> list[Hit]:
    segments = _segments(connection, {row.id for place in places for row in place.of_terms})
    jobs = json.dumps(sorted({place.row.job for place in places}))
    of_job = {row.id: row for row in connection.execute(_JOBS, {"ids": jobs})}
    copies: dict[int, dict[bytes, Copy]] = {}
    for row in connection.execute(_COPIES, {"ids": jobs}):
        # The newest job of each file; the file itself may have been transcribed again under another profile.
        if row.path_raw != of_job[row.origin].path_raw:
            copies.setdefault(row.origin, {}).setdefault(row.path_raw, Copy(row.id, path_of(row.path_raw)))
    hits = []
    for place in places:
        found = [
            (segments[row.id], match.span())
            for term, row in zip(terms, place.of_terms, strict=True)
            for match in islice(term.pattern.finditer(row.text), MARKED)
        ]
        line, matches = excerpt(found)
        own, job = segments[place.row.id], of_job[place.row.job]
        hits.append(
            Hit(
                job_id=place.row.job,
                recording=path_of(job.path_raw),
                finished_at=job.finished_at,
                segment=own.index,
                start_ms=own.start_ms,
                end_ms=own.end_ms,
                snippet=line,
                matches=matches,
                copies=tuple(copies.get(place.row.job, {}).values()),
            )
        )
    return hits


def _segments(connection: Connection, ids: set[int]) -> dict[int, Segment]:
    found = connection.execute(_SEGMENTS, {"ids": json.dumps(sorted(ids))})
    return {
        row.id: Segment(row.idx, row.start_ms, row.end_ms, row.text, Tokens.of(json.loads(row.tokens)))
        for row in found
    }
