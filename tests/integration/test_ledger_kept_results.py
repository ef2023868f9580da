"""Results on record before their files could be published."""

from __future__ import annotations

from dataclasses import replace

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim, JobState
from dropscribe.transcript.types import CHANNEL, VOICE, Segment, Speaker, Tokens
from tests.support.ledgers import admission, begin, claim_all, finish_of, segments


def keep(ledger: Ledger, claim: Claim, *texts: str, now: float = 110.0, not_before: float = 140.0) -> None:
    """Keep a result and release its job, as the daemon does when a disk is full."""
    ledger.keep([finish_of(claim, *texts)], now)
    ledger.release(
        claim.job_id, claim.generation, now,
        not_before=not_before, refund=True, isolate=False, code="storage", reason="disk full", unpublished=True,
    )  # fmt: skip


def test_a_kept_result_is_the_reference_of_the_next_claim_of_its_job(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    begin(ledger, claim)
    keep(ledger, claim, "一", "二")
    assert claim_all(ledger, 139.0) == []
    (again,) = claim_all(ledger, 140.0)
    assert (again.reference, again.unpublished, again.attempt) == (claim.job_id, 1, 1)
    stored = ledger.stored_result(claim.job_id)
    assert stored is not None
    assert stored.segments == segments("一", "二")
    assert ledger.finish([finish_of(again, "一", "二")], 150.0) == []
    detail = ledger.job(claim.job_id)
    assert detail is not None
    assert (detail.summary.state, detail.summary.reference, detail.summary.attempts) == (
        JobState.DONE,
        None,
        1,
    )
    assert detail.result == stored
    assert [(hit.job_id, hit.segment) for hit in ledger.search("二")] == [(claim.job_id, 1)]


def test_new_jobs_are_claimed_before_those_that_could_not_be_published(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    a, b = claim_all(ledger)
    keep(ledger, a, "一")
    keep(ledger, b, "一")
    (again,) = claim_all(ledger, 150.0, limit=1)
    keep(ledger, again, "一", now=151.0, not_before=151.0)
    ledger.admit([admission("c.wav", "c")], 152.0)
    names = [c.path.name for _ in range(3) for c in claim_all(ledger, 153.0, limit=1)]
    assert names == ["c.wav", "b.wav", "a.wav"]


def test_a_copy_uses_a_result_that_is_not_published_yet(ledger: Ledger) -> None:
    ledger.admit([admission("a.wav", "same"), admission("b.wav", "same")], 1.0)
    (first,) = claim_all(ledger)
    keep(ledger, first, "一", not_before=1e6)
    (copy,) = claim_all(ledger, 120.0)
    assert (copy.path.name, copy.reference) == ("b.wav", first.job_id)
    ledger.finish([finish_of(copy, "一", reference=first.job_id)], 121.0)
    detail = ledger.job(copy.job_id)
    assert detail is not None
    assert detail.summary.reference == first.job_id
    assert detail.result is not None


def test_a_job_with_a_result_killed_nobody(ledger: Ledger) -> None:
    """A daemon that is killed between keeping a result and releasing its job suspects none."""
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    begin(ledger, claim)
    ledger.keep([finish_of(claim, "一")], 110.0)
    recovered = ledger.recover(120.0)
    assert (recovered.unbegun, recovered.suspects) == (1, 0)
    (again,) = claim_all(ledger, 121.0)
    assert (again.reference, again.isolate, again.attempt) == (claim.job_id, False, 1)


def test_nothing_is_kept_for_a_claim_that_was_lost(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    ledger.cancel(claim.job_id, 105.0, "not wanted")
    ledger.keep([finish_of(claim, "一")], 110.0)
    assert ledger.stored_result(claim.job_id) is None
    assert ledger.search("一") == []


def test_a_kept_result_stays_under_its_recipe(ledger: Ledger) -> None:
    """What is transcribed already stays as it is when hotwords are changed."""
    ledger.admit([admission("a.wav", "a"), admission("b.wav", "b")], 1.0)
    a, _ = claim_all(ledger, limit=2)
    keep(ledger, a, "一")
    ledger.recover(120.0)
    assert ledger.apply_recipes(lambda _: "mini|vad|hotwords:1") == 1
    assert {c.path.name: (c.recipe, c.reference) for c in claim_all(ledger, 150.0)} == {
        "a.wav": ("mini|vad", a.job_id),
        "b.wav": ("mini|vad|hotwords:1", None),
    }


def test_a_failed_job_keeps_its_text(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    ledger.keep([finish_of(claim, "一")], 110.0)
    ledger.fail(
        claim.job_id, claim.generation, 111.0, code="output_name", reason="too long", remedy="rename it"
    )
    assert [hit.job_id for hit in ledger.search("一")] == [claim.job_id]
    ledger.admit([admission("copy.wav")], 120.0)
    assert [c.reference for c in claim_all(ledger, 121.0)] == [claim.job_id]


def test_marks_and_speakers_are_kept(ledger: Ledger) -> None:
    ledger.admit([admission()], 1.0)
    (claim,) = claim_all(ledger)
    segment = Segment(0, 0, 900, "你好", Tokens("你好", (0, 50), (50, 90)), b"\x00\x02", b"\x01\x02")
    silent = Segment(1, 1_000, 1_900, "")
    speakers = (Speaker(1, "Ann", VOICE, b"\x00\x3c"), Speaker(2, None, CHANNEL))
    done = replace(finish_of(claim), segments=(segment, silent), speakers=speakers)
    assert ledger.finish([done], 102.0) == []
    stored = ledger.stored_result(claim.job_id)
    assert stored is not None
    assert (stored.segments, stored.speakers) == ((segment, silent), speakers)
