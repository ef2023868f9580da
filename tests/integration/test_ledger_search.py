"""Full-text search: words and phrases of any length in any script, with the time at which they were said."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Hit
from dropscribe.ledger.sql.dialect import spelt
from dropscribe.ledger.sql.search import transcripts as search
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.ledger.sql.sqlite.functions import FUNCTIONS
from dropscribe.transcript.types import Segment, Tokens
from tests.integration.conftest import Locate
from tests.support.ledgers import FOLDER, admission, claim_all, finish_of, open_ledger, transcribed


@pytest.fixture(params=["newest first", "by index"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts are found among the newest segments or by the index; results must be equal."""
    if request.param == "by index":
        monkeypatch.setattr(search, "WINDOW", 0)


def found(ledger: Ledger, query: str, limit: int = 20, places: int = 5) -> list[tuple[int, int]]:
    """(job, segment) of each hit."""
    return [(h.job_id, h.segment) for h in ledger.search(query, limit, places)]


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
        ("今天讨论明年的预算", "预算 今天"),
        ("今天讨论明年的预算", "预算  明年 今天讨论"),
        ("the budget of next year", "YEAR budget"),
        ("the budget of next year", '"next year"'),
        ("the budget of next year", "“of  Next”"),
        ("周末 我们用 AI 技术", "用AI技术"),
        ("我们用5g网络", "用5G网络"),
        ("我们用 AI 技术", "「用 AI」 技术"),
        ('NEAR(a b) "c', 'NEAR(a b) "c'),
        ("今天讨论明年的预算", "今天讨论，明年的预算。"),
        ("we met anna yesterday", "We met Anna, yesterday."),
        ("你好，世界。", "你好，世界"),
        ("我们二零二四年开始的", "我们2024年，开始的"),
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
        "预算 明年",
        '"今天 讨论"',
        '"讨论今天"',
        '""',
        "\udcff",
    ],
)
def test_absent_texts_are_not_found(ledger: Ledger, query: str) -> None:
    job = transcribed(ledger, "今天讨论预算")
    # Characters that no transcript contains are removed from the query.
    assert found(ledger, query) == ([(job, 0)] if query == "算\x02" else [])


@pytest.mark.usefixtures("both_ways")
def test_the_newest_recordings_are_found_first_and_no_more_than_wanted(ledger: Ledger) -> None:
    jobs = [transcribed(ledger, "甲乙丙", "丙甲乙", name=f"{i}.wav", now=100.0 * i) for i in range(1, 5)]
    newest_first = [(job, segment) for job in reversed(jobs) for segment in (0, 1)]
    for query in ("甲", "甲乙", "甲 乙"):
        assert found(ledger, query) == newest_first
        assert found(ledger, query, 3) == newest_first[:6]
        assert found(ledger, query, 3, 1) == newest_first[:6:2]
    assert found(ledger, "甲乙丙") == [(job, 0) for job in reversed(jobs)]
    assert found(ledger, "甲乙丙", 1) == [(jobs[-1], 0)]
    assert found(ledger, "甲", 0) == []


@pytest.mark.usefixtures("both_ways")
def test_a_recording_full_of_a_word_does_not_hide_the_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_FIRST", 3)
    monkeypatch.setattr(search, "_MORE", 4)
    older = transcribed(ledger, "今年的预算案", name="older.wav")
    full = transcribed(ledger, *["今年的预算案"] * 30, name="full.wav", now=200.0)
    newer = transcribed(ledger, "没有别的", "今年的预算案", name="newer.wav", now=300.0)
    for query in ("预算案", "预算", "算", "预算案 今年的", "算 年"):
        hits = ledger.search(query, 20, 3)
        places = [(newer, 1), (full, 0), (full, 1), (full, 2), (older, 0)]
        assert [(h.job_id, h.segment) for h in hits] == places, query
        assert {h.job_id for h in hits if h.more} == {full}


def test_a_common_word_is_found_in_old_recordings_too(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW", 4)
    monkeypatch.setattr(search, "READ", 6)
    old = [transcribed(ledger, "别的", f"预算{i}", name=f"{i}.wav", now=100.0 * i) for i in range(1, 4)]
    new = transcribed(ledger, *["预算"] * 8, name="new.wav", now=900.0)
    assert found(ledger, "预算", places=1) == [(new, 0), *((job, 1) for job in reversed(old))]


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
    assert marked(hit) == ["预算"]


def spoken(texts: list[str], *, apart_ms: int = 10_000) -> tuple[Segment, ...]:
    """Segments of `texts`, with a token for each word or Chinese character, every 100 ms from each `apart_ms` on."""
    found = []
    for i, text in enumerate(texts):
        words = re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)
        begins = [i * apart_ms + 1_000 + 100 * n for n in range(len(words))]
        tokens = Tokens(words, begins, [begin + 80 for begin in begins])
        found.append(Segment(i, i * apart_ms, i * apart_ms + 9_000, text, tokens))
    return tuple(found)


