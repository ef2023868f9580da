"""Claim messages, send them on threads, and record what became of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from dropscribe import logs
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.outbox import Message
from dropscribe.notify import targets
from dropscribe.notify.payload import content_of
from dropscribe.notify.schedule import Again, Answer, Done, GiveUp, decide, pause_s
from dropscribe.notify_settings import NotifySettings

#: Length of a lease and interval of its renewal, seconds.
LEASE_S = 60.0
RENEW_S = 15.0
#: Interval of deleting what has been on record for long enough, seconds.
PRUNE_S = 600.0
#: Messages of a target, and of all targets, that are being sent at a time.
AT_ONCE, THREADS = 4, 16


@dataclass(slots=True)
class _Health:
    """Tries of a target that failed in a row, and the end of its pause (epoch seconds)."""

    failures: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Sending:
    message: Message
    future: Future[Answer]


@dataclass(slots=True)
class Sender:
    """Sends the messages of an outbox. Owned by one thread; only tries run on others.

    A message that was accepted and not yet recorded when the sender is killed is sent again under the same identity.
    """

    ledger: Ledger
    settings: Mapping[str, NotifySettings]
    worker: str
    now: Callable[[], float]  #: epoch seconds
    chance: Callable[[], float]  #: at random, from 0 to 1
    #: Called when a try has ended, by any thread.
    wake: Callable[[], None]
    _sending: dict[str, _Sending] = field(default_factory=dict)
    #: Passed by what is being sent; what was claimed beyond these waits.
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(THREADS))
    _health: dict[str, _Health] = field(default_factory=dict)
    _next_renewal: float = 0.0
    _next_prune: float = 0.0

    @property
    def busy(self) -> int:
        """Number of messages that are being sent."""
        return len(self._sending)

    def turn(self, *, claiming: bool = True) -> None:
        """Record the tries that have ended, and start those that are due. Raises StorageError; call again then."""
        self._record()
        now = self.now()
        self._renew(now)
        if not claiming:
            return
        self._fail_unsendable(now)
        if now >= self._next_prune:
            self._next_prune = now + PRUNE_S
            self.ledger.outbox.prune(now)
        for message in self.ledger.outbox.claim(self.worker, now, LEASE_S, self._limits(now)):
            self._sending[message.uid] = _Sending(
                message, self._start(self.settings[message.target], message)
            )

    def settle(self, timeout_s: float) -> None:
        """Wait until the tries under way have ended, at most `timeout_s` seconds, and record them.

        Those that have not are left to the end of the process, which does not wait for them, their messages to their leases.
        """
        wait([s.future for s in self._sending.values()], timeout_s)
        self._record()

    def _limits(self, now: float) -> dict[str, int]:
        """How many messages of each target may be started. Paused ones get none, then one until a try succeeds."""
        limits = {}
        for name in self.settings:
            health = self._health.get(name, _Health())
            most = 1 if health.failures else AT_ONCE
            under_way = sum(s.message.target == name for s in self._sending.values())
            paused = now < health.until <= now + pause_s(10)
            limits[name] = 0 if paused else max(0, min(most - under_way, THREADS - self.busy))
        return limits

    def _start(self, target: NotifySettings, message: Message) -> Future[Answer]:
        """Begin a try. Python waits at its end for the threads of a pool, however long these take; not for this one."""
        future: Future[Answer] = Future()

        def work() -> None:
            try:
                with self._slots:
                    future.set_result(self._try(target, message))
            except Exception as e:
                future.set_exception(e)
            self.wake()

        threading.Thread(target=work, name=f"send {message.uid}", daemon=True).start()
        return future

    def _try(self, target: NotifySettings, message: Message) -> Answer:
        content = content_of(message, self._text if target.text else lambda _: None)
        return targets.send(target, message.uid, content, self.now())

    def _text(self, job: int) -> str | None:
        stored = self.ledger.stored_result(job)
        return None if stored is None else "\n".join(s.text for s in stored.segments if s.text)

    def _record(self) -> None:
        for uid, sending in list(self._sending.items()):
            if sending.future.done():
                error = sending.future.exception()
                answer = (
                    sending.future.result()
                    if error is None
                    else Answer(accepted=False, reason=f"unexpected {type(error).__name__}")
                )
                self._put_on_record(sending.message, answer)
                del self._sending[uid]

    def _put_on_record(self, message: Message, answer: Answer) -> None:
        now = self.now()
        target = self.settings[message.target]
        outbox = self.ledger.outbox
        decision = decide(answer, message.tries, target.tries, now, self.chance())
        match decision:
            case Done():
                ours = outbox.sent(message, now)
            case Again(due_at):
                ours = outbox.postpone(message, due_at, answer.reason)
            case GiveUp(disable):
                ours = outbox.give_up(message, now, answer.reason)
                if disable:
                    outbox.disable(message.target, now, answer.reason)
        if ours:
            self._log(message, answer, decision, now)
        health = self._health.setdefault(message.target, _Health())
        health.failures = 0 if answer.accepted else health.failures + 1
        health.until = now + pause_s(health.failures)

    def _log(self, message: Message, answer: Answer, decision: Again | Done | GiveUp, now: float) -> None:
        log = logs.get("notify")
        keys = {"target": message.target, "uid": message.uid, "tries": message.tries}
        what = f"{message.target}: {message.uid}"
        match decision:
            case Done():
                logs.event(log, logs.Action.NOTIFY, f"{what}: sent", **keys)
            case Again(due_at):
                said = f"{what}: not sent: {answer.reason}; tried again in {due_at - now:.0f} s"
                logs.problem(log, logs.Action.NOTIFY, said, **keys)
            case GiveUp(disable):
                then = "the target is disabled" if disable else "given up"
                logs.problem(
                    log, logs.Action.NOTIFY, f"{what}: not sent: {answer.reason}; {then}",
                    remedy=f"'dropscribe notify retry --target {message.target}' sends it again", **keys,
                )  # fmt: skip

    def _renew(self, now: float) -> None:
        if self._sending and not self._next_renewal - RENEW_S <= now < self._next_renewal:
            self.ledger.outbox.renew([s.message for s in self._sending.values()], now, LEASE_S)
            self._next_renewal = now + RENEW_S

    def _fail_unsendable(self, now: float) -> None:
        """End messages for targets that want none, or that the settings do not name any more."""
        outbox = self.ledger.outbox
        disabled = outbox.disabled()
        for name in outbox.waiting_targets():
            if name not in self.settings:
                outbox.fail_pending(name, now, "the settings have no target of this name")
            elif name in disabled:
                outbox.fail_pending(name, now, f"the target is disabled: {disabled[name]}")
