"""What is particular to a ledger on PostgreSQL: its lock, its errors, what it refuses, and copies from and to SQLite."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from dropscribe.doctor.checks.database import look_database
from dropscribe.doctor.checks.record import Level
from dropscribe.errors import (
    AlreadyRunningError,
    ConfigError,
    DatabaseLockedError,
    DropscribeError,
    LedgerError,
    StorageError,
    UnusableLedgerError,
    UsageError,
)
from dropscribe.ledger import backend
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.postgresql.dump import dump
from dropscribe.ledger.sql.postgresql.faults import explain
from dropscribe.ledger.sql.postgresql.functions import FUNCTIONS
from dropscribe.ledger.sql.postgresql.lock import WRITING
from dropscribe.ledger.sql.schema import HEAD, metadata
from dropscribe.ledger.sql.search import transcripts
from dropscribe.ledger.sql.search.terms import containing
from tests.support.ledgers import admission, claim_all, query, transcribed
from tests.support.postgresql import Server

_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: Jobs in a backlog.
BACKLOG = 400
#: Rows of jobs that a session has read lately.
_JOBS_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
#: Indexes that were others in it.
_OF_0012 = {
    "ix_recordings_path_raw": "CREATE INDEX ON recordings (path_raw, id)",
    "uq_recordings_latest": "CREATE UNIQUE INDEX ON recordings (path_raw) WHERE latest = 1",
    "ix_outputs_path_raw": "CREATE INDEX ON outputs (path_raw)",
    "ix_outputs_recording_raw": "CREATE INDEX ON outputs (recording_raw, id)",
    "uq_skips_path_raw_code": "CREATE UNIQUE INDEX ON skips (path_raw, code)",
    "uq_pauses_folder_raw_draining": "CREATE UNIQUE INDEX ON pauses (folder_raw, draining)",
}
#: Turns the newest tables into those of 0014.
_BEFORE_0015 = (
    "DROP INDEX ix_segments_terms",
    "DROP FUNCTION segment_terms(text), segment_query(text)",
    "CREATE INDEX ix_segments_text ON segments USING gin (text gin_trgm_ops)",
    "DROP TRIGGER jobs_inserted ON jobs",
    "DROP TRIGGER jobs_ended ON jobs",
    "DROP TRIGGER stages_inserted ON stage_timings",
    "DROP FUNCTION jobs_inserted(), jobs_ended(), stages_inserted()",
    *(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
        for name in ("jobs_inserted", "jobs_changed", "jobs_ended", "stages_inserted")
    ),
    *(
        f"CREATE TRIGGER {name} {event} FOR EACH ROW EXECUTE FUNCTION {name}()"
        for name, event in {
            "jobs_inserted": "AFTER INSERT ON jobs",
            "jobs_changed": "BEFORE UPDATE ON jobs",
            "jobs_ended": "AFTER UPDATE ON jobs",
            "stages_inserted": "AFTER INSERT ON stage_timings",
        }.items()
    ),
)


@pytest.fixture
def opened(there: DatabaseLocation) -> Iterator[Ledger]:
    with closing(backend.open_ledger(there)) as ledger:
        yield ledger


@pytest.mark.parametrize("how", ["LOCALE 'C'", "LOCALE 'C' ENCODING 'LATIN1'"])
def test_a_database_in_which_no_search_could_find_chinese_is_refused(
    postgresql: Server, tmp_path: Path, how: str
) -> None:
    location = DatabaseLocation(tmp_path / "jobs", postgresql.database(with_tables=False, more=how))
    with pytest.raises(LedgerError, match=r"locale|encoding") as refused:
        backend.open_ledger(location)
    assert "createdb --encoding UTF8" in refused.value.remedy
    assert look_database(location).status is Level.FAIL


def test_tables_of_another_program_are_not_touched(postgresql: Server, tmp_path: Path) -> None:
    location = DatabaseLocation(tmp_path / "jobs", postgresql.database(with_tables=False))
    assert not backend.exists(location)
    query(location, "CREATE TABLE jobs (n integer)")
    with pytest.raises(LedgerError, match="another program"):
        backend.open_ledger(location)


def test_a_database_of_a_past_schema_is_dumped_and_upgraded(
    there: DatabaseLocation, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first schema that was ever on PostgreSQL, 0012."""
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1"
    fresh = query(there, indexes)
    triggers = (
        "SELECT tgname, pg_get_triggerdef(t.oid) AS made, prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid "
        "WHERE NOT tgisinternal ORDER BY 1"
    )
    totals = query(there, triggers)
    for statement in _BEFORE_0015:
        query(there, statement)
    query(there, "DROP INDEX ix_jobs_folder, ix_recordings_path_start, ix_skips_path_raw")
    for name, made in _OF_0012.items():
        query(there, f"DROP INDEX {name}")
        query(there, made.replace("INDEX", f"INDEX {name}"))
    query(there, "UPDATE alembic_version SET version_num = '0012'")
    with pytest.raises(LedgerError, match="older version"):
        backend.open_read_only(there)
    copy = there.beside(".backup-0012")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(LedgerError, match="pg_dump is not installed") as refused:
            backend.open_ledger(there)
        assert str(copy) in refused.value.remedy
        copy.touch()
        assert dump(there.server, there.shown, copy, 15) == copy, "it counts as the administrator's dump"
        assert copy.stat().st_size == 0
    assert query(there, "SELECT version_num FROM alembic_version") == [{"version_num": "0012"}]
    with closing(backend.open_ledger(there)) as ledger:
        assert ledger.backup == copy
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not copy.with_name(f"{copy.name}.tmp").exists()
    assert query(there, "SELECT version_num FROM alembic_version") == [{"version_num": HEAD}]
    assert query(there, indexes) == fresh
    assert query(there, triggers) == totals
    restored = DatabaseLocation(there.file, postgresql.database(with_tables=False))
    subprocess.run(["pg_restore", "--exit-on-error", f"--dbname={restored.server}", copy], check=True)
    assert query(restored, "SELECT version_num FROM alembic_version") == [{"version_num": "0012"}]
    query(there, "UPDATE alembic_version SET version_num = '9999'")
    try:
        with pytest.raises(LedgerError, match="newer or unknown"):
            backend.open_ledger(there)
        assert backend.newer_schema(there) == "9999"
    finally:
        query(there, f"UPDATE alembic_version SET version_num = '{HEAD}'")


