"""Several processes on one database, some of them killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.sqlite.db import driver
from tests.support.ledgers import LEASE_S, admission, claim_all, finish_of

WORKERS = 4
JOBS = 400

#: Claims until the queue is empty, and prints each job.
CLAIMER = """
import sys
from pathlib import Path
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
ledger = open_ledger(DatabaseLocation(Path(sys.argv[1])))
sys.stdin.readline()
while claims := ledger.claim(sys.argv[2], 3, 100.0, 60.0, allow_isolated=False):
    for claim in claims:
        print(claim.job_id)
"""

#: Admits, claims and finishes jobs forever, and prints each after its commit.
WRITER = """
import sys
from pathlib import Path
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from tests.support.ledgers import admission, claim_all, finish_of
ledger = open_ledger(DatabaseLocation(Path(sys.argv[1])))
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

#: Claims seven jobs, and much later ends each by a different method; prints whether the call was accepted.
LATE = """
import sys
from pathlib import Path
from dropscribe.errors import StaleLeaseError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import OutputIntent
from tests.support.ledgers import LEASE_S, claim_all, finish_of
ledger = open_ledger(DatabaseLocation(Path(sys.argv[1])))
claims = {c.path.stem: c for c in claim_all(ledger, 100.0)}
print("claimed", flush=True)
sys.stdin.readline()
ours = {name: (c.job_id, c.generation) for name, c in claims.items()}
print("renew", ledger.heartbeat(list(ours.values()), 900.0, LEASE_S) != {j for j, _ in ours.values()})
print("finish", ledger.finish([finish_of(claims["finish"], "late")], 900.0) == [])
print("partial", ledger.intend_partial(ours["partial"], Path("/p"), "h", (), 900.0))
calls = {
    "release": lambda job: ledger.release(
        *job, 900.0, not_before=0.0, refund=True, isolate=False, code="c", reason="r"
    ),
    "fail": lambda job: ledger.fail(*job, 900.0, code="c", reason="r", remedy=""),
    "cancel": lambda job: ledger.cancel(job[0], 900.0, "r", generation=job[1]),
}
print("intend", ledger.intend([(*ours.pop("intend"), [OutputIntent("txt", Path("/o"), "h")])], 900.0) == [])
for name, call in calls.items():
    try:
        call(ours[name])
        print(name, True)
    except StaleLeaseError:
        print(name, False)
"""


def test_no_job_is_claimed_by_two_processes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    ledger = open_ledger(DatabaseLocation(path))
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


def test_a_killed_writer_loses_no_committed_job(tmp_path: Path) -> None:
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
    ledger = open_ledger(DatabaseLocation(path))
    jobs = {job.id: job.state for job in ledger.jobs(limit=1_000_000)}
    assert acknowledged["admitted"] <= jobs.keys()
    assert {jobs[job] for job in acknowledged["done"]} == {JobState.DONE}
    assert all(ledger.stored_result(job) is not None for job in acknowledged["done"])
    ledger.recover(200.0)
    assert JobState.RUNNING not in {job.state for job in ledger.jobs(limit=1_000_000)}
    ledger.close()


@pytest.mark.parametrize("next_worker", ["still at it", "done"])
def test_results_of_a_worker_frozen_beyond_its_lease_are_refused(tmp_path: Path, next_worker: str) -> None:
    path = tmp_path / "jobs.db"
    ledger = open_ledger(DatabaseLocation(path))
    ways = ("renew", "finish", "partial", "release", "fail", "cancel", "intend")
    ledger.admit([admission(name, name) for name in ways], 1.0)
    with subprocess.Popen(
        [sys.executable, "-c", LATE, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as frozen:
        assert frozen.stdin is not None
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == "claimed\n"
        frozen.send_signal(signal.SIGSTOP)
        taken = claim_all(ledger, 101.0 + LEASE_S)
        assert {(c.path.name, c.generation) for c in taken} == {(name, 2) for name in ways}
        if next_worker == "done":
            assert ledger.finish([finish_of(c, "on time") for c in taken], 170.0) == []
        before = [ledger.job(c.job_id) for c in taken]
        frozen.send_signal(signal.SIGCONT)
        heard, _ = frozen.communicate("go on\n")
    assert frozen.returncode == 0
    assert dict(line.split() for line in heard.splitlines()) == dict.fromkeys(ways, "False")
    assert [ledger.job(c.job_id) for c in taken] == before
    assert ledger.owned([Path("/o")]) == {}
    assert ledger.partials() == []
    ledger.close()


@pytest.mark.parametrize("way", ["VACUUM INTO", ".backup"])
def test_a_copy_made_while_jobs_are_done_takes_the_place_of_the_database(tmp_path: Path, way: str) -> None:
    """Backup by the method of docs/operations.md. Jobs finished after the copy are done again."""
    path, copy = tmp_path / "jobs.db", tmp_path / "copy.db"
    command = shutil.which("sqlite3")
    if way == ".backup" and command is None:
        pytest.skip("there is no sqlite3 command here")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, "first"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as writer:
        assert writer.stdout is not None
        before = [writer.stdout.readline().split() for _ in range(40)]
        if way == ".backup":
            subprocess.run([str(command), path, f".backup '{copy}'"], check=True)
        else:
            with closing(driver().connect(str(path))) as connection:
                connection.execute("VACUUM INTO ?", (str(copy),))
        with closing(driver().connect(str(copy))) as connection:
            ((newest,),) = connection.execute("SELECT max(id) FROM jobs")
        # The writer continued during the copy.
        while int(writer.stdout.readline().split()[1]) <= newest:
            pass
        writer.send_signal(signal.SIGKILL)
        writer.stdout.read()
    for name in ("jobs.db-wal", "jobs.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    copy.replace(path)
    with closing(driver().connect(str(path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO segment_search (segment_search) VALUES ('integrity-check')")
        connection.commit()
    ledger = open_ledger(DatabaseLocation(path))
    ledger.recover(200.0)
    states = {job.id: job.state for job in ledger.jobs(limit=1_000_000)}
    assert {int(job) for what, job in before if what == "admitted"} <= states.keys()
    assert {states[int(job)] for what, job in before if what == "done"} == {JobState.DONE}
    assert max(states) == newest
    (made,) = ledger.admit([admission("next.wav", "next")], 201.0)
    assert made.job_id == newest + 1
    assert made.job_id in {c.job_id for c in claim_all(ledger, 202.0)}
    ledger.close()
