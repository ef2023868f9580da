"""Several GPUs of one host: every test of this folder on each, and one daemon over all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe.engine.gpu_probe import count_gpus
from dropscribe.engine.own_gpu import VISIBLE
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.engines import ON_GPU
from tests.support.on_gpu import through_the_engine

ROOT = Path(__file__).resolve().parents[2]
#: An engine loads, makes its kernels and warms up; on a shared machine that takes its time. Seconds.
START_S = 400.0
#: All tests of this folder on one GPU, seconds.
FOLDER_S = 1500.0

pytestmark = [*ON_GPU, pytest.mark.timeout(FOLDER_S + 60)]


def gpus() -> list[str]:
    """Torch's names of the GPUs here; skips where there are fewer than two."""
    count = count_gpus()
    if count < 2:
        pytest.skip(f"needs two GPUs, there are {count}")
    return [f"cuda:{i}" for i in range(count)]


def test_the_tests_of_this_folder_pass_on_each_further_gpu() -> None:
    """What runs in the process of the tests sees one GPU, as an engine process does."""
    for number in range(1, len(gpus())):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "tests/gpu",
                "--ignore",
                __file__,
            ],
            cwd=ROOT,
            env={**os.environ, VISIBLE: str(number)},
            capture_output=True,
            text=True,
            timeout=FOLDER_S,
            check=False,
        )
        assert done.returncode == 0, f"GPU {number}: {done.stdout[-4000:]}"
        assert " passed" in done.stdout.splitlines()[-1]


def test_an_engine_on_each_gpu_says_the_same_and_names_its_own() -> None:
    said = {device: through_the_engine(device) for device in gpus()}
    assert len({tuple(texts) for _, texts in said.values()}) == 1
    for device, (described, _) in said.items():
        assert described.startswith(f"{device} (")


def test_one_daemon_uses_all_and_what_dies_of_one_costs_no_transcript(tmp_path: Path) -> None:
    devices = gpus()
    daemon = DaemonProcess(tmp_path, extra='[profiles.default]\nduplicates = "transcribe"\n')
    text = daemon.config.read_text(encoding="utf-8")
    daemon.config.write_text(text.replace('device = "cpu"', 'device = "cuda"'), encoding="utf-8")
    try:
        daemon.start()
        wait_until(
            lambda: daemon.actions("ready") != [] or not daemon.running, "the daemon is ready", START_S
        )
        assert daemon.running, daemon.lines[-5:]
        (ready,) = daemon.actions("ready")
        assert [d.split(" ")[0] for d in str(ready["device"]).split(", ")] == devices
        for victim in ("ds-engine", "ds-station"):
            assert [len(daemon.children(n)) for n in ("ds-station", "ds-engine")] == [len(devices)] * 2
            count = 40
            targets = [
                write_speech(daemon.inbox / f"{victim}{i}.wav", seconds=600 + i, offset=i * 0.3)
                for i in range(count)
            ]
            wait_until(lambda: any(daemon.state(t) == "running" for t in targets), "a job runs")  # noqa: B023
            os.kill(daemon.child(victim), signal.SIGKILL)
            for i, target in enumerate(targets):
                daemon.wait_for(target)
                document = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
                assert document["media"]["duration_ms"] == (600 + i) * 1000
                assert document["text"]
            wait_until(lambda: all_are_ready(daemon, devices), "what died is replaced", START_S)
        assert not daemon.actions("job_failed")
        assert daemon.stop() == 0
    finally:
        daemon.__exit__()


def all_are_ready(daemon: DaemonProcess, devices: list[str]) -> bool:
    said = json.loads(daemon.root.joinpath("jobs.db.status.json").read_text(encoding="utf-8"))
    return [(n["name"], n["state"]) for n in said["nodes"]] == [(d, "ready") for d in devices]
