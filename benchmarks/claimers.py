"""Check the ledger's leases with several worker processes that are frozen beyond their leases.

    .venv/bin/python benchmarks/claimers.py [--workers 4] [--jobs 20000] [--freezes 40] [--postgresql] [--out FILE.json]

Every worker is a process that claims up to three jobs at a time with a lease of one second and finishes them.
Meanwhile one worker at a time is stopped (SIGSTOP) for longer than its lease and continued (SIGCONT): other workers
take over its jobs, and its late results must be refused. The exit status is 1 unless every job was finished exactly
once, no claim was given to two workers, and every late result was refused. `--postgresql` does it on a PostgreSQL of its own.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import surroundings
from filled_ledger import Texts, admission_of, finish_of

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState
from tests.support.postgresql import Server

LEASE_S = 1.0
FROZEN_S = 1.3
#: Delay between claim and result, seconds, so that a frozen worker has claimed jobs.
WORK_S = 0.002


def work(database: Path, name: str) -> None:
    """One worker: prints a line for each claim and each reply to a result; ends when no job is left."""
    ledger = open_ledger(DatabaseLocation.of(database))
    texts = Texts(1)
    while ledger.counts()[JobState.DONE] < int(sys.argv[3]):
        for claim in ledger.claim(name, 3, time.time(), LEASE_S, allow_isolated=False):
            print("claimed", claim.job_id, claim.generation, flush=True)
            time.sleep(WORK_S)
            refused = ledger.finish([finish_of(claim, texts)], time.time())
            print("refused" if refused else "done", claim.job_id, claim.generation, flush=True)


def freeze(workers: list[subprocess.Popen[Any]], times: int) -> int:
    """Freeze one worker at a time for longer than a lease, up to the given number of times; returns the count."""
    rng = random.Random(1)
    for done in range(times):
        alive = [w for w in workers if w.poll() is None]
        if not alive:
            return done
        chosen = rng.choice(alive)
        chosen.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN_S)
        chosen.send_signal(signal.SIGCONT)
        time.sleep(rng.random() * 0.1)
    return times


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--freezes", type=int, default=40)
    parser.add_argument("--postgresql", action="store_true", help="a database of a PostgreSQL of its own")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dropscribe-claimers-")))
        database = folder / "jobs.db"
        if options.postgresql:
            server = Server(durable=True)
            stack.callback(server.stop)
            database = Path(server.database())
        figures = _measure(folder, database, options)
    surroundings.report("claimers", options, figures)
    wrong = figures["claims_given_twice"] + figures["jobs_not_done_once"] + figures["late_results_accepted"]
    sys.exit(1 if wrong else 0)


def _measure(folder: Path, database: Path, options: Any) -> dict[str, Any]:
    ledger = open_ledger(DatabaseLocation.of(database))
    # Distinct content, and many attempts: otherwise the freezes would use them up.
    numbers = [n * 100 for n in range(options.jobs)]
    many = [admission_of(n) for n in numbers]
    for start in range(0, len(many), 500):
        ledger.admit([_patient(a) for a in many[start : start + 500]], time.time())
    began = time.monotonic()
    workers = []
    for n in range(options.workers):
        with (folder / f"worker-{n}").open("wb") as said:
            command = [sys.executable, __file__, "--work", str(database), str(options.jobs), f"worker-{n}"]
            workers.append(subprocess.Popen(command, stdout=said))
    while not all((folder / f"worker-{n}").stat().st_size for n in range(options.workers)):
        time.sleep(0.01)
    frozen = freeze(workers, options.freezes)
    failed = [w.args for w in workers if w.wait() != 0]
    if failed:
        raise SystemExit(f"workers ended with errors: {failed}")
    figures = _judged(folder, ledger, frozen, len(many))
    ledger.close()
    return figures | {"wall_s": round(time.monotonic() - began, 1)}


def _patient(admission: Any) -> Any:

    return replace(admission, max_attempts=1_000_000)


def _judged(folder: Path, ledger: Ledger, frozen: int, jobs: int) -> dict[str, Any]:
    lines = [line.split() for file in folder.glob("worker-*") for line in file.read_text().splitlines()]
    said = {
        what: Counter((int(j), int(g)) for w, j, g in lines if w == what)
        for what in ("claimed", "done", "refused")
    }
    newest: dict[int, int] = {}
    for job, generation in said["claimed"]:
        newest[job] = max(newest.get(job, 0), generation)
    once = Counter(job for job, _ in said["done"].elements())
    return {
        "freezes": frozen,
        "claims": said["claimed"].total(),
        "taken_over": sum(1 for _, generation in said["claimed"] if generation > 1),
        "late_results_refused": said["refused"].total(),
        "claims_given_twice": sum(1 for n in said["claimed"].values() if n > 1),
        "late_results_accepted": sum(1 for job, generation in said["done"] if generation < newest[job]),
        "jobs_not_done_once": sum(1 for n in once.values() if n != 1) + jobs - len(once),
        "done_on_record": ledger.counts()[JobState.DONE],
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), sys.argv[4])
    else:
        main()
