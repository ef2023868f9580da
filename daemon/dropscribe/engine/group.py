"""Several engines of one host behind the `LocalEngine` interface. Uses no device itself.

A stream's first block goes to the member with the most capacity, and all later ones to the same member, which has the
stream's VAD state. If a member dies, only its own streams fail, and it can be replaced.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from dropscribe.engine.protocol import (
    Abort,
    BlockFreed,
    Event,
    HeldModel,
    LocalEngine,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
)
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError
from dropscribe.transcript.types import EngineFacts


class StartingEngine(LocalEngine, Protocol):
    """A local engine that may still be loading its models."""

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the warm-up; true once it is done. Raises EngineError, EngineDiedError."""


class Member(StartingEngine, Protocol):
    """An engine that can be part of a group, such as `ProcessEngine`."""

    def dismiss(self) -> None:
        """Request the end of the engine, without waiting for it; the caller must call `close` next."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost member. `was_ready`: false if it was lost during its start."""

    index: int
    device: str
    reason: str
    was_ready: bool


@runtime_checkable
class ReplaceableMembers(Protocol):
    """An engine whose members can be replaced while the others continue."""

    def retire_stuck(self, now: float, *, hung_s: float, start_s: float) -> None:
        """End members without progress for `hung_s` seconds, or not ready after `start_s`; they count as lost."""

    def take_losses(self) -> list[Loss]:
        """Members lost since the last call; the caller decides whether to `fill` their places."""

    def fill(self, index: int, member: Member) -> None:
        """Put a member into an empty place; it gets streams once it is ready."""


@dataclass(slots=True, eq=False)
class MemberState:
    """A member's place in a group. Owned by the group's thread."""

    index: int
    device: str
    member: Member
    since: float  #: monotonic seconds
    fd: int = field(init=False)  #: stored, because `fileno` may fail after the member's death
    ready: bool = False
    #: Streams with at least one submitted block that have not ended.
    streams: set[int] = field(default_factory=set)
    #: Offsets of submitted blocks that are not freed yet.
    lent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fd = self.member.fileno()

    def poll_facts(self) -> EngineFacts | None:
        """Facts of the member; None until it is warm. Raises EngineError, EngineDiedError that name the device."""
        try:
            if not self.member.wait_ready(0.0):
                return None
        except EngineError as e:
            reason = f"{self.device}: {e.reason}"
            raise type(e)(reason, operation=e.operation, path=e.path, remedy=e.remedy) from e
        return self.member.facts

    def is_stuck(self, now: float, *, hung_s: float, start_s: float) -> bool:
        """True if it has work and made no progress for `hung_s` seconds, or is not ready after `start_s`."""
        return self.member.idle_s(now) > hung_s if self.ready else now - self.since > start_s


def check_alike(one: EngineFacts, other: EngineFacts) -> None:
    """Raise EngineError if two members have different models or package versions, and so may give different text."""
    if (one.models, one.versions) != (other.models, other.versions):
        has, has_other = (" and ".join(model for _, model in facts.models) for facts in (one, other))
        raise EngineError(
            f"{one.device} has {has}, {other.device} has {has_other}, or their packages differ in version",
            operation="start engine",
            remedy="restart the service, so that all devices load the same",
        )


def joint_facts(known: Sequence[EngineFacts]) -> EngineFacts:
    """Combine the facts of members with equal models: distinct devices and precisions, and the longest warm-up."""
    if not known:
        raise EngineError(
            "not ready yet", operation="ask the engine for its facts", remedy="wait until it is ready"
        )
    return replace(
        known[0],
        device=", ".join(dict.fromkeys(f.device for f in known)),
        precision=", ".join(sorted({f.precision for f in known})),
        warmup_s=max(f.warmup_s for f in known),
    )


