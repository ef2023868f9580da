"""Measure the ledger's calls with years of history, each a transaction on disk as in the daemon.

    .venv/bin/python benchmarks/history.py [--jobs 1000000] [--segments 3] [--calls 1000] [--database FILE-OR-URL | --postgresql]
        [--out FILE.json]

First --jobs finished recordings are inserted (some 2,000 per second; 4.5 KB each) into a database in a temporary
folder, or in FILE, which is kept and reused by the next run, as is a database at URL, or in a database of Debian's PostgreSQL,
which is started with its default settings and reached by its socket. Of a hundred, one failed, one was removed, two are
copies. Then each call is measured separately, with median, 99th percentile and maximum in ms:

- admit, claim, intend (5 files), finish (3 segments): one recording per call, each a synced commit;
- the same in batches of --batch recordings, with recordings a second, as a busy daemon does it;
- disk alone: between those calls, a synced write of as many bytes as a commit writes, to a separate file;
- claim among --backlog: one job with that many others queued;
- lists, one job, counts, records of a folder, and searches, each repeated --questions times;
- once each: opening, and with SQLite the check of `doctor` and a copy of the database.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import filled_ledger
import surroundings
from filled_ledger import BEGAN, EVERY_S, FOLDER, LEASE_S, RARE, Texts

from dropscribe.ledger.backend import library_version, open_ledger, server_version
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.postgresql.connections import open_connection
from dropscribe.ledger.sql.schema import HEAD
from dropscribe.ledger.sql.sqlite.file.integrity import quick_check
from dropscribe.ledger.sql.sqlite.file.upgrade import back_up
from tests.support.postgresql import Server

#: Bytes written by an admission: about fifteen pages of 4 KB.
COMMIT_BYTES = 61_440


def timed(call: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def figures(milliseconds: list[float]) -> dict[str, Any]:
    ordered = sorted(milliseconds)
    return {
        "calls": len(ordered),
        "p50_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
        "longest_ms": round(ordered[-1], 2),
    }


class Disk:
    """File beside the database, to measure the cost of a synced write without a database."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        path.unlink()

    def commit(self) -> None:
        self._file.write(bytes(COMMIT_BYTES))
        os.fsync(self._file.fileno())


