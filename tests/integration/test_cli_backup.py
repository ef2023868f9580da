"""`dropscribe backup`, `restore` and `vacuum`, on a database that is being written to and on one at rest."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dropscribe.errors import AlreadyRunningError, LedgerError, StorageError, UsageError
from dropscribe.ledger.backend import back_up, lock_database, open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.ledger.sql.sqlite.file.copies import Backup
from tests.support.command_line import call, document
from tests.support.histories import NOW, History


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "jobs.db") as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


@contextmanager
def load(history: History) -> Iterator[list[int]]:
    """A thread that finishes jobs without a pause within the block; the jobs whose end was committed."""
    done: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            done.append(history.done(f"load-{len(done)}.wav", "今天的会议", "预算"))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def test_a_backup_under_load_is_whole_and_can_be_restored(
    history: History, target: Path, tmp_path: Path
) -> None:
    with load(history) as done:
        made = []
        for _ in range(3):
            committed = len(done)
            answer = document("backup", target, "--database", history.path)
            made.append((committed, Path(answer["backup"]), answer["jobs"]))
    assert len({path for _, path, _ in made}) == 3
    assert [p.name for p in tmp_path.rglob("*.tmp")] == []
    for committed, path, jobs in made:
        assert jobs >= committed, "what was committed before is in it"
        restored = tmp_path / f"{path.stem}.restored.db"
        assert document("restore", path, "--database", restored)["jobs"] == jobs
        ledger = open_ledger(DatabaseLocation(restored))
        with closing(ledger):
            assert sum(ledger.counts().values()) == jobs
            finished = ledger.counts()[JobState.DONE]
            assert committed <= finished
            assert all(
                (stored := ledger.stored_result(job))
                and [s.text for s in stored.segments] == ["今天的会议", "预算"]
                for job in done[:committed]
            )
            # One more than there are, so that none could be left out.
            assert len(ledger.search("预算", limit=finished + 1)) == finished


def test_the_newest_backups_are_kept_and_nothing_else_is_removed(history: History, target: Path) -> None:
    history.done("a.wav", "一")
    others = [
        target / name
        for name in ("jobs.db", "jobs-notes.db", "other-20200101T000000Z.db", "jobs-20200101T000000Z.txt")
    ]
    for path in others:
        path.write_text("mine", encoding="utf-8")
    location = DatabaseLocation(history.path)
    made: list[Backup] = []
    for day in range(4):
        made.append(back_up(location, target, NOW + 86_400 * day, 2, {m.path for m in made}))
    assert [m.removed for m in made] == [(), (), (made[0].path,), (made[1].path,)]
    assert set(target.iterdir()) == {*others, made[2].path, made[3].path}
    assert made[0].path.name == "jobs-20261101T120000Z.db"
    again = back_up(location, target, NOW + 86_400 * 3, None)
    assert again.path.name == "jobs-20261104T120000Z-2.db", "an earlier one is never replaced"


def test_backups_of_another_database_of_that_name_stay(
    history: History, target: Path, tmp_path: Path
) -> None:
    history.done("a.wav", "一")
    (tmp_path / "other").mkdir()
    with History(tmp_path / "other/jobs.db") as other:
        other.done("b.wav", "二")
        theirs = Path(document("backup", target, "--database", other.path)["backup"])
    mine = [document("backup", target, "--keep", "1", "--database", history.path) for _ in range(2)]
    assert mine[1]["removed"] == [mine[0]["backup"]]
    assert theirs.exists()


def test_a_backup_is_no_more_readable_than_the_database(history: History, target: Path) -> None:
    history.path.chmod(0o600)
    made = Path(document("backup", target, "--database", history.path)["backup"])
    assert made.stat().st_mode & 0o777 == 0o600


def test_without_room_there_is_no_backup_and_nothing_is_left(
    history: History, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.done("a.wav", "一")
    usage = shutil.disk_usage(target)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    for command in (("backup", target), ("vacuum",)):
        with pytest.raises(StorageError, match="are free"):
            call(*command, "--database", history.path)
    assert list(target.iterdir()) == []


def test_restore_keeps_the_database_that_was_there(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "jobs.db"
    with History(path) as history:
        first = history.done("a.wav", "一")
        backup = Path(document("backup", target, "--database", path)["backup"])
        second = history.done("b.wav", "二")
    answer = document("restore", backup, "--database", path)
    with closing(open_ledger(DatabaseLocation(path))) as ledger:
        assert [j.id for j in ledger.jobs()] == [first]
    with closing(open_ledger(DatabaseLocation(Path(answer["kept"])))) as ledger:
        assert [j.id for j in ledger.jobs()] == [second, first]
    assert backup.exists()


def test_the_log_of_the_old_database_does_not_reach_the_restored_one(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "jobs.db"
    with History(path) as history:
        history.done("a.wav", "一")
        backup = Path(document("backup", target, "--database", path)["backup"])
        history.done("b.wav", "二")
        # As a killed daemon leaves it.
        copies = [tmp_path / f"jobs.db{ending}" for ending in ("", "-wal")]
        killed = tmp_path / "killed"
        killed.mkdir()
        for copy in copies:
            shutil.copy(copy, killed / copy.name)
    answer = document("restore", backup, "--database", killed / "jobs.db")
    with closing(open_ledger(DatabaseLocation(killed / "jobs.db"))) as ledger:
        assert sum(ledger.counts().values()) == 1
    with closing(open_ledger(DatabaseLocation(Path(answer["kept"])))) as ledger:
        assert sum(ledger.counts().values()) == 2


def test_restore_refuses_while_a_daemon_runs_and_what_is_no_backup(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "jobs.db"
    with History(path) as history:
        history.done("a.wav", "一")
    backup = Path(document("backup", target, "--database", path)["backup"])
    before = path.read_bytes()
    with closing(lock_database(DatabaseLocation(path))), pytest.raises(AlreadyRunningError):
        call("restore", backup, "--database", path)
    with pytest.raises(UsageError, match="database itself"):
        call("restore", path, "--database", path)
    newer, cut = tmp_path / "newer.db", tmp_path / "cut.db"
    shutil.copy(backup, newer)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    cut.write_bytes(backup.read_bytes()[: 5 * 4096])
    for wrong in (newer, cut):
        with pytest.raises(LedgerError):
            call("restore", wrong, "--database", path)
    assert path.read_bytes() == before
    assert [p for p in tmp_path.iterdir() if "restore" in p.name] == []


def unused_pages(path: Path) -> int:
    with closing(driver().connect(path)) as connection:
        (count,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(count)


def test_vacuum_makes_the_database_smaller_under_a_daemon(history: History) -> None:
    for number in range(40):
        history.done(f"{number}.wav", *["长" * 500] * 20)
    # Of the library of the ledger: another one in this process would release its locks.
    with closing(driver().connect(history.path)) as connection:
        connection.execute("DELETE FROM segments WHERE job_id > 2")
        connection.commit()
    assert history.ledger.keeping.shrink_log()
    unused = unused_pages(history.path)
    with load(history) as done:
        document("vacuum", "--database", history.path)
    # A writer without a pause may keep the log from being moved into the file until it stops. It adds and frees pages.
    assert history.ledger.keeping.shrink_log()
    assert unused_pages(history.path) < unused / 2
    assert document("vacuum", "--database", history.path)["after"] == history.path.stat().st_size
    history.ledger.verify()
    assert history.ledger.counts()[JobState.DONE] == 40 + len(done), "an open ledger goes on"
