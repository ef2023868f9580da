"""The sender's side of the outbox: messages to be sent, what became of them, and targets that take no more."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from dropscribe.ledger.events import EventKind

#: How long sent messages stay on record, and those that could not be sent, seconds.
KEEP_SENT_S = 7 * 86_400.0
KEEP_FAILED_S = 30 * 86_400.0


class MessageState(StrEnum):
    """State of a message. A failed one is sent again only on request."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event in a message; see `Event`. `id` is its number in the outbox."""

    id: int
    kind: EventKind
    at: float
    job_id: int | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed message. `uid` is the same at every try; `tries` counts this one and identifies the claim."""

    uid: str
    target: str
    tries: int
    digest: bool
    events: tuple[RecordedEvent, ...]


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A line of `dropscribe notify list`: one event of a message. `uid` is None while a digest collects events."""

    id: int
    uid: str | None
    target: str
    kind: EventKind
    job_id: int | None
    state: MessageState
    at: float
    due_at: float
    tries: int
    ended_at: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """Events of a target that wait or could not be sent. `oldest_due_at`: of those that wait; None if none does."""

    pending: int
    failed: int
    oldest_due_at: float | None


def new_uid() -> str:
    """Identity of a message, by which its receiver recognises one that is sent again."""
    return f"msg_{uuid.uuid4().hex}"


class Outbox(Protocol):
    """Thread-safe; every method is one transaction and raises as those of `Ledger`. Instants are epoch seconds."""

    def claim(self, worker: str, now: float, lease_s: float, limits: Mapping[str, int]) -> list[Message]:
        """Lease messages that are due: of each target in `limits` at most so many, oldest first.

        The caller ends each (`sent`, `postpone`, `give_up`) or lets its lease expire. Digests that are due are closed: later
        events go into the next one.
        """

    def renew(self, ours: Sequence[Message], now: float, lease_s: float) -> None:
        """Renew the leases of these messages."""

    def sent(self, message: Message, now: float) -> bool:
        """Record that a message was accepted; False if it is not ours any more."""

    def postpone(self, message: Message, due_at: float, error: str) -> bool:
        """Return a message to the outbox, to be sent at `due_at`; False if it is not ours any more."""

    def give_up(self, message: Message, now: float, error: str) -> bool:
        """Record that a message is not sent any more; False if it is not ours any more."""

    def disable(self, target: str, now: float, reason: str) -> None:
        """Record that a target wants no more messages. Those that wait for it have failed, those to come fail when due."""

    def disabled(self) -> dict[str, str]:
        """Disabled targets, each with the reason."""

    def fail_pending(self, target: str, now: float, error: str) -> int:
        """Record that messages for a target that are due are not sent; returns the number of events."""

    def waiting_targets(self) -> set[str]:
        """Targets that messages wait for, whether or not they are configured."""

    def retry(self, now: float, *, target: str | None = None, ids: Sequence[int] = ()) -> int:
        """Let failed messages be sent again, by number of an event or by target (None: all); returns the number of events.

        A disabled target is enabled again.
        """

    def messages(
        self, *, states: Sequence[MessageState], target: str | None = None, limit: int = 50
    ) -> list[MessageSummary]:
        """Events in the outbox, the newest first."""

    def counts(self) -> dict[str, TargetCounts]:
        """Events that wait or could not be sent, by target."""

    def prune(self, now: float) -> int:
        """Delete what has been on record for long enough (`KEEP_SENT_S`, `KEEP_FAILED_S`), some hundreds at a time."""
