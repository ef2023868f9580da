"""What SQLite has beside the tables: search indexes, triggers, views."""

from __future__ import annotations

from dropscribe.ledger.sql.dialect import spelt
from dropscribe.ledger.sql.history import path_schema, totals_schema
from dropscribe.ledger.sql.history.totals_schema import Trigger
from dropscribe.ledger.sql.schema import add_statements
from dropscribe.ledger.sql.search import schema as search_schema
from dropscribe.ledger.sql.sqlite.functions import FUNCTIONS


def _created(trigger: Trigger) -> str:
    when = f" WHEN {trigger.condition}" if trigger.condition else ""
    body = "\n    ".join(trigger.statements)
    return f"\nCREATE TRIGGER {trigger.name} {trigger.event}{when}\nBEGIN\n    {body}\nEND\n"


#: In order of creation.
STATEMENTS: tuple[str, ...] = tuple(
    spelt(statement, FUNCTIONS)
    for statement in (
        *search_schema.INDEX,
        search_schema.HISTORY,
        *path_schema.INDEX,
        *map(_created, totals_schema.TRIGGERS),
        *totals_schema.VIEWS,
    )
)
#: Make the totals anew.
FILL_TOTALS: tuple[str, ...] = tuple(spelt(statement, FUNCTIONS) for statement in totals_schema.FILL)

add_statements("sqlite", STATEMENTS)
