"""Results, files and history of finished jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Claim, JobState, OutputIntent
from dropscribe.ledger.sql.history import filters
from dropscribe.transcript.types import STAGES, Segment, Tags, Tokens
from tests.support.ledgers import (
    ENGINE,
    FOLDER,
    MEDIA,
    TIMINGS,
    admission,
    claim_all,
    finish_of,
    intend,
    query,
    segments,
    transcribed,
)


def claimed(ledger: Ledger, name: str = "a.wav", content: str = "one", now: float = 100.0) -> Claim:
    ledger.admit([admission(name, content)], now)
    (claim,) = claim_all(ledger, now)
    return claim


def planned(name: str, content: str, form: str = "txt") -> OutputIntent:
    return OutputIntent(form, FOLDER / name, f"hash of {content}")


def test_a_result_comes_back_as_it_went_in(ledger: Ledger) -> None:
    claim = claimed(ledger)
    given = finish_of(claim, "你好", "", "Hello")
    assert ledger.finish([given], 102.0) == []
    got = ledger.stored_result(claim.job_id)
    assert got is not None
    assert (got.media, got.engine, got.timings, got.segments) == (MEDIA, ENGINE, TIMINGS, given.segments)


def test_the_confidence_of_tokens_and_the_tags_of_segments_come_back(ledger: Ledger) -> None:
    claim = claimed(ledger)
    sure = Segment(0, 0, 900, "你好", Tokens("你好", (0, 400), (400, 900), bytes([255, 0])))
    tags = Tags("zh", "", ("laughter",))
    unknown = Segment(1, 1000, 1900, "再见", Tokens("再见", (1000, 1400), (1400, 1900)), tags=tags)
    assert ledger.finish([replace(finish_of(claim), segments=(sure, unknown))], 102.0) == []
    got = ledger.stored_result(claim.job_id)
    assert got is not None
    assert got.segments == (sure, unknown)
    assert [hit.matches[0].start_ms for hit in ledger.search("再见", 9)] == [1000]


def test_there_is_no_result_before_the_end(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert ledger.stored_result(claim.job_id) is None
    assert ledger.stored_result(4711) is None


def test_odd_characters_do_not_stop_a_result(ledger: Ledger, location: DatabaseLocation) -> None:
    """A warning may quote any characters from a tag of the recording."""
    claim = claimed(ledger)
    odd = replace(MEDIA, warnings=("tag \udcff",), truncated="cut \udcff")
    assert ledger.finish([replace(finish_of(claim, "a\x00b\x02c"), media=odd)], 101.0) == []
    got = ledger.stored_result(claim.job_id)
    assert got is not None
    # PostgreSQL has no NUL in a text.
    assert got.segments[0].text == ("ab\x02c" if location.server else "a\x00b\x02c")
    assert got.media.truncated == "cut \udcff"


def test_a_reference_has_the_segments_of_its_origin_stored_once(
    ledger: Ledger, location: DatabaseLocation
) -> None:
    first = transcribed(ledger, "预算", name="a.wav")
    ledger.admit([admission("b.wav", "a.wav")], 200.0)
    (claim,) = claim_all(ledger, 201.0)
    assert ledger.finish([finish_of(claim, "预算", reference=claim.reference)], 202.0) == []
    got = ledger.stored_result(claim.job_id)
    assert got is not None
    assert [s.text for s in got.segments] == ["预算"]
    found = ledger.job(claim.job_id)
    assert found is not None
    assert (found.summary.reference, found.summary.characters) == (first, 2)
    assert query(location, "SELECT count(*) AS n FROM segments") == [{"n": 1}]


def test_intended_files_are_owned_before_they_are_published(ledger: Ledger) -> None:
    claim = claimed(ledger)
    intend(ledger, claim, [planned("a.txt", "one"), planned("a.srt", "two", "srt")], 101.0)
    (owned,) = ledger.owned([FOLDER / "a.txt", FOLDER / "stranger.txt"]).values()
    assert [(o.sha256, o.published, o.recording, o.job_id) for o in owned] == [
        ("hash of one", False, FOLDER / "a.wav", claim.job_id)
    ]
    ledger.finish([finish_of(claim, "一")], 102.0)
    assert all(
        o.published for files in ledger.owned([FOLDER / "a.txt", FOLDER / "a.srt"]).values() for o in files
    )
    assert ledger.owned([]) == {}


def test_the_file_of_an_attempt_that_died_stays_ours(ledger: Ledger) -> None:
    """Published but not finished; the next attempt intends other bytes and dies before writing them."""
    claim = claimed(ledger)
    intend(ledger, claim, [planned("a.txt", "first try")], 101.0)
    for attempt, content in ((2, "second try"), (3, "third try")):
        ledger.recover(110.0 * attempt)
        (claim,) = claim_all(ledger, 110.0 * attempt)
        assert {o.sha256 for o in ledger.outputs_of(FOLDER / "a.wav")} >= {"hash of first try"}
        intend(ledger, claim, [planned("a.txt", content)], 110.0 * attempt)
    newest = ledger.owned([FOLDER / "a.txt"])[FOLDER / "a.txt"]
    assert [o.sha256 for o in newest] == ["hash of third try", "hash of second try", "hash of first try"]
    ledger.finish([finish_of(claim, "一")], 400.0)
    (only,) = ledger.owned([FOLDER / "a.txt"])[FOLDER / "a.txt"]
    assert (only.sha256, only.published) == ("hash of third try", True)


def test_the_same_intent_twice_is_one_row(ledger: Ledger) -> None:
    claim = claimed(ledger)
    for _ in range(3):
        intend(ledger, claim, [planned("a.txt", "one")], 101.0)
    assert len(ledger.owned([FOLDER / "a.txt"])[FOLDER / "a.txt"]) == 1


def test_refunded_attempts_do_not_accumulate(ledger: Ledger, location: DatabaseLocation) -> None:
    """A timing log differs in each attempt: on a full disk it is intended every half minute and never written."""
    claim = claimed(ledger)
    log = FOLDER / "a.timing.json"
    for n in range(20):
        standing = "hash of written in try 5" if n > 5 else ""
        content = "written in try 5" if n == 5 else f"try {n}"
        files = [planned("a.timing.json", content, "timing")._replace(standing=standing)]
        intend(ledger, claim, files, 101.0 + n)
        ledger.release(
            claim.job_id, claim.generation, 101.0 + n,
            not_before=0.0, refund=True, isolate=False, code="storage", reason="full",
        )  # fmt: skip
        (claim,) = claim_all(ledger, 101.0 + n)
        known = {o.sha256 for o in ledger.owned([log])[log]}
        # The file just intended may exist; the existing one stays owned.
        assert f"hash of {content}" in known
        assert n < 5 or "hash of written in try 5" in known
        assert len(known) <= 3
    assert query(location, "SELECT count(*) AS n FROM outputs") == [{"n": 3}]


def test_names_intended_by_an_earlier_attempt_are_not_marked_published(ledger: Ledger) -> None:
    claim = claimed(ledger)
    intend(ledger, claim, [planned("a.txt", "one")], 101.0)
    ledger.recover(110.0)
    (claim,) = claim_all(ledger, 111.0)
    intend(ledger, claim, [planned("a.wav.txt", "one")], 112.0)
    ledger.finish([finish_of(claim, "一")], 113.0)
    published = {o.path.name: o.published for o in ledger.outputs_of(FOLDER / "a.wav")}
    assert published == {"a.wav.txt": True, "a.txt": False}


def test_two_recordings_may_have_intended_one_name(ledger: Ledger) -> None:
    a, b = claimed(ledger, "a.wav", "a"), claimed(ledger, "a.mp3", "b", 101.0)
    ledger.intend(
        [
            (a.job_id, a.generation, [planned("a.txt", "a")]),
            (b.job_id, b.generation, [planned("a.txt", "b")]),
        ],
        102.0,
    )
    ledger.finish([finish_of(a, "一")], 103.0)
    owners = {o.recording.name: o.published for o in ledger.owned([FOLDER / "a.txt"])[FOLDER / "a.txt"]}
    assert owners == {"a.wav": True, "a.mp3": False}
    assert [o.sha256 for o in ledger.outputs_of(FOLDER / "a.mp3")] == ["hash of b"]


def test_the_names_of_a_recording_outlive_its_content(ledger: Ledger) -> None:
    first = claimed(ledger)
    intend(ledger, first, [planned("a.txt", "one")], 101.0)
    ledger.finish([finish_of(first, "一")], 102.0)
    second = claimed(ledger, content="two", now=200.0)
    assert [(o.path.name, o.job_id) for o in ledger.outputs_of(FOLDER / "a.wav")] == [("a.txt", first.job_id)]
    intend(ledger, second, [planned("a.txt", "two")], 201.0)
    ledger.finish([finish_of(second, "二")], 202.0)
    assert [o.job_id for o in ledger.outputs_of(FOLDER / "a.wav")] == [second.job_id]
    assert {o.sha256 for o in ledger.owned([FOLDER / "a.txt"])[FOLDER / "a.txt"]} == {
        "hash of one",
        "hash of two",
    }


def test_a_batch_of_intents_names_the_jobs_that_are_not_ours(ledger: Ledger) -> None:
    a, b = claimed(ledger, "a.wav", "a"), claimed(ledger, "b.wav", "b", 101.0)
    ledger.cancel(a.job_id, 102.0, "not wanted")
    meant = [(c.job_id, c.generation, [planned(f"{c.path.name}.txt", "x")]) for c in (a, b)]
    assert ledger.intend(meant, 103.0) == [a.job_id]
    assert set(ledger.owned([FOLDER / "a.wav.txt", FOLDER / "b.wav.txt"])) == {FOLDER / "b.wav.txt"}
    assert ledger.intend([], 104.0) == []


@pytest.mark.parametrize("window", [0, 1, 2, 20_000])
def test_jobs_are_listed_newest_first_by_state_folder_and_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Jobs of a folder are found among the newest or by path; results must be equal."""
    monkeypatch.setattr(filters, "WINDOW", window)
    other = Path("/srv/other")
    done = transcribed(ledger, "一", now=100.0)
    ledger.admit([admission("b.wav", "b")], 200.0)
    ledger.admit([admission(path=other / "c.wav", folder=other, sha256="c")], 300.0)
    names = [j.recording.name for j in ledger.jobs()]
    assert names == ["c.wav", "b.wav", "a.wav"]
    assert [j.id for j in ledger.jobs(state=JobState.DONE)] == [done]
    assert [j.recording.name for j in ledger.jobs(folder=other)] == ["c.wav"]
    assert [j.recording.name for j in ledger.jobs(since=200.0)] == ["c.wav", "b.wav"]
    assert [j.recording.name for j in ledger.jobs(since=200.0, state=JobState.QUEUED, folder=FOLDER)] == [
        "b.wav"
    ]
    assert len(ledger.jobs(limit=2)) == 2
    assert [j.recording.name for j in ledger.jobs(folder=FOLDER)] == ["b.wav", "a.wav"]
    assert [j.recording.name for j in ledger.jobs(folder=FOLDER, limit=1)] == ["b.wav"]
    assert [j.recording.name for j in ledger.jobs(folder=FOLDER, oldest_first=True)] == ["a.wav", "b.wav"]
    assert ledger.jobs(folder=Path("/srv/none")) == []
    assert ledger.jobs(folder=other, state=JobState.FAILED) == []
    assert ledger.counts() == {
        JobState.QUEUED: 2, JobState.RUNNING: 0, JobState.DONE: 1, JobState.FAILED: 0, JobState.CANCELLED: 0,
    }  # fmt: skip


