"""What the ledger keeps after jobs are done: text, logs, moved and renamed recordings, tombstones."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe.files import FileSignature
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState, OutputIntent, Redo
from tests.support.ledgers import FOLDER, admission, begin, claim_all, finish_of, intend, transcribed

LATER = 1e6


def strip(ledger: Ledger, *jobs: int, before: float = LATER, most: int = 100) -> list[int]:
    return ledger.keeping.remove_text(list(jobs), LATER, finished_before={"default": before}, most=most)


def admit(ledger: Ledger, name: str, content: str, now: float = 500.0, **changes: object) -> int:
    (made,) = ledger.admit([admission(name, content, **changes)], now)
    return made.job_id


def redo(job: int) -> Redo:
    return Redo(job, "default", "mini|vad", share_result=True, max_attempts=3)


# text


def test_text_is_removed_and_the_job_stays(ledger: Ledger) -> None:
    job = transcribed(ledger, "预算", "会议")
    assert strip(ledger, job) == [job]
    assert ledger.search("预算") == []
    assert ledger.stored_result(job) is None
    detail = ledger.job(job)
    assert detail is not None
    assert detail.summary.state is JobState.DONE
    assert detail.summary.audio_s == 5.0
    assert admit(ledger, "a.wav", "a.wav") == job, "the file in its folder is not transcribed again"


def test_a_long_text_is_removed_in_steps_that_nobody_mistakes_for_the_whole(ledger: Ledger) -> None:
    job = transcribed(ledger, *"一二三四五")
    assert strip(ledger, job, most=2) == []
    assert ledger.stored_result(job) is None
    assert ledger.redo([redo(job)], LATER)[0].from_tokens is False
    ledger.cancel_gone(FOLDER / "a.wav", LATER, "gone")
    assert strip(ledger, job, most=2) == []
    assert strip(ledger, job, most=2) == [job]
    (row,) = [row for row in ledger.keeping.finished((0, 0), LATER, 10) if row.job_id == job]
    assert not row.text


def test_a_copy_of_a_removed_text_is_transcribed_anew(ledger: Ledger) -> None:
    job = transcribed(ledger, "预算")
    strip(ledger, job)
    copy = admit(ledger, "copy.wav", "a.wav")
    (claim,) = claim_all(ledger, 600.0)
    assert (claim.job_id, claim.reference) == (copy, None)


def test_text_stays_while_another_job_uses_it(ledger: Ledger) -> None:
    first = transcribed(ledger, "预算")
    admit(ledger, "copy.wav", "a.wav", 500.0)
    assert strip(ledger, first) == [first], "a queued copy is about to"
    assert ledger.stored_result(first) is not None
    (claim,) = claim_all(ledger, 600.0)
    assert ledger.finish([finish_of(claim, reference=first)], 700.0) == []
    strip(ledger, first, before=650.0)
    assert ledger.stored_result(claim.job_id) is not None, "the copy is too new"
    strip(ledger, first, claim.job_id, before=750.0)
    assert ledger.stored_result(first) is None
    assert ledger.stored_result(claim.job_id) is None


def test_a_shared_text_stays_as_long_as_the_profile_of_each_recording_keeps_it(ledger: Ledger) -> None:
    first = transcribed(ledger, "预算")
    admit(ledger, "copy.wav", "a.wav", 500.0, profile="court")
    (claim,) = claim_all(ledger, 600.0)
    assert ledger.finish([finish_of(claim, reference=first)], 700.0) == []
    for court in (-1e300, 650.0):
        before = {"default": LATER, "court": court}
        assert ledger.keeping.remove_text([first], LATER, finished_before=before, most=10) == [first]
        assert ledger.stored_result(claim.job_id) is not None
    ledger.keeping.remove_text([first], LATER, finished_before={"default": LATER}, most=10)
    assert ledger.stored_result(claim.job_id) is None, (
        "a profile that is no longer there counts as the default one"
    )


def test_a_text_that_is_being_removed_is_no_source_for_a_redo_of_its_copy(ledger: Ledger) -> None:
    first = transcribed(ledger, *"一二三")
    copy = admit(ledger, "copy.wav", "a.wav", 500.0)
    (claim,) = claim_all(ledger, 600.0)
    ledger.finish([finish_of(claim, reference=first)], 700.0)
    assert strip(ledger, first, most=1) == []
    assert ledger.redo([redo(copy)], LATER)[0].from_tokens is False


def test_redo_needs_the_audio_once_the_text_is_removed(ledger: Ledger) -> None:
    job = transcribed(ledger, "预算")
    assert strip(ledger, job) == [job]
    (again,) = ledger.redo([redo(job)], LATER)
    assert again.new_job_id is not None
    assert not again.from_tokens


def test_logs_are_removed(ledger: Ledger) -> None:
    job = transcribed(ledger, "预算")
    ledger.keeping.remove_logs([job], LATER)
    detail = ledger.job(job)
    assert detail is not None
    assert detail.attempts == ()
    assert detail.result is not None
    assert detail.result.timings.seconds == ()
    assert [s.text for s in detail.result.segments] == ["预算"]


def test_done_jobs_come_in_order_and_in_parts(ledger: Ledger) -> None:
    jobs = [transcribed(ledger, "一", name=f"{n}.wav", now=100.0 + 10 * n) for n in range(5)]
    admit(ledger, "waiting.wav", "w")
    rows = ledger.keeping.finished((0.0, 0), 133.0, 3)
    assert [r.job_id for r in rows] == jobs[:3]
    rest = ledger.keeping.finished((rows[-1].finished_at, rows[-1].job_id), 133.0, 3)
    assert [r.job_id for r in rest] == jobs[3:4], "the last one was finished later"
    assert all(r.newest and r.text and r.logs and r.files and r.recording for r in (*rows, *rest))


# recordings


def test_a_recording_leaves_by_an_intent_and_an_end(ledger: Ledger) -> None:
    job = transcribed(ledger, "一")
    departure = ledger.keeping.depart(job, Path("/archive/a.wav"), LATER)
    assert departure is not None
    assert (departure.path, departure.target) == (FOLDER / "a.wav", Path("/archive/a.wav"))
    assert ledger.keeping.departures() == [departure]
    assert ledger.keeping.depart(job, None, LATER) is None, "one at a time"
    ledger.keeping.departed(departure.recording_id, LATER, outputs_follow=False)
    assert ledger.keeping.departures() == []
    assert "/archive/a.wav" in ledger.redo([redo(job)], LATER)[0].reason
    assert admit(ledger, "a.wav", "a.wav") == job, "it was put back"
    assert ledger.keeping.depart(job, None, LATER) is not None
    ledger.keeping.stayed(departure.recording_id)
    assert ledger.keeping.departures() == []


def test_a_recording_does_not_leave_before_its_newest_job_is_done(ledger: Ledger) -> None:
    job = transcribed(ledger, "一")
    (again,) = ledger.redo([redo(job)], 200.0)
    assert again.new_job_id is not None
    assert ledger.keeping.depart(job, None, LATER) is None
    assert ledger.keeping.depart(again.new_job_id, None, LATER) is None
    (claim,) = claim_all(ledger, 300.0)
    begin(ledger, claim)
    ledger.fail(claim.job_id, claim.generation, 301.0, code="no_audio", reason="none", remedy="")
    assert ledger.keeping.depart(job, None, LATER) is None, "never across a failure"
    other = transcribed(ledger, "二", name="b.wav", now=400.0)
    admit(ledger, "b.wav", "new content", 500.0)
    assert ledger.keeping.depart(other, None, LATER) is None


# renamed recordings


def renamed(ledger: Ledger, name: str, content: str, to: str, **changes: object) -> tuple[int, bool, bool]:
    (found,) = ledger.keeping.rename_candidates(FOLDER / to, FileSignature(1_000, 10, 7), f"sha-{content}")
    assert found.path == FOLDER / name
    (made,) = ledger.admit([admission(to, content, renamed_from=found.recording_id, **changes)], 700.0)
    return made.job_id, made.created, made.renamed


def test_a_renamed_recording_keeps_its_job_and_its_files_follow(ledger: Ledger) -> None:
    admit(ledger, "a.wav", "a.wav", 100.0)
    (claim,) = claim_all(ledger, 101.0)
    intend(ledger, claim, [OutputIntent("txt", FOLDER / "a.txt", "hash")], 102.0)
    ledger.finish([finish_of(claim, "一")], 103.0)
    assert renamed(ledger, "a.wav", "a.wav", "b.wav") == (claim.job_id, False, True)
    assert [r.path for r in ledger.known(FOLDER)] == [str(FOLDER / "b.wav")]
    (following,) = ledger.keeping.following(10)
    assert (following.old, following.recording) == (FOLDER / "a.wav", FOLDER / "b.wav")
    ((row, file),) = [(o.row, o.file) for o in following.outputs]
    assert file.recording == FOLDER / "b.wav"
    ledger.keeping.followed(following, [(row, FOLDER / "b.txt")], complete=True)
    assert ledger.keeping.following(10) == []
    assert [o.path for o in ledger.outputs_of(FOLDER / "b.wav")] == [FOLDER / "b.txt"]
    assert ledger.outputs_of(FOLDER / "a.wav") == []


def test_a_waiting_job_is_renamed_whether_or_not_its_old_path_was_reported_first(ledger: Ledger) -> None:
    first = admit(ledger, "a.wav", "x")
    assert renamed(ledger, "a.wav", "x", "b.wav") == (first, False, True)
    assert ledger.cancel_gone(FOLDER / "a.wav", 701.0, "removed") == []
    assert ledger.cancel_gone(FOLDER / "b.wav", 702.0, "removed") == [first]
    assert renamed(ledger, "b.wav", "x", "c.wav") == (first, False, True)
    (claim,) = claim_all(ledger, 800.0)
    assert (claim.job_id, claim.path) == (first, FOLDER / "c.wav")


def test_a_rename_onto_another_recording_replaces_that(ledger: Ledger) -> None:
    first, other = admit(ledger, "a.wav", "x"), admit(ledger, "b.wav", "y", size=5)
    assert renamed(ledger, "a.wav", "x", "b.wav") == (first, False, True)
    states = {j.id: j.state for j in ledger.jobs()}
    assert states == {first: JobState.QUEUED, other: JobState.CANCELLED}
    assert [r.path for r in ledger.known(FOLDER)] == [str(FOLDER / "b.wav")]


def test_of_two_new_names_only_one_is_a_rename(ledger: Ledger) -> None:
    first = admit(ledger, "a.wav", "x")
    (found,) = ledger.keeping.rename_candidates(FOLDER / "b.wav", FileSignature(1_000, 10, 7), "sha-x")
    both = [admission(name, "x", renamed_from=found.recording_id) for name in ("b.wav", "c.wav")]
    answers = ledger.admit(both, 700.0)
    assert [(a.renamed, a.job_id == first) for a in answers] == [(True, True), (False, False)]
    assert sorted(r.path for r in ledger.known(FOLDER)) == [str(FOLDER / "b.wav"), str(FOLDER / "c.wav")]


def test_the_old_name_may_be_used_again_in_the_same_batch(ledger: Ledger) -> None:
    first = admit(ledger, "a.wav", "x")
    (found,) = ledger.keeping.rename_candidates(FOLDER / "b.wav", FileSignature(1_000, 10, 7), "sha-x")
    for order in (1, -1):
        batch = [admission("b.wav", "x", renamed_from=found.recording_id), admission("a.wav", "new", size=5)]
        answers = dict(
            zip([a.path.name for a in batch][::order], ledger.admit(batch[::order], 700.0), strict=True)
        )
        assert answers["a.wav"].job_id != answers["b.wav"].job_id
        assert (answers["b.wav"].job_id == first) is (order == 1 or answers["b.wav"].created is False)
        assert sorted(r.path for r in ledger.known(FOLDER)) == [str(FOLDER / "a.wav"), str(FOLDER / "b.wav")]


def test_what_differs_in_content_size_or_time_is_no_rename(ledger: Ledger) -> None:
    admit(ledger, "a.wav", "x")
    find = ledger.keeping.rename_candidates
    assert find(FOLDER / "b.wav", FileSignature(1_000, 10, 99), "sha-x") != [], "mv to another disk"
    assert find(FOLDER / "b.wav", FileSignature(1_000, 11, 7), "sha-x") == []
    assert find(FOLDER / "b.wav", FileSignature(1_000, 10, 7), "sha-y") == []
    assert find(FOLDER / "a.wav", FileSignature(1_000, 10, 7), "sha-x") == [], "itself"
    asked = [
        (FileSignature(1_000, 10, 99), "sha-x"),
        (FileSignature(1_000, 11, 7), "sha-x"),
        (FileSignature(1_001, 10, 7), "sha-x"),
        (FileSignature(1_000, 10, 7), "sha-y"),
        (FileSignature(1_000, 10, 7), "sha-x"),
    ]
    assert ledger.keeping.on_record(asked) == [True, False, False, False, True]


# purging


@pytest.fixture
def secret(ledger: Ledger) -> int:
    transcribed(ledger, "公开的会议", name="other.wav", now=50.0)
    return transcribed(ledger, "绝密预算四百万", "secretword here", name="secret.wav")


@pytest.mark.sqlite
def test_nothing_of_a_purged_text_is_left_in_the_database_file(
    ledger: Ledger, location: DatabaseLocation, secret: int
) -> None:
    (plan,) = ledger.keeping.purge_plans(secret)
    assert [(j.job_id, j.state, j.segments) for j in plan.jobs] == [(secret, JobState.DONE, 2)]
    ledger.keeping.purge([plan.recording_id], LATER)
    while ledger.keeping.merge_search(500):
        pass
    assert ledger.keeping.shrink_log()
    files = [f for f in location.directory.iterdir() if f.is_file()]
    content = b"".join(f.read_bytes() for f in files)
    for word in ("绝密预算", "secretword", "密预算", "cretwo"):
        assert word.encode() not in content, word
    for trigram in ("密预算", "etw"):
        assert trigram.encode() not in content, "a word of the index"
    assert "公开的会议".encode() in content
    assert ledger.search("会议") != []


def test_a_purged_recording_is_not_transcribed_again_unless_asked(ledger: Ledger, secret: int) -> None:
    (plan,) = ledger.keeping.purge_plans(secret)
    ledger.keeping.purge([plan.recording_id], LATER)
    assert admit(ledger, "secret.wav", "secret.wav", recipe="another|vad") == secret
    assert str(FOLDER / "secret.wav") in [r.path for r in ledger.known(FOLDER)]
    (again,) = ledger.redo([redo(secret)], LATER)
    assert again.new_job_id is not None
    assert not again.from_tokens


def test_a_waiting_job_is_cancelled_by_its_purge_and_stays_so(ledger: Ledger) -> None:
    job = admit(ledger, "a.wav", "x")
    (claim,) = claim_all(ledger, 600.0)
    ledger.keep([finish_of(claim, "绝密")], 601.0)
    (plan,) = ledger.keeping.purge_plans(job)
    ledger.keeping.purge([plan.recording_id], LATER)
    assert ledger.finish([finish_of(claim, "绝密")], LATER) == [job]
    ledger.keep([finish_of(claim, "绝密")], LATER)
    assert ledger.intend([(job, claim.generation, [OutputIntent("txt", FOLDER / "a.txt", "h")])], LATER) == [
        job
    ]
    assert ledger.search("绝密") == []
    assert admit(ledger, "a.wav", "x") == job


def test_what_was_purged_is_neither_tried_again_nor_moved_or_deleted(ledger: Ledger, secret: int) -> None:
    waiting = admit(ledger, "a.wav", "x")
    for job in (secret, waiting):
        (plan, *_) = ledger.keeping.purge_plans(job)
        ledger.keeping.purge([plan.recording_id], LATER)
    assert ledger.keeping.depart(secret, None, LATER) is None
    (one,) = [one for one in ledger.keeping.finished((0.0, 0), LATER, 10) if one.job_id == secret]
    assert not one.recording
    (change,) = ledger.retry([waiting], LATER, "ann")
    assert not change.changed
    assert "purged" in change.reason


def test_copies_are_named_with_their_recording(ledger: Ledger) -> None:
    first = transcribed(ledger, "一")
    copy = admit(ledger, "copy.wav", "a.wav")
    plans = ledger.keeping.purge_plans(copy)
    assert [[j.job_id for j in p.jobs] for p in plans] == [[copy], [first]]
    assert ledger.keeping.purge_plans(999) == []
