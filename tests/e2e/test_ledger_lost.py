"""A database damaged, truncated, removed or replaced under the daemon: it stops with an error, and no job fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from tests.support import ledger_damage
from tests.support.command_line import process
from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until, write_speech
from tests.support.ledger_damage import Damage
from tests.support.ledgers import admission, claim_all, finish_of

#: Exit status of LedgerError, as listed in the README.
DATABASE_UNUSABLE = 3


def daemon_on(tmp_path: Path) -> DaemonProcess:
    """A daemon with its database in a separate folder."""
    daemon = DaemonProcess(tmp_path, model="null")
    state = tmp_path / "state"
    state.mkdir()
    daemon.database = state / "jobs.db"
    text = daemon.config.read_text(encoding="utf-8")
    daemon.config.write_text(text.replace(str(tmp_path / "jobs.db"), str(daemon.database)), encoding="utf-8")
    return daemon


def ended(daemon: DaemonProcess) -> str:
    """Error line of a daemon that stops by itself."""
    assert daemon.process is not None
    assert daemon.process.wait(DEADLINE_S) == DATABASE_UNUSABLE
    daemon.__exit__()
    assert not any("Traceback" in str(line) for line in daemon.lines), daemon.lines
    (said,) = [
        str(line["event"]) for line in daemon.lines if str(line.get("event", "")).startswith("dropscribe: ")
    ]
    return said.strip()


def write_history(database: Path) -> None:
    """A database with 600 finished jobs."""
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        ledger.admit([admission(f"{i}.wav", str(i)) for i in range(600)], 10.0)
        claims = claim_all(ledger, limit=600)
        ledger.finish(
            [finish_of(c, *[f"预算会议讨论 {j} of {c.job_id}" for j in range(20)]) for c in claims], 20.0
        )


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(ledger_damage.renamed, marks=pytest.mark.soak),
        ledger_damage.removed,
        ledger_damage.replaced,
        pytest.param(ledger_damage.folder_renamed, marks=pytest.mark.soak),
        ledger_damage.cut,
        pytest.param(ledger_damage.emptied, marks=pytest.mark.soak),
        ledger_damage.log_removed,
        pytest.param(ledger_damage.log_replaced, marks=pytest.mark.soak),
        pytest.param(ledger_damage.index_of_log_removed, marks=pytest.mark.soak),
    ],
    ids=lambda damage: damage.__name__,
)
def test_an_idle_daemon_stops_if_its_database_file_was_replaced_or_removed(
    tmp_path: Path, damage: Damage
) -> None:
    """The main loop checks the file periodically, without new recordings."""
    with daemon_on(tmp_path) as daemon:
        daemon.wait_for(write_speech(daemon.inbox / "first.wav", seconds=2))
        damage(daemon.database)
        said = ended(daemon)
    assert str(daemon.database) in said
    assert said.endswith(")"), "what to do is said"


@pytest.mark.parametrize(
    "damage",
    [
        ledger_damage.cut,
        pytest.param(ledger_damage.removed, marks=pytest.mark.soak),
        pytest.param(ledger_damage.search_damaged, marks=pytest.mark.soak),
        ledger_damage.table_dropped,
    ],
    ids=lambda damage: damage.__name__,
)
def test_recordings_under_way_are_not_failed(tmp_path: Path, damage: Damage) -> None:
    with daemon_on(tmp_path) as daemon:
        daemon.wait_for(write_speech(daemon.inbox / "first.wav", seconds=2))
        with daemon.engine_held():
            busy = [write_speech(daemon.inbox / f"{i}.wav", seconds=3 + i) for i in range(3)]
            wait_until(lambda: {daemon.state(b) for b in busy} == {"running"}, "they are worked on")
            damage(daemon.database)
        ended(daemon)
    assert [line for line in daemon.lines if line.get("action") in {"job_failed", "job_retry"}] == []


@pytest.mark.parametrize(
    "names",
    [
        ("segments",),
        ("jobs", "ix_jobs_results"),
        pytest.param(("segment_search_data",), marks=pytest.mark.soak),
        pytest.param(("recordings",), marks=pytest.mark.soak),
    ],
)
def test_unreadable_pages_fail_no_recording(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A history larger than SQLite's cache, which may still have pages read before the damage."""
    daemon = daemon_on(tmp_path)
    write_history(daemon.database)
    pages = ledger_damage.pages_of(daemon.database, *names)
    with daemon:
        ledger_damage.overwrite_pages(daemon.database, pages)
        for i in range(3):
            write_speech(daemon.inbox / f"{i}.wav", seconds=3 + i)
        ended(daemon)
    assert [line for line in daemon.lines if line.get("action") in {"job_failed", "job_retry"}] == []


