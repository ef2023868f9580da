"""A PostgreSQL server for tests: Debian's, in a directory of its own, reached by a socket there."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.sql.schema import metadata

_TEMPLATE = "ledger_template"
_TRUNCATE = f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"
#: Bytes of the largest tables from which on they are truncated, which makes a hundred files.
_LARGE = 400_000
_SIZE = "SELECT pg_relation_size('jobs') + pg_relation_size('segments') + pg_relation_size('recordings')"
#: Deletes all rows and begins all numbers anew.
_EMPTY = ";".join(
    [
        "SET session_replication_role = replica",
        *(f"DELETE FROM {table}" for table in metadata.tables),
        "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'",
    ]
)
_SETTINGS = ("listen_addresses=", "max_connections=150", "log_min_messages=panic")
#: Nothing that tests write has to last.
_HASTY = (
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=32MB",
    "max_wal_size=256MB",
)  # fmt: skip


def programs() -> Path | None:
    """The folder of Debian's newest PostgreSQL; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Server:
    """A running server. Databases with our tables are used again and again."""

    def __init__(self, *, durable: bool = False) -> None:
        """`durable`: with the settings that PostgreSQL has by default, which benchmarks need."""
        folder = programs()
        assert folder is not None
        self._programs = folder
        #: A short path: that of a socket has at most 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        self._numbers = itertools.count()
        #: Databases that are empty.
        self._free: list[str] = []
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres")
        self.run(
            "initdb", "-D", "data", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "-N", "-U", "postgres"
        )
        settings = (*_SETTINGS, *(() if durable else _HASTY), f"unix_socket_directories={self.directory}")
        options = " ".join(f"-c {s}" for s in settings)
        self.run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        open_ledger(DatabaseLocation(self.directory / "template", self.url(_TEMPLATE))).close()

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the user of the server, who is not root."""
        as_user = ["setpriv", "--reuid", self._user, "--regid", self._user, "--clear-groups"]
        subprocess.run(
            [*(as_user if os.geteuid() == 0 else ()), str(self._programs / program), *arguments],
            cwd=self.directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def database(self, *, with_tables: bool = True, more: str = "") -> str:
        """The URL of an empty database, with our tables or without any."""
        if with_tables and self._free:
            return self._free.pop()
        name = f"ledger_{next(self._numbers)}"
        template = _TEMPLATE if with_tables else "template0"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {more}")
        return self.url(name)

    def give_back(self, url: str) -> None:
        """Empty a database with our tables, which is quicker than to make one."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
            size = connection.execute(_SIZE).fetchone()
            connection.execute(_EMPTY if size is not None and size[0] < _LARGE else _TRUNCATE)
        self._free.append(url)

    def stop(self) -> None:
        """End the server and remove its directory."""
        self.run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.directory)
