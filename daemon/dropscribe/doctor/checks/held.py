"""Check whether jobs are held, waiting for something that a person may have to change."""

from __future__ import annotations

from contextlib import closing

from dropscribe.doctor.checks.record import Check, from_error, ok, warning
from dropscribe.errors import DropscribeError
from dropscribe.ledger import backend
from dropscribe.ledger.interface import DatabaseLocation


def look_held(location: DatabaseLocation) -> list[Check]:
    """One check per reason for which jobs are held; one in all if none is. None without a database."""
    try:
        if not backend.exists(location):
            return []
        with closing(backend.open_read_only(location)) as ledger:
            held = ledger.held()
    except DropscribeError as e:
        return [from_error("held", e)]
    if not held:
        return [ok("held", "no job is held")]
    return [
        warning(
            "held", f"{h.count} {'job' if h.count == 1 else 'jobs'}: {h.reason}", h.remedy or "see the reason"
        )
        for h in held
    ]
