"""Opening a database: created, upgraded after a backup, or refused."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from dropscribe.errors import LedgerError, StorageError, UsageError
from dropscribe.ledger.backend import open_ledger, open_read_only
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Recovered
from dropscribe.ledger.sql import migrations
from dropscribe.ledger.sql.schema import HEAD
from dropscribe.ledger.sql.sqlite.db import connect
from dropscribe.ledger.sql.sqlite.file import upgrade
from tests.support import past_schemas
from tests.support.ledgers import admission, claim_all, finish_of, transcribed


def schema_of(path: Path) -> dict[str, str]:
    """SQL of every object in the database by name, with normalised white space."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {name: re.sub(r"\s+", " ", sql).strip() for name, sql in rows}


def rows_of(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_migrated_database_equals_a_fresh_one(tmp_path: Path) -> None:
    fresh, migrated = tmp_path / "fresh.db", tmp_path / "migrated.db"
    open_ledger(DatabaseLocation(fresh)).close()
    past_schemas.migrate(migrated, HEAD)
    assert schema_of(migrated) == schema_of(fresh)
    columns = past_schemas.columns(fresh)
    assert past_schemas.rows(migrated, columns) == past_schemas.rows(fresh, columns)
    assert rows_of(fresh, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_the_newest_revision_is_the_one_the_tables_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.migrations_folder()))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


#: Stages with their own column in the view. Later stages are in its column `stages` only.
STAGE_COLUMNS = (
    "settling", "waiting", "decoding", "vad", "batch_queue", "recognition", "rendering", "publishing",
)  # fmt: skip


def test_the_view_keeps_the_columns_of_the_first_stages(tmp_path: Path) -> None:
    open_ledger(DatabaseLocation(tmp_path / "jobs.db")).close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        cursor = connection.execute("SELECT * FROM job_history")
    columns = [d[0] for d in cursor.description]
    assert [c for c in columns if c.removesuffix("_s") in STAGE_COLUMNS] == [f"{s}_s" for s in STAGE_COLUMNS]
    assert columns[-1] == "stages"


def test_a_new_stage_needs_no_new_schema(tmp_path: Path) -> None:
    ledger = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    done = finish_of(claim, "预算")
    seconds = (("decoding", 0.25), ("diarization", 1.5))
    assert ledger.finish([replace(done, timings=replace(done.timings, seconds=seconds))], 102.0) == []
    stored = ledger.stored_result(claim.job_id)
    assert stored is not None
    assert stored.timings.seconds == seconds
    ledger.close()
    ((stages, decoding_s),) = rows_of(tmp_path / "jobs.db", "SELECT stages, decoding_s FROM job_history")
    assert json.loads(str(stages)) == dict(seconds)
    assert decoding_s == 0.25


def test_a_job_without_stages_has_an_empty_object(tmp_path: Path) -> None:
    ledger = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    ledger.admit([admission()], 1.0)
    ledger.close()
    assert rows_of(tmp_path / "jobs.db", "SELECT stages FROM job_history") == [("{}",)]


PAST = sorted(past_schemas.ROWS)


def test_every_past_schema_has_rows_to_be_upgraded() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.migrations_folder()))
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    assert set(PAST) == revisions - {HEAD}


