"""SIGKILL of daemon, engine, decoders and publishing processes at every named point of a job, one after the other.

All runs share one folder and database, so that each begins with the state left by the previous one. A sample of the
points, and as a soak test all, on both databases; `benchmarks/kill.py` does 40 rounds in random order and at later passages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.killed_daemon import DAEMON, DECODER, ENGINE, POINTS, PUBLISHER
from tests.support.kills import Chain

#: Points of each part of a job and of each process, with every way to die there.
SAMPLE = (
    "admitted, not committed",
    "begun",
    "all is decoded",
    "a temporary is half written",
    "an old file is replaced",
    "finished, not committed",
    "a partial text is written",
    "a decoder has told of a block",
    "the engine has recognised",
    "a publisher has given a name",
)


#: Those of a station process, and one of the daemon and of a child that it feeds.
OF_A_STATION = ("all is decoded", "a block goes to the engine", "begun", "a decoder has told of a block")


@pytest.mark.parametrize(
    ("names", "database", "stations"),
    [
        pytest.param(SAMPLE, "sqlite", False, id="sample"),
        pytest.param(OF_A_STATION, "postgresql", True, id="sample with a station process on PostgreSQL"),
        pytest.param(tuple(POINTS), "sqlite", False, marks=pytest.mark.soak, id="all"),
        pytest.param(tuple(POINTS), "postgresql", False, marks=pytest.mark.soak, id="all on PostgreSQL"),
        pytest.param(tuple(POINTS), "sqlite", True, marks=pytest.mark.soak, id="all with a station process"),
    ],
)
def test_killed_at_every_point_nothing_is_lost_half_or_double(
    tmp_path: Path, names: tuple[str, ...], database: str, stations: bool, request: pytest.FixtureRequest
) -> None:
    server = "" if database == "sqlite" else request.getfixturevalue("postgresql").database()
    chain = Chain(tmp_path, server=server, stations=stations)
    chain.prepare([POINTS[name] for name in names])
    for name in names:
        chain.kill_at(name, 1, goes_on=True)
    ended = chain.end()
    assert ended["recordings"] > 2 * len(names)


def test_the_sample_of_points_has_every_kind() -> None:
    assert {POINTS[name].process for name in SAMPLE} == {DAEMON, ENGINE, DECODER, PUBLISHER}
    assert {POINTS[name].when for name in SAMPLE} == {point.when for point in POINTS.values()}
    assert {POINTS[name].slow for name in SAMPLE} == {True, False}
