"""Notifications, the parts without a network: schedule, signatures, contents, settings."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.request import OpenerDirector

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from dropscribe.ledger.events import EventKind, Subscription
from dropscribe.ledger.outbox import Message, RecordedEvent
from dropscribe.notify import apprise_services, payload, signing, targets, webhook
from dropscribe.notify.schedule import DELAYS_S, Again, Answer, Done, GiveUp, decide, pause_s
from dropscribe.notify.webhook import retry_after
from dropscribe.notify_settings import EventName, NotifySettings
from tests.support.receivers import OTHER_SECRET, SECRET, secret_file

REFUSED = Answer(accepted=False, reason="it answered 500")
FACTS: dict[str, Any] = {
    "job": 7, "recording": "/srv/drop/会议.wav", "state": "done", "audio_ms": 65_000, "finished_at": 1_795_896_708.5,
    "files": ["/srv/drop/会议.txt"],
}  # fmt: skip
DONE = RecordedEvent(1, EventKind.DONE, 1_795_896_708.5, 7, FACTS)
FAILED = RecordedEvent(
    2, EventKind.FAILED, 1_795_896_709.0, 8, {"job": 8, "recording": "/srv/a.wav", "reason": "no\nsound"}
)


def message(*events: RecordedEvent, digest: bool = False) -> Message:
    return Message("msg_1", "ops", 1, digest, events)


def test_tries_follow_the_schedule_and_end() -> None:
    waits = []
    for tries in range(1, len(DELAYS_S)):
        again = decide(REFUSED, tries, 10, 0.0, 0.0)
        assert isinstance(again, Again)
        waits.append(again.due_at)
    assert waits == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert decide(REFUSED, 10, 10, 0.0, 0.0) == GiveUp()
    assert decide(REFUSED, 3, 3, 0.0, 0.0) == GiveUp()
    assert decide(Answer(accepted=True), 10, 10, 0.0, 0.0) == Done()


def test_delays_are_spread_by_at_most_a_fifth() -> None:
    assert decide(REFUSED, 2, 10, 100.0, 1.0) == Again(100.0 + 360.0)


@pytest.mark.parametrize(("asked_s", "waited_s"), [(1.0, 5.0), (120.0, 120.0), (1e9, 86_400.0)])
def test_a_receiver_may_ask_for_a_longer_delay_up_to_a_day(asked_s: float, waited_s: float) -> None:
    assert decide(replace(REFUSED, retry_after_s=asked_s), 1, 10, 0.0, 0.0) == Again(waited_s)


def test_a_receiver_that_is_gone_is_disabled() -> None:
    assert decide(replace(REFUSED, gone=True), 1, 10, 0.0, 0.0) == GiveUp(disable=True)


def test_the_pause_of_a_target_grows_and_ends() -> None:
    assert [pause_s(n) for n in (0, 1, 2, 3, 50)] == [0.0, 2.0, 4.0, 8.0, 60.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 100.0) == seconds


def test_each_secret_signs_so_that_a_receiver_may_know_either() -> None:
    body = payload.trial_content(0.0).body
    keys = [signing.parse_secret(s) for s in (SECRET, OTHER_SECRET)]
    # The reference verifier refuses what is older than five minutes by the clock of the machine.
    now = time.time()
    headers = signing.headers("msg_1", now, body, keys)
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(body, headers)["type"] == "test"
    assert headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize(("text", "reason"), [("whsec_no?word?", "base64"), ("whsec_c2hvcnQ=", "5 bytes")])
def test_a_secret_that_cannot_be_one_is_refused_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        signing.parse_secret(text)
    assert text.removeprefix("whsec_") not in str(caught.value)


def test_a_done_recording_is_told_without_its_text() -> None:
    content = payload.content_of(message(DONE), lambda _: None)
    document = json.loads(content.body)
    assert (document["type"], document["timestamp"]) == ("job.done", "2026-11-28T20:11:48.500Z")
    assert document["data"]["finished_at"] == "2026-11-28T20:11:48.500Z"
    assert "text" not in document["data"]
    assert content.title == "会议.wav: done"
    assert content.lines == ("会议.wav: done", "recording: /srv/drop/会议.wav", "audio: 1:05")


def test_text_is_sent_on_request_as_far_as_it_fits() -> None:
    whole = json.loads(payload.content_of(message(DONE), lambda _: "预算").body)["data"]
    assert (whole["text"], whole["text_whole"]) == ("预算", True)
    body = payload.content_of(message(DONE), lambda _: '"预算\n' * 20_000).body
    cut = json.loads(body)["data"]
    assert len(body) <= payload.MOST_BYTES
    assert len(cut["text"]) > 5_000
    assert cut["text_whole"] is False


def test_a_failure_is_one_line_for_people() -> None:
    content = payload.content_of(message(FAILED), lambda _: None)
    assert content.title == "a.wav: failed: no\\nsound"


def test_a_digest_counts_all_and_lists_failures_first_as_far_as_they_fit() -> None:
    many = [replace(DONE, id=i, facts=FACTS | {"job": i}) for i in range(500)]
    content = payload.content_of(message(*many, FAILED, digest=True), lambda _: None)
    document = json.loads(content.body)
    data = document["data"]
    assert len(content.body) <= payload.MOST_BYTES
    assert data["counts"] == {"job.done": 500, "job.failed": 1}
    assert data["events"][0]["type"] == "job.failed"
    assert data["left_out"] + len(data["events"]) == 501
    assert content.title == "dropscribe: 500 job.done, 1 job.failed"
    assert content.lines[-1] == "and 481 more"


def test_the_events_of_the_settings_are_those_of_the_ledger() -> None:
    assert set(get_args(EventName)) == {kind.value for kind in EventKind}
    assert set(payload.TYPES) == set(EventKind)


def test_a_digest_is_due_at_the_end_of_its_period() -> None:
    daily = Subscription("ops", frozenset(), digest_s=86_400.0)
    assert daily.due_at(10.0) == 86_400.0
    assert daily.due_at(86_400.0) == 172_800.0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "ops"}, "none of them"),
        ({"name": "ops", "url": "https://a.example", "command": ["true"]}, "url and command"),
        ({"name": "ops", "url": "ftp://a.example", "secret_files": ["s"]}, "no address of a web server"),
        ({"name": "ops", "url": "https://a:b@c.example", "secret_files": ["s"]}, "password"),
        ({"name": "ops", "url": "https://c.example/a b", "secret_files": ["s"]}, "a blank"),
        ({"name": "ops", "url": "https://c.example/会", "secret_files": ["s"]}, "not ASCII"),
        ({"name": "ops", "url": "https://c.example:no", "secret_files": ["s"]}, "no address of a web server"),
        ({"name": "ops", "url": "https://a.example"}, "no secret_files"),
    ],
)
def test_a_target_has_one_way_and_a_secret(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        NotifySettings.model_validate(settings)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hidden@host.example",
        "https://hidden@host.example/",
        "https://user:hidden/T0@host.example",
        "http://host.example/T0/hidden # of the chat",
        "http://host.example/T0/hidden\x07",
        "http://host.example/hidden/会议",
        "http://host.example:hidden/",
        "http://[hidden/",
        "hidden",
    ],
)
def test_an_address_in_a_file_that_cannot_be_used_is_not_shown(address: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{address}\n", encoding="utf-8")
    target = NotifySettings.model_validate(
        {"name": "ops", "url_file": tmp_path / "url", "secret_files": [secret_file(tmp_path)]}
    )
    answer = targets.send(target, "msg_1", payload.trial_content(0.0), 0.0)
    assert not answer.accepted
    assert "its first line is no usable address" in answer.reason
    assert "hidden" not in answer.reason


def test_a_password_in_an_address_is_not_sent_elsewhere_by_its_remedy() -> None:
    with pytest.raises(ValidationError) as caught:
        NotifySettings.model_validate({"name": "ops", "url": "https://a:b@c.example", "secret_files": ["s"]})
    (error,) = caught.value.errors()
    assert "url_file" not in error["msg"]


@pytest.mark.parametrize("error", [http.client.InvalidURL("/T0/hidden"), ValueError("/T0/hidden")])
def test_an_error_of_the_library_about_an_address_is_not_shown(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **_also: object) -> None:
        raise error

    monkeypatch.setattr(OpenerDirector, "open", refuse)
    answer = webhook.post("https://host.example/T0/hidden", "msg_1", b"{}", [], now=0.0, timeout_s=1.0)
    assert answer.reason == f"host.example: unexpected {type(error).__name__}"


@pytest.mark.parametrize(
    ("address", "kind"), [("mailtos://a:b@c", "mailtos"), ("hidden:hidden", "?"), ("hidden", "?")]
)
def test_a_line_for_apprise_that_is_no_address_is_not_shown(address: str, kind: str) -> None:
    assert apprise_services.kind_of(address) == kind