def test_one_daemon_works_on_a_database(there: DatabaseLocation) -> None:
    with closing(backend.lock_database(there)) as first:
        with pytest.raises(AlreadyRunningError, match=r"process \d+ on .* is already running"):
            backend.lock_database(there)
        assert backend.lock_holder(there) is not None
        # The server is started again: the lock is taken again, unless another daemon was quicker.
        query(there, _END_OTHERS)
        first.verify("check")
        query(there, _END_OTHERS)
        with (
            closing(backend.lock_database(there)),
            pytest.raises(UnusableLedgerError, match="taken the database"),
        ):
            first.verify("check")
    assert backend.lock_owner(there) is None


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ('FATAL:  password authentication failed for user "ds"', "password file"),
        ("fe_sendauth: no password supplied", "password file"),
        ('FATAL:  Peer authentication failed for user "ds"', "sudo -u"),
        ('FATAL:  role "ds" does not exist', "check the user"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "ds"', "pg_hba.conf"),
        ('FATAL:  database "ds" does not exist', "createdb"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("Connection refused", "check that PostgreSQL runs"),
    ],
)
def test_a_refused_connection_says_what_to_do(answer: str, remedy: str) -> None:
    found = explain(
        psycopg.OperationalError(f"connection failed: connection to server failed: {answer}"), Path("x"), "y"
    )
    assert isinstance(found, StorageError)
    assert remedy in found.remedy


def test_a_server_without_the_database_says_how_to_make_it(there: DatabaseLocation) -> None:
    nowhere = replace(there, server=there.server.replace("@/", "@/no_"))
    assert nowhere != there
    with pytest.raises(StorageError, match="does not exist") as refused:
        backend.lock_database(nowhere)
    assert "createdb" in refused.value.remedy


def test_a_lost_connection_is_an_error_that_passes(there: DatabaseLocation, opened: Ledger) -> None:
    opened.admit([admission()], 100.0)
    query(there, _END_OTHERS)
    with pytest.raises(StorageError, match="terminat"):
        opened.counts()
    assert opened.counts()[JobState.QUEUED] == 1
    opened.verify()


