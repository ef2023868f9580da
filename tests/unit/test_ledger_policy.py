"""The parts of the ledger that need no database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dropscribe.escapes import readable
from dropscribe.ledger.columns import below, path_of, raw, storable
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.jobs import transitions
from dropscribe.ledger.sql.ledger import SqlLedger
from dropscribe.ledger.sql.sqlite.db import wal_bug_warning


def test_the_implementation_offers_what_the_protocol_states_and_no_more() -> None:
    def public(of: type) -> set[str]:
        return {name for name in vars(of) if not name.startswith("_")}

    # Attributes that are set by the constructor are not in the class.
    assert public(SqlLedger) | {"backup", "keeping"} == public(Ledger)


def test_final_states_have_no_transitions() -> None:
    final = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}
    assert {state for state, targets in transitions.LEGAL.items() if not targets} == final
    for target in JobState:
        assert not final & set(transitions.sources(target))


def test_done_and_failed_are_reached_from_running_only() -> None:
    assert transitions.sources(JobState.DONE) == (JobState.RUNNING,)
    assert transitions.sources(JobState.FAILED) == (JobState.RUNNING,)


def test_a_transition_without_a_check_of_the_old_state_is_refused() -> None:
    with pytest.raises(ValueError, match="legal"):
        transitions.transition(JobState.DONE, "UPDATE jobs SET state = 'done'")


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.53.4", False),
    ],
)
def test_the_wal_bug_is_known_by_version(version: str, *, warned: bool) -> None:
    said = wal_bug_warning(version)
    assert (said is not None) is warned
    if said is not None:
        assert version in said
        assert "pysqlite3" in said


@pytest.mark.parametrize("name", [b"/in/plain.wav", "/in/会议.wav".encode(), b"/in/\xff\xfe odd\n.wav"])
def test_any_path_round_trips(name: bytes) -> None:
    path = Path(os.fsdecode(name))
    assert path_of(raw(path)) == path
    readable(path).encode("utf-8")


def test_odd_bytes_are_readable() -> None:
    assert readable(Path(os.fsdecode(b"/in/\xff.wav"))) == "/in/\\xff.wav"
    assert storable("cannot read " + os.fsdecode(b"\xff.wav")).encode("utf-8")
    assert storable("预算") == "预算"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/in/a", True),
        ("/in/a/b", True),
        ("/in", False),
        ("/in-other/a", False),
        ("/in0", False),
        ("/other", False),
    ],
)
def test_below_a_folder(path: str, *, inside: bool) -> None:
    first, last = below(Path("/in"))
    assert (first <= raw(Path(path)) < last) is inside


def test_everything_is_below_the_root() -> None:
    first, last = below(Path("/"))
    assert first <= b"/in/a" < last
