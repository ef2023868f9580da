"""kill -9 at every named point in the life of a job, of the daemon, its engine and its decoders, one after the other.

The same folder and the same database all along, so that each run begins with what the one before left. 40 rounds of
this, in random order and at later passages, are `benchmarks/kill.py`.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.killed_daemon import POINTS
from tests.support.kills import Chain


def test_killed_at_every_point_nothing_is_lost_half_or_double(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.prepare(list(POINTS.values()))
    for name in POINTS:
        chain.kill_at(name, 1, goes_on=True)
    ended = chain.end()
    assert ended["recordings"] > 2 * len(POINTS) > 2 * 25
