"""A real GPU that is full, that fails and that hangs: batches are halved, the engine is replaced, no recording is to blame."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Pcm, SpeechSegment
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.models import store
from dropscribe.engine.models.null import NullVadModel
from dropscribe.engine.protocol import PcmBlock, SegmentDone, StreamDone, StreamFailed
from dropscribe.engine.wire import Report
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.engines import ON_GPU, Script, segment, turn_until_done
from tests.support.faulty_engine import Plan, faulty

pytestmark = [
    *ON_GPU,
    pytest.mark.timeout(900),
]
MINUTE = 60 * 16_000
#: What is left of the device's memory, bytes: several minutes fit, hundreds do not.
LEFT = 1_500_000_000
#: An engine loads, makes its kernels and warms up; on a shared machine that takes its time. Seconds.
START_S = 400.0


@pytest.fixture(autouse=True)
def cuda() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")


def minute() -> Pcm:
    with wave.open(str(store.SAMPLE)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.resize(said, MINUTE)


@pytest.mark.parametrize("kind", ["ParaformerRecogniser", "PipelinedParaformer"])
def test_a_batch_that_does_not_fit_is_halved_loses_nothing_and_is_remembered(kind: str) -> None:
    """fp32 as written, and fp16 as packed; the rest of the memory really is somebody else's."""
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer import recogniser as recognisers

    device, segments = torch.device("cuda:0"), 400
    recogniser = getattr(recognisers, kind)(load(store.BUNDLED / "paraformer-mini", device, 1))
    said = minute()
    recogniser([segment(said)])
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    filler = torch.empty(max(0, free - LEFT), dtype=torch.uint8, device=device)
    try:
        reports: list[Report] = []
        # The clock stands still: a batch starts when it is full, or when nothing more is coming.
        batcher: Batcher[SpeechSegment] = Batcher(segments * 60.0, 1.0)
        inbox = Script()
        loop = Scheduler(
            NullVadModel(), recogniser, batcher, read=lambda _: said, send=reports.append, clock=lambda: 0.0
        )
        inbox.messages.extend(PcmBlock(i, i, MINUTE, final=True) for i in range(segments))
        turn_until_done(loop, inbox, range(segments))
        events = [e for report in reports for e in report.events]
        assert [e for e in events if isinstance(e, StreamFailed)] == []
        assert sorted(e.stream for e in events if isinstance(e, StreamDone)) == list(range(segments))
        assert all(e.text for e in events if isinstance(e, SegmentDone))
        remembered = batcher._budget_s
        assert remembered <= segments * 30.0, "it did not fit at first"
        inbox.messages.extend(PcmBlock(1000 + i, i, MINUTE, final=True) for i in range(segments))
        turn_until_done(loop, inbox, range(1000, 1000 + segments))
        again = [e for r in reports for e in r.events if isinstance(e, SegmentDone) and e.stream >= 1000]
        assert len(again) == segments
        assert max(e.batch_padded_s for e in again) <= remembered
    finally:
        del filler
        torch.cuda.empty_cache()


def on_the_gpu(root: Path, plan: Plan, precision: str) -> tuple[DaemonProcess, Any]:
    daemon, faults = faulty(root, plan, extra='[profiles.default]\nduplicates = "transcribe"\n')
    text = daemon.config.read_text(encoding="utf-8")
    on_cuda = f'device = "cuda:0"\nprecision = "{precision}"\nbatch_s = 240.0'
    assert text.count('device = "cpu"') == 1
    daemon.config.write_text(text.replace('device = "cpu"', on_cuda), encoding="utf-8")
    return daemon, faults


def assert_all_come_through(daemon: DaemonProcess) -> None:
    """Six recordings that come together; none fails, none loses a try."""
    daemon.start()
    wait_until(lambda: daemon.actions("ready") != [] or not daemon.running, "the daemon is ready", START_S)
    assert daemon.running, daemon.lines[-5:]
    staged = daemon.root / "staged"
    staged.mkdir()
    made = [write_speech(staged / f"{i}.wav", seconds=6 + i, offset=i * 0.4) for i in range(6)]
    paths = [path.rename(daemon.inbox / path.name) for path in made]
    for path in paths:
        wait_until(
            lambda path=path: daemon.state(path) == "done" or not daemon.running,  # type: ignore[misc]
            f"{path.name} is done; last log: {daemon.lines[-3:]}",
            START_S,
        )
    assert daemon.running, daemon.lines[-5:]
    assert not daemon.actions("job_failed")
    assert [row["attempts"] for row in daemon.rows("select attempts from jobs")] == [1] * 6


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_assert_on_the_device_ends_the_engine_and_another_takes_its_place(
    tmp_path: Path, precision: str
) -> None:
    daemon, faults = on_the_gpu(tmp_path, Plan("real assert", times=1), precision)
    try:
        assert_all_come_through(daemon)
        assert len(faults.strikes) == 1
        said = " ".join(str(line.get("event")) for line in daemon.actions("engine"))
        assert "device-side assert" in said
        assert "status 70 (its device failed)" in said
    finally:
        daemon.__exit__()


def test_a_kernel_that_hangs_is_ended_with_its_engine(tmp_path: Path) -> None:
    daemon, faults = on_the_gpu(tmp_path, Plan("real hang", times=1, hung_s=20.0), "fp32")
    try:
        assert_all_come_through(daemon)
        assert len(faults.strikes) == 1
        assert "made no progress for 20 s" in " ".join(str(e.get("event")) for e in daemon.actions("engine"))
    finally:
        daemon.__exit__()
