"""Folders of the same priority take turns by weight; nobody starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.ledger.control import FolderTerms
from dropscribe.ledger.fair_shares import Candidate, FairShares


class Queues:
    """Queues of folders, from which chosen jobs are taken."""

    def __init__(self, **jobs: int) -> None:
        self.of = {
            name.encode(): [Candidate(i * 1_000_000 + n, 0, 0) for n in range(count)]
            for i, (name, count) in enumerate(jobs.items(), start=1)
        }
        self.shares = FairShares()

    def choose(self, limit: int, terms: Mapping[bytes, FolderTerms] | None = None) -> list[str]:
        """Names of the folders chosen from, in order."""
        queues: dict[bytes, Iterator[Candidate]] = {f: iter(q) for f, q in self.of.items()}
        chosen = self.shares.choose(queues, terms or {}, limit)
        names = [next(f for f, q in self.of.items() if any(c.job == job for c in q)) for job in chosen]
        self.of = {f: [c for c in q if c.job not in set(chosen)] for f, q in self.of.items()}
        return [n.decode() for n in names]


def test_a_folder_of_thousands_does_not_starve_another() -> None:
    queues = Queues(large=2_000, small=3)
    assert Counter(queues.choose(6)) == {"large": 3, "small": 3}


def test_a_folder_that_comes_later_has_its_turn_at_once_and_does_not_catch_up() -> None:
    queues = Queues(large=500)
    queues.choose(300)
    queues.of[b"late"] = [Candidate(n, 0, 0) for n in range(100)]
    # The turn of the large one has just been.
    assert Counter(queues.choose(21)) == {"large": 10, "late": 11}


def test_turns_go_on_over_claims_of_one() -> None:
    queues = Queues(a=20, b=20, c=20)
    assert Counter(queues.choose(1)[0] for _ in range(30)) == {"a": 10, "b": 10, "c": 10}


def test_a_share_of_two_has_two_turns() -> None:
    queues = Queues(a=100, b=100)
    assert Counter(queues.choose(30, {b"a": FolderTerms(weight=2.0)})) == {"a": 20, "b": 10}


def test_priorities_come_before_turns_and_what_could_not_be_published_after_all() -> None:
    queues = Queues(a=0, b=0)
    queues.of[b"a"] = [Candidate(1, 0, 0), Candidate(2, 1, 9)]
    queues.of[b"b"] = [Candidate(3, 0, 5), Candidate(4, 0, 5), Candidate(5, 0, 0)]
    assert queues.choose(9) == ["b", "b", "a", "b", "a"]


def test_a_limit_of_a_folder_is_kept() -> None:
    assert Counter(Queues(a=10, b=10).choose(9, {b"a": FolderTerms(most=2)})) == {"a": 2, "b": 7}


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    limits=st.lists(st.integers(1, 5), min_size=1, max_size=40),
)
def test_every_job_is_chosen_once_and_equal_folders_stay_within_one_turn(
    lengths: list[int], limits: list[int]
) -> None:
    queues = Queues(**{f"f{n}": length for n, length in enumerate(lengths)})
    total = sum(lengths)
    taken: Counter[str] = Counter()
    for limit in limits:
        waiting = {f.decode() for f, q in queues.of.items() if q}
        chosen = queues.choose(limit)
        taken.update(chosen)
        assert len(chosen) == min(limit, total - taken.total() + len(chosen))
        still = [taken[f] for f in waiting if queues.of[f.encode()]]
        assert not still or max(still) - min(still) <= 1
