"""A full, failing or hanging device, and a removed model: the engine is replaced, and no recording fails.

The faults are injected into the forward pass in the real engine process; `tests/gpu/test_faults.py` uses real faults.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.daemon_process import BUNDLED, DaemonProcess, wait_until, write_speech
from tests.support.faulty_engine import Plan, faulty
from tests.support.long_forms import IN_SOAK

#: Transcribe every recording, even with the same content.
EACH = '[profiles.default]\nduplicates = "transcribe"\n'


def drop(daemon: DaemonProcess, count: int, seconds: float = 6.0) -> list[Path]:
    """Drop recordings together, each a different cut of the sample."""
    staged = daemon.root / "staged"
    staged.mkdir(exist_ok=True)
    made = [write_speech(staged / f"{i}.wav", seconds=seconds + i / 2, offset=i * 0.4) for i in range(count)]
    return [path.rename(daemon.inbox / path.name) for path in made]


def jobs(daemon: DaemonProcess) -> list[tuple[str, int]]:
    """State and counted attempts of each job."""
    return [(r["state"], r["attempts"]) for r in daemon.rows("select state, attempts from jobs order by id")]


def words(daemon: DaemonProcess, action: str) -> str:
    return "\n".join(str(line.get("event")) for line in daemon.actions(action))


def reasons(daemon: DaemonProcess) -> set[str]:
    """Reason codes of all attempts that were retried."""
    return {str(line["code"]) for line in daemon.actions("job_retry")}


@IN_SOAK
def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_smaller(tmp_path: Path) -> None:
    daemon, faults = faulty(tmp_path, Plan("full", least=3), extra=EACH)
    with daemon:
        engine = daemon.child("ds-engine")
        # Each has more segments than fit in one batch.
        for path in drop(daemon, 3, seconds=30.0):
            daemon.wait_for(path)
        assert faults.strikes
        assert jobs(daemon) == [("done", 1)] * 3
        assert daemon.child("ds-engine") == engine
        assert not daemon.actions("job_retry")
        before = len(faults.strikes)
        for path in drop(daemon, 4, seconds=25.0)[2:]:
            daemon.wait_for(path)
        # Few are as short as to be three within half of a half; never is it learnt anew for every recording.
        assert len(faults.strikes) - before <= before


@IN_SOAK
def test_recordings_wait_while_another_process_fills_the_device(tmp_path: Path) -> None:
    daemon, faults = faulty(tmp_path, Plan("full", "detector", blameless_wait_s=2.0), extra=EACH)
    with daemon:
        engine = daemon.child("ds-engine")
        paths = drop(daemon, 2)
        wait_until(
            lambda: len(daemon.actions("job_retry")) >= 8, "both were tried more often than is allowed"
        )
        assert {row[0] for row in jobs(daemon)} <= {"queued", "running"}
        assert reasons(daemon) <= {"device_memory"}
        assert "does not fit the device" in words(daemon, "job_retry")
        faults.set(Plan())
        for path in paths:
            daemon.wait_for(path)
        assert daemon.child("ds-engine") == engine
        assert jobs(daemon) == [("done", 1)] * 2


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ("assert", "recogniser"),
        pytest.param("lost", "detector", marks=pytest.mark.soak),
        pytest.param("assert", "what it found", marks=pytest.mark.soak),
    ],
)
def test_a_single_device_failure_fails_no_recording(tmp_path: Path, fault: str, where: str) -> None:
    daemon, _ = faulty(tmp_path, Plan(fault, where, times=1), extra=EACH)
    with daemon:
        engine = daemon.child("ds-engine")
        for path in drop(daemon, 6):
            daemon.wait_for(path)
        assert daemon.child("ds-engine") != engine
        assert jobs(daemon) == [("done", 1)] * 6
        assert reasons(daemon) == {"device_failed"}
        said = words(daemon, "engine")
        assert "[CUDA]" in said or "CUDA error: device-side assert" in said
        assert "status 70 (its device failed)" in said


# The short form of this is tests/unit/test_service_jobs_retry_policy.py.
@IN_SOAK
def test_a_device_that_always_fails_is_not_counted_against_recordings(tmp_path: Path) -> None:
    """A recording at fault would have failed at its first attempt alone."""
    once = f"{EACH}max_attempts = 1\n"
    daemon, faults = faulty(tmp_path, Plan("assert", blameless_wait_s=0.5), extra=once)
    with daemon:
        paths = drop(daemon, 2)
        wait_until(lambda: len(faults.strikes) >= 3, "engines failed time and again")
        assert {row[0] for row in jobs(daemon)} <= {"queued", "running"}
        assert not daemon.actions("job_failed")
        faults.set(Plan())
        for path in paths:
            daemon.wait_for(path)
        assert jobs(daemon) == [("done", 1)] * 2


@pytest.mark.parametrize(
    "engine",
    [pytest.param("", id="of the daemon"), pytest.param('station_processes = "always"', id="of a station")],
)
def test_an_engine_that_hangs_is_ended_and_replaced(engine: str, tmp_path: Path) -> None:
    daemon, faults = faulty(tmp_path, Plan("hang", times=1, hung_s=6.0), extra=EACH, engine=engine)
    with daemon:
        hung = daemon.child("ds-engine")
        for path in drop(daemon, 4):
            daemon.wait_for(path)
        assert faults.strikes
        assert not psutil.pid_exists(hung)
        assert "made no progress for 6 s" in words(daemon, "engine")
        assert jobs(daemon) == [("done", 1)] * 4
        assert reasons(daemon) == {"device_failed"}


def gone(model: Path) -> None:
    model.rename(model.with_name("elsewhere"))


def cut(model: Path) -> None:
    """Truncate the weights, as after an interrupted copy."""
    weights = model / "model.pt"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data[: len(data) // 2])


# The short form of this is tests/integration/test_engine_weights.py.
@IN_SOAK
@pytest.mark.parametrize(
    ("harm", "said"), [(gone, "there is no such directory"), (cut, "model.pt is damaged")]
)
def test_a_model_damaged_before_an_engine_restart_is_reported_and_jobs_wait(
    tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(BUNDLED / "paraformer-mini", model)
    daemon = DaemonProcess(tmp_path, model=str(model))
    daemon.start().wait_ready()
    (path,) = drop(daemon, 1, seconds=60.0)
    wait_until(lambda: daemon.state(path) == "running", "it is worked on")
    harm(model)
    psutil.Process(daemon.child("ds-engine")).send_signal(signal.SIGKILL)
    assert daemon.process is not None
    assert daemon.process.wait(120) == 5
    daemon._close()
    told = words(daemon, "unparsed") + words(daemon, "stopped")
    assert said in told
    assert str(model) in told
    assert jobs(daemon) == [("queued", 0)]
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(BUNDLED / "paraformer-mini", model)
    with daemon:
        daemon.wait_for(path)
        assert jobs(daemon) == [("done", 1)]
