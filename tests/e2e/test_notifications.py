"""Notifications and metrics of the real daemon, while the daemon and the sender are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks import Webhook

from tests.support import impatient_sender
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.receivers import SECRET, Receiver, receiver, secret_file

RECORDINGS = 8


def test_each_end_of_a_job_is_told_under_one_identity_whatever_is_killed(tmp_path: Path) -> None:
    metrics = tmp_path / "dropscribe.prom"
    with receiver() as server:
        target = (
            f'[[notify]]\nname = "ops"\nurl = "{server.url}"\nsecret_files = ["{secret_file(tmp_path)}"]\n'
            'events = ["done", "failed"]\n'
        )
        daemon = DaemonProcess(
            tmp_path, model="null", extra=target, service=f'metrics_file = "{metrics}"\nmetrics_s = 1'
        )
        with daemon:
            for i in range(RECORDINGS):
                write_speech(daemon.inbox / f"{i}.wav", seconds=1.0 + 0.1 * i)
            (daemon.inbox / "broken.wav").write_bytes(b"RIFF" + bytes(4000))
            wait_until(lambda: len(ends(daemon)) > 0, "a job has ended")
            daemon.kill()
            daemon.start().wait_ready()
            wait_until(lambda: len(ends(daemon)) == RECORDINGS + 1, "all jobs have ended")
            wait_until(
                lambda: value(metrics, "dropscribe_notifications") == RECORDINGS + 1, "the metrics say so"
            )
            assert metrics.stat().st_mode & 0o777 == 0o644
            assert value(metrics, "dropscribe_jobs_queued") == 0
            # One row for each end of a job, whatever was killed.
            assert set(Counter(row["job_id"] for row in outbox(daemon)).values()) == {1}
            assert {(r["job_id"], r["kind"]) for r in outbox(daemon)} == ends(daemon)
        assert not metrics.exists()
        deliver(daemon, server)
        assert {row["state"] for row in outbox(daemon)} == {"sent"}
        told = {(d["data"]["job"], d["data"]["state"]) for d in documents(server)}
        assert told == ends(daemon)
        # What was accepted and not yet recorded when the sender was killed came again under the same identity.
        assert len(set(server.uids)) == RECORDINGS + 1
        assert len({(r.headers["webhook-id"], r.body) for r in server.requests}) == RECORDINGS + 1


def deliver(daemon: DaemonProcess, server: Receiver) -> None:
    """Run senders until nothing waits; the first ones are killed, each in the middle of what it sends."""
    command = [sys.executable, impatient_sender.__file__, "notify", "run", "--config", str(daemon.config)]
    server.answers = [(204, {})]
    for wanted in (1, RECORDINGS // 2):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as sender:
            wait_until(lambda wanted=wanted: len(server.requests) >= wanted, "messages arrive")  # type: ignore[misc]
            sender.kill()
    with subprocess.Popen(command, stderr=subprocess.PIPE) as sender:
        assert sender.stderr is not None
        # Until then SIGTERM ends it at once, and the others may have left nothing to do.
        assert any(b"ready" in line for line in sender.stderr)
        wait_until(lambda: not [r for r in outbox(daemon) if r["state"] == "pending"], "all are sent")
        sender.send_signal(signal.SIGTERM)
        assert sender.wait(60) == 0


def documents(server: Receiver) -> list[dict[str, dict[str, object]]]:
    """What was received; each is verified as its receiver would, but for the age."""
    found = []
    for request in server.requests:
        expected = Webhook(SECRET)
        expected.verify(request.body, request.headers, json_parse=False)
        found.append(json.loads(request.body))
    return found


def ends(daemon: DaemonProcess) -> set[tuple[int, str]]:
    return {
        (r["id"], r["state"])
        for r in daemon.rows("select id, state from jobs where state in ('done', 'failed')")
    }


def outbox(daemon: DaemonProcess) -> list[dict[str, object]]:
    return [dict(row) for row in daemon.rows("select job_id, kind, state from outbox")]


def value(file: Path, name: str) -> float | None:
    """Sum of a metric; None while there is no file."""
    try:
        families = text_string_to_metric_families(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return sum(s.value for f in families for s in f.samples if s.name == name)