class EngineGroup:
    """A `LocalEngine` of several members. Owned by one thread; call `wait_ready` before the first `submit`."""

    def __init__(self, members: Sequence[Member], devices: Sequence[str]) -> None:
        """Own `members`, ready or not; `close` closes them. `devices`: their names in messages, in the same order."""
        self._devices = tuple(devices)
        self._epoll = select.epoll()
        #: Makes the group's descriptor readable for events of the group itself.
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._rung = False
        self._closed = False
        self._epoll.register(self._bell, select.EPOLLIN)
        #: By index; None where a member was lost and not replaced.
        self._states: list[MemberState | None] = [None] * len(self._devices)
        self._by_fd: dict[int, MemberState] = {}
        self._of_stream: dict[int, MemberState] = {}
        #: Streams in `_of_stream` whose last block was submitted.
        self._complete: set[int] = set()
        #: Failed streams whose last block was not submitted yet: later blocks are only freed.
        self._failed: set[int] = set()
        #: Events of the group itself, for the next `results`.
        self._pending: list[Event] = []
        self._losses: list[Loss] = []
        #: Error of the most recently lost member.
        self._last_loss = EngineDiedError("the engine is closed", operation="recognise")
        #: Facts of every member that has been ready, by index.
        self._facts: dict[int, EngineFacts] = {}
        for index, member in enumerate(members):
            self.fill(index, member)

    @property
    def facts(self) -> EngineFacts:
        """Joint facts of all members that have been ready. Raises EngineError if none has been."""
        return joint_facts([self._facts[i] for i in sorted(self._facts)])

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """Models of all members, with equal states once."""
        return tuple(dict.fromkeys(one for state in self._ready() for one in state.member.held))

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the warm-up of all members; true once it is done.

        Raises EngineError if one cannot be started, EngineDiedError if one ended without an error message.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for state in self._by_fd.values():
                self._admit(state)
            if len(self._ready()) == len(self._states):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._epoll.poll(left)

    def submit(self, message: PcmBlock | Abort) -> None:
        """See `dropscribe.engine.protocol.Engine`. Raises EngineDiedError only when no member is left."""
        if not self._by_fd:
            raise self._died()
        if isinstance(message, Abort):
            self._abort(message)
        elif message.stream in self._failed:
            self._pending.append(BlockFreed(message.offset))
            if message.final:
                self._failed.discard(message.stream)
            self._ring()
        else:
            self._submit_block(message)

    def flush(self) -> None:
        """See `dropscribe.engine.protocol.Engine`. The next `results` tells of members that are gone."""
        for state in list(self._by_fd.values()):
            try:
                state.member.flush()
            except EngineDiedError as e:
                self._remove_member(state, f"{state.device}: {e.reason}", type(e))

    def results(self, timeout_s: float) -> Sequence[Event]:
        """See `dropscribe.engine.protocol.Engine`. Raises EngineDiedError only when no member is left."""
        self.flush()
        deadline = time.monotonic() + timeout_s
        events = self._take_pending()
        while self._by_fd:
            left = 0.0 if events else max(0.0, deadline - time.monotonic())
            for fd, _ in self._epoll.poll(left):
                if fd in self._by_fd:
                    events += self._events_of(self._by_fd[fd])
            events += self._take_pending()
            if events or time.monotonic() >= deadline:
                return events
        if not events:
            raise self._died()
        return events

    def capacity(self, stream: int | None = None) -> float:
        """See `dropscribe.engine.protocol.Engine`; for a stream without member, the largest capacity of a member."""
        state = None if stream is None else self._of_stream.get(stream)
        if state is not None:
            return state.member.capacity()
        return max((s.member.capacity() for s in self._ready()), default=0.0)

    def fileno(self) -> int:
        """See `dropscribe.engine.protocol.LocalEngine`."""
        return self._epoll.fileno()

    def idle_s(self, now: float) -> float:
        """Longest `idle_s` of a ready member, seconds."""
        return max((s.member.idle_s(now) for s in self._ready()), default=0.0)

    def close(self) -> None:
        """See `dropscribe.engine.protocol.Engine`."""
        if self._closed:
            return
        self._closed = True
        states = list(self._by_fd.values())
        self._by_fd.clear()
        self._pending.clear()
        # Requested of all members first, so that they release their devices in parallel.
        for state in states:
            state.member.dismiss()
        for state in states:
            state.member.close()
        self._epoll.close()
        os.close(self._bell)

    def fill(self, index: int, member: Member) -> None:
        """Put a member into an empty place; it gets streams once it is ready."""
        state = MemberState(index, self._devices[index], member, time.monotonic())
        self._states[index] = state
        self._by_fd[state.fd] = state
        self._epoll.register(state.fd, select.EPOLLIN)

    def take_losses(self) -> list[Loss]:
        """Members lost since the last call; the caller decides whether to `fill` their places."""
        losses, self._losses = self._losses, []
        return losses

    def retire_stuck(self, now: float, *, hung_s: float, start_s: float) -> None:
        """End members without progress for `hung_s` seconds, or not ready after `start_s`; they count as lost.

        `now`: a reading of the members' clock. Waits until they have ended.
        """
        for state in list(self._by_fd.values()):
            if state.is_stuck(now, hung_s=hung_s, start_s=start_s):
                waited_s = hung_s if state.ready else start_s
                self._remove_member(
                    state, f"{state.device}: no progress for {waited_s:.0f} s", DeviceFailedError
                )

    def _ready(self) -> list[MemberState]:
        return [s for s in self._by_fd.values() if s.ready]

    def _submit_block(self, block: PcmBlock) -> None:
        state = self._of_stream.get(block.stream)
        if state is None:
            state = self._roomiest()
            self._of_stream[block.stream] = state
            state.streams.add(block.stream)
        if block.final:
            self._complete.add(block.stream)
        state.lent.add(block.offset)
        self._submit_to(state, block)

    def _abort(self, message: Abort) -> None:
        stream = message.stream
        self._failed.discard(stream)
        self._pending = [e for e in self._pending if isinstance(e, BlockFreed) or e.stream != stream]
        state = self._of_stream.get(stream)
        if state is not None:
            self._end_stream(stream, state)
            self._submit_to(state, message)

    def _submit_to(self, state: MemberState, message: PcmBlock | Abort) -> None:
        try:
            state.member.submit(message)
        except EngineDiedError as e:
            self._remove_member(state, f"{state.device}: {e.reason}", type(e))

    def _roomiest(self) -> MemberState:
        ready = self._ready()
        if not ready:
            raise EngineError(
                "no device is ready", operation="recognise", remedy="submit only while there is capacity"
            )
        return max(ready, key=lambda s: s.member.capacity())

    def _events_of(self, state: MemberState) -> list[Event]:
        """Events that a member has sent. If it has died, it is removed, which adds events to `_pending`."""
        try:
            self._admit(state)
            return [self._record(state, e) for e in state.member.results(0)] if state.ready else []
        except EngineError as e:
            reason = e.reason if state.device in e.reason else f"{state.device}: {e.reason}"
            self._remove_member(state, reason, type(e) if isinstance(e, EngineDiedError) else EngineDiedError)
            return []

    def _admit(self, state: MemberState) -> None:
        """Mark a member as ready if it is warm. Raises EngineError if its models differ from those of other members."""
        if state.ready:
            return
        facts = state.poll_facts()
        if facts is None:
            return
        for known in self._facts.values():
            check_alike(facts, known)
        self._facts[state.index] = facts
        state.ready = True

    def _record(self, state: MemberState, event: Event) -> Event:
        match event:
            case BlockFreed():
                state.lent.discard(event.offset)
            case SegmentDone():
                # Each member numbers its own batches; this makes the number unique in the group.
                return event.in_batch(event.batch * len(self._states) + state.index)
            case StreamDone():
                self._end_stream(event.stream, state)
            case StreamFailed():
                if event.stream not in self._complete:
                    self._failed.add(event.stream)
                self._end_stream(event.stream, state)
        return event

    def _end_stream(self, stream: int, state: MemberState) -> None:
        state.streams.discard(stream)
        self._of_stream.pop(stream, None)
        self._complete.discard(stream)

    def _remove_member(self, state: MemberState, reason: str, kind: type[EngineDiedError]) -> None:
        """Close a member, fail its streams, free its blocks, and leave its place empty."""
        self._states[state.index] = None
        del self._by_fd[state.fd]
        self._epoll.unregister(state.fd)
        state.member.close()
        self._last_loss = kind(reason, operation="recognise")
        self._losses.append(Loss(state.index, state.device, reason, state.ready))
        self._failed |= state.streams - self._complete
        for stream in list(state.streams):
            self._end_stream(stream, state)
            self._pending.append(StreamFailed(stream, kind.code, reason, retryable=kind.retryable))
        self._pending += [BlockFreed(offset) for offset in state.lent]
        self._ring()

    def _ring(self) -> None:
        if not self._rung:
            os.eventfd_write(self._bell, 1)
            self._rung = True

    def _take_pending(self) -> list[Event]:
        events, self._pending = self._pending, []
        # Without members it stays readable, so that the owner calls `results` and gets the error.
        if self._rung and self._by_fd:
            os.eventfd_read(self._bell)
            self._rung = False
        return events

    def _died(self) -> EngineDiedError:
        last = self._last_loss
        return type(last)(
            last.reason, operation="recognise", remedy="it is replaced, and its jobs are tried again"
        )
