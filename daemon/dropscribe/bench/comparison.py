"""Run the contenders one after another on the same recordings, with the same measurements."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dropscribe import __version__
from dropscribe.bench import gauge
from dropscribe.bench.contenders import Contender, Ended, Ours, Stock
from dropscribe.bench.records import Recording, Report, Run, first_text
from dropscribe.bench.stock_funasr import StockPlan
from dropscribe.config import Settings
from dropscribe.engine import gpu_probe
from dropscribe.errors import DropscribeError, UsageError
from dropscribe.pipeline.local import engine_plan
from dropscribe.transcript.instants import iso
from dropscribe.transcript.roles import NULL

#: Bytes per read while recordings are loaded into the page cache.
BLOCK_BYTES = 1 << 20
_VERSIONS = ("torch", "funasr", "numpy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run, and the audio seconds of recordings for which the contender reports them."""

    run: Run
    lengths: dict[Path, float]


def compare(
    settings: Settings, files: Sequence[Path], *, generated: bool, note: Callable[[str], None]
) -> Report:
    """Compare stock FunASR, calibrated FunASR and dropscribe. `note` gets progress messages.

    The failure of a contender is recorded in its run. Raises OSError if a recording cannot be read, UsageError for a
    model that FunASR does not have.
    """
    began_at = time.time()
    _read_once(files)
    lengths: dict[Path, float] = {}
    runs = []
    for contender in contenders(settings):
        outcome = measure(contender, files, note)
        runs.append(outcome.run)
        lengths |= outcome.lengths
    described = {
        "model": settings.engine.models.asr,
        "vad_model": settings.engine.models.vad,
        "device": settings.engine.device,
        "recordings": len(files),
        "generated": generated,
    }
    return Report(iso(began_at), machine(), _versions(), described, lengths, tuple(runs))


def contenders(settings: Settings) -> list[Contender]:
    """Contenders in order. Raises UsageError for a model that FunASR does not have."""
    if settings.engine.models.asr == NULL:
        raise UsageError(
            "the null model recognises nothing", operation="compare", remedy="name a model with --model"
        )
    threads = settings.engine.threads or len(os.sched_getaffinity(0))
    ours = engine_plan.devices_of(settings.engine)
    if ours == ("auto",):
        ours = ("cuda:0",) if gpu_probe.count_gpus() else ("cpu",)
    engine = settings.engine
    stock, calibrated = (
        Stock(StockPlan(engine.models.asr, engine.models.vad, ours[0], calibrated, threads))
        for calibrated in (False, True)
    )
    return [stock, calibrated, Ours(settings, ours)]


def measure(contender: Contender, files: Sequence[Path], note: Callable[[str], None]) -> Outcome:
    """Load and run a contender while memory and GPU are measured."""
    note(f"{contender.name}: loading")
    recordings: list[Recording] = []
    lengths: dict[Path, float] = {}
    heard: float | None = None
    device, problem = "", None
    opened = began = ended = time.monotonic()
    with gauge.Gauge(gauge.gpu_ids(contender.devices, gauge.visible_devices())) as watching:
        try:
            watching.watch(contender.open(files))
            device = contender.wait_ready()
            began = ended = time.monotonic()
            for event in contender.run():
                if not isinstance(event, Ended):
                    heard = event.at - began if heard is None else heard
                    continue
                if not recordings:
                    # A contender in its own process may start before its readiness is noticed here.
                    began = min(began, event.began)
                ended = max(ended, event.ended)
                recordings.append(
                    Recording(event.path, event.began - began, event.ended - began, event.text, event.problem)
                )
                if event.audio_s is not None:
                    lengths[event.path] = event.audio_s
                note(f"{contender.name}: {len(recordings)} of {len(files)}")
        except DropscribeError as e:
            problem = str(e)
        finally:
            usage = watching.finish(began, ended)
            contender.close()
    run = Run(
        contender.name,
        contender.options,
        device,
        began - opened,
        ended - began,
        first_text(recordings, heard),
        usage,
        tuple(recordings),
        problem,
    )
    return Outcome(run, lengths)


def machine() -> dict[str, Any]:
    """Description of this machine."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gauge.gpu_names(),
        "kernel": platform.release(),
    }


def _versions() -> dict[str, str]:
    found = {"dropscribe": __version__, "python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _field(path: str, name: str) -> str | None:
    """First value of a field in a file of /proc; None if there is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _read_once(files: Iterable[Path]) -> None:
    """Load the files into the page cache, so that the first contender has no disadvantage."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(BLOCK_BYTES):
                pass
