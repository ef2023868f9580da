"""Claim messages of the outbox and record what became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection, Row

from dropscribe.ledger.columns import storable
from dropscribe.ledger.events import EventKind
from dropscribe.ledger.outbox import (
    KEEP_FAILED_S,
    KEEP_SENT_S,
    Message,
    MessageState,
    MessageSummary,
    RecordedEvent,
    TargetCounts,
    new_uid,
)
from dropscribe.ledger.sql.dialect import Database, Statement, ahead_s, sql
from dropscribe.ledger.sql.outbox.events import stored
from dropscribe.ledger.sql.outbox.job_facts import facts_of_jobs

#: Most events of one digest.
DIGEST_EVENTS = 1000
#: Most rows that one call deletes.
PRUNED = 500

_CLOSE_DIGEST = sql(
    "UPDATE outbox SET message = :uid WHERE id IN (SELECT id FROM outbox WHERE state = 'pending' AND message IS NULL "
    "AND target = :target AND due_at <= :now ORDER BY due_at, id LIMIT :most)"
)
# The rows of a digest have the same instants. More rows than messages are read, because one message may have many.
_DUE = sql(
    "SELECT message FROM (SELECT message, due_at, id FROM outbox WHERE state = 'pending' AND target = :target AND due_at <= :now "
    "AND message IS NOT NULL AND (lease_until IS NULL OR lease_until < :now) ORDER BY due_at, id LIMIT :rows) AS due GROUP BY message ORDER BY min(due_at), min(id) LIMIT :limit"
)
_LEASE = sql(
    "UPDATE outbox SET lease_until = :until, claimed_by = :worker, tries = tries + 1 "
    "WHERE state = 'pending' AND message IN @texts(:uids)"
)
_CLAIMED = sql(
    "SELECT id, message, target, kind, job_id, facts, at, digest, tries FROM outbox "
    "WHERE message IN @texts(:uids) ORDER BY id"
)
_WITHOUT_FACTS = sql("SELECT id, job_id FROM outbox WHERE facts IS NULL AND message IN @texts(:uids)")
_FACTS = sql("UPDATE outbox SET facts = :facts WHERE id = :id")
_RENEW = sql(
    "UPDATE outbox SET lease_until = :until WHERE state = 'pending' AND message = :uid AND tries = :tries"
)
# `tries` of the message tells this claim from later ones.
_END = "UPDATE outbox SET {how}, lease_until = NULL, claimed_by = NULL WHERE state = 'pending' AND message = :uid AND tries = :tries"
_SENT = sql(_END.replace("{how}", "state = 'sent', ended_at = :now, error = NULL"))
_POSTPONE = sql(_END.replace("{how}", "due_at = :due_at, error = :error"))
_GIVE_UP = sql(_END.replace("{how}", "state = 'failed', ended_at = :now, error = :error"))
_FAIL_PENDING = sql(
    "UPDATE outbox SET state = 'failed', ended_at = :now, lease_until = NULL, claimed_by = NULL, error = :error "
    "WHERE state = 'pending' AND target = :target AND due_at <= :now"
)
_DISABLE = sql(
    "INSERT INTO disabled_targets (name, at, reason) VALUES (:target, :now, :error) "
    "ON CONFLICT (name) DO UPDATE SET at = excluded.at, reason = excluded.reason"
)
_DISABLED = sql("SELECT name, reason FROM disabled_targets")
_ENABLE = sql("DELETE FROM disabled_targets WHERE CAST(:target AS TEXT) IS NULL OR name = :target")
_ENABLE_OF = sql(
    "DELETE FROM disabled_targets WHERE name IN (SELECT target FROM outbox WHERE id IN @ids(:ids))"
)
_WAITING = sql("SELECT DISTINCT target FROM outbox WHERE state = 'pending'")
# All events of a digest are sent again with the one that is named.
_RETRY = sql(
    "UPDATE outbox SET state = 'pending', tries = 0, due_at = :now, ended_at = NULL "
    "WHERE state = 'failed' AND (CAST(:target AS TEXT) IS NULL OR target = :target) "
    "AND (:all = 1 OR id IN @ids(:ids) OR message IN "
    "(SELECT message FROM outbox WHERE digest = 1 AND id IN @ids(:ids)))"
)
_LISTED = (
    "SELECT id, message, target, kind, job_id, state, at, due_at, tries, ended_at, error FROM outbox "
    "WHERE state = :state AND (CAST(:target AS TEXT) IS NULL OR target = :target) ORDER BY id DESC LIMIT :limit"
)
_COUNTS = sql(
    "SELECT target, count(*) AS pending, 0 AS failed, min(due_at) AS oldest FROM outbox WHERE state = 'pending' GROUP BY target "
    "UNION ALL SELECT target, 0, count(*), NULL FROM outbox WHERE state = 'failed' GROUP BY target"
)
_PRUNE = sql(
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state = :state AND ended_at < :before LIMIT :most)"
)


class Messages:
    """Implements `Outbox`, where the methods are documented."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(self, worker: str, now: float, lease_s: float, limits: Mapping[str, int]) -> list[Message]:
        now = self._db.instant(now)
        if not self._due(now, limits):
            return []
        with self._db.write("claim messages") as connection:
            uids: list[str] = []
            for target, limit in limits.items():
                if limit > 0:
                    values = {"target": target, "now": now, "uid": new_uid(), "most": DIGEST_EVENTS}
                    connection.execute(_CLOSE_DIGEST, values)
                    rows = DIGEST_EVENTS + limit
                    uids += connection.scalars(_DUE, values | {"rows": rows, "limit": limit})
            if not uids:
                return []
            chosen = {"uids": json.dumps(uids), "until": now + lease_s, "worker": storable(worker)}
            connection.execute(_LEASE, chosen)
            _add_facts(connection, chosen)
            return _messages(connection.execute(_CLAIMED, chosen).all())

    def renew(self, ours: Sequence[Message], now: float, lease_s: float) -> None:
        now = self._db.instant(now)
        if ours:
            with self._db.write("renew leases of messages") as connection:
                rows = [{"uid": m.uid, "tries": m.tries, "until": now + lease_s} for m in ours]
                connection.execute(_RENEW, rows)

    def sent(self, message: Message, now: float) -> bool:
        now = self._db.instant(now)
        return self._end(_SENT, message, now=now)

    def postpone(self, message: Message, due_at: float, error: str) -> bool:
        due_at += ahead_s(self._db)
        return self._end(_POSTPONE, message, due_at=due_at, error=storable(error))

    def give_up(self, message: Message, now: float, error: str) -> bool:
        now = self._db.instant(now)
        return self._end(_GIVE_UP, message, now=now, error=storable(error))

    def disable(self, target: str, now: float, reason: str) -> None:
        now = self._db.instant(now)
        values = {"target": target, "now": now, "error": storable(reason)}
        with self._db.write("disable a target") as connection:
            connection.execute(_DISABLE, values)
            connection.execute(_FAIL_PENDING, values)

    def disabled(self) -> dict[str, str]:
        with self._db.read("read disabled targets") as connection:
            return {str(name): str(reason) for name, reason in connection.execute(_DISABLED)}

    def fail_pending(self, target: str, now: float, error: str) -> int:
        now = self._db.instant(now)
        with self._db.write("fail messages") as connection:
            values = {"target": target, "now": now, "error": storable(error)}
            return int(connection.execute(_FAIL_PENDING, values).rowcount)

    def waiting_targets(self) -> set[str]:
        with self._db.read("read targets") as connection:
            return {str(name) for name in connection.scalars(_WAITING)}

    def retry(self, now: float, *, target: str | None = None, ids: Sequence[int] = ()) -> int:
        now = self._db.instant(now)
        values = {"now": now, "target": target, "ids": json.dumps(list(ids)), "all": int(not ids)}
        with self._db.write("retry messages") as connection:
            connection.execute(_ENABLE_OF if ids else _ENABLE, values)
            return int(connection.execute(_RETRY, values).rowcount)

    def messages(
        self, *, states: Sequence[MessageState], target: str | None = None, limit: int = 50
    ) -> list[MessageSummary]:
        found: list[MessageSummary] = []
        with self._db.read("list messages") as connection:
            for state in dict.fromkeys(states):
                values = {"state": state.value, "target": target, "limit": limit}
                found += [_summary(row) for row in connection.execute(sql(_LISTED), values)]
        return sorted(found, key=lambda m: -m.id)[:limit]

    def counts(self) -> dict[str, TargetCounts]:
        found: dict[str, TargetCounts] = {}
        with self._db.read("count messages") as connection:
            for target, pending, failed, oldest in connection.execute(_COUNTS):
                before = found.get(target, TargetCounts(0, 0, None))
                found[target] = TargetCounts(
                    before.pending + pending, before.failed + failed, before.oldest_due_at if oldest is None else oldest
                )  # fmt: skip
        return found

    def prune(self, now: float) -> int:
        now = self._db.instant(now)
        deleted = 0
        for state, keep_s in ((MessageState.SENT, KEEP_SENT_S), (MessageState.FAILED, KEEP_FAILED_S)):
            values = {"state": state.value, "before": now - keep_s, "most": PRUNED}
            with self._db.write("delete old messages") as connection:
                deleted += connection.execute(_PRUNE, values).rowcount
        return deleted

    def _due(self, now: float, limits: Mapping[str, int]) -> bool:
        """True if a claim may find something: an idle sender takes no lock that the daemon could want."""
        with self._db.read("look for due messages") as connection:
            return any(
                connection.scalar(_ANY_DUE, {"target": target, "now": now}) is not None
                for target, limit in limits.items()
                if limit > 0
            )

    def _end(self, statement: Statement, message: Message, **values: Any) -> bool:
        with self._db.write("end a message") as connection:
            return _changed(connection, statement, message, values)


