"""Numbers that `stat` gives, in columns of 64 bits with a sign, and back.

An inode number has 64 bits without one, and file systems that make theirs by hashing (mergerfs, many network shares)
use them all. A time of modification in ns outgrows them in the year 2262; file systems go on, and files with a
wrong date are not rare.
"""

from __future__ import annotations

_SPAN = 2**64
_MOST = 2**63 - 1
#: Earliest modification time of any of our file systems is in 1901; what is stored as earlier was after 2262.
_EARLIEST_NS = -(2**61)


def stored(number: int) -> int:
    """What to store for an inode or a time of modification (ns): never more than a column takes."""
    return (number + _MOST + 1) % _SPAN - _MOST - 1


def inode_of(number: int) -> int:
    """Back from `stored`."""
    return number % _SPAN


def mtime_of(number: int) -> int:
    """Back from `stored`, ns."""
    return number + _SPAN if number < _EARLIEST_NS else number
