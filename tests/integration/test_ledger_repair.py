"""`dropscribe doctor --repair` on damaged databases: readable rows are recovered, the original is kept."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.errors import AlreadyRunningError, LedgerError, StorageError, UnusableLedgerError
from dropscribe.ledger.backend import lock_database, open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import JobState, OutputIntent
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.ledger.sql.sqlite.file import salvage
from dropscribe.ledger.sql.sqlite.file.integrity import check_at_start, quick_check
from dropscribe.ledger.sql.sqlite.file.repair import repair
from tests.support import ledger_damage
from tests.support.command_line import Main, call, document, process
from tests.support.ledger_damage import PAGE, Damage
from tests.support.ledgers import FOLDER, admission, claim_all, finish_of, intend, transcribed

#: Sizes in the index for which SQLite cannot allocate memory.
ABSURD_SIZES = (
    "UPDATE segment_search_data SET block = x'1aad361446190b76bba08f90f2d38dcc57a1265c13207670' WHERE id = 10"
)
JOBS = 150
TEXTS = 12


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database of some hundred pages."""
    path = tmp_path_factory.mktemp("sound") / "jobs.db"
    with closing(open_ledger(DatabaseLocation(path))) as ledger:
        ledger.admit([admission(f"{i}.wav", str(i)) for i in range(JOBS)], 10.0)
        claims = claim_all(ledger, limit=JOBS - 10)
        for c in claims:
            intend(ledger, c, [OutputIntent("txt", c.path.with_suffix(".txt"), "hash")], 15.0)
        done = [finish_of(c, *[f"预算会议 {j} of {c.job_id}" for j in range(TEXTS)]) for c in claims]
        assert ledger.finish(done, 20.0) == []
    return path


@pytest.fixture
def database(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "jobs.db"))


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(driver().connect(str(path))) as connection:
        return list(connection.execute(sql).fetchall())


def is_whole(path: Path) -> None:
    """Assert that a repaired database is consistent: no finished job lacks a part of its text."""
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    counts = rows(
        path,
        "SELECT j.id, count(s.id) FROM jobs j LEFT JOIN segments s ON s.job_id = j.id WHERE j.state = 'done' GROUP BY j.id",
    )
    assert {count for _, count in counts} <= {TEXTS}
    with closing(open_ledger(DatabaseLocation(path))) as ledger:
        ledger.recover(30.0)
        made = ledger.admit([admission("new.wav", "new")], 31.0)
        assert made[0].job_id > JOBS, "a number is never given again"
        waiting = claim_all(ledger, 32.0, limit=1000)
        assert ledger.finish([finish_of(c, *["预算会议"] * TEXTS) for c in waiting], 40.0) == []
        assert len(ledger.search("预算会议", 10_000, TEXTS)) == TEXTS * ledger.counts()[JobState.DONE]


def test_a_sound_database_is_left_alone(database: Path) -> None:
    before = database.read_bytes()
    assert "is sound" in call("doctor", "--repair", "--database", database)
    assert database.read_bytes() == before
    assert document("doctor", "--repair", "--database", database)["how"] == "sound"


