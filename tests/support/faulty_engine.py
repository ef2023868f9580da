"""`dropscribe` with a device that fails as told: `python -m tests.support.faulty_engine run --config …`.

Everything is the real thing but for what the forward pass (or the detector's) does when its time has come. Engine
processes are spawned, and import this module before they begin: that is how the fault gets into them.
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

from dropscribe.config import EngineSettings
from dropscribe.engine import registry
from dropscribe.engine.core.interfaces import SpeechSegment
from tests.support.daemon_process import DaemonProcess

FOLDER = "DROPSCRIBE_FAULTS"
ROOT = Path(__file__).resolve().parents[2]
#: What a poison recording holds somewhere in its speech: no sound has it.
MARKER = np.tile(np.array([32_000, -32_000, 16_000, -16_000, 1], np.int16), 40)


@dataclass(frozen=True)
class Plan:
    """`fault`: a name in `FAULTS`, or none. It strikes once an engine is warm."""

    fault: str = ""
    where: str = "recogniser"  #: or detector, or what it found
    times: int | None = None  #: it strikes so often, in all engines together; None: always
    least: int = 1  #: in passes over so many segments or streams at least
    poison: bool = False  #: only where `MARKER` is in the samples
    hung_s: float | None = None  #: after so long without progress an engine counts as hung
    blameless_wait_s: float | None = None  #: how long recordings wait that a device failed on


class Faults:
    """A plan and how often it has struck, in a folder that all processes see."""

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
        """How many segments, or streams, were in the pass each time."""
        path = self.folder / "strikes"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def look(self, pcms: Sequence[NDArray[np.int16]]) -> None:
        """Strike, if it is time."""
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
    """An index out of range, on the device. Nobody waits for it: it shows wherever the device is used next."""
    import torch  # noqa: PLC0415

    cells = torch.zeros(8, device="cuda")
    cells[torch.tensor([1 << 20], device="cuda")] += 1


def _really_hung() -> None:
    """A kernel that turns for minutes, and somebody who waits for it."""
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
    """Look for a strike before each call of a method whose first argument is what passes over the device."""
    whole = getattr(of, method)

    @functools.wraps(whole)
    def looking(self: Any, passing: Any, *others: Any) -> Any:
        faults.look(pcms_of(passing))
        return whole(self, passing, *others)

    setattr(of, method, looking)


class Remembered(tuple[Any, ...]):  # noqa: SLOT001 - a tuple has no room for slots of its own
    """Log-mel frames that still know of which samples they are."""

    pcm: NDArray[np.int16]


def remember_samples() -> None:
    """What the recogniser shows its model are frames; poison is in the samples."""
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
    """Have the engine of this process, once it is warm, fail as planned."""
    assemble = registry.assemble

    def assemble_and_break(settings: EngineSettings, note: Callable[[str], None]) -> registry.LoadedModels:
        loaded = assemble(settings, note)
        if faults.plan.where == "detector":
            from dropscribe.engine.vad.scorer import Scorer  # noqa: PLC0415 - imports torch

            before(faults, Scorer, "judge", lambda steps: [np.concatenate(s.parts) for s in steps])
        elif faults.plan.where == "what it found":
            from dropscribe.engine.vad.scorer import Scorer  # noqa: PLC0415

            before(faults, Scorer, "speech", lambda judged: judged.memories)
        else:
            from dropscribe.engine.models.paraformer.forward import PaddedForward  # noqa: PLC0415

            remember_samples()
            before(faults, PaddedForward, "__call__", lambda sounds: [s.pcm for s in sounds])
            if loaded.facts.precision == "fp16":
                from dropscribe.engine.models.paraformer.packed_forward import PackedForward  # noqa: PLC0415

                before(faults, PackedForward, "begin", lambda sounds: [s.pcm for s in sounds])
        return loaded

    registry.assemble = assemble_and_break


def faulty(root: Path, plan: Plan, **options: Any) -> tuple[DaemonProcess, Faults]:
    """A daemon on `root` whose device fails as planned, not started yet."""
    faults = Faults(root / "faults")
    faults.folder.mkdir()
    faults.set(plan)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = [f"{FOLDER}={faults.folder}", f"PYTHONPATH={paths}"]
    command = ("env", *told, sys.executable, "-m", "tests.support.faulty_engine")
    return DaemonProcess(root, command=command, **options), faults


def main(faults: Faults) -> None:
    """The daemon's own process: as impatient as planned."""
    from dropscribe.cli import app  # noqa: PLC0415
    from dropscribe.pipeline import engine_supervisor  # noqa: PLC0415
    from dropscribe.service.jobs import retry_policy  # noqa: PLC0415

    plan = faults.plan
    engine_supervisor.HUNG_S = plan.hung_s or engine_supervisor.HUNG_S
    retry_policy.BLAMELESS_WAIT_S = plan.blameless_wait_s or retry_policy.BLAMELESS_WAIT_S
    app.main()


if os.environ.get(FOLDER):
    break_the_engine(Faults(Path(os.environ[FOLDER])))
if __name__ == "__main__":
    main(Faults(Path(os.environ[FOLDER])))
