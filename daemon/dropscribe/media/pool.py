"""Pool of decoder processes that survives the failure of any of them."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

from dropscribe.children import Ended
from dropscribe.config import MediaSettings
from dropscribe.errors import DecoderDiedError, DecoderKilledError, MediaLimitError, UnansweredError
from dropscribe.media.child import DISK_S, Child
from dropscribe.media.protocol import (
    DecodeDone,
    DecodeEvent,
    DecodeFailed,
    DecodeOrder,
    Opened,
    PartBegun,
    PcmReady,
    SlotWanted,
)
from dropscribe.media.wire import Failed, Finished, Ready, Terms

#: Files that a child decodes before it is replaced, which limits memory leaks of decoding libraries.
MAX_FILES = 500

#: Growth of a child's private memory at which it is replaced, bytes.
MAX_GROWTH_BYTES = 200 * 1024 * 1024

#: Time limit for loading the libraries of a child, seconds; a cold, busy disk is slow.
_START_S = 120.0

#: Consecutive children that end before they are ready at which the installation counts as broken.
_FAILED_STARTS = 4


class DecoderPool:
    """`Decoders` with `workers` spawned processes. Owned by one thread; not thread-safe.

    - If a decoder waits for its file system longer than `DISK_S`, its order fails with `unanswered`, for which the
      recording is not to blame.
    - If a decoder with slots sends nothing for `settings.stall_s` seconds, its order fails; time spent waiting for a
      slot does not count.
    - A decoder that has died or been killed is replaced at once.
    """

    def __init__(
        self,
        arena_fd: int,
        slot_bytes: int,
        *,
        workers: int,
        settings: MediaSettings,
        clock: Callable[[], float],
    ) -> None:
        """`arena_fd`: shared memory of slots of `slot_bytes`; must stay open as long as the pool.

        Raises DecoderDiedError if no process can be started.
        """
        self._arena_fd = arena_fd
        self._slot_bytes = slot_bytes
        self._settings = settings
        self._clock = clock
        self._terms = Terms(slot_bytes, settings.memory_mb, settings.max_hours)
        self._children: list[Child] = []
        #: Killed children that have not ended, because a file system that does not respond blocks them.
        self._ending: list[Child] = []
        #: Poll object over the pipes of all children.
        self._pipes = select.poll()
        self._failed_starts = 0
        #: Decoders started in place of others.
        self.replaced = 0
        #: Events for the next `poll`; empty between calls unless a call raised.
        self._events: list[DecodeEvent] = []
        try:
            while len(self._children) < workers:
                self._children.append(self._spawn())
        except BaseException:
            self.close()
            raise

    def idle(self) -> int:
        """Number of decoders that can start an order immediately."""
        return sum(child.order is None for child in self._children)

    def start(self, order: DecodeOrder, slots: Sequence[int], now: float) -> None:
        """Give the order to an idle decoder, which must exist. Raises DecoderDiedError if none can be started."""
        # A decoder that has loaded its libraries is preferred to one that is starting.
        child = min((c for c in self._children if c.order is None), key=lambda c: not c.ready)
        for _ in range(_FAILED_STARTS):
            if child.begin(order, slots, now):
                return
            child = self._replace(child)
        raise _broken("ended at once")

    def give(self, ticket: int, slots: Sequence[int]) -> None:
        """Give further slots to the decoder of `ticket`; ignored if the order has ended."""
        child = self._of(ticket)
        if child is not None:
            child.give(slots, self._clock())

    def abort(self, ticket: int) -> Sequence[int]:
        """Kill the decoder of this order; returns its slots. No further event of the ticket follows."""
        self._events = [e for e in self._events if e.ticket != ticket]
        child = self._of(ticket)
        if child is None:
            return ()
        slots = child.release()
        self._replace(child)
        return slots

    def filenos(self) -> Sequence[int]:
        """Descriptors that become readable when `poll` has events; each `poll` may change them."""
        return [child.pipe.fileno() for child in self._children]

    def poll(self, now: float) -> Sequence[DecodeEvent]:
        """Events that have arrived, without waiting; stops decoders past their time limit and replaces dead ones.

        Raises DecoderDiedError if decoders cannot be started, because the installation is broken.
        """
        if self._ending:
            self.ended()
        readable = {fd for fd, _ in self._pipes.poll(0)}
        for child in tuple(self._children):
            messages, alive = child.messages() if child.pipe.fileno() in readable else ((), True)
            if messages:
                child.alive_at = now
            # Stops at the first false: the child was replaced, and its later messages belong to no decode order any more.
            wanted = all(self._take(child, message) for message in messages)
            if not alive:
                self._lost(child)
            elif not wanted:
                self._replace(child)
            else:
                self._check(child, now)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Stop all decoders, without waiting for any that a file system blocks; may be called twice."""
        while self._children:
            self._remove(self._children[-1])

    def ended(self) -> bool:
        """True if all stopped decoders have ended."""
        self._ending = [child for child in self._ending if not child.ended()]
        return not self._ending

    def _take(self, child: Child, message: Any) -> bool:
        """Handle one message; false if the child must be replaced."""
        match message:
            case Ready():
                child.ready, child.first_private = True, message.private_bytes
                self._failed_starts = 0
            case Opened() | PartBegun():
                self._events.append(message)
            case SlotWanted():
                child.starved = True
                self._events.append(message)
            case PcmReady():
                return self._take_pcm(child, message)
            case Finished():
                unused = child.release()
                self._events.append(DecodeDone(message.ticket, message.facts, message.decode_s, unused))
                return self._fresh(child, message.private_bytes)
            case Failed():
                self._fail(child, message.code, message.reason, message.remedy, retryable=message.retryable)
                return not message.leaving and self._fresh(child, message.private_bytes)
        return True

    def _take_pcm(self, child: Child, message: PcmReady) -> bool:
        if message.offset in child.held and 0 < message.samples <= self._slot_bytes // 2:
            child.held.remove(message.offset)
            self._events.append(message)
            return True
        if child.order is not None:
            # The child's memory is damaged; accepting a slot that it does not own would corrupt other recordings.
            self._died(child, Ended("wrote where it was not allowed to", killed=False))
        return False

    def _check(self, child: Child, now: float) -> None:
        """Stop and replace a child past a time limit."""
        silent_s = now - child.alive_at
        if not child.ready:
            if silent_s > _START_S:
                self._lost(child, Ended("did not start", killed=False))
        elif child.order is None or child.starved:
            return
        elif child.waits_for_disk(now):
            self._fail(
                child,
                UnansweredError.code,
                f"its file system has not answered for {DISK_S:.0f} s",
                "see to the disk or the network share; the recording is tried again by itself",
                retryable=UnansweredError.retryable,
            )
            self._replace(child)
        elif silent_s > self._settings.stall_s:
            self._fail(
                child,
                MediaLimitError.code,
                f"decoding it brought nothing for {self._settings.stall_s:g} s",
                "if it lies on very slow storage, raise [media] stall_s",
                retryable=MediaLimitError.retryable,
            )
            self._replace(child)

    def _lost(self, child: Child, how: Ended | None = None) -> None:
        """Fail the order of a child that is gone or did not start, and replace the child."""
        ended = child.find_end() if how is None else how
        self._remove(child)
        if child.order is not None:
            self._died(child, ended)
        if not child.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise _broken(ended.how)
        self._children.append(self._spawn())
        self.replaced += 1

    def _died(self, child: Child, ended: Ended) -> None:
        kind = DecoderKilledError if ended.killed else DecoderDiedError
        self._fail(
            child,
            kind.code,
            f"the decoder process {ended.how}",
            "if it happens again, the recording is damaged or memory is short",
            retryable=kind.retryable,
        )

    def _fail(self, child: Child, code: str, reason: str, remedy: str, *, retryable: bool) -> None:
        assert child.order is not None
        ticket = child.order.ticket
        self._events.append(DecodeFailed(ticket, code, reason, remedy, retryable, child.release()))

    def _fresh(self, child: Child, private_bytes: int) -> bool:
        child.files += 1
        return child.files < MAX_FILES and private_bytes - child.first_private < MAX_GROWTH_BYTES

    def _replace(self, child: Child) -> Child:
        self._remove(child)
        fresh = self._spawn()
        self.replaced += 1
        self._children.append(fresh)
        return fresh

    def _remove(self, child: Child) -> None:
        self._pipes.unregister(child.pipe.fileno())
        self._children.remove(child)
        if not child.has_ended():
            self._ending.append(child)

    def _spawn(self) -> Child:
        try:
            child = Child(self._arena_fd, self._terms, self._clock())
        except OSError as e:
            raise DecoderDiedError(
                f"no process can be started: {e.strerror}",
                operation="starting decoders",
                remedy="look at the limits on processes and memory of the service",
            ) from e
        self._pipes.register(child.pipe.fileno(), select.POLLIN)
        return child

    def _of(self, ticket: int) -> Child | None:
        return next((c for c in self._children if c.order is not None and c.order.ticket == ticket), None)


def _broken(how: str) -> DecoderDiedError:
    return DecoderDiedError(
        f"decoder processes do not start: the last one {how}",
        operation="starting decoders",
        remedy="run `dropscribe doctor`; check that soundfile, av and soxr are installed",
    )
