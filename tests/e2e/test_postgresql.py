"""The daemon with its history on PostgreSQL: killed, refused, cut off from the server."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from dropscribe.ledger.interface import DatabaseLocation
from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until
from tests.support.ledgers import query
from tests.support.postgresql import Server
from tests.support.ways_of_arriving import tiny

FILES = 40
ALREADY_RUNNING = 4


def on(root: Path, url: str) -> DaemonProcess:
    root.mkdir()
    return DaemonProcess(root, model="null", server=url)


def test_nothing_is_lost_and_nothing_done_twice(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    location = DatabaseLocation.of(Path(postgresql.database()))

    def done() -> int:
        return int(query(location, "SELECT count(*) AS n FROM jobs WHERE state = 'done'")[0]["n"])

    daemon = on(tmp_path / "first", location.server)
    for number in range(FILES):
        (daemon.inbox / f"{number}.wav").write_bytes(tiny(number))
    with daemon:
        wait_until(lambda: done() > 0, "the first is done")
        daemon.kill()
    with daemon:
        with ExitStack() as stack:
            other = on(tmp_path / "second", location.server).start()
            stack.push(other)
            assert other.process is not None
            assert other.process.wait(DEADLINE_S) == ALREADY_RUNNING
        # As if the server had been started again.
        query(
            location,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        (daemon.inbox / "late.wav").write_bytes(tiny(FILES))
        wait_until(lambda: done() == FILES + 1 or not daemon.running, "all are done")
        assert "running, process" in daemon.status()
        assert daemon.stop() == 0
    assert query(location, "SELECT state, version, count(*) AS n FROM jobs GROUP BY 1, 2") == [
        {"state": "done", "version": 1, "n": FILES + 1}
    ]
    ends = query(location, "SELECT job_id FROM attempts WHERE outcome = 'done'")
    assert len({row["job_id"] for row in ends}) == len(ends) == FILES + 1
    assert len(list(daemon.inbox.glob("*.txt"))) == FILES + 1