def test_a_finished_job_has_its_duration(ledger: Ledger) -> None:
    job = transcribed(ledger, "你好", "吗", now=100.0)
    found = ledger.job(job)
    assert found is not None
    s = found.summary
    assert (s.audio_s, s.speech_s, s.characters, s.model, s.device) == (5.0, 4.0, 3, "mini", "cpu")
    # 2 s settling, 1 s waiting, 2 s processing; 5 s of audio.
    assert (s.total_s, s.rtfx) == (5.0, 2.5)
    assert [(a.started_at, a.ended_at, a.outcome) for a in found.attempts] == [(101.0, 103.0, "done")]


def test_a_failed_job_has_reason_and_remedy(ledger: Ledger) -> None:
    claim = claimed(ledger)
    odd = os.fsdecode(b"\xff.wav")
    ledger.fail(
        claim.job_id,
        claim.generation,
        101.0,
        code="no_audio",
        reason=f"{odd} holds no audio",
        remedy="record again",
    )
    (summary,) = ledger.jobs(state=JobState.FAILED)
    assert (summary.reason_code, summary.reason, summary.remedy, summary.rtfx) == (
        "no_audio", "\\udcff.wav holds no audio", "record again", None,
    )  # fmt: skip


def test_a_done_job_no_longer_shows_the_trouble_before(ledger: Ledger) -> None:
    claim = claimed(ledger)
    ledger.release(
        claim.job_id,
        claim.generation,
        101.0,
        not_before=0.0,
        refund=False,
        isolate=False,
        code="storage",
        reason="full",
    )
    (claim,) = claim_all(ledger, 102.0)
    ledger.finish([finish_of(claim, "一")], 103.0)
    found = ledger.job(claim.job_id)
    assert found is not None
    assert found.summary.reason is None
    assert found.attempts[0].reason == "full"


