"""Jobs and people named on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.errors import UsageError
    from dropscribe.ledger.interface import DatabaseLocation

#: Longest name of a person, characters.
LONGEST_NAME = 100


def no_such_job(job: int, operation: str, location: DatabaseLocation) -> UsageError:
    """The error for a number that no job of the database has."""
    from dropscribe.errors import UsageError

    return UsageError(
        f"there is no job {job}",
        operation=operation,
        path=location.file,
        remedy="'dropscribe jobs' lists them",
    )


def name_of_person(given: str, operation: str) -> str:
    """The name with single spaces. Raises UsageError for one that is empty, too long or cannot be printed."""
    from dropscribe.errors import UsageError

    name = " ".join(given.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            "the name is empty, too long or not printable",
            operation=operation,
            remedy=f"give a name of 1 to {LONGEST_NAME} characters",
        )
    return name
