"""Segments that a process passes on without making objects of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any, overload

from dropscribe.transcript.types import Segment


class PackedSegments(Sequence[Segment]):
    """Segments as the bytes in which another process sent them. Equal to a tuple of the same segments.

    They become objects only where one is asked for. A process that passes them on does not make any, which would take half a
    millisecond of its interpreter for five minutes of speech.
    """

    __slots__ = ("_count", "_data", "_segments", "characters")

    def __init__(self, data: bytes, count: int, characters: int) -> None:
        """`data`: a pickled tuple of `count` segments; `characters`: length of their texts."""
        self._data = data
        self._count = count
        self._segments: tuple[Segment, ...] | None = None
        self.characters = characters

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> PackedSegments:
        """Pack segments."""
        if isinstance(segments, cls):
            return segments
        return cls(pickle.dumps(tuple(segments)), len(segments), characters_of(segments))

    def _unpacked(self) -> tuple[Segment, ...]:
        if self._segments is None:
            self._segments = pickle.loads(self._data)
        return self._segments

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._unpacked())

    @overload
    def __getitem__(self, at: int) -> Segment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Segment, ...]: ...
    def __getitem__(self, at: int | slice) -> Segment | tuple[Segment, ...]:
        return self._unpacked()[at]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (tuple, PackedSegments)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._unpacked())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the bytes."""
        return PackedSegments, (self._data, self._count, self.characters)


def characters_of(segments: Sequence[Segment]) -> int:
    """Length of the texts of segments."""
    if isinstance(segments, PackedSegments):
        return segments.characters
    return sum(len(s.text) for s in segments)
