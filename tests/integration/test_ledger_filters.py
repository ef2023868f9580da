"""Filters of the job list: the same answers however few of the newest jobs are looked at first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.questions import Cursor, JobFilter
from dropscribe.ledger.records import AWAY, JobState
from dropscribe.ledger.sql.history import filters
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.transcript.types import Speaker
from tests.integration.conftest import DATABASES, Locate
from tests.support.ledgers import FOLDER, admission, claim_all, finish_of, open_ledger, transcribed

FAR = FOLDER / "far"
#: A filter, and the names of the recordings that meet it, newest first.
CASES: tuple[tuple[JobFilter, str], ...] = (
    (JobFilter(), "gfedcba"),
    (JobFilter(state=JobState.DONE), "ecba"),
    (JobFilter(held=True), "g"),
    (JobFilter(folder=FOLDER), "gfedcba"),
    (JobFilter(folder=FOLDER, state=JobState.DONE, profile="default"), "ca"),
    (JobFilter(folder=FAR), "fa"),
    (JobFilter(folder=FAR, state=JobState.DONE), "a"),
    (JobFilter(profile="court"), "eb"),
    (JobFilter(profile="court", since=104.0), "e"),
    (JobFilter(since=102.0, until=104.0), "dc"),
    (JobFilter(path="far/"), "fa"),
    (JobFilter(path="/"), "gfedcba"),
    (JobFilter(path="é会"), "c"),
    (JobFilter(path="会"), "c"),
    (JobFilter(path='"far'), ""),
    (JobFilter(path="B.W"), "b"),
    (JobFilter(text="预算"), "ea"),
    (JobFilter(text="预"), "ea"),
    (JobFilter(text="预算 讨论会"), "ea"),
    (JobFilter(text='"Next year"'), "b"),
    (JobFilter(text="2024年"), "c"),
    (JobFilter(text="% AND"), ""),
    (JobFilter(speaker="王芳"), "ea"),
    (JobFilter(speaker="王"), ""),
    (JobFilter(reason="no_audio"), "d"),
    (JobFilter(reason="SILENT"), "d"),
    (JobFilter(shortest_s=5.0, longest_s=5.0), "ecba"),
    (JobFilter(longest_s=4.9), ""),
    (JobFilter(speaker="王芳", text="预算", path="far", state=JobState.DONE, profile="default"), "a"),
)


@pytest.fixture(scope="module", params=DATABASES)
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Recordings a … g, admitted at 100 … 106; e has the content of a, d failed, f waits, g is held."""
    locate = Locate(None if request.param == "sqlite" else request.getfixturevalue("postgresql"))
    made = open_ledger(locate(tmp_path_factory.mktemp("filters")))
    texts = {
        "a": ("预算", "讨论会"),
        "b": ("next year",),
        "c": ("二零二四年",),
        "d": (),
        "e": (),
        "f": (),
        "g": (),
    }
    for i, name in enumerate(texts):
        path = {"a": FAR / "a.wav", "c": FOLDER / "Café会.wav", "f": FAR / "f.wav"}.get(
            name, FOLDER / f"{name}.wav"
        )
        profile = "court" if name in "be" else "default"
        content = "a" if name == "e" else name
        made.admit([admission(content=content, path=path, profile=profile)], 100.0 + i)
        if name in "fg":
            continue
        (claim,) = claim_all(made, 100.0 + i)
        if name == "d":
            made.fail(
                claim.job_id, claim.generation, 110.0, code="no_audio", reason="it is silent", remedy=""
            )
        else:
            speakers = (Speaker(1, "王芳"),) if name == "a" else ()
            done = finish_of(claim, *texts[name], reference=claim.reference)
            assert made.finish([replace(done, speakers=speakers)], 110.0) == []
    made.hold(FOLDER, 120.0, reason="away", remedy="", code=AWAY, recursive=False)
    yield made
    made.close()
    locate.release()


