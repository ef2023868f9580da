"""Write events to the outbox, in the transaction in which they happen."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.escapes import readable
from dropscribe.ledger.columns import path_of, storable
from dropscribe.ledger.events import OF_JOBS, Condition, Event, EventKind, Subscription
from dropscribe.ledger.outbox import new_uid
from dropscribe.ledger.sqlite.db import Database

#: A condition that is away for less than this, seconds, and then there again, is not announced again.
FORGET_S = 600.0
#: Age at which the record that a condition lasts is renewed, seconds.
RENEW_S = 60.0

_ENDED = sa.text(
    "SELECT j.id, j.state, j.profile, j.recipe, j.attempts, j.version, j.audio_ms, j.speech_ms, j.characters, j.model, j.device, "
    "j.reason_code, j.reason, j.remedy, j.admitted_at, j.finished_at, j.reference_job_id, r.path_raw, r.folder_raw "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.state IN ('done', 'failed') AND j.id IN (SELECT value FROM json_each(:ids)) ORDER BY j.id"
)
_FILES = sa.text(
    "SELECT job_id, format, path_raw FROM outputs WHERE published = 1 AND format NOT IN ('partial', 'failed') "
    "AND job_id IN (SELECT value FROM json_each(:ids)) ORDER BY id"
)
_INSERT = sa.text(
    "INSERT INTO outbox (message, target, kind, job_id, facts, at, due_at, digest, tries, state) "
    "VALUES (:uid, :target, :kind, :job_id, :facts, :at, :due_at, :digest, 0, 'pending')"
)
_OPEN = sa.text("SELECT name, seen FROM conditions")
_BEGIN = sa.text("INSERT INTO conditions (name, kind, since, seen) VALUES (:key, :kind, :now, :now)")
_RENEW = sa.text("UPDATE conditions SET seen = :now WHERE name = :key")
_END = sa.text("DELETE FROM conditions WHERE name = :key")


class EventWriter:
    """Writes a message for each subscription that wants an event. Without subscriptions nothing is written."""

    def __init__(self, db: Database) -> None:
        self._db = db
        #: Replaced as a whole, so that any thread may read it.
        self._subscriptions: tuple[Subscription, ...] = ()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """See `Ledger.subscribe`."""
        self._subscriptions = tuple(subscriptions)

    def jobs_ended(self, connection: Connection, ids: Sequence[int], now: float) -> None:
        """Write the events of those of these jobs that are done or have failed, within the transaction that ends them."""
        if not ids or not any(s.events & OF_JOBS for s in self._subscriptions):
            return
        values = {"ids": json.dumps(list(ids))}
        rows = connection.execute(_ENDED, values).all()
        files: defaultdict[int, list[str]] = defaultdict(list)
        for job, _, path_raw in connection.execute(_FILES, values):
            files[int(job)].append(readable(path_of(path_raw)))
        self._write(connection, [_event(row, files[row.id], now) for row in rows], now)

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
                "facts": storable(json.dumps(event.facts, ensure_ascii=False)),
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


def _known(connection: Connection) -> dict[str, float]:
    return {str(key): float(seen) for key, seen in connection.execute(_OPEN)}


def _changes(known: dict[str, float], current: dict[str, Condition], now: float) -> list[str]:
    """Keys of conditions that began, whose record is to be renewed, or that have been over for long enough."""
    begun = [key for key in current if key not in known]
    # A record of the future was made under a wrong clock.
    old = [key for key in current if key in known and not 0 <= now - known[key] < RENEW_S]
    over = [key for key, seen in known.items() if key not in current and not 0 <= now - seen < FORGET_S]
    return [*begun, *old, *over]


def _event(row: Row[Any], files: list[str], now: float) -> Event:
    folder = path_of(row.folder_raw)
    facts = {
        "job": row.id,
        "recording": readable(path_of(row.path_raw)),
        "folder": readable(folder),
        "profile": row.profile,
        "state": row.state,
        "version": row.version,
        "attempts": row.attempts,
        "admitted_at": row.admitted_at,
        "finished_at": row.finished_at,
    }
    if row.state == "done":
        facts |= {
            "audio_ms": row.audio_ms,
            "speech_ms": row.speech_ms,
            "characters": row.characters,
            "model": row.model,
            "device": row.device,
            "same_as_job": row.reference_job_id,
            "files": files,
        }
    else:
        facts |= {"code": row.reason_code, "reason": row.reason, "remedy": row.remedy}
    return Event(EventKind(row.state), now, facts, folder, row.profile, row.id)