def test_a_transaction_of_somebody_else_is_waited_for_and_then_named(
    there: DatabaseLocation, opened: Ledger
) -> None:
    with psycopg.connect(there.server) as other:
        other.execute(f"SELECT pg_advisory_xact_lock({WRITING})")
        with opened.limit_waits(0.05), pytest.raises(DatabaseLockedError, match="another process"):
            opened.admit([admission()], 100.0)
    opened.admit([admission()], 100.0)
    opened.admit([admission("b.wav", "two")], 100.0)
    with psycopg.connect(there.server) as other:
        other.execute("SELECT 1 FROM jobs WHERE id = 1 FOR UPDATE")
        assert [c.job_id for c in claim_all(opened, 101.0)] == [2]
    assert [c.job_id for c in claim_all(opened, 101.0)] == [1]


def test_a_claim_does_not_read_a_backlog_again_for_each_job_if_statistics_do_not_know_it(
    there: DatabaseLocation,
) -> None:
    """They are of the night before, when nothing was queued, or of a database that was just made."""
    with closing(backend.open_ledger(there)) as arrivals, closing(backend.open_ledger(there)) as worker:
        for start in range(0, BACKLOG, 100):
            arrivals.admit(
                [admission(f"{n}.wav", str(n // 2)) for n in range(start, start + 100)], time.time()
            )
        read: list[int] = []

        def count(connection: sa.Connection) -> None:
            read.append(connection.exec_driver_sql(_JOBS_READ).scalar_one())

        sa.event.listen(worker._db._engine, "commit", count)  # type: ignore[attr-defined]
        assert len(claim_all(worker, limit=4)) == 4
    # Each queued one at most a few times, and none once for each of the others.
    assert max(read) < BACKLOG * 10


def test_a_rare_search_of_any_length_is_by_the_index(
    there: DatabaseLocation, opened: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "WINDOW", 4)
    rare = transcribed(opened, "青海湖见 X9Y 9% it's \\ σας")
    other = transcribed(opened, "会议", name="b.wav")
    query(
        there,
        "INSERT INTO segments (job_id, idx, start_ms, end_ms, text, tokens) "
        f"SELECT {other}, n, n, n, '会议' || n, '[]' FROM generate_series(1, 6000) AS n",
    )
    # As the server itself does it, a minute later.
    query(there, "SELECT gin_clean_pending_list('ix_segments_terms')")
    query(there, "ANALYZE segments")
    for text in ("湖", "青海", "青海湖", "海湖见", "X9", "x9y", "9%", "t's", "'s", "\\", "ΣΑΣ"):
        assert [hit.job_id for hit in opened.search(text)] == [rare], text
        sought, pattern = (
            sa.literal(t).compile(compile_kwargs={"literal_binds": True}) for t in (text, containing(text))
        )
        plan = query(
            there, f"EXPLAIN {FUNCTIONS['segments_with']('', f'{sought}', f'{pattern}')}".replace("%", "%%")
        )
        assert "ix_segments_terms" in str(plan), text


def test_texts_that_a_statement_or_a_copy_could_take_for_something_else(opened: Ledger) -> None:
    words = [
        "50% %s %(x)s",
        r"\N \. \\ \t",
        "a tab\tand a line\n",
        'it\'s "quoted"',
        "",
        *map(str, range(2_000)),
    ]
    job = transcribed(opened, *words)
    found = opened.stored_result(job)
    assert found is not None
    assert [s.text for s in found.segments] == words
    assert opened.search(r"\. \\")[0].segment == 1


def test_a_database_that_was_replaced_is_not_written_to(there: DatabaseLocation, opened: Ledger) -> None:
    opened.verify()
    query(there, "ALTER TABLE jobs RENAME TO old_jobs")
    try:
        with pytest.raises(UnusableLedgerError, match="removed or replaced"):
            opened.verify()
    finally:
        query(there, "ALTER TABLE old_jobs RENAME TO jobs")


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("postgresql://u@/x?host=/nowhere", StorageError, "can be reached"),
        ("postgresql://u@/x?nonsense=1", ConfigError, "postgresql://USER@HOST/NAME"),
        ("postgresql://u:secret@h/x", ConfigError, "passfile"),
        ("postgresql://u@h/x?password=secret", ConfigError, "passfile"),
        ("postgresql://h", ConfigError, "postgresql://USER@HOST/NAME"),
    ],
)
def test_an_address_that_leads_nowhere_says_what_to_do(
    url: str, error: type[DropscribeError], words: str
) -> None:
    with pytest.raises(error) as refused:
        backend.open_ledger(DatabaseLocation.of(Path(url)))
    said = f"{refused.value} {refused.value.remedy}"
    assert words in said
    assert "secret" not in said


def test_a_url_survives_being_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    url = "postgresql://ds@db.example.org:5433/history?sslmode=verify-full"
    location = DatabaseLocation.of(Path(url).absolute())
    assert location.server == url
    assert str(location) == location.name == "postgresql://ds@db.example.org:5433/history"
    assert DatabaseLocation.of(location.setting) == location
    assert location.beside(".status.json").parent == tmp_path
    assert DatabaseLocation.of(Path("/srv/jobs.db")) == DatabaseLocation(Path("/srv/jobs.db"))


def test_tools_for_a_file_name_those_of_postgresql(
    there: DatabaseLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call, words in (
        (lambda: backend.back_up(there, tmp_path, 0.0, None), "pg_dump"),
        (lambda: backend.restore(there, tmp_path / "x", 0.0), "pg_restore"),
        (lambda: backend.vacuum(there), "vacuumdb"),
        (lambda: backend.repair_database(there), "pg_restore"),
    ):
        # Nobody has to stop the daemon to hear that.
        with closing(backend.lock_database(there)), pytest.raises(UsageError) as refused:
            call()
        assert words in refused.value.remedy
    check = look_database(there)
    assert check.status is Level.OK
    assert check.detail.endswith("has all its tables")
    monkeypatch.setenv("PATH", "")
    assert "no dump can be made before an upgrade: pg_dump is not installed" in look_database(there).detail


def content(location: DatabaseLocation) -> dict[str, list[dict[str, object]]]:
    return {
        table: sorted(
            (
                {k: bytes(v).hex() if isinstance(v, bytes) else v for k, v in row.items()}
                for row in query(location, f"SELECT * FROM {table}")
                # Totals that came to nothing are not copied.
                if row.get("jobs") != 0
            ),
            key=str,
        )
        for table in metadata.tables
    }


def test_a_history_is_copied_there_and_back_with_every_row(there: DatabaseLocation, tmp_path: Path) -> None:
    here, back = DatabaseLocation(tmp_path / "jobs.db"), DatabaseLocation(tmp_path / "back.db")
    with closing(backend.open_ledger(here)) as ledger:
        transcribed(ledger, "今天讨论预算", "第二句", name="会议.wav")
        transcribed(ledger, "hello there")
        ledger.admit([admission("late.wav", "late")], 1_795_896_708.5)
        ledger.admit([admission("gone.wav", "gone")], 1.0)
    last = query(here, "SELECT max(id) AS n FROM jobs")[0]["n"]
    query(here, f"DELETE FROM jobs WHERE id = {last}")
    done = backend.copy_database(here, there)
    assert done.rows["segments"] == 3
    assert content(there) == content(here)
    with closing(backend.open_ledger(there)) as ledger:
        assert ledger.wrong_totals() == {}
        # As it is found: by one, two and three characters.
        assert [len(ledger.search(words)) for words in ("预", "预算", "论预算", "句")] == [1, 1, 1, 1]
    again = backend.copy_database(there, back)
    assert again == done
    assert content(back) == content(here)
    for location in (there, back):
        with closing(backend.open_ledger(location)) as ledger:
            (made,) = ledger.admit([admission("new.wav", "new")], 1.0)
            assert made.job_id == last + 1
        with pytest.raises(UsageError, match="rows in its table"):
            backend.copy_database(here, location)
    with closing(backend.lock_database(here)), pytest.raises(AlreadyRunningError):
        backend.copy_database(here, DatabaseLocation(tmp_path / "other.db"))
