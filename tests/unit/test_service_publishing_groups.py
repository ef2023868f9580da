"""Jobs are published together when that saves commits, and wait for nothing else."""

from __future__ import annotations

from pathlib import Path

from dropscribe.service.publishing.groups import Groups

A, B = Path("/a"), Path("/b")


def due(groups: Groups[str], *, everything: bool = False) -> list[str]:
    return [item for _, item in groups.due(everything=everything)]


def test_a_job_goes_at_once_and_others_gather_until_a_group_is_published() -> None:
    groups: Groups[str] = Groups(2)
    for job, name in enumerate("abcde"):
        groups.add(A, job, name)
        assert due(groups) == ([name] if job < 2 else [])
    groups.ended([0])
    assert due(groups) == ["c", "d", "e"]
    groups.ended([2, 3])
    groups.add(A, 5, "f")
    assert due(groups) == [], "a group is under way until its last job has ended"
    groups.ended([4])
    assert due(groups) == ["f"]


def test_a_location_waits_for_no_other_one() -> None:
    groups: Groups[str] = Groups(1)
    groups.add(A, 1, "a")
    assert due(groups) == ["a"]
    groups.add(A, 2, "a2")
    groups.add(B, 3, "b")
    assert due(groups) == ["b"]
    groups.unlimited = frozenset({A})
    assert due(groups) == ["a2"], "its file system does not answer: the lanes count what waits for it"


def test_a_stop_passes_on_everything_and_jobs_that_are_unknown_change_nothing() -> None:
    groups: Groups[str] = Groups(1)
    for job, name in enumerate("abc"):
        groups.add(A, job, name)
        assert due(groups, everything=True) == [name]
    groups.ended([7, 0, 0, 1, 2])
    groups.add(A, 8, "d")
    assert due(groups) == ["d"]
