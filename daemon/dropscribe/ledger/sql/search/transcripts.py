"""Full-text search over the segments of all finished jobs: the newest recordings, and the first places in each.

The index holds trigrams, because Chinese has no spaces between words. A needle of three characters and more is a phrase for
FTS5. One of one or two characters is shorter than any term of the index and is looked up as a prefix of its terms. Many
terms begin with a common character, so the newest segments are read first: where the needle is common among them, reading
goes on, else the index is used. What is found is compared with the whole query.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from typing import Protocol

from sqlalchemy.engine import Connection

from dropscribe.ledger.columns import path_of, storable
from dropscribe.ledger.records import Copy, Hit
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.search.excerpts import excerpt
from dropscribe.ledger.sql.search.terms import LAST, TERM, Term, containing, fold, parse, readings
from dropscribe.transcript.types import Segment, Tokens

#: Newest segments that are read for several words, or for one shorter than a term.
WINDOW = 5_000
#: Share of these segments from which on a needle is common: its entries in the index would be too many.
COMMON = 0.01
#: Most segments that are read for a common needle.
READ = 50_000
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
#: Larger than any id.
_ANY = 2**62

_PHRASE = sql("@newest_with(:phrase, :before, :limit)")
_PHRASE_OF_JOB = sql("@between_with(:phrase, :first, :last)")
_TERMS = sql("@newest_beginning(:first, :last, :needle, :pattern, :limit)")
_NEWEST = sql(
    "SELECT id, job_id, idx, start_ms, text FROM segments WHERE id < :before ORDER BY id DESC LIMIT :limit"
)
_TEXTS = sql("SELECT id, job_id, idx, start_ms, text FROM segments WHERE id IN @ids(:ids) ORDER BY id")
_INDICES = sql("SELECT job_id, idx, start_ms FROM segments WHERE id IN @ids(:ids) ORDER BY id")
#: `ranges`: JSON, [[job, first index, last index, first start, last start], …].
_RANGES = sql(
    "SELECT n.id, n.job_id, n.idx, n.start_ms, n.text FROM @rows(:ranges, job, first, last, first_ms, last_ms) r "
    "@joined() segments n ON n.job_id = r.job AND n.idx BETWEEN r.first AND r.last "
    "WHERE n.start_ms BETWEEN r.first_ms AND r.last_ms ORDER BY n.id"
)
_BOUNDS = sql(
    "SELECT (SELECT id FROM segments WHERE job_id = :job ORDER BY idx LIMIT 1), "
    "(SELECT id FROM segments WHERE job_id = :job ORDER BY idx DESC LIMIT 1)"
)
_SEGMENTS = sql("SELECT id, idx, start_ms, end_ms, text, tokens FROM segments WHERE id IN @ids(:ids)")
# CROSS JOIN: otherwise all finished jobs would be read by their state.
_JOBS = sql(
    "SELECT j.id, r.path_raw, coalesce(j.finished_at, j.claimed_at) AS finished_at "
    "FROM @numbered(:ids) c @joined() jobs j ON j.id = c.value @joined() recordings r ON r.id = j.recording_id"
)
_COPIES = sql(
    "SELECT j.reference_job_id AS origin, j.id, r.path_raw FROM @numbered(:ids) c "
    "@joined() jobs j ON j.reference_job_id = c.value @joined() recordings r ON r.id = j.recording_id "
    "WHERE @plain(j.state) = 'done' ORDER BY j.id DESC"
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

    def search(self, query: str, limit: int, places: int) -> list[Hit]:
        """See `Ledger.search`."""
        terms = parse(query)
        if not terms or limit < 1 or places < 1:
            return []
        with self._db.read("search transcripts") as connection:
            found = [self._found(connection, reading, limit, places) for reading in readings(terms)]
        return found[0] if len(found) == 1 else _merged(found, limit, places)

    def search_in(self, query: str, jobs: Sequence[int], places: int) -> list[Hit]:
        """See `Ledger.search_in`."""
        terms = parse(query)
        if not terms or not jobs or places < 1:
            return []
        with self._db.read("search transcripts") as connection:
            bounds = [(job, connection.execute(_BOUNDS, {"job": job}).one()) for job in jobs]
            those = [(job, (first, last)) for job, (first, last) in bounds if first is not None]
            found = [
                _hits_of(connection, self._source(connection, reading), reading, those, places)
                for reading in readings(terms)
            ]
        return found[0] if len(found) == 1 else _merged(found, len(jobs), places)

    def _found(self, connection: Connection, terms: Sequence[Term], limit: int, places: int) -> list[Hit]:
        source = self._source(connection, terms)
        return _hits_of(connection, source, terms, islice(_jobs(connection, source, terms), limit), places)

    def _source(self, connection: Connection, terms: Sequence[Term]) -> _Source:
        """Source of the segments that have the rarest term."""
        phrases_from = TERM if self._db.indexes_phrases else sys.maxsize
        if len(terms) == 1 and len(terms[0].needle) >= phrases_from:
            return _PhraseSource(connection, terms[0].needle)
        newest = connection.execute(_NEWEST, {"before": _ANY, "limit": WINDOW}).all()
        counts = [sum(1 for row in newest if t.pattern.search(row.text)) for t in terms]
        rarest = min(range(len(terms)), key=lambda i: (counts[i], -len(terms[i].needle)))
        needle = terms[rarest].needle
        if len(needle) >= phrases_from:
            return _PhraseSource(connection, needle)
        if counts[rarest] > COMMON * len(newest):
            return _CommonSource(connection, needle)
        return _RareSource(connection, needle)


def _hits_of(
    connection: Connection,
    source: _Source,
    terms: Sequence[Term],
    jobs: Iterable[tuple[int, tuple[int, int]]],
    places: int,
) -> list[Hit]:
    """The first places in each of these jobs, given with the ids of their first and last segment."""
    found: list[_Place] = []
    more: set[int] = set()
    for job, bounds in jobs:
        of_job = list(islice(_places_of_job(connection, source, terms, bounds), places + 1))
        found += of_job[:places]
        if len(of_job) > places:
            more.add(job)
    return _hits(connection, found, terms, more)


def _merged(found: Sequence[Sequence[Hit]], limit: int, places: int) -> list[Hit]:
    """The hits of all readings of a query: the newest recordings, in each the first places, in order of time."""
    of_jobs: dict[int, dict[int, Hit]] = {}
    for hit in chain.from_iterable(found):
        of_jobs.setdefault(hit.job_id, {}).setdefault(hit.segment, hit)
    newest = sorted(of_jobs.values(), key=lambda hits: -max(h.finished_at for h in hits.values()))
    merged: list[Hit] = []
    for of_job in newest[:limit]:
        hits = sorted(of_job.values(), key=lambda hit: hit.segment)
        more = len(hits) > places or any(hit.more for hit in hits)
        merged += [replace(hit, more=more) for hit in hits[:places]]
    return merged


class _Source(Protocol):
    """Segments that may have a place, by id."""

    def newest(self, before: int, limit: int) -> list[int]:
        """At most `limit` ids smaller than `before`, the largest first."""

    def between(self, first: int, last: int) -> list[int]:
        """All ids from `first` to `last`, the smallest first."""


class _PhraseSource:
    """Segments that have a needle of at least a term, by the index."""

    def __init__(self, connection: Connection, needle: str) -> None:
        self._connection = connection
        self._phrase = '"' + needle.replace('"', '""') + '"'
        self._left = CANDIDATES

    def newest(self, before: int, limit: int) -> list[int]:
        """See `_Source`."""
        bound = {"phrase": self._phrase, "before": before, "limit": min(limit, self._left)}
        ids = list(self._connection.scalars(_PHRASE, bound))
        self._left -= len(ids)
        return ids

    def between(self, first: int, last: int) -> list[int]:
        """See `_Source`."""
        bound = {"phrase": self._phrase, "first": first, "last": last}
        return list(self._connection.scalars(_PHRASE_OF_JOB, bound))


class _RareSource:
    """Segments that have a needle shorter than a term, which is rare, by the index."""

    def __init__(self, connection: Connection, needle: str) -> None:
        found: set[int] = set()
        # The index does not fold letters that are newer than SQLite's case tables.
        for first in {fold(needle), needle}:
            bound = {
                "first": first,
                "last": first + LAST,
                "needle": storable(needle),
                "pattern": containing(needle),
                "limit": CANDIDATES,
            }
            found.update(connection.scalars(_TERMS, bound))
        self._ids = sorted(found)

    def newest(self, before: int, limit: int) -> list[int]:
        """See `_Source`."""
        end = bisect_left(self._ids, before)
        return self._ids[max(0, end - limit) : end][::-1]

    def between(self, first: int, last: int) -> list[int]:
        """See `_Source`."""
        return self._ids[bisect_left(self._ids, first) : bisect_left(self._ids, last + 1)]


class _CommonSource:
    """Segments for a needle shorter than a term, which is common: all of the newest, the others by the index."""

    def __init__(self, connection: Connection, needle: str) -> None:
        self._connection = connection
        self._needle = needle
        self._left = READ
        self._others: _RareSource | None = None

    def newest(self, before: int, limit: int) -> list[int]:
        """See `_Source`."""
        if self._left > 0:
            bound = {"before": before, "limit": min(limit, self._left)}
            ids = [row.id for row in self._connection.execute(_NEWEST, bound)]
            self._left -= len(ids)
            return ids
        if self._others is None:
            self._others = _RareSource(self._connection, self._needle)
        return self._others.newest(before, limit)

    def between(self, first: int, last: int) -> list[int]:
        """See `_Source`."""
        return list(range(first, last + 1)) if self._others is None else self._others.between(first, last)


def _jobs(
    connection: Connection, source: _Source, terms: Sequence[Term]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Jobs that have a place, the newest first, each with the ids of its first and last segment."""
    before, size = _ANY, _FIRST
    while ids := source.newest(before, size):
        before, size = ids[-1], _MORE
        seen: set[int] = set()
        for place in reversed(list(_places(_rows(connection, ids, terms), terms))):
            job = place.row.job
            if job not in seen:
                seen.add(job)
                # The next job begins elsewhere.
                size = _FIRST
                first, last = connection.execute(_BOUNDS, {"job": job}).one()
                before = min(before, first)
                yield job, (first, last)