@pytest.fixture(params=[filters.WINDOW, 0], ids=["among the newest", "by an index"])
def looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "WINDOW", request.param)
    monkeypatch.setattr(filters, "TEXT_WINDOW", request.param)


@pytest.fixture(params=[filters.MOST, 0], ids=["few", "too many"])
def looked_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST", request.param)


@pytest.mark.usefixtures("looked_at", "looked_up")
@pytest.mark.parametrize(("wanted", "names"), CASES, ids=str)
def test_jobs_that_meet_a_filter(ledger: Ledger, wanted: JobFilter, names: str) -> None:
    expected = [101 + "abcdefg".index(n) - 100 for n in names]
    assert [j.id for j in ledger.find_jobs(wanted).jobs] == expected
    pages: list[int] = []
    after: Cursor | None = None
    while True:
        page = ledger.find_jobs(wanted, limit=2, after=after)
        pages += [j.id for j in page.jobs]
        if page.next is None:
            break
        after = Cursor.parse(str(page.next))
    assert pages == expected


def test_the_oldest_first(ledger: Ledger) -> None:
    page = ledger.find_jobs(JobFilter(state=JobState.DONE), limit=2, oldest_first=True)
    assert [j.id for j in page.jobs] == [1, 2]
    rest = ledger.find_jobs(JobFilter(state=JobState.DONE), after=page.next, oldest_first=True)
    assert [j.id for j in rest.jobs] == [3, 5]


def test_index_and_totals_follow_recordings_that_are_renamed_moved_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    made = open_ledger(DatabaseLocation(path))
    first, second = transcribed(made, "你好", name="before.wav"), transcribed(made, "再见", name="other.wav")

    def change(statement: str) -> None:
        with closing(driver().connect(str(path), isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)

    def found(part: str) -> list[int]:
        return [j.id for j in made.find_jobs(JobFilter(path=part)).jobs]

    change(
        "UPDATE recordings SET path = '/srv/archive/after.wav', folder = '/srv/archive' WHERE path LIKE '%before.wav'"
    )
    assert (found("before"), found("after")) == ([], [first])
    assert made.wrong_totals() == {}
    change("UPDATE stage_timings SET seconds = 70.0 WHERE stage = 'vad'")
    assert made.wrong_totals() == {}
    change("DELETE FROM recordings WHERE path LIKE '%after.wav'")
    assert (found("after"), found("wav")) == ([], [second])
    assert made.wrong_totals() == {}
    change("DELETE FROM stage_timings WHERE stage = 'vad'")
    change("UPDATE jobs SET state = 'queued'")
    assert made.wrong_totals() == {}
    made.close()


def test_wrong_totals_are_told_and_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    made = open_ledger(DatabaseLocation(path))
    transcribed(made, "你好")
    with closing(driver().connect(str(path), isolation_level=None)) as connection:
        connection.execute("UPDATE job_totals SET jobs = jobs + 1")
        connection.execute("DELETE FROM stage_totals WHERE stage = 'vad'")
    assert made.wrong_totals() == {"job_totals": 2, "stage_totals": 1}
    made.renew_totals()
    assert made.wrong_totals() == {}
    made.close()


def test_what_ended_in_each_hour(tmp_path: Path) -> None:
    with closing(open_ledger(DatabaseLocation(tmp_path / "jobs.db"))) as ledger:
        transcribed(ledger, "early", name="a.wav", now=100.0)
        transcribed(ledger, "one", name="b.wav", now=7_300.0)
        transcribed(ledger, "two", name="c.wav", now=7_400.0)
        ledger.admit([admission("d.wav", "d"), admission("e.wav", "e")], 11_000.0)
        (failed, _) = claim_all(ledger, 11_001.0)
        ledger.fail(failed.job_id, failed.generation, 11_002.0, code="no_audio", reason="no audio", remedy="")
        hours = ledger.hours(7_200.0)
    assert [(h.hour, h.done, h.failed, h.audio_s) for h in hours] == [(2, 2, 0, 10.0), (3, 0, 1, 0.0)]
