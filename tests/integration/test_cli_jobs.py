"""`dropscribe jobs` on a real database."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dropscribe.cli.arguments.filters import instant
from dropscribe.columns import columns
from dropscribe.errors import UsageError
from dropscribe.ledger.backend import lock_database
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import OutputIntent, SkippedFile
from dropscribe.service.jobs.progress import JobProgress, Stage
from dropscribe.service.monitoring import status_file
from dropscribe.service.monitoring.status_file import Status
from tests.support.command_line import call, document, process
from tests.support.histories import ENGINE, MEDIA, NOW, History
from tests.support.terminal import on_terminal


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "jobs.db") as made:
        yield made


def ids(found: dict[str, object]) -> list[int]:
    jobs = found["jobs"]
    assert isinstance(jobs, list)
    return [j["id"] for j in jobs]


def test_newest_first_with_state_and_outcome(history: History) -> None:
    done = history.done("a.wav", "今年的预算")
    failed = history.failed("b.wav", "there is no audio", "record it again")
    waiting = history.waiting("c.wav")
    found = document("jobs", "--database", history.path)
    assert found["schema"] == "dropscribe/jobs/1"
    assert found["database"] == str(history.path)
    assert ids(found) == [waiting, failed, done]
    assert [j["state"] for j in found["jobs"]] == ["queued", "failed", "done"]
    assert found["jobs"][1]["reason"] == "there is no audio"
    assert found["jobs"][1]["remedy"] == "record it again"
    assert found["jobs"][2]["recording"] == "/in/a.wav"
    assert found["jobs"][2]["audio_s"] == 5.0
    table = call("jobs", "--database", history.path)
    assert "there is no audio (record it again)" in table


def test_a_running_job_shows_how_far_it_is(history: History) -> None:
    history.waiting("talk.wav")
    (claim,) = history.ledger.claim("worker", 1, NOW + 1, 60.0, allow_isolated=False)
    progress = JobProgress(claim.job_id, claim.path, Stage.RECOGNISING, 760_000, 3_071_000, 20.0)
    location = DatabaseLocation(history.path)
    working = Status("ready", NOW, ENGINE, (), 1, 0, in_progress=(progress,))
    lock = lock_database(location)
    try:
        status_file.write(location, working, NOW)
        listed = document("jobs", "--database", history.path)["jobs"][0]
        shown = document("jobs", "show", str(claim.job_id), "--database", history.path)["job"]
        printed = call("jobs", "--database", history.path)
        detail = call("jobs", "show", str(claim.job_id), "--database", history.path)
        # The daemon stops it a moment later.
        call("jobs", "cancel", str(claim.job_id), "--database", history.path)
        cancelled = document("jobs", "--database", history.path)["jobs"][0]
        named = call("jobs", "--database", history.path)
    finally:
        lock.close()
    assert (cancelled["state"], cancelled["progress"]) == ("cancelled", None)
    assert "recognising" not in named
    expected = {"stage": "recognising", "position_ms": 760_000, "duration_ms": 3_071_000, "elapsed_s": 20.0}
    assert listed["progress"] == shown["progress"] == expected
    assert "recognising 24 %, 20 s" in printed
    assert "recognising 12:40 of 51:11 (24 %), 20 s" in detail
    # The status file of a daemon that has ended.
    assert document("jobs", "--database", history.path)["jobs"][0]["progress"] is None


def test_on_a_terminal_each_job_is_one_line(history: History) -> None:
    deep = "/".join(["a folder with a long name"] * 4)
    names = [f"{deep}/meeting.m4a", f"{'会议录音' * 12}.wav", "a.wav", f"{'long-' * 30}.mp3"]
    for name in names[:3]:
        history.done(name, "x")
    history.failed(names[3], "there is no audio in any of its streams, only pictures", "record it again")
    head, *lines = on_terminal("jobs", "--database", history.path)
    assert len(lines) == 4
    assert all(columns(re.sub(r"\x1b\[\d*m", "", line)) <= 80 for line in [head, *lines])
    assert [line.split("  ")[0].rpartition(".")[2] for line in lines] == ["mp3", "wav", "wav", "m4a"]
    assert lines[-1].endswith("0:05 in 2.0 s (2.5×)")
    # Elsewhere paths and reasons are whole.
    whole = call("jobs", "--database", history.path)
    assert all(f"/in/{name}" in whole for name in names)
    assert "only pictures (record it again)" in whole


def test_on_a_terminal_a_search_marks_what_was_found(history: History) -> None:
    history.done("会议.wav", "讨论" * 40 + "预算" + "讨论" * 40)
    lines = on_terminal("jobs", "search", "预算", "--database", history.path)
    assert lines[0] == "/in/会议.wav  (job 1)"
    assert sum(line.count("预算\x1b[0m") for line in lines) == 1
    assert all(columns(re.sub(r"\x1b\[[\d;]*m", "", line)) <= 80 for line in lines)


def test_filters(history: History) -> None:
    old = history.done("old.wav", "x", now=NOW - 10 * 86_400)
    failed = history.failed("sub/b.wav", "why", "what to do")
    recent = history.done("a.wav", "y")
    base = ("jobs", "--database", history.path)
    assert ids(document(*base, "--state", "failed")) == [failed]
    assert ids(document(*base, "--folder", "/in/sub")) == [failed]
    assert ids(document(*base, "--limit", "1")) == [recent]
    day = datetime.fromtimestamp(NOW - 86_400, UTC).isoformat()
    assert ids(document(*base, "--since", day)) == [recent, failed]
    assert old in ids(document(*base))


def test_each_condition_and_all_together(history: History) -> None:
    old = history.done("old/会议纪要.wav", "今年的预算", now=NOW - 10 * 86_400)
    failed = history.failed("b_1%.wav", "there is no sound in it", "record it again")
    copy = history.copied("copy.WAV", of="old/会议纪要.wav", now=NOW - 86_400)
    waiting = history.waiting("c.mp3")
    history.ledger.name_speaker(old, 1, "王芳")
    base = ("jobs", "--database", history.path)

    def found(*options: str) -> list[int]:
        return ids(document(*base, *options))

    assert found("--profile", "default") == [waiting, failed, copy, old]
    assert found("--profile", "other") == []
    assert found("--path", "会议") == [old]
    assert found("--path", ".wav") == [failed, copy, old]
    assert found("--path", "_1%") == [failed]
    # The words of a copy are those of its original.
    assert found("--text", "预算") == [copy, old]
    assert found("--text", "今年的 预算", "--path", "old/") == [old]
    assert found("--reason", "no_audio") == found("--reason", "no sound") == [failed]
    assert found("--at-least", "5s", "--at-most", "1m") == [copy, old]
    assert found("--at-least", "0.1m") == []
    assert found("--until", "2026-10-30") == [old]
    assert found("--since", "2026-10-25", "--until", "2026-11-02", "--state", "done") == [copy]


def test_pages_follow_each_other_without_gap_or_repetition(history: History) -> None:
    # Several jobs of one admission have the same instant.
    jobs = [history.waiting(f"{i}.wav", NOW + i // 3) for i in range(8)]
    seen: list[int] = []
    after: tuple[str, ...] = ()
    for _ in range(3):
        page = document("jobs", "--database", history.path, "--limit", "3", *after)
        seen += ids(page)
        after = ("--after", str(page["next"]))
    assert seen == jobs[::-1]
    assert page["next"] is None
    with pytest.raises(UsageError, match="no position"):
        call("jobs", "--database", history.path, "--after", "17")


@pytest.mark.parametrize("wrong", [("--at-least", "long"), ("--until", "yesterday"), ("--state", "lost")])
def test_a_condition_that_cannot_be_read(history: History, wrong: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        call("jobs", "--database", history.path, *wrong)
    assert caught.value.remedy


def test_instants_are_iso_in_utc(history: History) -> None:
    history.done("a.wav", "x")
    job = document("jobs", "--database", history.path)["jobs"][0]
    assert datetime.fromisoformat(job["admitted"]) == datetime.fromtimestamp(NOW, UTC)
    assert job["admitted"].endswith("Z")


def test_an_empty_history_says_so(history: History) -> None:
    assert call("jobs", "--database", history.path).strip() == "no jobs"
    assert document("jobs", "--database", history.path)["jobs"] == []


def test_show_prints_all_of_a_job(history: History) -> None:
    job = history.done(
        "a.wav", "今年的预算", "很多", outputs=[OutputIntent("txt", Path("/in/a.txt"), "d" * 64)]
    )
    shown = document("jobs", "show", str(job), "--database", history.path)
    assert shown["schema"] == "dropscribe/job/1"
    one = shown["job"]
    assert one["text"] == "今年的预算\n很多"
    assert [s["text"] for s in one["segments"]] == ["今年的预算", "很多"]
    assert one["stages"]["recognition"] == 0.25
    assert one["batches"]["sizes"] == [3]
    assert one["media"]["container"] == MEDIA.container
    assert one["engine"]["model"] == ENGINE.model
    assert one["engine"]["notice"] == ENGINE.notice
    assert [(t["number"], t["outcome"]) for t in one["tries"]] == [(1, "done")]
    assert [(o["format"], o["path"]) for o in one["outputs"]] == [("txt", "/in/a.txt")]
    said = call("jobs", "show", str(job), "--database", history.path)
    for words in (
        "/in/a.wav",
        "recognition",
        "0.250 s",
        "/in/a.txt",
        "try 1",
        "今年的预算\n很多",
        ENGINE.notice,
    ):
        assert words is not None
        assert words in said


def test_show_prints_reason_and_remedy_of_a_failed_job(history: History) -> None:
    job = history.failed("b.wav", "there is no audio", "record it again")
    said = call("jobs", "show", str(job), "--database", history.path)
    assert "there is no audio" in said
    assert "record it again" in said
    shown = document("jobs", "show", str(job), "--database", history.path)["job"]
    assert shown["text"] is None
    assert shown["tries"][0]["outcome"] == "failed"


def test_truncation_stands_in_the_list(history: History) -> None:
    history.done("a.wav", "x", media=replace(MEDIA, truncated="half of it is missing"))
    assert "cut short: half of it is missing" in call("jobs", "--database", history.path)


def test_an_unknown_job(history: History) -> None:
    with pytest.raises(UsageError, match="no job 99"):
        call("jobs", "show", "99", "--database", history.path)


def test_search_finds_where_it_was_said(history: History) -> None:
    history.done("a.wav", "早上好", "今年的预算很多")
    job = history.done("b.wav", "没有别的")
    found = document("jobs", "search", "预算", "--database", history.path)
    assert found["schema"] == "dropscribe/search/1"
    (hit,) = found["hits"]
    first, last = hit["match"]
    assert hit["snippet"][first:last] == "预算"
    assert hit["recording"] == "/in/a.wav"
    assert (hit["segment"], hit["start_ms"]) == (1, 1000)
    assert hit["job"] != job
    assert hit["at_ms"] == hit["matches"][0]["start_ms"] >= 1000
    said = call("jobs", "search", "预算", "--database", history.path)
    assert said.splitlines() == ["/in/a.wav  (job 1)", "     0:01  今年的预算很多"]
    assert found == document("jobs", "search", "预算", "--database", history.path)
    assert call("jobs", "search", "不在", "--database", history.path).strip() == "not found"


def test_search_takes_several_words_and_phrases(history: History) -> None:
    history.done("a.wav", "the budget of next year", "next, the year")
    for words in (
        ["budget", "YEAR"],
        ["budget", "next year"],
        ["budget", '"next year"'],
        ['budget "next year"'],
    ):
        (hit,) = document("jobs", "search", *words, "--database", history.path)["hits"]
        first = hit["matches"][0]
        assert hit["snippet"][first["first"] : first["last"]] == "budget"
    for phrase, found in (("next year", [0]), ("Next, the", [1]), ("year next", [])):
        hits = document("jobs", "search", phrase, "--database", history.path)["hits"]
        assert [hit["segment"] for hit in hits] == found


def test_search_names_every_file_with_the_same_content(history: History) -> None:
    done = history.done("a.wav", "the budget")
    copy = history.copied("b.wav", "a.wav")
    said = call("jobs", "search", "budget", "--database", history.path)
    assert said.splitlines() == [
        f"/in/a.wav  (job {done})",
        f"/in/b.wav  (job {copy}, same content)",
        "     0:00  the budget",
    ]


def test_options_may_stand_before_the_subcommand(history: History) -> None:
    job = history.done("a.wav", "x")
    said = json.loads(call("jobs", "--database", history.path, "--json", "show", str(job)))
    assert said["job"]["id"] == job


def test_names_that_are_not_utf8_are_escaped_in_tables_and_json(history: History) -> None:
    name = os.fsdecode(b"evil\n\x1b[2J\xff.wav")
    history.waiting(name)
    done = process("jobs", "--database", history.path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 2
    listed = json.loads(process("jobs", "--json", "--database", history.path).stdout)
    assert listed["jobs"][0]["recording"] == "/in/evil\n\x1b[2J\\xff.wav"


def test_a_terminal_without_chinese_gets_numbers_and_json_stays_utf8(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = history.done("会议.wav", "今年的预算")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    table = process("jobs", "--database", history.path)
    assert table.returncode == 0
    assert "\\u4f1a\\u8bae.wav" in table.stdout
    monkeypatch.delenv("PYTHONIOENCODING")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("LC_ALL", "C")
    shown = process("jobs", "show", str(job), "--json", "--database", history.path)
    assert json.loads(shown.stdout)["job"]["text"] == "今年的预算"


def test_the_database_is_found_through_the_configuration_or_here(history: History, tmp_path: Path) -> None:
    job = history.done("a.wav", "x")
    file = tmp_path / "named.toml"
    file.write_text(f'database = "{history.path}"\n', encoding="utf-8")
    assert ids(document("jobs", "--config", file)) == [job]
    here = process("jobs", "--json", cwd=history.path.parent)
    assert ids(json.loads(here.stdout)) == [job]


def test_the_history_can_be_read_while_the_daemon_writes(history: History) -> None:
    # The fixture has the database open for writing.
    assert history.ledger.counts()
    jobs = [history.done(f"{n}.wav", "x") for n in range(3)]
    assert ids(document("jobs", "--database", history.path)) == jobs[::-1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("1.5h", 5400), ("2w", 1_209_600)]
)
def test_since_as_a_span(text: str, seconds: float) -> None:
    assert instant(text, NOW) == NOW - seconds


def test_since_as_a_date() -> None:
    assert instant("2026-03-01T08:00:00+00:00", NOW) == datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp()
    assert instant("2026-03-01", NOW) == datetime(2026, 3, 1).astimezone().timestamp()
    for wrong in ("yesterday", "7", "-3d", "9999999d9"):
        with pytest.raises(UsageError):
            instant(wrong, NOW)


def test_an_unknown_state(history: History) -> None:
    with pytest.raises(UsageError, match="queued, running, done, failed, cancelled"):
        call("jobs", "--state", "broken", "--database", history.path)


def test_skipped_files_are_listed_with_their_reason(history: History) -> None:
    assert call("jobs", "skipped", "--database", history.path).strip() == "nothing was skipped"
    slides = SkippedFile(Path("/in/slides.pdf"), Path("/in"), "extension", "'.pdf' is no recording")
    void = SkippedFile(Path("/in/void\x1b.wav"), Path("/in"), "empty", "there is nothing in it")
    history.ledger.skip([slides], NOW)
    history.ledger.skip([void], NOW + 10)
    history.ledger.skip([slides], NOW + 60)
    found = document("jobs", "skipped", "--database", history.path)
    assert found["schema"] == "dropscribe/skipped/1"
    assert found["database"] == str(history.path)
    assert found["skipped"][0] == {
        "path": "/in/slides.pdf",
        "folder": "/in",
        "code": "extension",
        "reason": "'.pdf' is no recording",
        "first_seen": "2026-11-01T12:00:00.000Z",
        "last_seen": "2026-11-01T12:01:00.000Z",
    }
    assert [s["code"] for s in found["skipped"]] == ["extension", "empty"]
    limited = document("jobs", "skipped", "--limit", "1", "--database", history.path)
    assert [s["code"] for s in limited["skipped"]] == ["extension"]
    table = call("jobs", "skipped", "--database", history.path)
    assert "'.pdf' is no recording" in table
    assert "/in/void\\x1b.wav" in table
    assert len(table.splitlines()) == 3
