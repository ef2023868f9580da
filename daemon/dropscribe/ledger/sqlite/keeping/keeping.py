"""All methods of `ledger.keeping.Keeping` on one open SQLite database."""

from __future__ import annotations

from dropscribe.ledger.sqlite.keeping.departures import Departures
from dropscribe.ledger.sqlite.keeping.purging import Purging
from dropscribe.ledger.sqlite.keeping.renames import Renames
from dropscribe.ledger.sqlite.keeping.retention import Retention


class SqliteKeeping(Retention, Departures, Renames, Purging):
    """Implements `Keeping`, where the methods are documented."""
