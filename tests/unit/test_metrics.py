"""The metrics: their format, their values, and that dashboard and alerts use metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dropscribe.intake.types import FolderHealth
from dropscribe.ledger.outbox import TargetCounts
from dropscribe.ledger.records import HELD, JobState, QueueNumbers
from dropscribe.pipeline.executor import Restarts
from dropscribe.service.control.folder_rules import Wait
from dropscribe.service.monitoring.gpus import GpuUse, parse
from dropscribe.service.monitoring.metrics import Gathered, render
from dropscribe.service.monitoring.status_file import Complaint, Free, Status
from dropscribe.service.monitoring.tally import SECONDS, Tally
from dropscribe.transcript.types import STAGES
from tests.support.documentation import ROOT
from tests.support.ledgers import ENGINE, MEDIA, TIMINGS

CONTRIB = ROOT / "contrib"
ALERTS, ALERTS_TEST = (CONTRIB / "prometheus" / name for name in ("alerts.yml", "alerts_test.yml"))
Sample = tuple[str, tuple[tuple[str, str], ...]]


def gathered() -> Gathered:
    tally = Tally()
    tally.done(MEDIA, TIMINGS, recognised=True)
    tally.done(MEDIA, TIMINGS, recognised=False)
    tally.ended(JobState.FAILED, "no_audio")
    folders = (
        FolderHealth(Path('/srv/会议 "a"'), "inotify", None, "", 900.0),
        FolderHealth(Path("/b"), "poll", "away", "", 900.0),
    )
    status = Status(
        "ready", 100.0, ENGINE, folders, 3, 2, (Complaint("full", "free some"),),
        restarts=Restarts(1, 2, "it died"), free=Free(5_000, 7_000),
    )  # fmt: skip
    return Gathered(
        now=1_000.0, status=status, totals=tally.totals(),
        queue=QueueNumbers({"": 4, "no_room": 2}, 3, 400.0), paused_folders=1,
        gpus=(GpuUse("0", 0.37, 1 << 30, 80 << 30), GpuUse("1", None, 0, 1)),
        outbox=(TargetCounts(3, 1, 900.0), TargetCounts(2, 0, None)),
    )  # fmt: skip


def samples(text: str) -> dict[Sample, float]:
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_values_are_those_that_were_gathered() -> None:
    found = samples(render(gathered()))

    def one(name: str, **labels: str) -> float:
        return found[f"dropscribe_{name}", tuple(sorted(labels.items()))]

    assert one("ready") == 1
    assert one("jobs_queued", reason="none") == 4
    assert one("jobs_queued", reason="no_room") == 2
    assert one("oldest_job_seconds") == 600
    assert one("jobs_ended_total", state="done", reason="") == 2
    assert one("jobs_ended_total", state="failed", reason="no_audio") == 1
    # A job that has the result of another adds no audio.
    assert one("audio_seconds_total") == MEDIA.duration_ms / 1000
    fill = one("batch_speech_seconds_total") / one("batch_padded_seconds_total")
    assert fill == pytest.approx(1 / (1 + TIMINGS.padding_waste))
    assert one("stage_seconds_bucket", stage="decoding", le="0.1") == 0
    assert one("stage_seconds_bucket", stage="decoding", le="0.5") == 1
    assert one("stage_seconds_count", stage="decoding") == 1
    assert one("restarts_total", process="decoder") == 2
    assert one("free_bytes", place="transcripts") == 7_000
    assert one("gpu_busy_ratio", gpu="0") == 0.37
    assert ("dropscribe_gpu_busy_ratio", (("gpu", "1"),)) not in found
    assert (one("pauses", scope="folder"), one("folders", state="problem")) == (1, 1)
    assert (one("notifications", state="pending"), one("notifications_late_seconds")) == (5, 100)


def test_no_label_is_a_path_or_a_job() -> None:
    allowed = {"state", "reason", "stage", "le", "process", "place", "scope", "gpu"}
    allowed |= {"version", "model", "device", "precision"}
    found = samples(render(gathered()))
    assert {name for _, labels in found for name, _ in labels} <= allowed
    assert not [labels for _, labels in found if any("/srv" in value for _, value in labels)]
    assert {dict(labels)["stage"] for _, labels in found if "stage" in dict(labels)} <= set(STAGES)


def test_before_anything_happened_every_family_is_there() -> None:
    empty = replace(
        gathered(), status=Status("starting", 1.0, None, (), 0, 0), totals=Tally().totals(),
        queue=QueueNumbers({}, 0, None), gpus=(), outbox=(),
    )  # fmt: skip
    names = [re.findall(r"^# TYPE (\S+)", render(g), re.MULTILINE) for g in (empty, gathered())]
    assert names[0] == names[1]


def test_buckets_are_in_order() -> None:
    assert list(SECONDS) == sorted(set(SECONDS))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0, 37, 1024, 81559\n", (GpuUse("0", 0.37, 1 << 30, 81_559 << 20),)),
        ("0, [N/A], 10, 20\n", (GpuUse("0", None, 10 << 20, 20 << 20),)),
        ("No devices were found\n", ()),
    ],
)
def test_gpus_are_read_from_lines_of_nvidia_smi(text: str, found: tuple[GpuUse, ...]) -> None:
    assert parse(text) == found


def known() -> set[str]:
    """Names of all series that the daemon writes, without samples of histograms."""
    return {name for name, _ in samples(render(gathered()))}


def test_folders_outside_their_hours_are_counted() -> None:
    waits = (
        Wait(Path("/a"), "hours", ""),
        Wait(Path("/b"), "hours", ""),
        Wait(Path("/c"), "pace", ""),
        Wait(None, "paused", ""),
    )
    status = replace(gathered().status, waits=waits)
    assert samples(render(replace(gathered(), status=status)))["dropscribe_folders_closed", ()] == 2


def test_the_alert_about_held_recordings_knows_every_code() -> None:
    (codes,) = re.findall(r'reason=~"([^"]*)"', ALERTS.read_text(encoding="utf-8"))
    assert set(codes.split("|")) == set(HELD)


def test_alerts_use_metrics_that_exist() -> None:
    used = set(re.findall(r"\bdropscribe_\w+", ALERTS.read_text(encoding="utf-8")))
    assert used <= known()


def test_the_dashboard_uses_metrics_that_exist_and_its_panels_do_not_overlap() -> None:
    text = (CONTRIB / "grafana" / "dashboard.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert set(re.findall(r"\bdropscribe_\w+", text)) <= known()
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    families = re.findall(r"^# TYPE (\S+)", render(gathered()), re.MULTILINE)
    assert [name for name in families if f"`{name}`" not in page] == []


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return found


def run(*command: str | Path, given: str | None = None) -> str:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, timeout=60, cwd=ALERTS.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_accepts_the_metrics_and_has_no_advice(promtool: str) -> None:
    assert run(promtool, "check", "metrics", given=render(gathered())).strip() == ""


def test_the_alerts_are_valid_and_do_what_their_tests_say(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", ALERTS)
    assert "SUCCESS" in run(promtool, "test", "rules", ALERTS_TEST)
