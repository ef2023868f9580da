"""The tables as another database would create them: no type may lose digits, no index its condition."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

import dropscribe.ledger.sql.postgresql.ddl  # noqa: F401 - its statements are added to the tables, as in the daemon
from dropscribe.ledger.sql.schema import metadata

POSTGRESQL: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
SQLITE: sa.Dialect = sqlite.dialect()
TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)
INDEXES = [index for table in TABLES for index in sorted(table.indexes, key=lambda i: str(i.name))]


def columns(table: sa.Table, dialect: sa.Dialect) -> dict[str, str]:
    """The type of each column by name, as the statement that creates the table has it."""
    statement = str(CreateTable(table).compile(dialect=dialect))
    lines = (line.strip().rstrip(",") for line in statement.splitlines())
    found = {name: " ".join(rest) for name, *rest in (line.split() for line in lines if line)}
    return {c.name: found[c.name] for c in table.columns}


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_postgresql_keeps_every_number(table: sa.Table) -> None:
    kept = columns(table, POSTGRESQL)
    for name, as_sqlite in columns(table, SQLITE).items():
        if as_sqlite.startswith("REAL"):
            assert kept[name].startswith("DOUBLE PRECISION"), name
    big = {n for n in kept if n.endswith(("id", "_ms")) or n in {"size", "mtime_ns", "inode", "bytes"}}
    assert {n: kept[n].split()[0] for n in big} == {n: "BIGSERIAL" if n == "id" else "BIGINT" for n in big}


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_sqlite_has_the_types_it_always_had(table: sa.Table) -> None:
    found = {t.split()[0] for t in columns(table, SQLITE).values()}
    assert found <= {"INTEGER", "REAL", "TEXT", "BLOB"}


@pytest.mark.parametrize("index", INDEXES, ids=lambda i: i.name)
def test_an_index_has_the_same_condition_in_both(index: sa.Index) -> None:
    both = [str(CreateIndex(index).compile(dialect=d)).partition(" WHERE ")[2] for d in (SQLITE, POSTGRESQL)]
    assert both[0] == both[1]


def test_conditions_are_there() -> None:
    """A unique index without its condition would forbid the second content of a path."""
    conditional = {
        str(i.name) for i in INDEXES
        if " WHERE " in str(CreateIndex(i).compile(dialect=POSTGRESQL))
    }  # fmt: skip
    assert conditional == {
        "uq_recordings_latest", "ix_jobs_queue", "ix_jobs_lease", "ix_jobs_twins", "ix_jobs_results",
        "ix_jobs_references", "ix_jobs_finished", "ix_recordings_content", "ix_recordings_pending",
        "ix_jobs_reason_code", "ix_jobs_audio_ms", "ix_job_speakers_name",
        "ix_outbox_due", "ix_outbox_sent", "ix_outbox_failed", "ix_outbox_job_id",
    }  # fmt: skip


def test_statements_for_sqlite_alone_are_not_run_elsewhere() -> None:
    said: list[str] = []
    engine = sa.create_mock_engine("postgresql://", lambda statement, *_, **__: said.append(str(statement)))
    metadata.create_all(engine, checkfirst=False)
    # PostgreSQL's own functions have bodies, too; a trigger of SQLite has its body in the statement itself.
    ours = [one for one in said if "plpgsql" not in one]
    assert [one for one in ours if "fts5" in one or "CREATE VIRTUAL" in one or "\nBEGIN\n" in one] == []
    assert sum("CREATE TABLE" in one for one in said) == len(TABLES)
