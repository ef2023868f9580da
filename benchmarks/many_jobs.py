"""Measure every query of the history with a million jobs, and what keeping totals costs.

    .venv/bin/python benchmarks/many_jobs.py [--jobs 1000000] [--database FILE] [--repeat 5] [--out FILE.json]

A database of the schema before the totals is filled with --jobs jobs, 1,000 a day, in a temporary folder, or in FILE, which
is kept and reused by the next run (2.6 GB with a million jobs). Its upgrade to the current schema is timed, with the
statements that take longest. Then each query of lists, statistics and the documented views runs --repeat times, all in turn:
processor time, fastest and slowest in ms. Then all jobs are exported. Finally jobs of a small database are ended with and without the
triggers that keep the totals, in turn, and recordings are admitted with and without those of the index of paths.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import filled_ledger
import surroundings
import varied_jobs
from sqlalchemy import event
from sqlalchemy.engine import Engine
from varied_jobs import BEGAN, EVERY_S, FOLDERS, RARE_PATH, RARE_SPEAKER, RARE_WORD

from dropscribe.ledger.backend import open_ledger, open_read_only
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.questions import Cursor, JobFilter, Part, TotalsFilter
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.history import totals_schema
from dropscribe.ledger.sql.sqlite.db import driver, sqlite_version
from dropscribe.ledger.sql.sqlite.ddl import STATEMENTS
from dropscribe.views.export.rows import CsvWriter, JsonLinesWriter

ROOT = Path(__file__).resolve().parents[1]
#: Statements of the upgrade that take longer are listed, seconds.
LISTED_S = 1.0
#: Jobs that are exported at a time, as `dropscribe export` does.
AT_ONCE = 2_000
#: Jobs ended in a transaction, as the daemon does with a backlog, and in each turn.
ENDED_AT_ONCE, ENDED = 50, 2_000

Queries = dict[str, Callable[[], object]]


def upgraded(path: Path) -> dict[str, Any]:
    """Upgrade the database without its backup; returns seconds and the statements that took longest."""
    slow: list[tuple[float, str]] = []
    began_at: list[float] = [0.0]

    def before(*_: object) -> None:
        began_at[0] = time.perf_counter()

    def after(_c: object, _u: object, statement: str, *_: object) -> None:
        taken = time.perf_counter() - began_at[0]
        if taken >= LISTED_S:
            slow.append((round(taken, 1), " ".join(statement.split())[:70]))

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    began, cpu = time.perf_counter(), time.process_time()
    open_ledger(DatabaseLocation(path)).close()
    event.remove(Engine, "before_cursor_execute", before)
    event.remove(Engine, "after_cursor_execute", after)
    for backup in path.parent.glob(f"{path.name}.backup-*"):
        backup.unlink()
    return {
        "wall_s": round(time.perf_counter() - began, 1), "cpu_s": round(time.process_time() - cpu, 1),
        "bytes": path.stat().st_size, "statements": slow,
    }  # fmt: skip


def lists(ledger: Ledger, jobs: int) -> Queries:
    """Lists of jobs, and two pages of them."""
    middle = BEGAN + jobs // 2 * EVERY_S
    far = Cursor(middle, jobs // 2)
    filters = {
        "newest 50": JobFilter(),
        "failed": JobFilter(state=JobState.FAILED),
        "waiting": JobFilter(state=JobState.QUEUED),
        "held": JobFilter(held=True),
        "frequent profile": JobFilter(profile="phone"),
        "rare profile": JobFilter(profile="court"),
        "unknown profile": JobFilter(profile="none"),
        "rare reason code": JobFilter(reason="too_long"),
        "frequent reason code": JobFilter(reason="no_audio"),
        "part of a reason": JobFilter(reason="could not be read"),
        "reason, nothing": JobFilter(reason="nothing like it"),
        "a day two years ago": JobFilter(since=BEGAN + 86_400 * 9, until=BEGAN + 86_400 * 10),
        "watched folder": JobFilter(folder=Path(FOLDERS[0])),
        "an old folder": JobFilter(folder=Path(FOLDERS[0]) / "2024" / "01" / "05"),
        "an empty folder": JobFilter(folder=Path("/srv/none")),
        "path, frequent": JobFilter(path="录音"),
        "path, rare": JobFilter(path=RARE_PATH),
        "path, 2 characters, rare": JobFilter(path=RARE_PATH[:2]),
        "path, a month": JobFilter(path="2024/03"),
        "path, a number": JobFilter(path="00012345.m4a"),
        "path, nothing": JobFilter(path="nothing like it"),
        "longer than 5.9 h": JobFilter(shortest_s=5.9 * 3600),
        "longer than 6 h, nothing": JobFilter(shortest_s=6.1 * 3600),
        "shorter than 1 min": JobFilter(longest_s=60.0),
        "speaker, frequent": JobFilter(speaker="说话人8"),
        "speaker, rare": JobFilter(speaker=RARE_SPEAKER),
        "speaker, nothing": JobFilter(speaker="没有"),
        "text, frequent": JobFilter(text="时"),
        "text, rare": JobFilter(text=RARE_WORD),
        "text, 2 characters, rare": JobFilter(text=RARE_WORD[:2]),
        "text, nothing": JobFilter(text="完全没有"),
        "failed, phone, a month": JobFilter(
            state=JobState.FAILED, profile="phone", since=middle, until=middle + 30 * 86_400
        ),
        "done, longer than 5 h, phone": JobFilter(state=JobState.DONE, shortest_s=18_000, profile="phone"),
        "rare speaker, text, path": JobFilter(speaker=RARE_SPEAKER, text="的", path="m4a"),
        "failed, path of a month": JobFilter(state=JobState.FAILED, path="2024/03"),
    }
    found: Queries = {name: lambda f=wanted: ledger.find_jobs(f) for name, wanted in filters.items()}  # type: ignore[misc]
    found["page in the middle"] = lambda: ledger.find_jobs(JobFilter(), after=far)
    found["page in the middle, failed"] = lambda: ledger.find_jobs(
        JobFilter(state=JobState.FAILED), after=far
    )
    found["oldest first"] = lambda: ledger.find_jobs(JobFilter(), oldest_first=True)
    found["one job in full"] = lambda: ledger.job(jobs // 2)
    found["numbers by state"] = ledger.counts
    return found


def statistics_of(ledger: Ledger, jobs: int) -> Queries:
    """Statistics by each part, of all days and of the last 30."""
    last = int((BEGAN + jobs * EVERY_S) // 86_400)
    recent = TotalsFilter(first_day=last - 29)
    found: Queries = {"all in one": lambda: ledger.totals((), TotalsFilter())}
    for part in Part:
        found[f"by {part}"] = lambda p=part: ledger.totals((p,), TotalsFilter(), stage="waiting")  # type: ignore[misc]
    found["by day, with all stages"] = lambda: ledger.totals((Part.DAY,), TotalsFilter())
    found["by day, 30 days"] = lambda: ledger.totals((Part.DAY,), recent)
    found["by month and model"] = lambda: ledger.totals((Part.MONTH, Part.MODEL), TotalsFilter())
    found["by day, a profile"] = lambda: ledger.totals((Part.DAY,), TotalsFilter(profile="court"))
    return found


def documented(connection: Any) -> Queries:
    """The queries of docs/database.md."""
    from tests.support.documentation import DOCS, blocks  # noqa: PLC0415 - needs the path that `surroundings` adds

    return {
        block.text.splitlines()[0].removeprefix("-- ")[:48]: lambda t=block.text: connection.execute(
            t
        ).fetchall()  # type: ignore[misc]
        for block in blocks(DOCS / "database.md", "sql")
    }


def timed(groups: dict[str, Queries], repeat: int) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds of each query: processor time (median), and fastest and slowest run on the clock.

    On a machine that is shared the processor time is what can be compared. One round is not counted: it reads the pages from
    the disk.
    """
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(repeat + 1):
        for group, queries in groups.items():
            for name, query in queries.items():
                began, cpu = time.perf_counter(), time.process_time()
                query()
                both = (time.process_time() - cpu) * 1000, (time.perf_counter() - began) * 1000
                if turn:
                    taken.setdefault((group, name), []).append(both)
    found: dict[str, dict[str, dict[str, float]]] = {group: {} for group in groups}
    for (group, name), runs in taken.items():
        cpu_ms, wall_ms = zip(*runs, strict=True)
        found[group][name] = {
            "cpu": round(statistics.median(cpu_ms), 1), "fastest": round(min(wall_ms), 1), "slowest": round(max(wall_ms), 1),
        }  # fmt: skip
    return found


