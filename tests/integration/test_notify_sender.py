"""Notifications sent over HTTP to a server on this machine, to a program and through Apprise; the clock is passed."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.outbox import MessageState
from dropscribe.notify import targets
from dropscribe.notify import webhook as webhooks
from dropscribe.notify.schedule import Answer
from dropscribe.notify.sender import LEASE_S
from dropscribe.notify_settings import NotifySettings
from tests.support.ledgers import transcribed
from tests.support.receivers import (
    ALL,
    OTHER_SECRET,
    SECRET,
    Receiver,
    receiver,
    secret_file,
    sending,
)

EVERY = tuple(MessageState)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def subscribed(ledger: Ledger) -> Ledger:
    ledger.subscribe([ALL])
    return ledger


def webhook(server: Receiver, directory: Path, **more: object) -> NotifySettings:
    values = {"name": "ops", "url": server.url, "secret_files": [secret_file(directory)], "events": ["done"]}
    return NotifySettings.model_validate(values | more)


def states(ledger: Ledger) -> list[tuple[str, str | None]]:
    return [(m.state.value, m.error) for m in reversed(ledger.outbox.messages(states=EVERY))]


def test_an_event_arrives_signed_and_once(subscribed: Ledger, server: Receiver, tmp_path: Path) -> None:
    job = transcribed(subscribed, "预算", now=100.0)
    now = time.time()  # the clock of the reference verifier, which refuses what is older than some minutes
    with sending(subscribed, webhook(server, tmp_path)) as s:
        s.at(now)
        s.at(now + 1_000.0)
    (request,) = server.requests
    document = Webhook(SECRET).verify(request.body, request.headers)
    assert (document["type"], document["data"]["job"]) == ("job.done", job)
    assert request.headers["webhook-timestamp"] == str(int(now))
    assert "预算" not in request.body.decode()
    assert states(subscribed) == [("sent", None)]


def test_both_secrets_sign_while_they_are_exchanged_without_a_restart(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    with sending(subscribed, webhook(server, tmp_path)) as s:
        transcribed(subscribed, "一", name="1.wav", now=100.0)
        s.at(1_000.0)
        secret_file(tmp_path, OTHER_SECRET, "# until Friday", SECRET)
        transcribed(subscribed, "二", name="2.wav", now=1_100.0)
        s.at(2_000.0)
    assert [len(r.headers["webhook-signature"].split()) for r in server.requests] == [1, 2]


def test_tries_go_on_by_the_schedule_under_one_identity_until_they_are_used_up(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    server.answers = [(500, {})]
    transcribed(subscribed, "一", now=100.0)
    with sending(subscribed, webhook(server, tmp_path)) as s:
        now = 1_000.0
        for n, delay in enumerate((0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400), 1):
            s.at(now + delay - 0.1 if delay else now)
            s.at(now + delay)
            now += delay
            assert len(server.requests) == n
        s.at(now + 1e6)
    assert len(server.requests) == 10
    assert len(set(server.uids)) == 1
    assert states(subscribed) == [("failed", "it answered 500 Internal Server Error")]


def test_a_receiver_that_asks_for_time_gets_it(subscribed: Ledger, server: Receiver, tmp_path: Path) -> None:
    server.answers = [(429, {"retry-after": "120"}), (204, {})]
    transcribed(subscribed, "一", now=100.0)
    with sending(subscribed, webhook(server, tmp_path)) as s:
        s.at(1_000.0)
        s.at(1_119.0)
        assert len(server.requests) == 1
        s.at(1_120.0)
    assert states(subscribed) == [("sent", None)]


def test_a_redirect_is_not_followed(subscribed: Ledger, server: Receiver, tmp_path: Path) -> None:
    server.answers = [(307, {"location": server.url}), (204, {})]
    transcribed(subscribed, "一", now=100.0)
    with sending(subscribed, webhook(server, tmp_path)) as s:
        s.at(1_000.0)
    ((state, error),) = states(subscribed)
    assert (state, len(server.requests)) == ("pending", 1)
    assert error is not None
    assert "redirects are not followed" in error


def test_gone_disables_the_target_until_it_is_retried(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    server.answers = [(410, {}), (204, {})]
    transcribed(subscribed, "一", name="1.wav", now=100.0)
    with sending(subscribed, webhook(server, tmp_path)) as s:
        s.at(1_000.0)
        transcribed(subscribed, "二", name="2.wav", now=1_100.0)
        s.at(2_000.0)
        assert [state for state, _ in states(subscribed)] == ["failed", "failed"]
        assert len(server.requests) == 1
        subscribed.outbox.retry(2_100.0, target="ops")
        s.at(2_200.0)  # with one message, because the last try failed
        s.at(2_300.0)
    assert [state for state, _ in states(subscribed)] == ["sent", "sent"]


def test_a_target_that_is_away_is_tried_with_one_message_at_a_time(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    server.answers = [(503, {})]
    for i in range(8):
        transcribed(subscribed, "一", name=f"{i}.wav", now=100.0 + 10 * i)
    with sending(subscribed, webhook(server, tmp_path)) as s:
        s.at(1_000.0)
        first = len(server.requests)
        s.at(1_000.5)
        assert len(server.requests) == first
        s.at(1_100.0)
        assert len(server.requests) == first + 1


def test_an_address_and_a_secret_stay_out_of_errors(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    transcribed(subscribed, "一", now=100.0)
    away = webhook(server, tmp_path).model_copy(update={"url": "http://127.0.0.1:9/hook?token=hidden"})
    with sending(subscribed, away) as s:
        s.at(1_000.0)
        secret_file(tmp_path, "whsec_" + "c" * 7)
        s.at(2_000.0)
    ((_, error),) = states(subscribed)
    assert error is not None
    assert "secret 1" in error
    assert "hidden" not in error
    assert "ccc" not in error


def test_an_answer_that_trickles_in_ends_at_the_time_limit(tmp_path: Path) -> None:
    closed = threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            for _ in range(200):
                connection.sendall(b"x")
                closed.wait(0.02)
            connection.sendall(b"\r\ncontent-length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hidden"
        answer = webhooks.post(url, "msg_1", b"{}", [], now=0.0, timeout_s=0.2)
        closed.set()
        thread.join()
    assert answer == Answer(accepted=False, reason="127.0.0.1: it did not answer within 0.2 s")


def test_the_end_of_the_process_does_not_wait_for_a_try(
    subscribed: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Event(), threading.Event()

    def hang(*_: object) -> Answer:
        begun.set()
        over.wait(30.0)
        return Answer(accepted=True)

    monkeypatch.setattr(targets, "send", hang)
    transcribed(subscribed, "一", now=100.0)
    before = set(threading.enumerate())
    target = NotifySettings.model_validate({"name": "ops", "command": ["true"]})
    with sending(subscribed, target) as s:
        s.clock.now = 1_000.0
        s.sender.turn()
        assert begun.wait(30.0)
        assert [t.daemon for t in set(threading.enumerate()) - before] == [True]
        s.sender.settle(0.0)
        assert s.sender.busy == 1
        over.set()
    assert states(subscribed) == [("sent", None)]


def test_messages_of_a_target_that_is_not_configured_any_more_fail(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    transcribed(subscribed, "一", now=100.0)
    other = webhook(server, tmp_path).model_copy(update={"name": "other"})
    with sending(subscribed, other) as s:
        s.at(1_000.0)
    assert states(subscribed) == [("failed", "the settings have no target of this name")]


def test_what_a_killed_sender_had_claimed_is_sent_by_the_next_under_the_same_identity(
    subscribed: Ledger, server: Receiver, tmp_path: Path
) -> None:
    transcribed(subscribed, "一", now=100.0)
    (lost,) = subscribed.outbox.claim("killed", 1_000.0, LEASE_S, {"ops": 1})
    with sending(subscribed, webhook(server, tmp_path)) as s:
        s.at(1_000.0 + LEASE_S)
        assert server.requests == []
        s.at(1_001.0 + LEASE_S)
    assert server.uids == [lost.uid]


def test_a_program_reads_the_event_and_its_failure_is_told(subscribed: Ledger, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    code = (
        "import os, sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read()); "
        "sys.exit('the queue\\nis full' if os.environ['DROPSCRIBE_MESSAGE_ID'] and sys.argv[2] == '1' else 0)"
    )
    transcribed(subscribed, "一", name="$(touch x); a.wav", now=100.0)

    def hook(fails: str) -> NotifySettings:
        command = [sys.executable, "-c", code, str(seen), fails]
        return NotifySettings.model_validate({"name": "ops", "command": command, "text": True})

    with sending(subscribed, hook("1")) as s:
        s.at(1_000.0)
    ((state, error),) = states(subscribed)
    assert state == "pending"
    assert error == f"{sys.executable} ended with 1: the queue\\nis full"
    seen.unlink()
    with sending(subscribed, hook("0")) as s:
        s.at(2_000.0)
    data = json.loads(seen.read_text(encoding="utf-8"))["data"]
    assert (data["recording"], data["text"]) == ("/srv/drop/$(touch x); a.wav", "一")
    assert states(subscribed) == [("sent", None)]


def test_a_program_that_does_not_end_is_killed_with_what_it_started(
    subscribed: Ledger, tmp_path: Path
) -> None:
    transcribed(subscribed, "一", now=100.0)
    script = tmp_path / "hook.sh"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/pid\nwait\n", encoding="utf-8")
    script.chmod(0o755)
    values = {"name": "ops", "command": [str(script)], "timeout_s": 1.0}
    with sending(subscribed, NotifySettings.model_validate(values)) as s:
        s.at(1_000.0)
    ((state, error),) = states(subscribed)
    assert (state, error) == ("pending", f"{script} did not end within 1 s and was killed")
    started = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not started.exists() or started.read_text().split()[2] == "Z"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise's own
def test_apprise_gets_title_and_lines(subscribed: Ledger, server: Receiver, tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    addresses = tmp_path / "apprise.urls"
    addresses.write_text(server.url.replace("http:", "json:") + "\n", encoding="utf-8")
    target = NotifySettings.model_validate({"name": "ops", "apprise_file": addresses})
    server.answers = [(500, {}), (200, {})]
    transcribed(subscribed, "一", now=100.0)
    with sending(subscribed, target) as s:
        s.at(1_000.0)
        assert states(subscribed) == [("pending", "not accepted by json")]
        s.at(1_100.0)
    assert json.loads(server.requests[-1].body)["title"] == "a.wav: done"
    assert states(subscribed) == [("sent", None)]
