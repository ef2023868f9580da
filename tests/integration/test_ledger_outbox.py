"""The outbox of notifications: what is written into it, when it is given out, and what stays on record."""

from __future__ import annotations

from dataclasses import replace

from dropscribe.ledger.events import Condition, Event, EventKind, Subscription
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.outbox import KEEP_FAILED_S, KEEP_SENT_S, Message, MessageState
from tests.support.ledgers import FOLDER, LEASE_S, admission, begin, claim_all, finish_of, transcribed

EVERY = tuple(MessageState)
ALL = Subscription("ops", frozenset(EventKind))


def claim(ledger: Ledger, now: float, target: str = "ops", limit: int = 10) -> list[Message]:
    return ledger.outbox.claim("sender", now, LEASE_S, {target: limit})


def kinds(ledger: Ledger, target: str | None = None) -> list[str]:
    found = ledger.outbox.messages(states=EVERY, target=target)
    return [m.kind.value for m in reversed(found)]


def low(name: str) -> Condition:
    return Condition(f"disk:{name}", EventKind.DISK, {"place": name})


def test_without_subscriptions_nothing_is_written(ledger: Ledger) -> None:
    transcribed(ledger, "一")
    ledger.announce([Event(EventKind.ENGINE, 1.0)], 1.0)
    ledger.note_conditions([low("/srv")], 1.0)
    assert ledger.outbox.messages(states=EVERY) == []


def test_the_end_of_a_job_is_told_with_what_a_person_asks_first(ledger: Ledger) -> None:
    ledger.subscribe([ALL])
    job = transcribed(ledger, "预算", name="a.wav", now=100.0)
    (message,) = claim(ledger, 200.0)
    (event,) = message.events
    assert (event.kind, event.job_id, event.at) == (EventKind.DONE, job, 103.0)
    assert event.facts["recording"] == str(FOLDER / "a.wav")
    assert (event.facts["audio_ms"], event.facts["characters"], event.facts["finished_at"]) == (
        5_000,
        2,
        103.0,
    )
    assert "预算" not in str(event.facts)


def test_a_failed_job_is_told_with_reason_and_remedy(ledger: Ledger) -> None:
    ledger.subscribe([ALL])
    ledger.admit([admission(max_attempts=1)], 1.0)
    (claimed,) = claim_all(ledger, 2.0)
    begin(ledger, claimed)
    ledger.release(
        claimed.job_id, claimed.generation, 3.0, not_before=3.0, refund=False, isolate=False,
        code="no_audio", reason="it holds no audio", remedy="record again",
    )  # fmt: skip
    (message,) = claim(ledger, 4.0)
    facts = message.events[0].facts
    assert (facts["state"], facts["code"], facts["reason"], facts["remedy"]) == (
        "failed", "no_audio", "it holds no audio", "record again",
    )  # fmt: skip


def test_events_are_chosen_by_folder_and_profile(ledger: Ledger) -> None:
    done = frozenset({EventKind.DONE})
    ledger.subscribe(
        [
            Subscription("here", done, folders=frozenset({FOLDER})),
            Subscription("elsewhere", done, folders=frozenset({FOLDER / "other"})),
            Subscription("court", done, profiles=frozenset({"court"})),
            Subscription("failures", frozenset({EventKind.FAILED})),
        ]
    )
    transcribed(ledger, "一", name="a.wav")
    ledger.admit([replace(admission("b.wav", "b"), profile="court")], 200.0)
    (other,) = claim_all(ledger, 201.0)
    ledger.finish([finish_of(other, "二")], 202.0)
    listed = ledger.outbox.messages(states=EVERY)
    assert sorted(m.target for m in listed) == ["court", "here", "here"]


def test_a_claimed_message_is_given_out_again_only_after_its_lease_and_under_the_same_uid(
    ledger: Ledger,
) -> None:
    ledger.subscribe([ALL])
    transcribed(ledger, "一")
    (first,) = claim(ledger, 200.0)
    assert claim(ledger, 200.0 + LEASE_S) == []
    ledger.outbox.renew([first], 230.0, LEASE_S)
    assert claim(ledger, 200.0 + LEASE_S + 1) == []
    (again,) = claim(ledger, 230.0 + LEASE_S + 1)
    assert (again.uid, again.tries) == (first.uid, 2)
    assert not ledger.outbox.sent(first, 300.0)
    assert ledger.outbox.sent(again, 300.0)
    assert claim(ledger, 9_000.0) == []


def test_a_digest_collects_until_its_period_ends(ledger: Ledger) -> None:
    ledger.subscribe([replace(ALL, digest_s=3600.0)])
    jobs = [transcribed(ledger, "一", name=f"{i}.wav", now=100.0 + 10 * i) for i in range(3)]
    assert claim(ledger, 3599.0) == []
    (message,) = claim(ledger, 3600.0)
    assert [e.job_id for e in message.events] == jobs
    # What happens while it is being sent goes into the next one.
    late = transcribed(ledger, "一", name="late.wav", now=3700.0)
    ledger.outbox.postpone(message, 7200.0, "busy")
    retried, following = claim(ledger, 7200.0)
    assert (retried.uid, len(retried.events)) == (message.uid, 3)
    assert [e.job_id for e in following.events] == [late]


def test_a_condition_is_told_when_it_begins_and_not_again_while_it_lasts(ledger: Ledger) -> None:
    ledger.subscribe([ALL])
    for now in (100.0, 130.0, 200.0):
        ledger.note_conditions([low("/srv")], now)
    assert kinds(ledger) == ["disk"]
    ledger.note_conditions([], 300.0)
    ledger.note_conditions([low("/srv"), low("/data")], 400.0)
    assert kinds(ledger) == ["disk", "disk"]
    ledger.note_conditions([low("/data")], 1_100.0)
    ledger.note_conditions([low("/srv"), low("/data")], 1_200.0)
    assert kinds(ledger) == ["disk", "disk", "disk"]


def test_a_target_that_is_disabled_gets_nothing_until_it_is_retried(ledger: Ledger) -> None:
    ledger.subscribe([ALL])
    for i in range(2):
        transcribed(ledger, "一", name=f"{i}.wav", now=100.0 + 10 * i)
    (first,) = claim(ledger, 200.0, limit=1)
    ledger.outbox.give_up(first, 201.0, "410 Gone")
    ledger.outbox.disable("ops", 201.0, "410 Gone")
    assert ledger.outbox.disabled() == {"ops": "410 Gone"}
    assert claim(ledger, 300.0) == []
    counts = ledger.outbox.counts()["ops"]
    assert (counts.pending, counts.failed) == (0, 2)
    assert ledger.outbox.retry(400.0, target="ops") == 2
    assert ledger.outbox.disabled() == {}
    assert first.uid in {m.uid for m in claim(ledger, 400.0)}


def test_messages_leave_the_record_after_a_while(ledger: Ledger) -> None:
    ledger.subscribe([ALL])
    for i in range(3):
        transcribed(ledger, "一", name=f"{i}.wav", now=100.0 + 10 * i)
    sent, failed, _ = claim(ledger, 200.0)
    ledger.outbox.sent(sent, 200.0)
    ledger.outbox.give_up(failed, 200.0, "refused")
    ledger.outbox.prune(201.0 + KEEP_SENT_S)
    assert len(ledger.outbox.messages(states=EVERY)) == 2
    ledger.outbox.prune(201.0 + KEEP_FAILED_S)
    assert [m.state for m in ledger.outbox.messages(states=EVERY)] == [MessageState.PENDING]