def history(location: DatabaseLocation) -> dict[str, Any]:
    return query(location, "SELECT * FROM job_history")[0]


def test_the_view_is_for_people(ledger: Ledger, location: DatabaseLocation) -> None:
    ledger.admit([admission("会议.wav", settle_s=2.0)], 1_767_225_600.0)
    (claim,) = claim_all(ledger, 1_767_225_601.0)
    intend(ledger, claim, [planned("会议.txt", "1"), planned("会议.srt", "2", "srt")], 0.0)
    ledger.finish([finish_of(claim, "预算", "你好")], 1_767_225_603.0)
    row = history(location)
    assert {
        k: row[k] for k in ("id", "state", "recording", "folder", "profile", "admitted_utc", "finished_utc")
    } == {
        "id": claim.job_id,
        "state": "done",
        "recording": "/srv/drop/会议.wav",
        "folder": "/srv/drop",
        "profile": "default",
        "admitted_utc": "2026-01-01 00:00:00",
        "finished_utc": "2026-01-01 00:00:03",
    }
    stages = row["stages"]
    assert (json.loads(stages) if isinstance(stages, str) else stages) == dict.fromkeys(STAGES, 0.25)
    assert row["recognition_s"] == 0.25
    assert (row["audio_s"], row["total_s"], row["rtfx"], row["characters"]) == (5.0, 5.0, 2.5, 4)
    assert (row["model"], row["device"], row["attempts"]) == ("mini", "cpu", 1)
    assert row["outputs"] == "/srv/drop/会议.txt, /srv/drop/会议.srt"


