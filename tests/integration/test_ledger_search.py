"""Full-text search: literal, for short and long texts in any script."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.sqlite import search
from dropscribe.ledger.sqlite.db import driver
from tests.integration.conftest import Locate
from tests.support.ledgers import FOLDER, transcribed


@pytest.fixture(params=["newest first", "by index"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts are found among the newest segments or by the index; results must be equal."""
    if request.param == "by index":
        monkeypatch.setattr(search, "WINDOW", 0)


def found(ledger: Ledger, query: str, limit: int = 20) -> list[tuple[int, int]]:
    """(job, segment) of each hit."""
    return [(h.job_id, h.segment) for h in ledger.search(query, limit)]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("今天讨论预算", "预算"),
        ("预算", "预算"),
        ("今天讨论预算", "算"),
        ("预", "预"),
        ("今天讨论预算", "论预算"),
        ("今天讨论预算", "今天讨论预算"),
        ("Hello World", "hello"),
        ("Hello World", "D"),
        ("Hello World", "LD"),
        ("hello world", "O W"),
        ("ΟΔΟΣ", "ος"),
        ("Ünïcode", "ü"),
        ("say \"hi\" AND 'bye'", '"h'),
        ("say \"hi\" AND 'bye'", '"hi" AND'),
        ("a*b (c) ^d {e} col:f - NOT g", "*b (c) ^d {e} col:f -"),
        ("50%_x", "%_"),
        ("😀笑", "😀"),
        ("😀笑", "😀笑"),
        ("two\nlines", "o\nl"),
    ],
)
def test_queries_find_their_segments(ledger: Ledger, text: str, query: str) -> None:
    job = transcribed(ledger, "填充", text)
    assert found(ledger, query) == [(job, 1)]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "\x02",
        "\x02\x02",
        "算\x02",
        "预x",
        "x",
        "xy",
        "xyz",
        "*",
        "**",
        "***",
        '"',
        "OR",
        "a OR b",
        "\udcff",
    ],
)
def test_absent_texts_are_not_found(ledger: Ledger, query: str) -> None:
    job = transcribed(ledger, "今天讨论预算")
    # Characters that no transcript contains are removed from the query.
    assert found(ledger, query) == ([(job, 0)] if query == "算\x02" else [])


@pytest.mark.usefixtures("both_ways")
def test_the_newest_are_found_first_and_no_more_than_wanted(ledger: Ledger) -> None:
    jobs = [transcribed(ledger, "甲乙丙", "丙甲乙", name=f"{i}.wav", now=100.0 * i) for i in range(1, 5)]
    newest_first = [(job, segment) for job in reversed(jobs) for segment in (1, 0)]
    for query in ("甲", "甲乙"):
        assert found(ledger, query) == newest_first
        assert found(ledger, query, 3) == newest_first[:3]
    assert found(ledger, "甲乙丙") == [(job, 0) for job in reversed(jobs)]
    assert found(ledger, "甲乙丙", 1) == [(jobs[-1], 0)]
    assert found(ledger, "甲", 0) == []


def test_old_and_new_matches_come_together(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WINDOW", 2)
    jobs = [transcribed(ledger, f"预算{i}", name=f"{i}.wav", now=100.0 * i) for i in range(1, 6)]
    assert found(ledger, "预算") == [(job, 0) for job in reversed(jobs)]


@pytest.mark.usefixtures("both_ways")
def test_a_segment_is_found_once_however_often_it_matches(ledger: Ledger) -> None:
    job = transcribed(ledger, "哈哈哈哈哈哈")
    assert found(ledger, "哈") == found(ledger, "哈哈") == found(ledger, "哈哈哈") == [(job, 0)]


def test_a_hit_has_its_position(ledger: Ledger) -> None:
    job = transcribed(ledger, "前面", "长" * 50 + "预算" + "长" * 50, now=100.0)
    (hit,) = ledger.search("预算")
    assert (hit.job_id, hit.recording, hit.segment) == (job, FOLDER / "a.wav", 1)
    assert (hit.start_ms, hit.end_ms, hit.finished_at) == (1_000, 1_900, 103.0)
    assert hit.snippet == "…" + "长" * 30 + "预算" + "长" * 30 + "…"
    assert hit.snippet[slice(*hit.match)] == "预算"


def plan_number(statement: str, path: Path) -> int:
    """Plan number of the query on the vocabulary: one bit per condition used by SQLite."""
    values = {"first": "预算", "last": "预算\U0010ffff", "limit": 5}
    with closing(driver().connect(str(path))) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    (line,) = [row[3] for row in plan if "VIRTUAL TABLE" in row[3]]
    return int(line.rpartition("INDEX ")[2].rstrip(":"))


def test_a_short_text_is_looked_up_not_scanned_for(ledger: Ledger, tmp_path: Path) -> None:
    looked_up = search._TERMS.text
    everything = (
        "SELECT DISTINCT doc FROM segment_terms WHERE +term >= :first AND +term <= :last LIMIT :limit"
    )
    both_bounds = plan_number(looked_up, tmp_path / "jobs.db") ^ plan_number(everything, tmp_path / "jobs.db")
    assert both_bounds.bit_count() == 2


TEXTS = st.text(st.sampled_from("预算甲aAbB \"*'-\n"), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5),
    query=st.text(st.sampled_from("预算甲aAbB \"*'-"), max_size=4),
)
@example(texts=["x预算"], query="预算")
@pytest.mark.usefixtures("both_ways")
def test_hits_equal_a_literal_search(
    locate: Locate, tmp_path_factory: pytest.TempPathFactory, texts: list[str], query: str
) -> None:
    opened = open_ledger(locate(tmp_path_factory.mktemp("search")))
    try:
        transcribed(opened, *texts)
        wanted = query.strip().lower()
        holding = [i for i, text in enumerate(texts) if wanted and wanted in text.lower()]
        assert sorted(segment for _, segment in found(opened, query)) == holding
    finally:
        opened.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=12))
@pytest.mark.usefixtures("both_ways")
def test_no_query_fails(ledger: Ledger, query: str) -> None:
    ledger.search(query)
