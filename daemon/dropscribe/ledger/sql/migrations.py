"""Run the revisions of the schema, `migrations/` of the distribution, on a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

import dropscribe
from dropscribe.errors import LedgerError
from dropscribe.ledger.sql.schema import HEAD

if TYPE_CHECKING:
    from alembic.config import Config

#: The table of Alembic's that names the revision of a database, as Alembic makes it.
REVISION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_NEWER = (
    "it was written by a newer or unknown version of dropscribe (schema {revision}; this one knows {head})"
)


def migrations_folder() -> Path:
    """The folder of the revisions: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(dropscribe.__file__).resolve().parent
    for folder in (package / "migrations", package.parents[1] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise LedgerError(
        "the migrations of the database are not installed",
        operation="open database",
        path=package,
        remedy="install dropscribe again",
    )


def known(found: str, shown: Path, restore: str = "") -> Config:
    """The configuration of Alembic. Raises LedgerError unless `found` is one of our revisions; `restore`: another remedy."""
    # Imported late: it takes half a second, and only an old database needs it.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    if found not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
        raise LedgerError(
            _NEWER.format(revision=found, head=HEAD),
            operation="open database",
            path=shown,
            remedy=f"install a newer dropscribe{restore}",
        )
    return config


def run(config: Config, connection: Connection) -> None:
    """Run all missing revisions in the transaction of the connection: a failure leaves the database as it was."""
    from alembic import command  # noqa: PLC0415

    config.attributes["connection"] = connection
    command.upgrade(config, "head")
