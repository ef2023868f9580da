"""Two daemons, as on two hosts, with one database: a folder of their own each, one that both see, and clocks that differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tests.support.clocked_daemon
from dropscribe.ledger.interface import DatabaseLocation
from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until
from tests.support.ledgers import query
from tests.support.postgresql import Server
from tests.support.ways_of_arriving import tiny

#: How far the clocks of the hosts are ahead of that of the server, seconds: further apart than a lease is long.
AHEAD_S = {"a": -300.0, "b": 300.0}
#: Recordings in each of the three folders, at the start.
FILES = 12


#: Makes the beginning of a command whose clock is so many seconds ahead, with files in a folder.
Clock = Callable[[Path, float], tuple[str, ...]]


def clock_of_the_daemon(root: Path, ahead_s: float) -> tuple[str, ...]:
    """The clock of the daemon's process alone."""
    ahead = root / "ahead"
    ahead.write_text(str(ahead_s), encoding="ascii")
    return (sys.executable, str(tests.support.clocked_daemon.__file__), str(ahead))


def clock_of_all_processes(root: Path, ahead_s: float) -> tuple[str, ...]:
    """The clock of the daemon, its children and the commands, but not that of files, as on a network file system."""
    (root / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {ahead_s}\n", encoding="ascii"
    )
    return ("env", f"PYTHONPATH={root}", sys.executable, "-m", "dropscribe")


class Host(DaemonProcess):
    """A daemon with a name, a state directory and a clock of its own, and the shared folder."""

    def __init__(self, root: Path, name: str, url: str, shared: Path, clock: Clock) -> None:
        root.mkdir()
        folder = f'[[folder]]\npath = "{shared}"\nstorage = "nas"\nquiet_s = 0.5\nquiet_unprobed_s = 0.5'
        super().__init__(
            root, model="null", folder=folder, extra=f'host = "{name}"', server=url,
            command=clock(root, AHEAD_S[name]),
        )  # fmt: skip

    def says(self, *arguments: str) -> str:
        """Output of a command on this host, by its clock."""
        environment = {**os.environ, "STATE_DIRECTORY": str(self.root)}
        command = [*self.command, *arguments, "--config", str(self.config)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Pair:
    """Two hosts, and what is on record of both."""

    def __init__(self, root: Path, url: str, clock: Clock) -> None:
        self.location = DatabaseLocation.of(Path(url))
        self.shared = root / "shared"
        self.shared.mkdir()
        self.hosts = [Host(root / name, name, url, self.shared, clock) for name in AHEAD_S]
        self.dropped = 0

    def drop(self, count: int) -> None:
        """Put recordings of different contents into all three folders, by the same names in those of the hosts."""
        for _ in range(count):
            name = f"{self.dropped}.wav"
            for folder in (self.shared, *(h.inbox for h in self.hosts)):
                self.dropped += 1
                (folder / name).write_bytes(tiny(self.dropped))

    def ended(self) -> int:
        return int(query(self.location, "SELECT count(*) AS n FROM jobs WHERE state = 'done'")[0]["n"])

    def check(self) -> None:
        """Every recording has one job, which is done once, and one whole transcript."""
        for folder in (self.shared, *(h.inbox for h in self.hosts)):
            names = sorted(p.name for p in folder.iterdir())
            recordings = [n for n in names if n.endswith(".wav")]
            assert [n for n in names if n.endswith(".txt")] == sorted(
                f"{Path(n).stem}.txt" for n in recordings
            )
            assert [n for n in names if "tmp" in n or "partial" in n or "failed" in n] == []
        wrong = "SELECT state, version, count(*) AS n FROM jobs GROUP BY 1, 2"
        assert query(self.location, wrong) == [{"state": "done", "version": 1, "n": self.dropped}]
        ends = query(self.location, "SELECT job_id FROM attempts WHERE outcome = 'done'")
        assert len(ends) == len({row["job_id"] for row in ends}) == self.dropped


@pytest.fixture
def clock() -> Clock:
    return clock_of_the_daemon


@pytest.fixture
def pair(postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Pair]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    found = Pair(tmp_path, postgresql.database(), clock)
    yield found
    for host in found.hosts:
        host.__exit__()


@pytest.mark.parametrize(
    ("kills", "clock"),
    [
        (2, clock_of_the_daemon),
        (2, clock_of_all_processes),
        pytest.param(20, clock_of_the_daemon, marks=pytest.mark.soak),
    ],
)
def test_two_hosts_share_a_database_and_a_folder_and_either_is_killed(pair: Pair, kills: int) -> None:
    a, b = pair.hosts
    pair.drop(FILES)
    a.start()
    b.start().wait_ready()
    a.wait_ready()
    for number in range(kills):
        seen = pair.ended()
        wait_until(lambda seen=seen: pair.ended() > seen, "work goes on")  # type: ignore[misc]
        victim = pair.hosts[number % 2]
        victim.kill()
        victim.start().wait_ready()
        pair.drop(2)
    wait_until(lambda: pair.ended() == pair.dropped or not (a.running and b.running), "all are done")
    assert (a.running, b.running) == (True, True), (a.lines[-3:], b.lines[-3:])
    workers = query(
        pair.location, "SELECT DISTINCT split_part(worker, '/', 1) AS host FROM attempts ORDER BY 1"
    )
    assert workers == [{"host": "a"}, {"host": "b"}]
    # Each was back before the leases of its jobs could end, whatever the clock of the other says.
    assert query(pair.location, "SELECT 1 FROM attempts WHERE outcome = 'lost'") == []
    ahead = "SELECT 1 FROM jobs WHERE finished_at > extract(epoch FROM clock_timestamp()) + 60"
    assert query(pair.location, ahead) == []
    assert "running, process" in b.status()
    for host, other in ((a, b), (b, a)):
        # What has just been admitted is so by every clock, and the list tells whose the jobs are.
        name = host.root.name
        listed = json.loads(other.says("jobs", "--host", name, "--limit", "1000", "--json"))["jobs"]
        assert {job["host"] for job in listed} == {name}
        assert "  host  " in other.says("jobs").partition("\n")[0]
        assert {job["recording"].rpartition("/")[0] for job in listed} >= {f"@{name}:{host.inbox}"}
    assert (a.stop(), b.stop()) == (0, 0)
    pair.check()
