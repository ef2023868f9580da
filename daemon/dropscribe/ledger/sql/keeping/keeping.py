"""All methods of `ledger.keeping.Keeping` on one open database."""

from __future__ import annotations

from dropscribe.ledger.sql.keeping.departures import Departures
from dropscribe.ledger.sql.keeping.purging import Purging
from dropscribe.ledger.sql.keeping.renames import Renames
from dropscribe.ledger.sql.keeping.retention import Retention


class SqlKeeping(Retention, Departures, Renames, Purging):
    """Implements `Keeping`, where the methods are documented."""
