"""Everything that only a GPU can tell, one after another: the tests that need one, then every benchmark of this folder.

    .venv/bin/python benchmarks/on_gpu.py DIR [--device cuda:0] [--only engine,latency] [--memory-minutes 60]

Models of the official sizes with random weights are made in DIR, and each report is written there as JSON; what a step
printed is in STEP.log. A step that fails or takes longer than it may does not keep the others from being tried; the exit status
then is 1. The daemon's own speed needs 16 cores and 15 GB in the temporary directory. All of it takes some 26 minutes and
the minutes for memory.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What a step may take to end when it is told to, seconds.
GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and how many seconds it may take."""

    name: str
    arguments: tuple[str, ...]
    limit_s: float


def steps(folder: Path, device: str, memory_minutes: float) -> list[Step]:
    """In the order in which they are run: what others need first, then the surest."""
    bicif, sense_voice = str(folder / "bicif"), str(folder / "sense-voice")

    def script(name: str, *arguments: str) -> tuple[str, ...]:
        return (f"benchmarks/{name}.py", *arguments)

    def report(name: str) -> tuple[str, str]:
        return "--out", str(folder / f"{name}.json")

    own = ("--model", bicif, "--device", device)
    twice = ("--model", bicif, "--device", f"{device}, {device}")
    return [
        Step("random-bicif", script("random_model", bicif), 120),
        Step("random-sense-voice", script("random_sense_voice", sense_voice), 120),
        Step("tests", ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"), 900),
        Step("engine", script("engine", "--device", device, "--hours", "40", *report("engine")), 300),
        Step(
            "engine-seaco",
            script("engine", "--device", device, "--family", "seaco", "--hotwords", "50", *report("engine-seaco")),
            300,
        ),
        Step(
            "engine-sense-voice",
            script("engine", "--device", device, "--model", sense_voice, *report("engine-sense-voice")),
            300,
        ),
        Step("end-to-end", script("end_to_end", *own, "--recordings", "1300", *report("end-to-end")), 300),
        Step(
            "end-to-end-two-processes",
            script("end_to_end", *twice, "--recordings", "1300", *report("end-to-end-two-processes")),
            300,
        ),
        Step("latency", script("latency", *own, *report("latency")), 300),
        Step("decoding", script("decoding", "--recordings", "96", *report("decoding")), 180),
        Step("bench", ("-m", "dropscribe", "bench", "--generate", "80", *own, "--out", str(folder / "bench")), 400),
        Step(
            "memory",
            script("memory", *own, "--minutes", str(memory_minutes), "--ahead", "400", *report("memory")),
            memory_minutes * 60 + 120,
        ),
    ]  # fmt: skip


def run(step: Step, folder: Path) -> bool:
    """Whether it came to a good end in time."""
    began = time.monotonic()
    with (folder / f"{step.name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, *step.arguments], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )  # fmt: skip
        try:
            status = process.wait(step.limit_s)
        except subprocess.TimeoutExpired:
            # The daemon that it may have started, too.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(GRACE_S)
            status = -1
    said = "ok" if status == 0 else "took too long" if status < 0 else f"status {status}"
    print(f"{step.name}: {said}, {time.monotonic() - began:.0f} s", flush=True)
    return status == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument(
        "--only", help="names of steps, with commas between; the models are made all the same"
    )
    parser.add_argument("--memory-minutes", type=float, default=60.0)
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = None if options.only is None else set(options.only.split(","))
    every = steps(folder, options.device, options.memory_minutes)
    unknown = (wanted or set()) - {step.name for step in every}
    if unknown:
        parser.error(f"there is no step {', '.join(sorted(unknown))}: {', '.join(s.name for s in every)}")
    todo = [s for s in every if wanted is None or s.name in wanted or s.name.startswith("random")]
    ended_well = [run(step, folder) for step in todo]
    raise SystemExit(0 if all(ended_well) else 1)


if __name__ == "__main__":
    main()
