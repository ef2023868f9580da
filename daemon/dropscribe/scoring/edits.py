"""Align two sequences with the fewest edits, by rapidfuzz."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

#: Kinds of `Block`.
EQUAL = "equal"
SUBSTITUTION = "replace"
DELETION = "delete"  #: of the reference, missing in the other
INSERTION = "insert"  #: in the other only


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring units with the same edit: those of the reference [first, end), of the other [other_first, other_end)."""

    kind: str  #: EQUAL, SUBSTITUTION (as many units on both sides), DELETION or INSERTION
    first: int
    end: int
    other_first: int
    other_end: int


def align(reference: Sequence[Hashable], other: Sequence[Hashable]) -> tuple[Block, ...]:
    """Blocks in order that together cover both sequences."""
    found = Levenshtein.opcodes(reference, other)
    return tuple(Block(o.tag, o.src_start, o.src_end, o.dest_start, o.dest_end) for o in found)


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Numbers of edits that make another sequence of a reference. Can be added."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0  #: units of the reference

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.length + other.length,
        )

    @property
    def edits(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Edits per unit of the reference; above 1 if much was inserted; None without a unit."""
        return self.edits / self.length if self.length else None


def count(blocks: Sequence[Block]) -> EditCounts:
    """Numbers of edits of an alignment."""
    units = dict.fromkeys((EQUAL, SUBSTITUTION, DELETION, INSERTION), 0)
    for block in blocks:
        units[block.kind] += max(block.end - block.first, block.other_end - block.other_first)
    substituted, deleted, inserted = units[SUBSTITUTION], units[DELETION], units[INSERTION]
    return EditCounts(substituted, deleted, inserted, units[EQUAL] + substituted + deleted)
