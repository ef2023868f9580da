"""Admission: new jobs, known files, and cancellation of jobs whose file changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dropscribe.ledger.control import Selection
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.questions import JobFilter
from dropscribe.ledger.records import AWAY, JobState, OutputIntent, SkippedFile
from tests.support.ledgers import FOLDER, LEASE_S, admission, claim_all, finish_of, intend, transcribed


def known(ledger: Ledger, folder: Path) -> dict[Path, tuple[int, int, int]]:
    """(size, mtime_ns, inode) of the known files below a folder."""
    return {Path(k.path): (k.size, k.mtime_ns, k.inode) for k in ledger.known(folder)}


def state(ledger: Ledger, job: int) -> JobState:
    found = ledger.job(job)
    assert found is not None
    return found.summary.state


def test_a_new_recording_becomes_a_queued_job(ledger: Ledger) -> None:
    (made,) = ledger.admit([admission()], 50.0)
    assert made.created
    found = ledger.job(made.job_id)
    assert found is not None
    assert (found.summary.state, found.summary.recording, found.summary.admitted_at) == (
        JobState.QUEUED, FOLDER / "a.wav", 50.0,
    )  # fmt: skip
    assert (found.sha256, found.size, found.summary.attempts) == ("sha-one", 1_000, 0)


def test_nothing_is_admitted_for_nothing(ledger: Ledger) -> None:
    assert ledger.admit([], 1.0) == []


@pytest.mark.parametrize("how_far", ["queued", "running", "done", "failed"])
def test_the_same_again_keeps_its_job(ledger: Ledger, how_far: str) -> None:
    (made,) = ledger.admit([admission()], 1.0)
    claims = claim_all(ledger) if how_far != "queued" else []
    if how_far == "done":
        ledger.finish([finish_of(claims[0], "一")], 101.0)
    elif how_far == "failed":
        ledger.fail(claims[0].job_id, claims[0].generation, 101.0, code="no_audio", reason="r", remedy="")
    (again,) = ledger.admit([admission(mtime_ns=99, inode=8)], 200.0)
    assert (again.job_id, again.created) == (made.job_id, False)
    assert state(ledger, made.job_id) == how_far
    assert known(ledger, FOLDER) == {FOLDER / "a.wav": (1_000, 99, 8)}


def test_a_touched_recording_is_claimed_as_it_is_now(ledger: Ledger) -> None:
    ledger.admit([admission(mtime_ns=10)], 1.0)
    ledger.admit([admission(mtime_ns=99)], 2.0)
    (claim,) = claim_all(ledger)
    assert claim.signature.mtime_ns == 99


def test_new_content_is_a_new_job_and_cancels_what_waits(ledger: Ledger) -> None:
    (first,) = ledger.admit([admission(content="one")], 1.0)
    (second,) = ledger.admit([admission(content="two")], 2.0)
    assert second.created
    assert state(ledger, first.job_id) is JobState.CANCELLED
    detail = ledger.job(first.job_id)
    assert detail is not None
    assert "content changed" in (detail.summary.reason or "")
    assert [c.job_id for c in claim_all(ledger)] == [second.job_id]


def test_new_content_ends_what_runs_and_leaves_what_is_done(ledger: Ledger) -> None:
    """Running jobs are cancelled, too: the path has other content, so they could not be published."""
    done = transcribed(ledger, "一", name="a.wav")
    ledger.admit([admission("a.wav", "two")], 200.0)
    (running,) = claim_all(ledger, 201.0)
    (third,) = ledger.admit([admission("a.wav", "three")], 202.0)
    assert (state(ledger, done), state(ledger, running.job_id)) == (JobState.DONE, JobState.CANCELLED)
    detail = ledger.job(running.job_id)
    assert detail is not None
    assert [a.outcome for a in detail.attempts] == ["cancelled"]
    assert ledger.heartbeat([(running.job_id, running.generation)], 203.0, LEASE_S) == {running.job_id}
    assert ledger.finish([finish_of(running, "二")], 203.0) == [running.job_id]
    assert [c.job_id for c in claim_all(ledger, 204.0)] == [third.job_id]


def test_content_that_comes_back_is_done_again_by_reference(ledger: Ledger) -> None:
    """The transcript beside it is that of the intermediate content and must be replaced."""
    first = transcribed(ledger, "一", name="a.wav")
    ledger.admit([admission("a.wav", "two")], 200.0)
    (back,) = ledger.admit([admission("a.wav", "a.wav")], 201.0)
    assert back.created
    (claim,) = claim_all(ledger, 202.0)
    assert (claim.job_id, claim.reference) == (back.job_id, first)


def test_content_that_changes_and_comes_back_before_its_turn_is_transcribed(ledger: Ledger) -> None:
    for content in ("one", "two", "one"):
        (made,) = ledger.admit([admission(content=content)], 1.0)
    assert [c.job_id for c in claim_all(ledger)] == [made.job_id]
    assert ledger.counts()[JobState.CANCELLED] == 2


def test_one_batch_may_hold_a_path_twice(ledger: Ledger) -> None:
    batch = [
        admission(content="one"),
        admission(content="one"),
        admission(content="two"),
        admission("b.wav", "one"),
    ]
    made = ledger.admit(batch, 1.0)
    assert [m.created for m in made] == [True, False, True, True]
    assert made[0].job_id == made[1].job_id
    assert state(ledger, made[0].job_id) is JobState.CANCELLED
    assert known(ledger, FOLDER).keys() == {FOLDER / "a.wav", FOLDER / "b.wav"}
    assert [c.job_id for c in claim_all(ledger)] == [made[2].job_id, made[3].job_id]


def test_another_profile_or_recipe_is_another_job(ledger: Ledger) -> None:
    made = ledger.admit([admission(), admission(profile="court"), admission(recipe="large|vad")], 1.0)
    assert len({m.job_id for m in made}) == 3
    # The content is recognised once under each recipe; the other profile gets that result.
    assert [c.job_id for c in claim_all(ledger)] == [made[0].job_id, made[2].job_id]


def test_known_is_limited_to_one_folder(ledger: Ledger) -> None:
    other = Path("/srv/drop-other")
    ledger.admit(
        [
            admission("deep/er/a.wav"),
            admission(path=other / "b.wav", folder=other, sha256="sha-b"),
        ],
        1.0,
    )
    assert known(ledger, FOLDER).keys() == {FOLDER / "deep/er/a.wav"}
    assert known(ledger, other).keys() == {other / "b.wav"}
    assert known(ledger, Path("/")).keys() == {FOLDER / "deep/er/a.wav", other / "b.wav"}


def test_a_recording_that_is_removed_while_it_is_worked_on_is_cancelled(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    assert ledger.cancel_gone(FOLDER / "a.wav", 102.0, "removed") == [claim.job_id]
    detail = ledger.job(claim.job_id)
    assert detail is not None
    assert [(a.outcome, a.reason) for a in detail.attempts] == [("cancelled", "removed")]
    assert ledger.finish([finish_of(claim, "一")], 103.0) == [claim.job_id]


def test_known_files_have_whether_they_are_unfinished(ledger: Ledger) -> None:
    transcribed(ledger, "一", name="done.wav")
    ledger.admit([admission("queued.wav", "q")], 200.0)
    assert {Path(k.path).name: k.unfinished for k in ledger.known(FOLDER)} == {
        "done.wav": False,
        "queued.wav": True,
    }
    claim_all(ledger, 201.0)
    assert [k.unfinished for k in ledger.known(FOLDER) if k.path.endswith("queued.wav")] == [True]


def test_a_removed_recording_is_cancelled_and_taken_when_it_is_back(ledger: Ledger) -> None:
    (first,) = ledger.admit([admission()], 1.0)
    assert ledger.cancel_gone(FOLDER / "a.wav", 2.0, "removed") == [first.job_id]
    assert ledger.cancel_gone(FOLDER / "a.wav", 2.0, "removed") == []
    assert known(ledger, FOLDER) == {}
    (back,) = ledger.admit([admission()], 3.0)
    assert back.created
    assert [c.job_id for c in claim_all(ledger)] == [back.job_id]


def test_a_recording_that_was_gone_at_its_turn_is_taken_when_it_is_back(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    ledger.cancel(claim.job_id, 101.0, "gone", generation=claim.generation)
    assert known(ledger, FOLDER) == {}
    assert ledger.admit([admission()], 102.0)[0].created


def test_a_recording_whose_job_a_person_cancelled_is_left_alone(ledger: Ledger) -> None:
    (made,) = ledger.admit([admission()], 1.0)
    ledger.cancel(made.job_id, 2.0, "not wanted")
    assert known(ledger, FOLDER).keys() == {FOLDER / "a.wav"}
    assert not ledger.admit([admission()], 3.0)[0].created
    assert claim_all(ledger) == []


def test_removing_a_finished_recording_changes_nothing(ledger: Ledger) -> None:
    done = transcribed(ledger, "一")
    assert ledger.cancel_gone(FOLDER / "a.wav", 200.0, "removed") == []
    assert state(ledger, done) is JobState.DONE


def test_names_that_are_not_utf8_come_back_whole(ledger: Ledger, tmp_path: Path) -> None:
    odd = [
        FOLDER / os.fsdecode(name)
        for name in (b"\xff.wav", b"\xfe.wav", "会议\n.wav".encode(), b'q"%s;--.wav')
    ]
    made = ledger.admit([admission(path=p, sha256=f"sha-{i}") for i, p in enumerate(odd)], 1.0)
    assert len({m.job_id for m in made}) == len(odd)
    assert known(ledger, FOLDER).keys() == set(odd)
    assert [c.path for c in claim_all(ledger)] == odd
    assert {j.recording for j in ledger.jobs()} == set(odd)


def test_skips_are_stored_once_with_first_and_last_time(ledger: Ledger) -> None:
    odd = FOLDER / os.fsdecode(b"\xff.txt")
    ledger.skip([SkippedFile(odd, FOLDER, "extension", f"{odd} is no recording")], 1.0)
    ledger.skip(
        [SkippedFile(odd, FOLDER, "extension", "still none"), SkippedFile(odd, FOLDER, "empty", "0 bytes")],
        9.0,
    )
    ledger.skip([], 10.0)
    found = {s.code: s for s in ledger.recent_skips()}
    assert set(found) == {"extension", "empty"}
    assert (found["extension"].first_seen, found["extension"].last_seen) == (1.0, 9.0)
    assert (found["extension"].path, found["extension"].reason) == (odd, "still none")
    assert len(ledger.recent_skips(limit=1)) == 1


def test_paths_of_four_thousand_bytes(ledger: Ledger) -> None:
    """No index of PostgreSQL can hold them, neither as they are nor compressed."""
    deep = FOLDER.joinpath(*(hashlib.sha512(bytes([n])).hexdigest() for n in range(30)))
    first, second, aside = deep / "a.wav", deep / "b.wav", deep.with_name("c.wav")
    jobs = [
        made.job_id
        for made in ledger.admit(
            [admission(path=path, content=path.name, folder=FOLDER, inode=n) for n, path in enumerate((first, second, aside))]
            + [admission("short.wav", "short")],
            50.0,
        )
    ]  # fmt: skip
    assert len(os.fsencode(first)) > 3_800
    assert set(known(ledger, FOLDER)) == {first, second, aside, FOLDER / "short.wav"}
    assert set(known(ledger, deep)) == {first, second}
    assert (
        ledger.select(Selection(paths=[deep])) == ledger.select(Selection(paths=[first, second])) == jobs[:2]
    )
    assert [j.id for j in ledger.find_jobs(JobFilter(folder=deep)).jobs] == jobs[1::-1]
    assert ledger.hold(deep, 60.0, reason="away", remedy="") == 2
    assert ledger.resume(deep, 61.0, code=AWAY) == 2
    for claim in claim_all(ledger):
        text = claim.path.with_suffix(".txt")
        intend(ledger, claim, [OutputIntent("txt", text, "sha", None)], 101.0)
        assert ledger.finish([finish_of(claim, claim.path.name)], 102.0) == []
        assert [o.path for o in ledger.outputs_of(claim.path)] == [text]
        assert list(ledger.owned([text])) == [text]
    assert [f.path for f in ledger.finished_jobs(deep)] == [first, second]
    (changed,) = ledger.admit([admission(path=first, content="changed")], 110.0)
    assert changed.created
    assert ledger.admit([admission(path=second, content="b.wav", mtime_ns=11)], 111.0)[0].job_id == jobs[1]
    assert ledger.cancel_gone(first, 112.0, "gone") == [changed.job_id]
    for reason in ("empty", "still empty"):
        ledger.skip([SkippedFile(deep / "d.wav", FOLDER, "empty", reason)], 120.0)
    assert [s.reason for s in ledger.recent_skips()] == ["still empty"]
    assert ledger.pause(deep, 130.0, "someone") is None
    assert ledger.pause(deep, 131.0, "someone") is not None
