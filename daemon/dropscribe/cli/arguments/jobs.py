"""Jobs named on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.errors import UsageError
    from dropscribe.ledger.interface import DatabaseLocation


def no_such_job(job: int, operation: str, location: DatabaseLocation) -> UsageError:
    """The error for a number that no job of the database has."""
    from dropscribe.errors import UsageError

    return UsageError(
        f"there is no job {job}",
        operation=operation,
        path=location.shown,
        remedy="'dropscribe jobs' lists them",
    )