def exports(ledger: Ledger) -> dict[str, Any]:
    """Seconds and bytes of an export of all jobs, and the most memory of this process so far, MB."""
    found: dict[str, Any] = {}
    for kind in (CsvWriter, JsonLinesWriter):
        began, position, first_s = time.perf_counter(), None, 0.0
        with tempfile.TemporaryFile() as out:
            writer = kind(out)
            while True:
                page = ledger.find_jobs(JobFilter(), limit=AT_ONCE, after=position, oldest_first=True)
                writer.write(page.jobs)
                first_s = first_s or time.perf_counter() - began
                position = page.next
                if position is None:
                    break
            found[kind.__name__] = {
                "wall_s": round(time.perf_counter() - began, 1), "first_s": round(first_s, 3), "bytes": out.tell(),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }  # fmt: skip
    return found


def cost(folder: Path, turns: int) -> dict[str, Any]:
    """Processor time per job of admitting and of ending jobs, with and without triggers, µs; median of turns."""
    taken: dict[str, list[float]] = {}
    path = folder / "cost.db"
    ledger = open_ledger(DatabaseLocation(path))
    texts, number = filled_ledger.Texts(1), 0
    triggers = [s for s in STATEMENTS if "CREATE TRIGGER" in s and " segments" not in s]
    names = [s.split()[2] for s in triggers]
    for turn in range(2 * turns):
        kind = "without" if turn % 2 else "with"
        with closing(driver().connect(os.fspath(path), isolation_level=None)) as connection:
            for name, statement in zip(names, triggers, strict=True):
                connection.execute(f"DROP TRIGGER IF EXISTS {name}")
                if kind == "with":
                    connection.execute(statement)
        for step in ("admit", "end"):
            taken.setdefault(f"{step}, {kind}", [])
        for _ in range(ENDED // ENDED_AT_ONCE):
            admissions = [filled_ledger.admission_of(number + i) for i in range(ENDED_AT_ONCE)]
            now = BEGAN + number * EVERY_S
            number += ENDED_AT_ONCE
            began = time.process_time()
            ledger.admit(admissions, now)
            taken[f"admit, {kind}"].append((time.process_time() - began) / ENDED_AT_ONCE * 1e6)
            claims = ledger.claim("bench:1", ENDED_AT_ONCE, now + 1, 60.0, allow_isolated=False)
            results = [filled_ledger.finish_of(c, texts) for c in claims]
            began = time.process_time()
            ledger.finish(results, now + 2)
            if results:
                taken[f"end, {kind}"].append((time.process_time() - began) / len(results) * 1e6)
    ledger.close()
    return {what: round(statistics.median(us)) for what, us in taken.items()}


def table(measured: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [f"{'ms':50} {'processor':>9} {'fastest':>9} {'slowest':>9}"]
    for group, queries in measured.items():
        lines.append(f"{group}:")
        for name, f in queries.items():
            lines.append(f"  {name:48} {f['cpu']:9.1f} {f['fastest']:9.1f} {f['slowest']:9.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--turns", type=int, default=5, help="of ending jobs with and without triggers")
    parser.add_argument("--database", type=Path, help="made where it is not there, kept, and used again")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dropscribe-many-jobs-"))
    path = options.database or folder / "jobs.db"
    try:
        measured = _measure(path, folder, options)
    finally:
        shutil.rmtree(folder)
    surroundings.report("many_jobs", options, measured)


def _measure(path: Path, folder: Path, options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"sqlite": sqlite_version()}
    if not path.exists():
        found["filling_s"] = round(varied_jobs.make(path, options.jobs), 1)
        found["bytes_before"] = path.stat().st_size
        found["upgrade"] = upgraded(path)
    ledger = open_read_only(DatabaseLocation(path))
    jobs = sum(ledger.counts().values())
    with closing(driver().connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found["totals_rows"] = {
            t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in totals_schema.SUMS
        }
        groups = {
            "lists": lists(ledger, jobs),
            "statistics": statistics_of(ledger, jobs),
            "views": documented(connection),
        }
        found["ms"] = timed(groups, options.repeat)
    print(table(found["ms"]), file=sys.stderr)
    found["exports"] = exports(ledger)
    began = time.perf_counter()
    found["wrong_totals"] = ledger.wrong_totals()
    found["check_s"] = round(time.perf_counter() - began, 1)
    ledger.close()
    found["cost_us"] = cost(folder, options.turns)
    print(found["exports"], found["cost_us"], file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
