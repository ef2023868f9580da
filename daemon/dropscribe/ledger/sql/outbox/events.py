"""Write events to the outbox, in the transaction in which they happen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from dropscribe.ledger.columns import path_of, storable
from dropscribe.ledger.events import Condition, Event, EventKind, Subscription
from dropscribe.ledger.outbox import new_uid
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.outbox.job_facts import facts_of_jobs

#: A condition that is away for less than this, seconds, and then there again, is not announced again.
FORGET_S = 600.0
#: Age at which the record that a condition lasts is renewed, seconds.
RENEW_S = 60.0

_PLACES = sql(
    "SELECT j.id, j.profile, r.folder_raw FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN @ids(:ids)"
)
_INSERT = sql(
    "INSERT INTO outbox (message, target, kind, job_id, facts, at, due_at, digest, tries, state) "
    "VALUES (:uid, :target, :kind, :job_id, :facts, :at, :due_at, :digest, 0, 'pending')"
)
_OPEN = sql("SELECT name, seen FROM conditions")
_BEGIN = sql("INSERT INTO conditions (name, kind, since, seen) VALUES (:key, :kind, :now, :now)")
_RENEW = sql("UPDATE conditions SET seen = :now WHERE name = :key")
_END = sql("DELETE FROM conditions WHERE name = :key")


class EventWriter:
    """Writes a message for each subscription that wants an event. Without subscriptions nothing is written."""

    def __init__(self, db: Database) -> None:
        self._db = db
        #: Replaced as a whole, so that any thread may read it.
        self._subscriptions: tuple[Subscription, ...] = ()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """See `Ledger.subscribe`."""
        self._subscriptions = tuple(subscriptions)

    def jobs_done(self, connection: Connection, ids: Sequence[int], now: float) -> None:
        """Write that these jobs are done, within the transaction that ends them.

        Their facts are added when they are claimed, by the sender: a done job does not change.
        """
        wanting = [s for s in self._subscriptions if EventKind.DONE in s.events]
        if not ids or not wanting:
            return
        places: dict[int, tuple[Path | None, str | None]] = dict.fromkeys(ids, (None, None))
        if any(s.folders or s.profiles for s in wanting):
            for row in connection.execute(_PLACES, {"ids": json.dumps(list(ids))}):
                places[row.id] = (path_of(row.folder_raw), row.profile)
        self._write(
            connection,
            [Event(EventKind.DONE, now, None, *places[job], job_id=job) for job in ids],
            now,
        )

    def jobs_failed(self, connection: Connection, ids: Sequence[int], now: float) -> None:
        """Write that these jobs have failed, and why, within the transaction that ends them: they may be tried again."""
        if not ids or not self._wanted(EventKind.FAILED):
            return
        failed = facts_of_jobs(connection, ids).items()
        self._write(
            connection,
            [Event(EventKind.FAILED, now, f, Path(f["folder"]), f["profile"], job) for job, f in failed],
            now,
        )

    def announce(self, events: Sequence[Event], now: float) -> None:
        """See `Ledger.announce`."""
        if any(self._wanted(event.kind) for event in events):
            with self._db.write("write notifications") as connection:
                self._write(connection, events, now)

    def note_conditions(self, conditions: Sequence[Condition], now: float) -> None:
        """See `Ledger.note_conditions`."""
        current = {c.key: c for c in conditions if self._wanted(c.kind)}
        with self._db.read("read conditions") as connection:
            if not _changes(_known(connection), current, now):
                return
        with self._db.write("note conditions") as connection:
            known = _known(connection)
            for key in _changes(known, current, now):
                if key not in current:
                    connection.execute(_END, {"key": key})
                elif key in known:
                    connection.execute(_RENEW, {"key": key, "now": now})
                else:
                    begun = current[key]
                    connection.execute(_BEGIN, {"key": key, "kind": begun.kind.value, "now": now})
                    event = Event(begun.kind, now, begun.facts, begun.folder, begun.profile)
                    self._write(connection, [event], now)

    def _wanted(self, kind: EventKind) -> bool:
        return any(kind in s.events for s in self._subscriptions)

    def _write(self, connection: Connection, events: Iterable[Event], now: float) -> None:
        rows = [
            {
                # The number of a digest is that of the message, which collects events until it is due.
                "uid": None if s.digest_s > 0 else new_uid(),
                "target": s.target,
                "kind": event.kind.value,
                "job_id": event.job_id,
                "facts": None if event.facts is None else stored(event.facts),
                "at": event.at,
                "due_at": s.due_at(now),
                "digest": int(s.digest_s > 0),
            }
            for event in events
            for s in self._subscriptions
            if s.wants(event.kind, event.folder, event.profile)
        ]
        if rows:
            connection.execute(_INSERT, rows)


def stored(facts: Mapping[str, Any]) -> str:
    """Facts as a column holds them."""
    return storable(json.dumps(facts, ensure_ascii=False))


def _known(connection: Connection) -> dict[str, float]:
    return {str(key): float(seen) for key, seen in connection.execute(_OPEN)}


def _changes(known: dict[str, float], current: dict[str, Condition], now: float) -> list[str]:
    """Keys of conditions that began, whose record is to be renewed, or that have been over for long enough."""
    begun = [key for key in current if key not in known]
    # A record of the future was made under a wrong clock.
    old = [key for key in current if key in known and not 0 <= now - known[key] < RENEW_S]
    over = [key for key, seen in known.items() if key not in current and not 0 <= now - seen < FORGET_S]
    return [*begun, *old, *over]