def _places_of_job(
    connection: Connection, source: _Source, terms: Sequence[Term], bounds: tuple[int, int]
) -> Iterator[_Place]:
    """Places in one job, in order of time."""
    ids, seen = iter(source.between(*bounds)), set()
    size = _FIRST
    while batch := list(islice(ids, size)):
        size = _MORE
        for place in _places(_rows(connection, batch, terms), terms):
            if place.row.id not in seen:
                seen.add(place.row.id)
                yield place


def _rows(connection: Connection, ids: Sequence[int], terms: Sequence[Term]) -> list[_Row]:
    """The segments of these ids, and for several terms those near them; in order of id."""
    listed = json.dumps(ids)
    if len(terms) == 1:
        return [_Row(*row) for row in connection.execute(_TEXTS, {"ids": listed})]
    # Twice as far as words may be apart: the first word of the query may be on the other side of the rarest one.
    far, far_ms = 2 * NEAR_SEGMENTS, 2 * NEAR_MS
    ranges: list[list[int]] = []
    for job, index, start_ms in connection.execute(_INDICES, {"ids": listed}):
        last = ranges[-1] if ranges else None
        if last is not None and last[0] == job and (index - far <= last[2] and start_ms - far_ms <= last[4]):
            last[2], last[4] = index + far, start_ms + far_ms
        else:
            ranges.append([job, index - far, index + far, start_ms - far_ms, start_ms + far_ms])
    return [_Row(*row) for row in connection.execute(_RANGES, {"ranges": json.dumps(ranges)})]