def steps(disk: Disk, ledger: Ledger, first: int, calls: int, backlog: int) -> dict[str, Any]:
    """Measure the calls in the life of a recording."""
    texts = Texts(1)
    now = BEGAN + first * EVERY_S
    taken: dict[str, list[float]] = {
        "disk alone": [],
        "admit": [],
        "claim": [],
        "intend": [],
        "finish": [],
        "renew 32 leases": [],
    }
    for i in range(calls):
        taken["disk alone"].append(timed(disk.commit))
        admission = replace(filled_ledger.admission_of(first + i), sha256=f"its own {first + i}")
        taken["admit"].append(timed(partial(ledger.admit, [admission], now)))
        began = time.perf_counter()
        (claim,) = ledger.claim("bench:1", 1, now, LEASE_S, allow_isolated=False)
        taken["claim"].append((time.perf_counter() - began) * 1000)
        intents, result = filled_ledger.intents_of(claim), filled_ledger.finish_of(claim, texts)
        taken["intend"].append(
            timed(partial(ledger.intend, [(claim.job_id, claim.generation, intents)], now))
        )
        taken["finish"].append(timed(partial(ledger.finish, [result], now)))
    waiting = [
        replace(filled_ledger.admission_of(first + calls + i), sha256=f"its own {first + calls + i}")
        for i in range(backlog)
    ]
    for start in range(0, backlog, filled_ledger.BATCH):
        ledger.admit(waiting[start : start + filled_ledger.BATCH], now)
    name = f"claim among {backlog}"
    taken[name] = []
    ours = []
    for _ in range(min(calls, backlog // 2)):
        began = time.perf_counter()
        (claim,) = ledger.claim("bench:1", 1, now, LEASE_S, allow_isolated=False)
        taken[name].append((time.perf_counter() - began) * 1000)
        ours.append((claim.job_id, claim.generation))
    for _ in range(calls // 10):
        taken["renew 32 leases"].append(timed(lambda: ledger.heartbeat(ours[:32], now, LEASE_S)))
    taken["recover"] = [timed(lambda: ledger.recover(now))]
    for path in [w.path for w in waiting]:
        ledger.cancel_gone(path, now, "the benchmark is over")
    return {what: figures(ms) for what, ms in taken.items()}


def batches(ledger: Ledger, first: int, count: int, size: int) -> dict[str, Any]:
    """Measure the same calls for many recordings at once; `per_s`: recordings a second."""
    texts = Texts(3)
    now = BEGAN + first * EVERY_S
    taken: dict[str, list[float]] = {"admit": [], "claim": [], "begin": [], "intend": [], "finish": []}
    for start in range(first, first + count * size, size):
        arrived = [
            replace(filled_ledger.admission_of(n), sha256=f"of a batch {n}")
            for n in range(start, start + size)
        ]
        taken["admit"].append(timed(partial(ledger.admit, arrived, now)))
        began = time.perf_counter()
        claims = ledger.claim("bench:1", size, now, LEASE_S, allow_isolated=False)
        taken["claim"].append((time.perf_counter() - began) * 1000)
        assert len(claims) == size
        taken["begin"].append(timed(partial(ledger.begin, [(c.job_id, c.generation) for c in claims])))
        intents = [(c.job_id, c.generation, filled_ledger.intents_of(c)) for c in claims]
        results = [filled_ledger.finish_of(c, texts) for c in claims]
        taken["intend"].append(timed(partial(ledger.intend, intents, now)))
        taken["finish"].append(timed(partial(ledger.finish, results, now)))
    return {
        f"{what}, batches of {size}": figures(ms) | {"per_s": round(1000 * size / statistics.median(ms))}
        for what, ms in taken.items()
    }


def questions(ledger: Ledger, jobs: int, times: int) -> dict[str, Any]:
    """Measure the queries of commands."""
    common = Texts(2).segments(1)[0].text
    early = filled_ledger.admission_of(0).path.parent
    late = BEGAN + jobs * 0.999 * EVERY_S
    asked: dict[str, Callable[[], object]] = {
        "newest 50 jobs": ledger.jobs,
        "failed jobs": lambda: ledger.jobs(state=JobState.FAILED),
        "queued jobs": lambda: ledger.jobs(state=JobState.QUEUED),
        "jobs since": lambda: ledger.jobs(since=late),
        "oldest failed jobs since": lambda: ledger.jobs(state=JobState.FAILED, since=late, oldest_first=True),
        "jobs of the whole tree": lambda: ledger.jobs(folder=FOLDER),
        "jobs of an old folder of 1000": lambda: ledger.jobs(folder=early),
        "jobs of an empty folder": lambda: ledger.jobs(folder=FOLDER / "nothing"),
        "failed jobs of an old folder": lambda: ledger.jobs(folder=early, state=JobState.FAILED),
        "one job": lambda: ledger.job(jobs // 2),
        "counts": ledger.counts,
        "skipped files": ledger.recent_skips,
        "files of a recording": lambda: ledger.outputs_of(filled_ledger.admission_of(jobs // 2).path),
        "search, 1 common character": lambda: ledger.search(common[0]),
        "search, 1 rare character": lambda: ledger.search(chr(0x4E00 + filled_ledger.ALPHABET - 1)),
        "search, 2 common characters": lambda: ledger.search("一丁"),
        "search, 2 characters": lambda: ledger.search(RARE[:2]),
        "search, 3 common characters": lambda: ledger.search("一丁一"),
        "search, 3 characters": lambda: ledger.search(common[:3]),
        "search, 3 rare characters": lambda: ledger.search(RARE),
        "search, 8 common characters": lambda: ledger.search("一丁一七一丁一一"),
        "search, a sentence": lambda: ledger.search(common),
        "search, 2 words": lambda: ledger.search("一丁 七一"),
        "search, 2 words, one rare": lambda: ledger.search(f"一 {RARE[:2]}"),
        "search, 2 rare words": lambda: ledger.search(f"{RARE} {chr(0x4E00 + filled_ledger.ALPHABET - 1)}"),
        "search, 2 words, nothing": lambda: ledger.search("一丁一 完全没有"),
        "search, 2 words never together": lambda: ledger.search("一丁一七 丁一丁七"),
        "search, a number in figures": lambda: ledger.search("2024年"),
        "search, a number in words": lambda: ledger.search("二零二四年"),
        "search, percent": lambda: ledger.search("50%"),
        "search, nothing": lambda: ledger.search("完全没有"),
        "search, 2 characters, nothing": lambda: ledger.search("龥龤"),
    }
    out = {what: figures([timed(ask) for _ in range(times)]) for what, ask in asked.items()}
    out["what is known of the tree"] = figures([timed(lambda: deque(ledger.known(FOLDER), maxlen=0))])
    return out


def table(groups: dict[str, dict[str, Any]]) -> str:
    lines = [f"{'':32} {'calls':>6} {'p50 ms':>9} {'p99 ms':>9} {'longest':>9}"]
    for group in groups.values():
        for what, f in group.items():
            lines.append(
                f"{what:32} {f['calls']:6} {f['p50_ms']:9.2f} {f['p99_ms']:9.2f} {f['longest_ms']:9.2f}"
            )
    return "\n".join(lines)


def _query(location: DatabaseLocation, statement: str) -> Any:
    """First row of a statement outside a transaction."""
    with open_connection(location.server) as connection:
        connection.autocommit = True
        found = connection.execute(statement)
        return found.fetchone() if found.description else None


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=filled_ledger.SEGMENTS, help="of each recording")
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    database = parser.add_mutually_exclusive_group()
    database.add_argument(
        "--database",
        type=Path,
        help="made where it is not there, kept, and used again; or an address of PostgreSQL",
    )
    database.add_argument("--postgresql", action="store_true", help="a database of a PostgreSQL of its own")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dropscribe-history-")))
        location = DatabaseLocation.of(options.database or folder / "jobs.db")
        if options.postgresql:
            server = Server(durable=True)
            stack.callback(server.stop)
            location = DatabaseLocation(folder / "jobs", server.database())
        measured = _measure(location, folder, options)
    surroundings.report("history", options, measured)


def _measure(location: DatabaseLocation, folder: Path, options: Any) -> dict[str, Any]:
    ledger = open_ledger(location, by_server_clock=False)
    there = sum(ledger.counts().values())
    filling = filled_ledger.fill(ledger, max(0, options.jobs - there), first=there, segments=options.segments)
    there = sum(ledger.counts().values())
    if location.server:
        # As the server itself does it, a minute later.
        _query(location, "ANALYZE")
    disk = Disk(folder / "disk-alone" if location.server else location.file.with_name("disk-alone"))
    groups = {
        "steps": steps(disk, ledger, there, options.calls, options.backlog),
        "batches": batches(
            ledger, there + options.calls + options.backlog, max(1, options.calls // 20), options.batch
        ),
        "questions": questions(ledger, options.jobs, options.questions),
    }
    ledger.close()
    once = {"open": figures([timed(lambda: open_ledger(location).close())])}
    if location.server:
        version = f"PostgreSQL {server_version(location)}"
        (size,) = _query(location, "SELECT pg_database_size(current_database())")
    else:
        version, size = library_version(), location.file.stat().st_size
        once["check"] = figures([timed(lambda: quick_check(location.file))])
        once["copy"] = figures([timed(lambda: back_up(location.file, HEAD).unlink())])
    print(table(groups | {"once": once}), file=sys.stderr)
    return {
        "database": version,
        "filling": filling,
        "database_bytes": size,
        **groups,
        "once": once,
    }


if __name__ == "__main__":
    main()
