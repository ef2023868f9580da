"""Find the jobs that meet a filter: conditions in SQL, and the quickest of several ways to the rows.

A page of a list is mostly found among the newest jobs, so these are looked at first. What is rare there is looked up by the
condition that the fewest jobs meet; each condition has an index for this. The number of jobs that meet it is counted up to a
limit, which takes some milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from dropscribe.ledger.columns import below, path_of, raw, storable
from dropscribe.ledger.questions import Cursor, JobFilter
from dropscribe.ledger.records import HELD
from dropscribe.ledger.sql.dialect import sql
from dropscribe.ledger.sql.search.terms import LAST, TERM, clean, containing, fold, parse, readings

#: Jobs in the order of the list that are looked at before the conditions are looked up.
WINDOW = 5_000
#: The same when transcripts are read: some have hundreds of segments.
TEXT_WINDOW = 500
#: A condition that more jobs meet is not looked up.
MOST = 50_000
#: Terms of a path that are looked up at most: more make the answer no smaller.
_PATH_TERMS = 8

_IS_HELD = "j.state = 'queued' AND j.reason_code IN ({codes})".replace(
    "{codes}", ", ".join(f"'{code}'" for code in HELD)
)
#: Who has taken a job last; NULL if nobody has.
WORKER = "(SELECT a.worker FROM attempts a WHERE a.job_id = j.id ORDER BY a.generation DESC LIMIT 1)"
_IS_CODE = sql("SELECT 1 FROM jobs WHERE reason_code = :reason LIMIT 1")
_REASON_PART = "@like(j.reason, :reason_part)"
#: Conditions that would be looked up by another index than that of a folder.
_EQUAL = ("j.profile = :profile", "j.state = :state")
# One step of the index for each folder, not one for each job.
_FOLDERS = sql(
    "WITH RECURSIVE f(folder) AS (SELECT (SELECT folder_raw FROM jobs ORDER BY folder_raw LIMIT 1) UNION ALL "
    "SELECT (SELECT folder_raw FROM jobs WHERE folder_raw > f.folder ORDER BY folder_raw LIMIT 1) FROM f "
    "WHERE f.folder IS NOT NULL) SELECT folder FROM f WHERE folder IS NOT NULL"
)
_EDGE = "SELECT j.admitted_at FROM jobs j WHERE {ordered} ORDER BY {order} LIMIT 1 OFFSET :window"
_COUNT = "SELECT count(*) FROM ({found} LIMIT :most) AS counted"
_FOUND = (
    "SELECT j.id FROM (SELECT DISTINCT id FROM ({found}) AS every) f @joined() jobs j ON j.id = f.id "
    "@joined() recordings r ON r.id = j.recording_id WHERE {checks} ORDER BY {order} LIMIT :limit"
)
_ALL = (
    "SELECT j.id FROM jobs j @joined() recordings r ON r.id = j.recording_id WHERE {checks} "
    "ORDER BY {order} LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A statement that finds the `id` of all jobs that meet a condition, by an index, and one whose rows are as many.

    That one finds its rows one by one, so that counting can stop.
    """

    found: str
    counted: str


@dataclass(slots=True)
class Conditions:
    """A filter in SQL, on rows `j` of jobs and `r` of recordings. Statements have no values in them: these are bound."""

    #: Conditions that an index on `admitted_at` keeps in the order of the list.
    ordered: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    reads_texts: bool = False


def ids(
    connection: Connection, wanted: JobFilter, after: Cursor | None, limit: int, *, oldest_first: bool = False
) -> list[int]:
    """Ids of the first `limit` jobs behind `after` that meet the filter, by admission, newest first."""
    is_code = wanted.reason is not None and bool(
        connection.execute(_IS_CODE, {"reason": storable(wanted.reason)}).first()
    )
    found = conditions_of(wanted, after, oldest_first=oldest_first, is_code=is_code)
    way = "ASC" if oldest_first else "DESC"
    parts = {
        "{ordered}": " AND ".join(found.ordered) or "true",
        "{checks}": " AND ".join(found.checks) or "true",
        "{order}": f"j.admitted_at {way}, j.id {way}",
    }
    values = found.values | {"limit": limit, "most": MOST}
    values["window"] = TEXT_WINDOW if found.reads_texts else WINDOW

    def run(statement: str, **changed: str) -> list[Any]:
        for name, text in (parts | {f"{{{name}}}": text for name, text in changed.items()}).items():
            statement = statement.replace(name, text)
        return list(connection.scalars(sql(statement), values))

    edge = run(_EDGE)
    if not edge:
        return run(_ALL)
    values["edge"] = edge[0]
    first = run(_ALL, checks=f"{parts['{checks}']} AND j.admitted_at {'<=' if oldest_first else '>='} :edge")
    if len(first) >= limit:
        return first
    counted = [(run(_COUNT, found=lookup.counted)[0], lookup.found) for lookup in found.lookups]
    count, fewest = min(counted, default=(MOST, ""))
    if count < MOST:
        return run(_FOUND, found=fewest)
    if wanted.folder is not None and _is_apart(connection, wanted.folder):
        values["root"] = raw(wanted.folder)
        checks = ["j.folder_raw = :root", *(f"@plain({c})" if c in _EQUAL else c for c in found.checks)]
        return run(_ALL, checks=" AND ".join(checks))
    return run(_ALL)


