"""One of several engines of a host: where it sits, what it holds, how it fits the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from dropscribe.engine.protocol import LocalEngine
from dropscribe.errors import EngineError
from dropscribe.transcript.types import EngineFacts


class StartingEngine(LocalEngine, Protocol):
    """A local engine that may still be loading its models."""

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most so long for it to be warm; raises EngineError, EngineDiedError."""


class Member(StartingEngine, Protocol):
    """What a group is made of; `ProcessEngine` is one."""

    def dismiss(self) -> None:
        """Tell it to end without waiting for that; `close` follows."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A member that is no more. `was_ready` tells one that worked from one that never started."""

    index: int
    device: str
    reason: str
    was_ready: bool


@runtime_checkable
class ReplaceableMembers(Protocol):
    """What an engine offers beyond `StartingEngine` when its members can be replaced while the others go on."""

    def retire_stuck(self, now: float, *, hung_s: float, start_s: float) -> None:
        """End members without progress for `hung_s`, or not ready after `start_s`, as if they had died."""

    def take_losses(self) -> list[Loss]:
        """Members lost since the last call; the caller decides whether to `fill` their places."""

    def fill(self, index: int, member: Member) -> None:
        """Put a member where none is; it gets streams once it is ready."""


@dataclass(slots=True, eq=False)
class MemberState:
    """A member's place in a group. Owned by the group's thread."""

    index: int
    device: str
    member: Member
    since: float  #: monotonic seconds
    fd: int = field(init=False)  #: kept, since a member that is gone may have none any more
    ready: bool = False
    #: Streams that were given blocks and have not ended.
    streams: set[int] = field(default_factory=set)
    #: Offsets of blocks it has not given back.
    lent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fd = self.member.fileno()

    def look(self) -> EngineFacts | None:
        """What it is, once it is warm. Raises EngineError, EngineDiedError, with the device in the reason."""
        try:
            if not self.member.wait_ready(0.0):
                return None
        except EngineError as e:
            reason = f"{self.device}: {e.reason}"
            raise type(e)(reason, operation=e.operation, path=e.path, remedy=e.remedy) from e
        return self.member.facts

    def is_stuck(self, now: float, *, hung_s: float, start_s: float) -> bool:
        """Whether it holds work without progress for `hung_s`, or is not ready after `start_s`."""
        return self.member.idle_s(now) > hung_s if self.ready else now - self.since > start_s


def check_alike(one: EngineFacts, other: EngineFacts) -> None:
    """Raises EngineError when two members would not say the same of a recording."""
    if (one.models, one.versions) != (other.models, other.versions):
        has, has_other = (" and ".join(model for _, model in facts.models) for facts in (one, other))
        raise EngineError(
            f"{one.device} has {has}, {other.device} has {has_other}, or their packages differ in version",
            operation="start engine",
            remedy="restart the service, so that all devices load the same",
        )


def joint_facts(known: Sequence[EngineFacts]) -> EngineFacts:
    """Facts of members that are alike: devices and precisions listed, each once; the slowest's warm-up."""
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
