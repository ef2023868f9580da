"""Connect to PostgreSQL: address, how values are converted, and what a server must be able to do."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import ByteaBinaryLoader, ByteaLoader, BytesDumper, StrDumperUnknown
from sqlalchemy.engine import Engine

from dropscribe.errors import ConfigError
from dropscribe.ledger.columns import PathEnd, Places, RawPath

#: Longest time to connect, seconds, unless the URL says otherwise.
CONNECT_S = 10
#: After this time without an answer a connection is lost, ms: without it, one to a host that vanished lasts for hours.
LOST_MS = 30_000
#: Connections kept open, and further ones that are closed after use.
POOL_SIZE = 8
OVERFLOW = 40


class _Number(Loader):
    """Sums come as NUMERIC, which is exact; ours are whole numbers or become floats."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode("ascii")
        return float(text) if "." in text or "N" in text else int(text)


class _Text(StrDumperUnknown):
    """PostgreSQL's texts cannot have the character NUL, which SQLite's can. It is dropped."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", ""))


@lru_cache
def parameters(url: str) -> dict[str, Any]:
    """Parameters of libpq in a URL. Raises ConfigError for one that is wrong."""
    try:
        found = conninfo_to_dict(url)
    except psycopg.Error as e:
        raise ConfigError(
            f"{url.split('?', maxsplit=1)[0]!r} is not an address of PostgreSQL ({str(e).strip()})", operation="read settings",
            remedy="write it as postgresql://USER@HOST/NAME",
        ) from e  # fmt: skip
    if "dbname" not in found:
        raise ConfigError(
            f"{url.split('?', maxsplit=1)[0]!r} names no database", operation="read settings",
            remedy="write it as postgresql://USER@HOST/NAME",
        )  # fmt: skip
    return found


def _adapt(connection: psycopg.Connection[Any], places: Places) -> None:
    """Let statements have paths where the database has their keys."""

    class _Key(BytesDumper):
        def dump(self, obj: Any) -> Any:
            # SQLAlchemy wraps the values of columns that it knows.
            value = obj.obj if isinstance(obj, psycopg.Binary) else obj
            if not isinstance(value, RawPath):
                return super().dump(value)
            return b"\\x" + places.key(value).hex().encode("ascii")

    class _Path(ByteaLoader):
        def load(self, data: Any) -> bytes:
            text = bytes(data)
            # As servers send it, unless `bytea_output` is set to its old form.
            in_hex = text.startswith(b"\\x")
            return places.path(
                bytes.fromhex(text[2:].decode("ascii")) if in_hex else bytes(super().load(text))
            )

    class _BinaryPath(ByteaBinaryLoader):
        def load(self, data: Any) -> bytes:
            return places.path(bytes(super().load(bytes(data))))

    for kind in (RawPath, PathEnd, psycopg.Binary):
        connection.adapters.register_dumper(kind, _Key)
    for loader in (_Path, _BinaryPath):
        connection.adapters.register_loader("bytea", loader)


def open_connection(url: str, places: Places | None = None) -> psycopg.Connection[Any]:
    """A connection outside the pool. Raises psycopg.Error, ConfigError."""
    defaults: dict[str, Any] = {
        "application_name": "dropscribe",
        "client_encoding": "UTF8",
        "connect_timeout": CONNECT_S,
        "tcp_user_timeout": LOST_MS,
    }
    connection = psycopg.connect(**(defaults | parameters(url)))
    connection.adapters.register_loader("numeric", _Number)
    connection.adapters.register_dumper(str, _Text)
    if places is not None and not places.trivial:
        _adapt(connection, places)
    return connection


def connect(url: str, places: Places | None = None) -> Engine:
    """An engine on the database at `url`; nothing is opened before the first statement."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: open_connection(url, places),
        pool_size=POOL_SIZE,
        max_overflow=OVERFLOW,
        use_native_hstore=False,
    )
    # Many rows in one statement: one for each row takes five times as long.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    return engine