def test_the_view_shows_unfinished_jobs_too(ledger: Ledger, location: DatabaseLocation) -> None:
    ledger.admit([admission()], 100.0)
    row = history(location)
    assert (row["state"], row["finished_utc"], row["rtfx"], row["total_s"]) == ("queued", None, None, None)


@pytest.mark.sqlite
def test_the_sqlite3_command_reads_the_view(ledger: Ledger, location: DatabaseLocation) -> None:
    command = shutil.which("sqlite3")
    if command is None:
        pytest.skip("there is no sqlite3 command here")
    transcribed(ledger, "预算")
    # The ledger has the database open meanwhile.
    said = subprocess.run(
        [command, location.file, "select id, state, characters from job_history"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "1|done|2\n"


def test_threads_share_one_ledger(ledger: Ledger) -> None:
    """Concurrent admission, claims and finishes: every job is done once."""
    ledger.admit([admission(f"{i}.wav", str(i)) for i in range(100)], 1.0)
    done: list[int] = []

    def work() -> None:
        while claims := claim_all(ledger, limit=3):
            assert ledger.finish([finish_of(c, "一") for c in claims], 101.0) == []
            done.extend(c.job_id for c in claims)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    ledger.admit([admission(f"later-{i}.wav", f"later-{i}") for i in range(20)], 1.0)
    for thread in threads:
        thread.join()
    while claims := claim_all(ledger):
        ledger.finish([finish_of(c, "一") for c in claims], 101.0)
        done.extend(c.job_id for c in claims)
    assert sorted(done) == sorted(j.id for j in ledger.jobs(limit=1_000))
    assert ledger.counts()[JobState.DONE] == 120


def test_a_long_transcript_keeps_its_order(ledger: Ledger) -> None:
    claim = claimed(ledger)
    many = segments(*(f"第{i}句" for i in range(300)))
    assert ledger.finish([replace(finish_of(claim), segments=many)], 101.0) == []
    got = ledger.stored_result(claim.job_id)
    assert got is not None
    assert got.segments == many


def test_intents_for_replaced_content_are_refused(ledger: Ledger) -> None:
    """The older job may finish later; its text must not be written beside the newer content."""
    older = claimed(ledger)
    ledger.admit([admission("a.wav", "other content")], 150.0)
    refused = ledger.intend(
        [(older.job_id, older.generation, [planned("a.txt", "of the older content")])], 151.0
    )
    assert refused == [older.job_id]
    assert ledger.owned([FOLDER / "a.txt"]) == {}
