"""The lock on the database: one daemon per database, released at its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dropscribe.errors import AlreadyRunningError, StorageError
from dropscribe.ledger.sql.sqlite.file.lock import lock_database, owner

HOLD = (
    "import sys; from pathlib import Path; from dropscribe.ledger.sql.sqlite.file.lock import lock_database\n"
    "held = lock_database(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def test_a_second_daemon_gets_the_pid_of_the_first(tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError, match=f"process {child.pid} ") as caught:
            lock_database(database)
        assert caught.value.remedy
        child.send_signal(signal.SIGKILL)
        child.wait()
    lock_database(database).close()


def test_closing_releases_the_lock(tmp_path: Path) -> None:
    held = lock_database(tmp_path / "jobs.db")
    assert int(held.path.read_text()) == os.getpid()
    held.close()
    held.close()
    lock_database(tmp_path / "jobs.db").close()


def test_another_name_of_the_database_meets_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "jobs.db")
    held = lock_database(tmp_path / "jobs.db")
    with pytest.raises(AlreadyRunningError):
        lock_database(tmp_path / "link.db")
    held.close()


def test_other_databases_are_free(tmp_path: Path) -> None:
    held = lock_database(tmp_path / "jobs.db")
    lock_database(tmp_path / "other.db").close()
    held.close()


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        lock_database(tmp_path / "no" / "jobs.db")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lambda lock, other: lock.symlink_to(other), "symbolic link"),
        (lambda lock, _: lock.symlink_to("nowhere"), "symbolic link"),
        (lambda lock, other: lock.hardlink_to(other), "hard link"),
        (lambda lock, _: os.mkfifo(lock), "not a regular file"),
        (lambda lock, _: lock.mkdir(), "not a regular file"),
    ],
)
def test_what_stands_in_place_of_the_lock_file_is_not_written_to(
    tmp_path: Path, plant: Callable[[Path, Path], None], words: str
) -> None:
    database, other = tmp_path / "jobs.db", tmp_path / "other"
    other.write_bytes(b"somebody's")
    plant(tmp_path / "jobs.db.lock", other)
    with pytest.raises(StorageError, match=words) as caught:
        lock_database(database)
    assert "move it away" in str(caught.value)
    assert other.read_bytes() == b"somebody's"
    assert owner(database) is None
    assert not (tmp_path / "nowhere").exists()
