"""When a message is sent again: policy."""

from __future__ import annotations

from dataclasses import dataclass

#: Delay of each try after the one before, seconds (Standard Webhooks, "Deliverability and reliability").
DELAYS_S = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
#: Longest time by which a delay is lengthened at random, as a share of it: targets that were away are not all tried at once.
SPREAD = 0.2
#: Longest delay that a receiver can ask for, seconds.
LONGEST_S = 86_400.0
#: Longest pause of a target after tries that failed, seconds: while it is away, its messages are not all tried.
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a target to one try. `reason`: for people; "" if it was accepted."""

    accepted: bool
    reason: str = ""
    #: Time after which it may be tried again, as the receiver asks, seconds.
    retry_after_s: float | None = None
    #: The receiver wants no more messages at all.
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """To be tried again at `due_at`, epoch seconds."""

    due_at: float


@dataclass(frozen=True, slots=True)
class Done:
    """Accepted."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Not to be tried again; with `disable` no other message of its target either."""

    disable: bool = False


Decision = Again | Done | GiveUp


def decide(answer: Answer, tries: int, limit: int, now: float, chance: float) -> Decision:
    """What becomes of a message after `tries` tries of at most `limit`; `chance`: at random, from 0 to 1."""
    if answer.accepted:
        return Done()
    if answer.gone:
        return GiveUp(disable=True)
    if tries >= min(limit, len(DELAYS_S)):
        return GiveUp()
    delay_s = DELAYS_S[tries] * (1 + SPREAD * chance)
    asked_s = min(answer.retry_after_s or 0.0, LONGEST_S)
    return Again(now + max(delay_s, asked_s))


def pause_s(failures: int) -> float:
    """Pause of a target after so many tries in a row failed, seconds."""
    return min(2.0 ** min(failures, 10), LONGEST_PAUSE_S) if failures else 0.0
