"""`dropscribe notify`: run once, try targets, list, retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.errors import ConfigError, UsageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from tests.support.command_line import call, document, outcome
from tests.support.ledgers import transcribed
from tests.support.receivers import ALL, Receiver, receiver, secret_file


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def config(tmp_path: Path, server: Receiver) -> Path:
    """A configuration with a target, and a database with two events for it."""
    database = tmp_path / "jobs.db"
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        ledger.subscribe([ALL])
        for i in range(2):
            transcribed(ledger, "一", name=f"{i}.wav", now=100.0 + 10 * i)
    file = tmp_path / "dropscribe.toml"
    file.write_text(
        f'database = "{database}"\n[[notify]]\nname = "ops"\nurl = "{server.url}"\n'
        f'secret_files = ["{secret_file(tmp_path).name}"]\nevents = ["done"]\n',
        encoding="utf-8",
    )
    return file


def test_what_is_due_is_sent_and_listed(config: Path, server: Receiver) -> None:
    before = document("notify", "list", "--config", config)
    assert before["targets"] == [
        {"name": "ops", "pending": 2, "failed": 0, "oldest_due": "1970-01-01T00:01:43.000Z", "disabled": None}
    ]
    assert [e["state"] for e in before["events"]] == ["pending", "pending"]
    # Claimed a few at a time; the process ends when nothing is due.
    assert outcome("notify", "run", "--once", "--config", config) == (0, "")
    assert len(set(server.uids)) == 2
    assert "nothing waits" in call("notify", "list", "--config", config)
    sent = document("notify", "list", "--sent", "--config", config)
    assert {e["message"] for e in sent["events"]} == set(server.uids)


def test_a_target_that_is_gone_is_listed_and_enabled_by_a_retry(config: Path, server: Receiver) -> None:
    server.answers = [(410, {})]
    outcome("notify", "run", "--once", "--config", config)
    listed = document("notify", "list", "--config", config)
    assert listed["targets"][0]["disabled"] == "it answered 410 Gone"
    assert {e["state"] for e in listed["events"]} == {"failed"}
    server.answers = [(204, {})]
    assert "2 notifications are sent again" in call("notify", "retry", "--target", "ops", "--config", config)
    assert outcome("notify", "run", "--once", "--config", config)[0] == 0
    # One event is named by its number.
    with pytest.raises(UsageError, match="not clear"):
        call("notify", "retry", "1", "--all", "--config", config)
    assert "0 notifications" in call("notify", "retry", "1", "--config", config)


def test_a_target_is_tried_without_a_database(config: Path, server: Receiver) -> None:
    (config.parent / "jobs.db").unlink()
    assert call("notify", "test", "--config", config).strip() == "ops: accepted"
    assert json.loads(server.requests[-1].body)["type"] == "test"
    server.answers = [(403, {})]
    status, output = outcome("notify", "test", "ops", "--config", config)
    assert (status, output.strip()) == (1, "ops: it answered 403 Forbidden")
    (config.parent / "ops.secret").unlink()
    status, output = outcome("notify", "test", "--config", config)
    assert status == 1
    assert "ops.secret" in output
    with pytest.raises(UsageError, match="no target 'nobody'"):
        call("notify", "test", "nobody", "--config", config)


def test_a_credential_of_systemd_takes_the_place_of_a_file(
    config: Path, server: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (config.parent / "ops.secret").rename(credentials / "ops.secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert call("notify", "test", "--config", config).strip() == "ops: accepted"


def test_without_targets_there_is_nothing_to_run(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text(f'database = "{tmp_path}/jobs.db"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="nobody to notify"):
        call("notify", "run", "--config", file)
