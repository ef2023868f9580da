"""FunASR as it comes, in a process of its own, to be measured against.

FunASR sets threads, seeds, logging and warnings of the whole process it runs in; so that nothing of that touches
what it is compared with, it is spawned, and only frozen records come back.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from dropscribe.children import how_ended, spawn
from dropscribe.engine import own_gpu
from dropscribe.engine.gpu_probe import count_gpus
from dropscribe.engine.models import store
from dropscribe.engine.models.hub import client as hub
from dropscribe.errors import EngineDiedError, EngineError
from dropscribe.transcript.roles import ASR, VAD

#: Padded audio seconds of one batch when calibrated: FunASR batches only within a file, so more brings nothing, and
#: twenty of the longest segments (60 s) still fit a small GPU in fp32. (On a CPU FunASR takes one segment at a time.)
CALIBRATED_BATCH_S = 1200
#: How long the process may take to end by itself, seconds.
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class StockPlan:
    """How FunASR is to be run."""

    model: str
    vad_model: str
    device: str  #: auto, cpu, cuda or cuda:0
    #: Everything that options can do is done; otherwise as the examples of FunASR have it.
    calibrated: bool
    threads: int  #: used when calibrated; FunASR's own default is 4

    def construction(self) -> dict[str, Any]:
        """Arguments of `AutoModel` besides models and device."""
        # Asking the hub for a newer version is not what is compared, and would need a network.
        common: dict[str, Any] = {"disable_update": True}
        if not self.calibrated:
            return common
        return common | {
            "ncpu": self.threads,
            "disable_pbar": True,
            "log_level": "ERROR",
            # Without this the silence that ends a segment varies, and segments grow up to 60 s.
            "vad_kwargs": {"dynamic_silence": False},
        }

    def environment(self) -> dict[str, str]:
        """What is put into the process's environment before torch is loaded."""
        # With as many threads as cores, OpenMP's waiting threads hold the cores that others need: where anything else
        # runs on the machine, a run takes up to twenty times as long.
        return {"OMP_WAIT_POLICY": "PASSIVE"} if self.calibrated else {}

    def generation(self) -> dict[str, Any]:
        """Arguments of `AutoModel.generate` besides the recording."""
        return {"batch_size_s": CALIBRATED_BATCH_S} if self.calibrated else {}


@dataclass(frozen=True, slots=True)
class StockReady:
    """The models are loaded (and, when calibrated, have run once)."""

    device: str


@dataclass(frozen=True, slots=True)
class StockEnd:
    """One recording has ended. Instants are monotonic seconds, the same for every process of the machine."""

    index: int
    began: float
    ended: float
    text: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class StockRefused:
    """The models cannot be loaded."""

    reason: str
    operation: str
    path: str | None
    remedy: str


class StockProcess:
    """Runs each recording once, one after the other, as soon as the models are there. Use as a context manager."""

    def __init__(self, plan: StockPlan, files: Sequence[Path]) -> None:
        self._reports, theirs = multiprocessing.Pipe(duplex=False)
        self._process = spawn(_main, (plan, list(files), theirs), "stock-funasr", [theirs])
        self._left = len(files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid or 0

    def wait_ready(self) -> StockReady:
        """Wait until the models are loaded. Raises EngineError when they cannot be, EngineDiedError."""
        report = self._receive()
        if isinstance(report, StockRefused):
            path = None if report.path is None else Path(report.path)
            raise EngineError(report.reason, operation=report.operation, path=path, remedy=report.remedy)
        assert isinstance(report, StockReady)
        return report

    def results(self) -> Iterator[StockEnd]:
        """Every recording, in order. Raises EngineDiedError when the process ends before."""
        while self._left:
            report = self._receive()
            assert isinstance(report, StockEnd)
            self._left -= 1
            yield report

    def close(self) -> None:
        """End it, whatever it is doing; one that has done everything ends by itself, and tidies up."""
        if not self._left:
            self._process.join(CLOSE_S)
        self._process.terminate()
        self._process.join(CLOSE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reports.close()

    def _receive(self) -> StockReady | StockEnd | StockRefused:
        try:
            report: StockReady | StockEnd | StockRefused = self._reports.recv()
        except (EOFError, OSError) as e:
            self._process.join(CLOSE_S)
            raise EngineDiedError(
                f"FunASR's process {how_ended(self._process.exitcode).how}",
                operation="run stock FunASR",
                remedy="SIGKILL usually means a lack of memory",
            ) from e
        return report


def _main(plan: StockPlan, files: list[Path], reports: Connection) -> None:
    """Entry of the spawned process."""
    _end_with_the_parent()
    _be_quiet()
    try:
        model, device = _load(plan)
    except EngineError as e:
        path = None if e.path is None else str(e.path)
        reports.send(StockRefused(e.reason, e.operation, path, e.remedy))
        return
    except Exception as e:
        remedy = "check the model directories; 'dropscribe doctor' checks the chain"
        reports.send(StockRefused(_in_short(e), "load stock FunASR", None, remedy))
        return
    reports.send(StockReady(device))
    for index, file in enumerate(files):
        began = time.monotonic()
        text, problem = "", None
        try:
            said: Any = model.generate(input=str(file), **plan.generation())
            # FunASR gives nothing at all where it heard nothing.
            text = "\n".join(str(one.get("text", "")) for one in said)
        except Exception as e:
            problem = _in_short(e)
        reports.send(StockEnd(index, began, time.monotonic(), text, problem))


def _load(plan: StockPlan) -> tuple[Any, str]:
    """FunASR's AutoModel, and the device it is on. Raises EngineError, and whatever FunASR raises."""

    def fetch(name: str) -> Path:
        return hub.locate(name, lambda _: None)

    asr = store.resolve(plan.model, ASR, fetch).config
    vad = store.resolve(plan.vad_model, VAD, fetch).config
    os.environ.update(plan.environment())
    from funasr import AutoModel  # noqa: PLC0415 - only the spawned process pays for these

    from dropscribe.engine.models.loading import choose_device, describe_device  # noqa: PLC0415

    own = own_gpu.show_only(plan.device, os.environ, count_gpus)
    device = choose_device(own.torch_name)
    options = plan.construction()
    # What FunASR would read of the two directories itself, and from there on its own way: nothing in a directory is run.
    vad_kwargs = vad.options | {"init_param": str(vad.weights)} | options.pop("vad_kwargs", {})
    model = AutoModel(
        **asr.options,
        init_param=str(asr.weights),
        vad_model=vad.family,
        vad_kwargs=vad_kwargs,
        device=str(device),
        **options,
    )
    if plan.calibrated:
        model.generate(input=str(store.SAMPLE), **plan.generation())
    return model, own.rename(describe_device(device))


def _end_with_the_parent() -> None:
    """A killed parent leaves nothing behind: this process ends at once, whatever it is doing."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _be_quiet() -> None:
    """What FunASR prints is neither ours nor of use; what it costs to print it stays part of what is measured."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    warnings.simplefilter("ignore")
    logging.raiseExceptions = False


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