@pytest.mark.parametrize("revision", PAST)
def test_a_database_of_a_past_schema_is_upgraded_with_every_row(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "jobs.db"
    past_schemas.make(path, revision)
    then = past_schemas.columns(path)
    before = past_schemas.rows(path, then)
    with pytest.raises(LedgerError, match="older"):
        open_read_only(DatabaseLocation(path))
    ledger = open_ledger(DatabaseLocation(path))
    after = past_schemas.rows(path, then)
    # Before 0004 an attempt was counted at its claim.
    counted = int(revision < "0004")
    state, attempts = then["jobs"].index("state"), then["jobs"].index("attempts")
    claimed = [job for job in before["jobs"] if job[state] == "running"]
    assert [job[attempts] for job in claimed] == [counted, 2 + counted]
    # Until 0006 the profile was a part of the identity.
    identity = then["jobs"].index("identity")
    as_made = dict(before)
    before["jobs"] = [
        (
            *job[:identity],
            job[identity] and str(job[identity]).replace("|default|", "|"),
            *job[identity + 1 :],
        )
        for job in before["jobs"]
    ]
    claimed = [job for job in before["jobs"] if job[state] == "running"]
    assert [job for job in after["jobs"] if job[state] != "running"] == [
        job for job in before["jobs"] if job not in claimed
    ]
    assert sorted(job for job in after["jobs"] if job[state] == "running") == [
        (*job[:attempts], int(str(job[attempts])) - counted, *job[attempts + 1 :]) for job in sorted(claimed)
    ]
    assert after | {"jobs": []} == before | {"jobs": []}
    assert {j.id: j.state.value for j in ledger.jobs()} == past_schemas.STATES
    assert ledger.backup is not None
    assert past_schemas.rows(ledger.backup, then) == as_made
    ledger.close()
    open_ledger(DatabaseLocation(tmp_path / "fresh.db")).close()
    assert schema_of(path) == schema_of(tmp_path / "fresh.db")


@pytest.mark.parametrize("revision", PAST)
def test_work_goes_on_in_an_upgraded_database(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "jobs.db"
    past_schemas.make(path, revision)
    ledger = open_ledger(DatabaseLocation(path))
    assert [(h.job_id, h.segment) for h in ledger.search("预算")] == [(1, 0)]
    shared = ledger.stored_result(2)
    assert shared is not None
    assert [s.text for s in shared.segments] == ["预算", "", "你好"]
    assert [o.path.name for o in ledger.partials()] == ["5.partial.txt"]
    assert [s.path.name for s in ledger.recent_skips()] == ["x.pdf"]
    assert ledger.recover(200.0) == Recovered(unbegun=2, suspects=0, failed=0)
    claims = [*claim_all(ledger, 201.0, isolated=True), *claim_all(ledger, 201.0)]
    assert [(c.job_id, c.generation) for c in claims] == [(7, 1), (5, 2), (6, 4), (8, 4)]
    assert ledger.finish([finish_of(c, "新的预算") for c in claims], 202.0) == []
    states = {j.id: j.state.value for j in ledger.jobs()}
    assert states == past_schemas.STATES | dict.fromkeys((5, 6, 7, 8), "done")
    assert len(ledger.search("预算")) == 5
    assert {j.id: j.attempts for j in ledger.jobs() if j.id in (5, 8)} == {5: 1, 8: 3}
    (new,) = ledger.admit([admission("new.wav", "new")], 203.0)
    assert new.job_id == 9
    # The totals of an upgraded database are those of its jobs.
    assert ledger.wrong_totals() == {}
    ledger.close()


@pytest.mark.parametrize("revision", PAST)
def test_the_copy_before_an_upgrade_takes_its_place_again(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "jobs.db"
    past_schemas.make(path, revision)
    before = schema_of(path)
    ledger = open_ledger(DatabaseLocation(path))
    assert ledger.backup is not None
    ledger.admit([admission("since.wav", "since")], 300.0)
    ledger.close()
    ledger.backup.replace(path)
    assert schema_of(path) == before
    again = open_ledger(DatabaseLocation(path))
    assert {j.id: j.state.value for j in again.jobs()} == past_schemas.STATES
    again.close()


def test_opening_again_keeps_everything_and_makes_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    first = open_ledger(DatabaseLocation(path))
    job = transcribed(first, "你好")
    first.close()
    again = open_ledger(DatabaseLocation(path))
    assert again.backup is None
    assert again.stored_result(job) is not None
    again.close()
    assert list(tmp_path.glob("*.backup-*")) == []


def test_commits_are_synchronous_and_foreign_keys_enforced(tmp_path: Path) -> None:
    engine = connect(tmp_path / "jobs.db")
    with engine.connect() as connection:
        asked = {p: connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in (
            "journal_mode", "synchronous", "foreign_keys", "busy_timeout",
        )}  # fmt: skip
    engine.dispose()
    assert asked["journal_mode"] == "wal"
    assert asked["synchronous"] == 2
    assert asked["foreign_keys"] == 1
    assert int(asked["busy_timeout"] or 0) >= 1_000


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of the current schema with a job, and a dropscribe with one further revision."""
    path = tmp_path / "jobs.db"
    ledger = open_ledger(DatabaseLocation(path))
    transcribed(ledger, "预算")
    ledger.close()
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    here = migrations.migrations_folder()
    for file in [here / "env.py", *here.glob("versions/*.py")]:
        (folder / file.relative_to(here)).write_bytes(file.read_bytes())
    (folder / "versions" / "9999_next.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        f"revision, down_revision = '9999', '{HEAD}'\n"
        "def upgrade():\n"
        "    with op.batch_alter_table('jobs', recreate='always') as jobs:\n"
        "        jobs.add_column(sa.Column('colour', sa.Text))\n"
    )
    monkeypatch.setattr(migrations, "migrations_folder", lambda: folder)
    monkeypatch.setattr(upgrade, "HEAD", "9999")
    return path


def test_an_upgrade_leaves_a_backup_of_the_old_database(next_version: Path) -> None:
    before = schema_of(next_version)
    backup = upgrade.prepare(next_version)
    assert backup == next_version.with_name(f"jobs.db.backup-{HEAD}")
    assert schema_of(backup) == before
    assert rows_of(backup, "SELECT text FROM segments") == [("预算",)]
    assert rows_of(backup, "PRAGMA integrity_check") == [("ok",)]
    assert not backup.with_name(backup.name + "-wal").exists()


def test_an_upgrade_keeps_the_rows(next_version: Path) -> None:
    """Replacing a table in batch mode must not delete rows that refer to it."""
    upgrade.prepare(next_version)
    assert rows_of(next_version, "SELECT state, colour FROM jobs") == [("done", None)]
    assert rows_of(next_version, "SELECT text FROM segments") == [("预算",)]
    assert rows_of(next_version, "SELECT outcome FROM attempts") == [("done",)]


def test_an_upgrade_that_fails_changes_nothing(next_version: Path, tmp_path: Path) -> None:
    revision = tmp_path / "migrations/versions/9999_next.py"
    revision.write_text(revision.read_text() + "    raise RuntimeError('half way')\n")
    before = schema_of(next_version)
    with pytest.raises(RuntimeError, match="half way"):
        upgrade.prepare(next_version)
    assert schema_of(next_version) == before
    assert upgrade.revision(next_version) == HEAD


def test_a_newer_database_is_refused_with_the_backup_named(
    next_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = upgrade.prepare(next_version)
    assert backup is not None
    monkeypatch.undo()
    for opening in (open_ledger, open_read_only):
        with pytest.raises(LedgerError, match="newer") as caught:
            opening(DatabaseLocation(next_version))
        assert str(backup) in caught.value.remedy
        assert f"{next_version}-wal" in caught.value.remedy
    backup.replace(next_version)
    open_ledger(DatabaseLocation(next_version)).close()


def test_an_older_database_is_not_read_as_it_is(next_version: Path) -> None:
    with pytest.raises(LedgerError, match="older") as caught:
        open_read_only(DatabaseLocation(next_version))
    assert "start the daemon" in caught.value.remedy


def test_reading_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no database"):
        open_read_only(DatabaseLocation(tmp_path / "jobs.db"))
    assert list(tmp_path.iterdir()) == []


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    open_ledger(DatabaseLocation(path)).close()
    reader = open_read_only(DatabaseLocation(path))
    assert reader.jobs() == []
    with pytest.raises(StorageError, match="readonly"):
        reader.admit([admission()], 1.0)
    reader.close()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"these are my notes, not a database " * 100)
    with pytest.raises(LedgerError, match="not a database"):
        open_ledger(DatabaseLocation(path))
    assert path.read_bytes().startswith(b"these are my notes")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another program"):
        open_ledger(DatabaseLocation(path))
    assert path.read_bytes() == before


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        open_ledger(DatabaseLocation(tmp_path / "no" / "jobs.db"))


def test_a_name_with_odd_bytes_works(tmp_path: Path) -> None:
    path = tmp_path / "会议 ?mode=memory#%41\udcff.db"
    open_ledger(DatabaseLocation(path)).close()
    assert path.is_file()
    assert open_read_only(DatabaseLocation(path)).jobs() == []