def finished(ledger: Ledger, said: tuple[Segment, ...], *, name: str = "a.wav", now: float = 100.0) -> int:
    """Job of a recording with these segments."""
    ledger.admit([admission(name, name)], now)
    (claim,) = claim_all(ledger, now + 1)
    assert ledger.finish([replace(finish_of(claim), segments=said)], now + 3) == []
    return claim.job_id


def marked(hit: Hit) -> list[str]:
    """Matches of a hit as its snippet has them."""
    return [hit.snippet[m.first : m.last] for m in hit.matches]


def test_a_word_has_the_time_at_which_it_was_said(ledger: Ledger) -> None:
    finished(ledger, spoken(["前面", "今天讨论预算", "Yesterday we met Anna"]))
    for query, start_ms, end_ms in (
        ("预算", 11_400, 11_580),
        ("算", 11_500, 11_580),
        ("met anna", 21_200, 21_380),
    ):
        (hit,) = ledger.search(query)
        assert (hit.matches[0].start_ms, hit.matches[-1].end_ms) == (start_ms, end_ms)


@pytest.mark.usefixtures("both_ways")
def test_several_words_are_found_within_a_minute_of_one_recording(ledger: Ledger) -> None:
    near = finished(ledger, spoken(["早上好", "先说预算", "好的", "然后是会议", "再见"]))
    finished(ledger, spoken(["先说预算", *["好的"] * 7, "然后是会议"]), name="far.wav", now=200.0)
    finished(ledger, spoken(["先说预算"]), name="budget.wav", now=300.0)
    finished(ledger, spoken(["然后是会议"]), name="meeting.wav", now=400.0)
    for query in ("预算 会议", "先说预算 然后是会议", "预算 然后是会议 好"):
        assert found(ledger, query) == [(near, 1)], query
    assert found(ledger, "会议 预算") == [(near, 3)]
    (hit,) = ledger.search("会议 预算")
    assert marked(hit) == ["预算", "会议"]
    assert [m.start_ms for m in hit.matches] == [11_200, 31_300]
    assert hit.snippet == "先说预算 … 然后是会议"


@pytest.mark.usefixtures("both_ways")
def test_every_file_with_the_same_content_is_named(ledger: Ledger) -> None:
    names = ("talk.wav", "copy of talk.wav", "backup/talk.wav")
    ledger.admit([admission(name, "talk") for name in names], 100.0)
    ledger.admit([admission("talk.wav", "talk", profile="other")], 101.0)
    jobs = {}
    while claims := claim_all(ledger, 102.0):
        for claim in claims:
            jobs[claim.path, claim.profile] = claim.job_id
            said = () if claim.reference else spoken(["今天讨论预算"])
            ledger.finish([replace(finish_of(claim), segments=said, reference=claim.reference)], 103.0)
    for query in ("预算", "讨论预算", "预算 今天"):
        hits = ledger.search(query)
        assert {h.recording for h in hits} | {c.recording for h in hits for c in h.copies} == {
            FOLDER / name for name in names
        }
        listed = [
            *((h.job_id, h.recording) for h in hits),
            *((c.job_id, c.recording) for h in hits for c in h.copies),
        ]
        assert all(jobs[path, "default"] == job or jobs[path, "other"] == job for job, path in listed)


def test_a_query_of_a_whole_page_is_searched_for(ledger: Ledger) -> None:
    page = "今天讨论预算明年再说" * 500
    job = transcribed(ledger, page)
    assert found(ledger, page) == [(job, 0)]
    assert found(ledger, page + "不") == []
    assert found(ledger, " ".join("今天讨论预算明年再说" * 50)) == [(job, 0)]


def plan_number(statement: str, path: Path) -> int:
    """Plan number of the query on the vocabulary: one bit per condition used by SQLite."""
    values = {"first": "预算", "last": "预算\U0010ffff", "limit": 5}
    with closing(driver().connect(str(path))) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    (line,) = [row[3] for row in plan if "VIRTUAL TABLE" in row[3]]
    return int(line.rpartition("INDEX ")[2].rstrip(":"))


