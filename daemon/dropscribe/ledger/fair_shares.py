"""Divide claims among folders: higher priorities first, and folders of the same priority in turn, by weight.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each folder has a tag, its virtual time; the folder with the least tag
has the next turn, which moves its tag by 1 / weight. A folder that was idle starts at the time of the others, so that it
neither waits for a long queue of another folder nor catches up on what it did not use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dropscribe.ledger.control import FolderTerms

_DEFAULT = FolderTerms()


class Candidate(NamedTuple):
    """A job that may be claimed, and what decides its place in the queue."""

    job: int
    unpublished: int
    priority: int

    @property
    def rank(self) -> tuple[int, int]:
        """Lower ones are claimed first: jobs that could not be published after all others, then by priority."""
        return self.unpublished, -self.priority


class FairShares:
    """Whose turn it is. It is not on record: after a restart the turns begin anew."""

    def __init__(self) -> None:
        self._tags: dict[bytes, float] = {}
        self._time = 0.0

    def choose(
        self, queues: Mapping[bytes, Iterator[Candidate]], terms: Mapping[bytes, FolderTerms], limit: int
    ) -> list[int]:
        """Take up to `limit` jobs from the queues of folders, each in order of rank; in the order of their turns."""
        heads = {folder: head for folder, queue in queues.items() if (head := next(queue, None)) is not None}
        left = {folder: terms.get(folder, _DEFAULT).most for folder in heads}
        self._tags = {folder: tag for folder, tag in self._tags.items() if tag > self._time}
        chosen: list[int] = []
        while heads and len(chosen) < limit:
            folder = min(heads, key=lambda f: (heads[f].rank, self._start(f), heads[f].job))
            chosen.append(heads.pop(folder).job)
            # Of a folder of lower priority the time does not go back.
            start = self._start(folder)
            self._time = start
            self._tags[folder] = start + 1.0 / terms.get(folder, _DEFAULT).weight
            most = left[folder]
            left[folder] = None if most is None else most - 1
            if left[folder] != 0 and (following := next(queues[folder], None)) is not None:
                heads[folder] = following
        return chosen

    def _start(self, folder: bytes) -> float:
        return max(self._tags.get(folder, 0.0), self._time)
