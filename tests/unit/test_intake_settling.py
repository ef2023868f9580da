"""Completeness of a file, for any behaviour of writers and clocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.config import Folder
from dropscribe.files import FileSignature
from dropscribe.intake.settling import Candidate, Complete, Decision, Inspect, Refuse, Settling, Wait, Writer
from dropscribe.intake.types import Completeness

QUIET, UNPROBED, CUT = 2.0, 10.0, 30.0
FULL = FileSignature(1000, 5, 7)


def settling(**values: float) -> Settling:
    rules = {"quiet_s": QUIET, "quiet_unprobed_s": UNPROBED, "incomplete_s": CUT, **values}
    return Settling(Folder.model_validate({"path": Path("/in"), **rules}))


def decide(
    now: float,
    *,
    signature: FileSignature = FULL,
    writer: Writer = Writer.FREE,
    marked: bool = True,
    completeness: Completeness | None = Completeness.UNKNOWN,
) -> Decision:
    """Decision for a file first seen at 100 s and unchanged since."""
    return settling().decide(
        Candidate(signature, 100.0, 100.0), now, writer=writer, marked=marked, completeness=completeness
    )


def waits(decision: Decision) -> tuple[float, str]:
    """Until when, and the code of the reason."""
    assert isinstance(decision, Wait)
    return decision.until, decision.reason.code


@pytest.mark.parametrize("whole", [Completeness.UNKNOWN, Completeness.WHOLE])
def test_complete_after_the_quiet_period_without_a_writer(whole: Completeness) -> None:
    assert waits(decide(101.9, completeness=whole)) == (102.0, "quiet")
    assert decide(102.0, completeness=whole) == Complete()


def test_longer_quiet_period_if_writers_cannot_be_detected() -> None:
    assert waits(decide(109.9, writer=Writer.UNKNOWN)) == (110.0, "quiet")
    assert decide(110.0, writer=Writer.UNKNOWN) == Complete()


def test_the_period_without_a_probe_is_never_the_shorter_one() -> None:
    rules = settling(quiet_s=20.0, quiet_unprobed_s=1.0)
    decision = rules.decide(Candidate(FULL, 100.0, 100.0), 105.0, writer=Writer.UNKNOWN, marked=True)
    assert waits(decision) == (120.0, "quiet")


@pytest.mark.parametrize("hours", [0.01, 1, 24, 1000])
def test_there_is_no_limit_on_waiting_for_a_writer(hours: float) -> None:
    now = 100.0 + hours * 3600
    decision = decide(now, writer=Writer.BUSY)
    until, code = waits(decision)
    assert until > now
    assert code == "open"


def test_a_truncated_file_has_more_time() -> None:
    assert decide(103.0, completeness=None) == Inspect()
    assert waits(decide(103.0, completeness=Completeness.INCOMPLETE)) == (130.0, "cut_short")
    assert decide(130.0, completeness=Completeness.INCOMPLETE) == Complete()
    assert decide(130.0, completeness=None) == Inspect()


def test_an_empty_file_is_refused_once_quiet() -> None:
    empty = FileSignature(0, 5, 7)
    assert waits(decide(101.0, signature=empty)) == (102.0, "quiet")
    refused = decide(102.0, signature=empty)
    assert isinstance(refused, Refuse)
    assert refused.code == "empty"
    assert isinstance(decide(500.0, signature=empty, writer=Writer.BUSY), Wait)


def test_a_file_that_changed_since_it_was_first_seen_is_still_changing() -> None:
    rules = settling()
    first = rules.observe(None, FULL, 100.0)
    later = rules.observe(first, FULL._replace(size=2000), 105.0)
    assert rules.quiet(first).code == "quiet"
    assert rules.quiet(later).code == "changing"
    assert "2 s" in rules.quiet(later).text
    assert waits(rules.decide(later, 106.0, writer=Writer.UNKNOWN, marked=True)) == (115.0, "changing")


def test_without_its_marker_a_file_waits_for_ever() -> None:
    assert waits(decide(1e9, marked=False)) == (math.inf, "done_marker")


@dataclass(frozen=True)
class Step:
    """An event, and the state of the file afterwards."""

    after: float
    changes: bool
    writer: Writer
    mtime: int


steps = st.lists(
    st.builds(
        Step,
        after=st.floats(0, 40, allow_nan=False),
        changes=st.booleans(),
        writer=st.sampled_from(Writer),
        # mtime comes from another clock: past, future, going back.
        mtime=st.integers(-(2**40), 2**62),
    ),
    min_size=1,
    max_size=30,
)


def test_text_is_refused_once_it_is_complete() -> None:
    assert waits(decide(101.0, completeness=Completeness.TEXT)) == (102.0, "quiet")
    for now in (102.0, 1000.0):
        refused = decide(now, completeness=Completeness.TEXT)
        assert isinstance(refused, Refuse)
        assert refused.code == "text"


@given(steps, st.sampled_from(sorted(set(Completeness) - {Completeness.TEXT}, key=str)), st.booleans())
def test_a_file_is_never_complete_early_and_never_stuck(
    history: list[Step], completeness: Completeness, marked: bool
) -> None:
    rules = settling()
    now, size, mtime = 0.0, 1, 0
    candidate: Candidate | None = None
    changed_at = 0.0
    for step in history:
        now += step.after
        if step.changes or candidate is None:
            size, mtime = size + 1, step.mtime
            changed_at = now
        candidate = rules.observe(candidate, FileSignature(size, mtime, 1), now)
        assert rules.ripe(candidate) == changed_at + QUIET
        decision = rules.decide(candidate, now, writer=step.writer, marked=marked, completeness=completeness)
        needed = QUIET if step.writer is Writer.FREE else UNPROBED
        if completeness is Completeness.INCOMPLETE:
            needed = CUT
        if decision == Complete():
            assert step.writer is not Writer.BUSY
            assert marked
            assert now - changed_at >= needed - 1e-9
        else:
            assert isinstance(decision, Wait)
            assert decision.until > now
            # Only the documented rules may delay a file.
            held = step.writer is Writer.BUSY or not marked or now < changed_at + needed
            assert held
    # Without further events the file becomes complete if it is checked at each returned time.
    for _ in range(4):
        assert candidate is not None
        decision = rules.decide(candidate, now, writer=Writer.FREE, marked=True, completeness=completeness)
        if decision == Complete():
            break
        assert isinstance(decision, Wait)
        now = decision.until
    else:
        raise AssertionError("it is never complete")


@given(st.lists(st.tuples(st.floats(0, 100, allow_nan=False), st.integers(0, 2)), min_size=1, max_size=20))
def test_the_first_observation_is_kept_and_quiet_restarts_at_each_change(
    observations: list[tuple[float, int]],
) -> None:
    candidate: Candidate | None = None
    now = 0.0
    seen: list[tuple[float, int]] = []
    for after, size in observations:
        now += after
        candidate = Settling.observe(candidate, FileSignature(size, 0, 0), now)
        if not seen or seen[-1][1] != size:
            seen.append((now, size))
    assert candidate == Candidate(FileSignature(seen[-1][1], 0, 0), seen[-1][0], observations[0][0])
