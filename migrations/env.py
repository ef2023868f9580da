"""Entry point of Alembic: run revisions on the connection of `dropscribe.ledger.sql.migrations`.

There is no alembic.ini and no connection of its own, because the ledger makes a backup before an upgrade and runs all
revisions in one transaction. Foreign keys are off meanwhile, because batch mode replaces tables. For the same reason a
revision that replaces `segments` creates its two triggers again.

For a new revision: copy the newest file under `versions/`, change `daemon/dropscribe/ledger/sql/schema.py` alike and raise its `HEAD`;
A revision runs on SQLite and PostgreSQL; a database of the latter is never older than 0012. `tests/integration/test_ledger_upgrade.py` checks that both give the same database.
"""

from __future__ import annotations

from alembic import context

from dropscribe.ledger.sql.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
    # The caller's transaction, so that a failed revision leaves nothing behind.
    transaction_per_migration=False,
)
context.run_migrations()