def test_a_renamed_database_is_complete_when_it_is_moved_back(tmp_path: Path) -> None:
    daemon = daemon_on(tmp_path)
    with daemon:
        recording = write_speech(daemon.inbox / "a.wav", seconds=2)
        daemon.wait_for(recording)
        ledger_damage.renamed(daemon.database)
        ended(daemon)
    daemon.database.with_name("old.db").rename(daemon.database)
    with daemon:
        assert daemon.state(recording) == "done"
        assert daemon.stop() == 0
    assert daemon.actions("job_done") == []


def test_jobs_failed_because_of_the_database_are_queued_again(tmp_path: Path) -> None:
    """Rows of an earlier version, which failed jobs because of the database, are queued again."""
    daemon = daemon_on(tmp_path)
    with daemon:
        recording = write_speech(daemon.inbox / "a.wav", seconds=2)
        daemon.wait_for(recording)
    with closing(sqlite3.connect(daemon.database)) as connection:
        connection.executescript("delete from segments; delete from stage_timings")
        connection.execute(
            "update jobs set state = 'failed', attempts = 3, reason_code = 'ledger', reason = 'malformed'"
        )
        connection.commit()
    with daemon:
        daemon.wait_for(recording)


@pytest.mark.parametrize(
    "damage",
    [
        ledger_damage.overwritten,
        pytest.param(ledger_damage.cut, marks=pytest.mark.soak),
        pytest.param(ledger_damage.search_damaged, marks=pytest.mark.soak),
        ledger_damage.table_dropped,
    ],
    ids=lambda damage: damage.__name__,
)
def test_the_daemon_does_not_start_on_a_damaged_database(tmp_path: Path, damage: Damage) -> None:
    daemon = daemon_on(tmp_path)
    write_history(daemon.database)
    damage(daemon.database)
    daemon.start()
    assert "doctor --repair" in ended(daemon)


def adopted_or_repaired(daemon: DaemonProcess, *command: str) -> str:
    done = process(*command)
    assert done.returncode == 0, done.stderr
    with daemon:
        wait_until(lambda: "unsettled" not in daemon.status() or daemon.actions("folder") != [], "it watches")
        daemon.wait_for(write_speech(daemon.inbox / "after.wav", seconds=7))
        assert daemon.stop() == 0
    return done.stdout


def test_adopted_transcripts_are_not_made_again_after_the_database_is_lost(tmp_path: Path) -> None:
    daemon = daemon_on(tmp_path)
    with daemon:
        before = [write_speech(daemon.inbox / f"{i}.wav", seconds=2 + i) for i in range(3)]
        for recording in before:
            daemon.wait_for(recording)
        daemon.database.unlink()
        ended(daemon)
    files = {path.name: path.read_bytes() for path in daemon.inbox.iterdir()}
    said = adopted_or_repaired(daemon, "adopt", str(daemon.inbox), "--config", str(daemon.config))
    assert "3 adopted" in said
    assert [Path(line["path"]).name for line in daemon.actions("job_done")] == ["after.wav"]
    now = {
        path.name: path.read_bytes() for path in daemon.inbox.iterdir() if path.stem.split(".")[0] != "after"
    }
    assert now == files


def test_after_a_repair_the_daemon_continues_without_repeating_jobs(tmp_path: Path) -> None:
    daemon = daemon_on(tmp_path)
    with daemon:
        before = [write_speech(daemon.inbox / f"{i}.wav", seconds=2 + i) for i in range(3)]
        for recording in before:
            daemon.wait_for(recording)
        assert daemon.stop() == 0
    ledger_damage.overwrite_pages(daemon.database, [ledger_damage.root_of(daemon.database, "ix_jobs_state")])
    daemon.start()
    ended(daemon)
    said = adopted_or_repaired(daemon, "doctor", "--repair", "--config", str(daemon.config))
    assert "3 jobs" in said
    assert [Path(line["path"]).name for line in daemon.actions("job_done")] == ["after.wav"]
    assert len([p for p in daemon.database.parent.iterdir() if ".damaged-" in p.name]) == 1
