"""`dropscribe` with injected device faults: `python -m tests.support.faulty_engine run --config …`.

Only the forward pass of the recogniser or the detector is wrapped. Engine processes are spawned and import this
module, which installs the fault in them.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine import registry
from dropscribe.engine.core.interfaces import Recogniser, SpeechSegment, VadModel
from dropscribe.pipeline.local import engine_supervisor
from tests.support.daemon_process import DaemonProcess

FOLDER = "DROPSCRIBE_FAULTS"
#: Samples in the speech of a poison recording; they do not occur in natural audio.
MARKER = np.tile(np.array([32_000, -32_000, 16_000, -16_000, 1], np.int16), 40)


@dataclass(frozen=True)
class Plan:
    """A fault to inject once an engine is warm. `fault`: a name in `FAULTS`, or "" for none."""

    fault: str = ""
    where: str = "recogniser"  #: or "detector", or "what it found" (its results)
    times: int | None = None  #: number of injections in all engines together; None: unlimited
    least: int = 1  #: smallest number of segments or streams of a pass that fails
    poison: bool = False  #: only if `MARKER` is in the samples
    hung_s: float | None = None  #: engine_supervisor.HUNG_S, seconds
    blameless_wait_s: float | None = None  #: retry_policy.BLAMELESS_WAIT_S, seconds


class Faults:
    """A plan and its injections so far, in a folder shared by all processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set(self, plan: Plan) -> None:
        (self.folder / "plan.json").write_text(json.dumps(asdict(plan)), encoding="utf-8")

    @property
    def plan(self) -> Plan:
        path = self.folder / "plan.json"
        return Plan(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Plan()

    @property
    def strikes(self) -> list[int]:
        """Number of segments or streams in each failed pass."""
        path = self.folder / "strikes"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def look(self, pcms: Sequence[NDArray[np.int16]]) -> None:
        """Inject the fault if the plan applies to this pass."""
        plan = self.plan
        if not plan.fault or len(pcms) < plan.least:
            return
        if plan.times is not None and len(self.strikes) >= plan.times:
            return
        if plan.poison and not any(holds_marker(pcm) for pcm in pcms):
            return
        with (self.folder / "strikes").open("a", encoding="ascii") as file:
            file.write(f"{len(pcms)}\n")
        FAULTS[plan.fault]()


def holds_marker(pcm: NDArray[np.int16]) -> bool:
    return MARKER.tobytes() in pcm.tobytes()


def _full() -> None:
    import torch  # noqa: PLC0415 - the engine's own

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def _asserted() -> None:
    import torch  # noqa: PLC0415

    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


def _lost() -> None:
    raise RuntimeError("Triton Error [CUDA]: unspecified launch failure")


def _hung() -> None:
    threading.Event().wait()


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    threading.Event().wait()


def _really_asserted() -> None:
    """Index out of range on the device. Asynchronous: the error is raised at the next use of the device."""
    import torch  # noqa: PLC0415

    cells = torch.zeros(8, device="cuda")
    cells[torch.tensor([1 << 20], device="cuda")] += 1


def _really_hung() -> None:
    """Launch a kernel that runs for minutes, and wait for it."""
    import torch  # noqa: PLC0415

    spin: Any = torch.cuda._sleep
    spin(2_000_000_000 * 300)
    torch.cuda.synchronize()


FAULTS: dict[str, Callable[[], None]] = {
    "full": _full,
    "assert": _asserted,
    "lost": _lost,
    "hang": _hung,
    "crash": _crash,
    "real assert": _really_asserted,
    "real hang": _really_hung,
}


def before(faults: Faults, of: type[Any], method: str, pcms_of: Callable[[Any], Any] = lambda x: x) -> None:
    """Call `faults.look` before each call of a method whose first argument is the batch."""
    whole = getattr(of, method)

    @functools.wraps(whole)
    def looking(self: Any, passing: Any, *others: Any) -> Any:
        faults.look(pcms_of(passing))
        return whole(self, passing, *others)

    setattr(of, method, looking)


class Remembered(tuple[Any, ...]):  # noqa: SLOT001 - a tuple has no room for slots of its own
    """Log-mel frames with their samples."""

    pcm: NDArray[np.int16]


def remember_samples() -> None:
    """Pass the samples along with the frames, since the marker is in the samples."""
    from dropscribe.engine.layers.fbank import sound_of  # noqa: PLC0415
    from dropscribe.engine.models.paraformer import recogniser  # noqa: PLC0415 - imports torch

    def remembering(segment: SpeechSegment) -> Any:
        sound = sound_of(segment)
        assert isinstance(sound, tuple), "the detector has computed its frames"
        assert segment.pcm is not None, "it says that it wants them"
        remembered = Remembered(sound)
        remembered.pcm = segment.pcm
        return remembered

    vars(recogniser)["sound_of"] = remembering
    recogniser.ParaformerRecogniser.takes_frames = False


def break_the_engine(faults: Faults) -> None:
    """Install the planned fault in the engine of this process, once it is warm."""
    warm_up = registry.ModelLoader.warm_up

    def warm_up_and_break(self: registry.ModelLoader, vad: VadModel, recogniser: Recogniser) -> float:
        batch_s = warm_up(self, vad, recogniser)
        if faults.plan.where == "detector":
            from dropscribe.engine.vad.scorer import Scorer  # noqa: PLC0415 - imports torch

            before(faults, Scorer, "judge", lambda steps: [np.concatenate(s.parts) for s in steps])
        elif faults.plan.where == "what it found":
            from dropscribe.engine.vad.scorer import Scorer  # noqa: PLC0415

            before(faults, Scorer, "speech", lambda judged: judged.memories)
        else:
            from dropscribe.engine.models.paraformer.joined_forward import JoinedForward  # noqa: PLC0415

            remember_samples()
            before(faults, JoinedForward, "__call__", lambda sounds: [s.pcm for s in sounds])
            if self.on_gpu:
                from dropscribe.engine.models.paraformer.forward import PaddedForward  # noqa: PLC0415
                from dropscribe.engine.models.paraformer.packed_forward import PackedForward  # noqa: PLC0415

                before(faults, PaddedForward, "__call__", lambda sounds: [s.pcm for s in sounds])
                before(faults, PackedForward, "begin", lambda sounds: [s.pcm for s in sounds])
        return batch_s

    vars_of: Any = registry.ModelLoader
    vars_of.warm_up = warm_up_and_break


def faulty(root: Path, plan: Plan, **options: Any) -> tuple[DaemonProcess, Faults]:
    """A daemon on `root` with the planned device faults, not started yet."""
    faults = Faults(root / "faults")
    faults.folder.mkdir()
    faults.set(plan)
    command = ("env", f"{FOLDER}={faults.folder}", sys.executable, "-m", "tests.support.faulty_engine")
    return DaemonProcess(root, command=command, **options), faults


def main(faults: Faults) -> None:
    """Run the daemon with the waiting time of the plan."""
    from dropscribe.cli import app  # noqa: PLC0415
    from dropscribe.service.jobs import retry_policy  # noqa: PLC0415

    retry_policy.BLAMELESS_WAIT_S = faults.plan.blameless_wait_s or retry_policy.BLAMELESS_WAIT_S
    app.main()


if os.environ.get(FOLDER):
    break_the_engine(Faults(Path(os.environ[FOLDER])))
    # In the daemon or in a station process: whichever owns the engine.
    engine_supervisor.HUNG_S = Faults(Path(os.environ[FOLDER])).plan.hung_s or engine_supervisor.HUNG_S
if __name__ == "__main__":
    main(Faults(Path(os.environ[FOLDER])))