@pytest.mark.sqlite
def test_a_short_text_is_looked_up_not_scanned_for(ledger: Ledger, tmp_path: Path) -> None:
    looked_up = spelt(search._TERMS.text, FUNCTIONS)
    everything = (
        "SELECT DISTINCT doc FROM segment_terms WHERE +term >= :first AND +term <= :last LIMIT :limit"
    )
    both_bounds = plan_number(looked_up, tmp_path / "jobs.db") ^ plan_number(everything, tmp_path / "jobs.db")
    assert both_bounds.bit_count() == 2


@pytest.mark.sqlite
@pytest.mark.usefixtures("ledger")
def test_no_table_is_read_as_a_whole(tmp_path: Path) -> None:
    values = {"ids": "[1]", "ranges": "[[1, 0, 9, 0, 9]]", "job": 1}
    with closing(driver().connect(str(tmp_path / "jobs.db"))) as connection:
        for name in ("TEXTS", "INDICES", "RANGES", "BOUNDS", "SEGMENTS", "JOBS", "COPIES"):
            statement = getattr(search, f"_{name}")
            plan = [
                row[3]
                for row in connection.execute(
                    f"EXPLAIN QUERY PLAN {spelt(statement.text, FUNCTIONS)}", values
                )
            ]
            read = [line for line in plan if re.match(r"SCAN (?!CONSTANT)(?!.*VIRTUAL TABLE)", line)]
            assert not read
            assert not [line for line in plan if "ix_jobs_state" in line]


TEXTS = st.text(st.sampled_from("预算甲aAbB \"*'-\n"), max_size=8)


def holds(text: str, word: str) -> bool:
    """Whether a text has a word, in any case, with or without a space between Chinese and other characters."""
    parts = re.findall("[预算甲]+|[^预算甲]+", word)
    return re.search(r"\s?".join(map(re.escape, parts)), text, re.IGNORECASE) is not None


@pytest.mark.costly
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5),
    query=st.text(st.sampled_from("预算甲aAbB *'-"), max_size=5),
)
@example(texts=["x预算"], query="预算")
@example(texts=["A 甲"], query="a甲")
@pytest.mark.usefixtures("both_ways")
def test_hits_equal_a_literal_search(
    locate: Locate, tmp_path_factory: pytest.TempPathFactory, texts: list[str], query: str
) -> None:
    opened = open_ledger(locate(tmp_path_factory.mktemp("search")))
    try:
        transcribed(opened, *texts)
        words = query.split()
        # All segments are within a minute.
        complete = words and all(any(holds(text, word) for text in texts) for word in words)
        holding = [i for i, text in enumerate(texts) if complete and holds(text, words[0])]
        assert sorted(segment for _, segment in found(opened, query)) == holding
    finally:
        opened.close()
        locate.release()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=12))
@pytest.mark.usefixtures("both_ways")
def test_no_query_fails(ledger: Ledger, query: str) -> None:
    ledger.search(query)


def test_numbers_are_found_as_they_are_written_and_as_they_are_said(ledger: Ledger) -> None:
    older = transcribed(ledger, "我们在二零二四年开始", "预算是三百二十元", name="a.wav", now=100.0)
    newer = transcribed(ledger, "In 2024年 we began", name="b.wav", now=200.0)
    for query in ("2024年", "二零二四年"):
        assert [(h.job_id, h.segment) for h in ledger.search(query)] == [(newer, 0), (older, 0)], query
    (hit,) = ledger.search("320元")
    assert (hit.job_id, hit.segment) == (older, 1)
    assert hit.snippet[hit.matches[0].first : hit.matches[0].last] == "三百二十元"
    (both,) = ledger.search("2024年 320元", limit=1)
    assert both.job_id == older
    assert [h.job_id for h in ledger.search("2024年", limit=1)] == [newer]


@pytest.mark.usefixtures("both_ways")
def test_the_first_places_in_some_jobs_only(ledger: Ledger) -> None:
    first = transcribed(ledger, "今天讨论预算", "别的", "预算定了", "再谈预算", name="a.wav")
    transcribed(ledger, "明天也有预算", name="b.wav", now=200.0)
    last = transcribed(ledger, "2024年的预算", name="c.wav", now=300.0)
    waiting = ledger.admit([admission("d.wav", "d")], 400.0)[0].job_id

    def places(query: str, *jobs: int) -> list[tuple[int, int, bool]]:
        return [(h.job_id, h.segment, h.more) for h in ledger.search_in(query, jobs, 2)]

    assert places("预算", first, last, waiting) == [(first, 0, True), (first, 2, True), (last, 0, False)]
    assert places("二零二四年", first, last) == [(last, 0, False)]
    assert places("今天 定了", first) == [(first, 0, False)]
    assert places("没有", first) == places("预算") == places("", first) == []
