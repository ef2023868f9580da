"""Several processes on one database, and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from daemon.ledger.db import driver
from daemon.ledger.ledger import Ledger
from daemon.ledger.records import JobState
from tests.integration.ledger_material import admission

WORKERS = 4
JOBS = 400

#: Claims until there is nothing left, printing each job it got.
CLAIMER = """
import sys
from pathlib import Path
from daemon.ledger.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
sys.stdin.readline()
while claims := ledger.claim(sys.argv[2], 3, 100.0, 60.0, allow_isolated=False):
    for claim in claims:
        print(claim.job_id)
"""

#: Admits, claims and finishes for ever, saying what was acknowledged only after it was.
WRITER = """
import sys
from pathlib import Path
from daemon.ledger.ledger import Ledger
from tests.integration.ledger_material import admission, claim_all, finish_of
ledger = Ledger.open(Path(sys.argv[1]))
ledger.recover(1.0)
for i in range(1_000_000):
    name = f"{sys.argv[2]}-{i}"
    (made,) = ledger.admit([admission(name, name)], 1.0)
    print("admitted", made.job_id, flush=True)
    claims = claim_all(ledger)
    assert ledger.finish([finish_of(c, "预算" * 50) for c in claims], 101.0) == []
    for c in claims:
        print("done", c.job_id, flush=True)
"""


def test_no_job_is_claimed_by_two_processes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    ledger = Ledger.open(path)
    made = ledger.admit([admission(f"{i}.wav", str(i)) for i in range(JOBS)], 1.0)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, path, f"worker-{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(WORKERS)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed = Counter(int(line) for worker in workers for line in worker.communicate()[0].split())
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    assert claimed == Counter(m.job_id for m in made)
    assert ledger.counts()[JobState.RUNNING] == JOBS
    ledger.close()


def test_a_killed_writer_loses_nothing_it_was_told_is_safe(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    acknowledged: dict[str, set[int]] = {"admitted": set(), "done": set()}
    for round_, lines in enumerate((3, 40, 17)):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(round_)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        ) as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                what, job = writer.stdout.readline().split()
                acknowledged[what].add(int(job))
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                what, job = line.split()
                acknowledged[what].add(int(job))
    with closing(driver().connect(str(path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.execute("INSERT INTO segment_search (segment_search) VALUES ('integrity-check')")
    ledger = Ledger.open(path)
    jobs = {job.id: job.state for job in ledger.jobs(limit=1_000_000)}
    assert acknowledged["admitted"] <= jobs.keys()
    assert {jobs[job] for job in acknowledged["done"]} == {JobState.DONE}
    assert all(ledger.stored_result(job) is not None for job in acknowledged["done"])
    ledger.recover(200.0)
    assert JobState.RUNNING not in {job.state for job in ledger.jobs(limit=1_000_000)}
    ledger.close()