def _is_apart(connection: Connection, folder: Path) -> bool:
    """True for a watched folder with jobs that is not in another one and has none in it: its jobs are those of its recordings."""
    every = [path_of(one) for one in connection.scalars(_FOLDERS)]
    return folder in every and not any(
        one != folder and (one.is_relative_to(folder) or folder.is_relative_to(one)) for one in every
    )


def conditions_of(
    wanted: JobFilter, after: Cursor | None, *, oldest_first: bool = False, is_code: bool = False
) -> Conditions:
    """The filter in SQL. `is_code`: there are jobs with this reason as their code."""
    found = Conditions()
    _add_ordered(found, wanted, after, oldest_first=oldest_first)
    if wanted.held:
        found.checks.append(_IS_HELD)
        found.lookups.append(_by(_IS_HELD))
    if wanted.shortest_s is not None or wanted.longest_s is not None:
        _add_length(found, wanted.shortest_s, wanted.longest_s)
    if wanted.reason is not None:
        found.values |= {"reason": storable(wanted.reason), "reason_part": containing(wanted.reason)}
        reason = "j.reason_code = :reason" if is_code else _REASON_PART
        found.checks.append(f"@plain({reason})" if is_code else reason)
        found.lookups.append(_by(reason if is_code else f"j.reason_code IS NOT NULL AND {reason}"))
    if wanted.folder is not None:
        found.values["first"], found.values["last"] = below(wanted.folder)
        inside = "@within(r.path_raw, :first, :last)"
        found.checks.append(inside)
        recordings = f"SELECT r.id FROM recordings r WHERE {inside}"  # noqa: S608 - see above
        found.lookups.append(Lookup(_of_recordings(inside), recordings))
    if wanted.host is not None:
        _add_host(found, wanted.host)
    if wanted.path is not None:
        _add_path(found, clean(wanted.path))
    if wanted.speaker is not None:
        found.values["speaker"] = storable(wanted.speaker)
        found.checks.append(_any("job_speakers", "s.name = :speaker"))
        speakers = "SELECT job_id AS id FROM job_speakers WHERE name = :speaker"
        found.lookups.append(Lookup(_with_copies(speakers), speakers))
    if wanted.text is not None:
        _add_text(found, wanted.text)
    return found


def _add_ordered(found: Conditions, wanted: JobFilter, after: Cursor | None, *, oldest_first: bool) -> None:
    """Conditions on state, profile and admission. Only one of state and profile has an index with the order."""
    bounds = []
    if wanted.since is not None:
        found.values["since"] = wanted.since
        bounds.append("j.admitted_at >= :since")
    if wanted.until is not None:
        found.values["until"] = wanted.until
        bounds.append("j.admitted_at < :until")
    if after is not None:
        found.values |= {"after_at": after.admitted_at, "after_id": after.job_id}
        bounds.append(f"(j.admitted_at, j.id) {'>' if oldest_first else '<'} (:after_at, :after_id)")
    equal = []
    if wanted.profile is not None:
        found.values["profile"] = storable(wanted.profile)
        equal.append(_EQUAL[0])
    if wanted.state is not None:
        found.values["state"] = wanted.state.value
        equal.append(_EQUAL[1])
    found.ordered += [*equal[:1], *bounds]
    found.checks += [*equal, *bounds]
    found.lookups += map(_by, equal)
    if wanted.since is not None and wanted.until is not None:
        found.lookups.append(_by("j.admitted_at >= :since AND j.admitted_at < :until"))