_ANY_DUE = sql(
    "SELECT 1 FROM outbox WHERE state = 'pending' AND target = :target AND due_at <= :now "
    "AND (lease_until IS NULL OR lease_until < :now) LIMIT 1"
)


def _add_facts(connection: Connection, chosen: dict[str, Any]) -> None:
    """Put the facts of done jobs on record with their events, so that a message is the same at every try."""
    lacking = connection.execute(_WITHOUT_FACTS, chosen).all()
    if lacking:
        facts = facts_of_jobs(connection, [row.job_id for row in lacking])
        rows = [{"id": row.id, "facts": stored(facts[row.job_id])} for row in lacking]
        connection.execute(_FACTS, rows)


def _changed(connection: Connection, statement: Statement, message: Message, values: dict[str, Any]) -> bool:
    result = connection.execute(statement, values | {"uid": message.uid, "tries": message.tries})
    return bool(result.rowcount)


def _messages(rows: Sequence[Row[Any]]) -> list[Message]:
    by_uid: dict[str, list[Row[Any]]] = {}
    for row in rows:
        by_uid.setdefault(row.message, []).append(row)
    return [
        Message(uid, same[0].target, same[0].tries, bool(same[0].digest), tuple(map(_recorded, same)))
        for uid, same in by_uid.items()
    ]


def _recorded(row: Row[Any]) -> RecordedEvent:
    return RecordedEvent(row.id, EventKind(row.kind), row.at, row.job_id, json.loads(row.facts))


def _summary(row: Row[Any]) -> MessageSummary:
    return MessageSummary(
        row.id, row.message, row.target, EventKind(row.kind), row.job_id, MessageState(row.state),
        row.at, row.due_at, row.tries, row.ended_at, row.error,
    )  # fmt: skip