def _places(rows: Iterable[_Row], terms: Sequence[Term]) -> Iterator[_Place]:
    """Places among `rows`, which are in order of id."""
    for _, of_job in groupby(rows, key=lambda row: row.job):
        job = list(of_job)
        having = [[row for row in job if term.pattern.search(row.text)] for term in terms]
        if not all(having):
            continue
        for row in having[0]:
            nearest = (row, *(_nearest(rows_of, row.start_ms) for rows_of in having[1:]))
            if all(abs(n.start_ms - row.start_ms) <= NEAR_MS for n in nearest):
                yield _Place(row, nearest)


def _nearest(rows: Sequence[_Row], start_ms: int) -> _Row:
    """The row of one job, in order of time, that starts nearest to `start_ms`."""
    at = bisect_left(rows, start_ms, key=lambda row: row.start_ms)
    return min(rows[max(0, at - 1) : at + 1], key=lambda row: abs(row.start_ms - start_ms))


def _hits(
    connection: Connection, places: Sequence[_Place], terms: Sequence[Term], more: Collection[int]
) -> list[Hit]:
    """Hits of these places; `more`: jobs that have further places."""
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
                more=place.row.job in more,
            )
        )
    return hits


def _segments(connection: Connection, ids: set[int]) -> dict[int, Segment]:
    found = connection.execute(_SEGMENTS, {"ids": json.dumps(sorted(ids))})
    return {
        row.id: Segment(row.idx, row.start_ms, row.end_ms, row.text, Tokens.of(json.loads(row.tokens)))
        for row in found
    }