def _add_length(found: Conditions, shortest_s: float | None, longest_s: float | None) -> None:
    found.values["shortest"] = 0 if shortest_s is None else round(shortest_s * 1000)
    found.values["longest"] = 2**62 if longest_s is None else round(longest_s * 1000)
    length = "j.audio_ms BETWEEN :shortest AND :longest"
    # The plus keeps SQLite from sorting what the index on lengths finds, where the order of the list is enough.
    found.checks.append(f"@plain({length})")
    found.lookups.append(_by(length))


def _add_host(found: Conditions, host: str) -> None:
    """By who has taken it, else by its folder: what is in a shared folder can be taken by any host."""
    found.values |= {"storage": f"@{host}" if host else "", "worker": f"{host}/", "size": len(host) + 1}
    took = f"substr({WORKER}, 1, :size) = :worker" if host else f"@position({WORKER}, '/') = 0"
    found.checks.append(f"CASE WHEN {WORKER} IS NULL THEN @storage(r.path_raw) = :storage ELSE {took} END")


def _add_path(found: Conditions, part: str) -> None:
    if not part:
        return
    found.values["path_part"] = containing(part)
    found.checks.append("@like(r.path, :path_part)")
    if len(part) < TERM:
        found.values |= {"path_first": fold(part), "path_last": fold(part) + LAST}
        recordings = "@recordings_beginning(:path_first, :path_last, :path_part)"
    else:
        terms = list(dict.fromkeys(part[i : i + TERM] for i in range(len(part) - TERM + 1)))
        step = max(1, len(terms) // _PATH_TERMS)
        found.values["path_terms"] = " AND ".join(map(_quoted, terms[::step][:_PATH_TERMS]))
        recordings = "@recordings_with(:path_terms, :path_part)"
    found.lookups.append(Lookup(_of_recordings(f"r.id IN ({recordings})"), recordings))


def _add_text(found: Conditions, query: str) -> None:
    """Each reading of the query is enough; of a reading each word is necessary."""
    terms = parse(query)
    if not terms:
        return
    found.reads_texts = True
    either, lookups = [], []
    for i, reading in enumerate(readings(terms)):
        every = []
        for k, term in enumerate(reading):
            name = f"text_{i}_{k}"
            found.values[name] = containing(term.needle)
            every.append(_any("segments", f"@like(s.text, :{name})"))
        either.append(" AND ".join(every))
        longest = max((term.needle for term in reading), key=len)
        found.values |= {f"longest_{i}": containing(longest), f"needle_{i}": storable(longest)}
        if len(longest) < TERM:
            found.values |= {f"first_{i}": fold(longest), f"last_{i}": fold(longest) + LAST}
            segments = f"@segments_beginning(:first_{i}, :last_{i}, :needle_{i}, :longest_{i})"
        else:
            found.values[f"phrase_{i}"] = _quoted(longest)
            segments = f"@segments_with(:phrase_{i}, :needle_{i}, :longest_{i})"
        lookups.append(segments)
    found.checks.append("(" + " OR ".join(either) + ")")
    counted = " UNION ALL ".join(lookups)
    origins = f"SELECT job_id AS id FROM segments WHERE id IN ({counted})"  # noqa: S608 - see above
    found.lookups.append(Lookup(_with_copies(origins), counted))


def _by(condition: str) -> Lookup:
    statement = f"SELECT j.id FROM jobs j WHERE {condition}"  # noqa: S608 - see above
    return Lookup(statement, statement)


def _any(table: str, condition: str) -> str:
    """True if the result of a job has a row `s` in this table.

    No EXISTS, which newer versions of SQLite turn into a join that may begin with all rows of the table.
    """
    rows = f"SELECT 1 FROM {table} s WHERE s.job_id = coalesce(j.reference_job_id, j.id) AND {condition}"  # noqa: S608
    return f"({rows} LIMIT 1) IS NOT NULL"


def _of_recordings(condition: str) -> str:
    return f"SELECT j.id FROM recordings r @joined() jobs j ON j.recording_id = r.id WHERE {condition}"  # noqa: S608


def _with_copies(origins: str) -> str:
    """The jobs of these results, and the jobs that refer to them."""
    return (
        f"SELECT id FROM ({origins}) AS own UNION ALL SELECT j.id FROM ({origins}) o "  # noqa: S608 - see above
        "@joined() jobs j ON j.reference_job_id = o.id"
    )


def _quoted(text: str) -> str:
    """A phrase of a full-text query."""
    return '"' + text.replace('"', '""') + '"'