@pytest.mark.parametrize(
    "share", [pytest.param(i / 20, marks=[] if i % 3 == 0 else pytest.mark.soak) for i in range(20)]
)
def test_any_page_may_be_damaged(database: Path, share: float) -> None:
    """Page numbers: the first, and others over the whole file."""
    ledger_damage.overwrite_pages(database, [1 + int(share * (database.stat().st_size // PAGE))])
    damaged = database.read_bytes()
    done = repair(database)
    is_whole(database)
    if done.how == "sound":  # the page was unused
        return
    assert done.kept is not None
    if done.how == "recovered":
        assert done.kept.read_bytes() == damaged
    # One page has a few jobs or texts, or is an interior page whose children are found without it.
    assert dict(done.rows)["jobs"] > JOBS / 2
    assert not list(database.parent.glob("*.tmp*"))


@pytest.mark.parametrize(
    "damage",
    [
        ledger_damage.cut,
        ledger_damage.table_dropped,
        lambda path: ledger_damage.change(path, "DELETE FROM alembic_version"),
        lambda path: ledger_damage.change(path, "UPDATE segments SET tokens = '[[' WHERE id % 50 = 0"),
        lambda path: ledger_damage.change(
            path, "UPDATE segments SET text = CAST(x'ff41' AS TEXT) WHERE id = 9"
        ),
        lambda path: ledger_damage.change(path, "UPDATE jobs SET media = NULL WHERE id = 7"),
        lambda path: ledger_damage.change(path, "DROP INDEX uq_recordings_latest"),
    ],
)
def test_other_damage(database: Path, damage: Damage) -> None:
    damage(database)
    assert repair(database).how == "recovered"
    is_whole(database)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE segment_search_data SET block = randomblob(200)",
        ABSURD_SIZES,
        "DELETE FROM segment_search_data",
        "UPDATE segment_search_idx SET term = randomblob(4)",
        "DELETE FROM segment_search_config",
        "DROP TABLE segment_search_config",
    ],
)
def test_a_damaged_search_index_loses_nothing(database: Path, sql: str) -> None:
    before = rows(database, "SELECT * FROM segments ORDER BY id")
    ledger_damage.change(database, sql)
    with pytest.raises(UnusableLedgerError, match="search index"):
        check_at_start(database)
    done = repair(database)
    assert done.queued == 10
    assert rows(database, "SELECT * FROM segments ORDER BY id") == before
    is_whole(database)


def test_a_search_index_that_asks_for_absurd_memory_closes_the_ledger(database: Path) -> None:
    """UnusableLedgerError, and not MemoryError, which would end a thread without naming the database."""
    ledger_damage.change(database, ABSURD_SIZES)
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        with pytest.raises(UnusableLedgerError, match="search index"):
            ledger.search("预算会")
        assert ledger.fault is not None


@pytest.mark.parametrize(
    "table", ["recordings", "jobs", "segments", "outputs", "skips", "attempts", "stage_timings"]
)
def test_a_table_whose_root_is_lost(database: Path, table: str) -> None:
    """Its rows are not reachable by a tree; they are found by reading all pages."""
    ledger_damage.overwrite_pages(database, [ledger_damage.root_of(database, table)])
    found = dict(repair(database).rows)
    assert (found["recordings"], found["jobs"]) == (JOBS, JOBS)
    assert found["segments"] == (JOBS - 10) * TEXTS
    is_whole(database)


def test_a_kept_result_with_damage_is_recognised_again(database: Path) -> None:
    """Its job is queued, and a sound one beside it keeps its result."""
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        damaged, sound = claim_all(ledger, 50.0, limit=2)
        ledger.keep([finish_of(c, "预算", "会议") for c in (damaged, sound)], 51.0)
        ledger.recover(52.0)
    with closing(driver().connect(str(database))) as connection:
        connection.execute("UPDATE segments SET tokens = '[' WHERE job_id = ? AND idx = 1", (damaged.job_id,))
        connection.commit()
    repair(DatabaseLocation(database).file)
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        assert ledger.stored_result(damaged.job_id) is None
        found = {c.job_id: c.reference for c in claim_all(ledger, 53.0)}
        assert (found[damaged.job_id], found[sound.job_id]) == (None, sound.job_id)


def test_rows_in_the_write_ahead_log_are_recovered(database: Path, tmp_path: Path) -> None:
    """After a kill of the daemon the newest rows are in the log only."""
    ledger = open_ledger(DatabaseLocation(database))
    ledger.admit([admission("late.wav", "late")], 25.0)
    killed = tmp_path / "killed" / "jobs.db"
    killed.parent.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{database}{ending}", f"{killed}{ending}")
    ledger.close()
    # Of a table that is not in the log.
    ledger_damage.overwrite_pages(killed, [ledger_damage.root_of(database, "stage_timings")])
    assert repair(killed).how == "recovered"
    assert rows(killed, "SELECT count(*) FROM recordings WHERE path LIKE '%late.wav'") == [(1,)]
    assert not Path(f"{killed}-wal").exists() or Path(f"{killed}-wal").stat().st_size == 0


@pytest.mark.parametrize("data", [b"", b"no database at all\n" * 4000, os.urandom(PAGE * 20)])
def test_an_unreadable_database_is_not_changed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="nothing can be read"):
        repair(path)
    assert path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["jobs.db"]


def test_no_room_changes_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    ledger_damage.overwrite_pages(database, [40])
    before = database.read_bytes()
    monkeypatch.setattr(salvage, "salvage", full)
    with pytest.raises(StorageError, match="No space"):
        repair(database)
    assert database.read_bytes() == before


def test_not_while_a_daemon_has_it(database: Path) -> None:
    with closing(lock_database(DatabaseLocation(database))), pytest.raises(AlreadyRunningError):
        call("doctor", "--repair", "--database", database)


@pytest.mark.parametrize(
    "command", [("status",), ("jobs",), ("jobs", "search", "预算会议"), ("jobs", "show", "3")]
)
@pytest.mark.parametrize("damage", [ledger_damage.overwritten, ledger_damage.emptied])
def test_commands_report_damage_in_one_line(
    database: Path,
    command: tuple[str, ...],
    damage: Damage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(database)
    done = Main(monkeypatch, capsys)(*command, "--database", str(database), cwd=database.parent)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert str(database) in done.stderr


def test_the_doctor_exits_with_3_and_names_the_remedy(database: Path, tmp_path: Path) -> None:
    ledger_damage.overwritten(database)
    (tmp_path / "drop").mkdir()
    options = ("--model", "null", "--vad-model", "null", "--device", "cpu")
    done = process("doctor", "--watch", str(tmp_path / "drop"), "--database", str(database), *options)
    assert done.returncode == 3
    assert "doctor --repair" in done.stdout


def test_a_log_without_its_database_is_not_thrown_away(tmp_path: Path) -> None:
    log = tmp_path / "jobs.db-wal"
    log.write_bytes(b"the newest rows")
    with pytest.raises(UnusableLedgerError, match="its log"):
        open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    assert log.read_bytes() == b"the newest rows"


def test_vacuum_beside_the_daemon_is_not_reported_as_damage(database: Path) -> None:
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        ledger.admit([admission("a.wav", "x")], 30.0)
        ledger_damage.change(database, "DELETE FROM segments WHERE id > 100")
        with closing(driver().connect(str(database), isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.verify()
        ledger.admit([admission("b.wav", "y")], 31.0)
        assert ledger.fault is None
    assert quick_check(database) == ()
    assert FOLDER


def test_text_that_was_removed_on_purpose_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with closing(open_ledger(DatabaseLocation(path))) as ledger:
        stripped, purged, whole = (
            transcribed(ledger, "预算", name=f"{n}.wav", now=10.0 * n) for n in (1, 2, 3)
        )
        assert ledger.keeping.remove_text([stripped], 99.0, finished_before={"default": 99.0}, most=10) == [
            stripped
        ]
        (plan,) = ledger.keeping.purge_plans(purged)
        ledger.keeping.purge([plan.recording_id], 99.0)
    assert repair(path).how == "sound"
    ledger_damage.overwrite_pages(path, [ledger_damage.root_of(path, "stage_timings")])
    assert repair(path).how == "recovered"
    with closing(open_ledger(DatabaseLocation(path))) as ledger:
        assert {j.id: j.state for j in ledger.jobs()} == dict.fromkeys(
            (stripped, purged, whole), JobState.DONE
        )
        assert ledger.stored_result(stripped) is None
        assert ledger.stored_result(whole) is not None
