"""Totals of ended jobs: read them, compare them with the jobs, make them anew."""

from __future__ import annotations

import sqlalchemy as sa

from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.history.totals_schema import FILL, SUMS

_DIFFERENT = (
    "SELECT (SELECT count(*) FROM (SELECT * FROM {table} WHERE jobs <> 0 EXCEPT {sums})) "
    "+ (SELECT count(*) FROM ({sums} EXCEPT SELECT * FROM {table}))"
)


class Totals:
    """The tables of totals, which triggers keep."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def wrong(self) -> dict[str, int]:
        """See `Ledger.wrong_totals`."""
        with self._db.read("compare totals with jobs") as connection:
            counted = {
                table: connection.scalars(
                    sa.text(_DIFFERENT.replace("{table}", table).replace("{sums}", sums))
                ).one()
                for table, sums in SUMS.items()
            }
        return {table: int(count) for table, count in counted.items() if count}

    def renew(self) -> None:
        """See `Ledger.renew_totals`."""
        with self._db.write("renew totals") as connection:
            for statement in FILL:
                connection.exec_driver_sql(statement)
