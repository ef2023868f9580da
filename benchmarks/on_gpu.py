"""Run everything that needs a GPU: the GPU tests, then every benchmark of this folder.

    .venv/bin/python benchmarks/on_gpu.py DIR [--device cuda:0] [--only engine,latency] [--memory-minutes 60]

Models of the official sizes with random weights are written to DIR, and each report as JSON; the output of a step is
in STEP.log. If a step fails or exceeds its time limit, the others are run nevertheless, and the exit status is 1. The
end-to-end benchmark needs 16 cores and 15 GB in the temporary directory, twice as much for each further GPU, which
it and a cluster then use, too. All steps take some 40 minutes plus --memory-minutes.
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

from dropscribe.engine.gpu_probe import count_gpus

ROOT = Path(__file__).resolve().parents[1]
#: Time limit for a step to end after SIGTERM, seconds.
GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command and its time limit, seconds."""

    name: str
    arguments: tuple[str, ...]
    limit_s: float


def steps(folder: Path, device: str, memory_minutes: float, gpus: int = 1) -> list[Step]:
    """Steps in order: first those that others need, then those most likely to succeed. `gpus`: of this host."""
    bicif, sense_voice = str(folder / "bicif"), str(folder / "sense-voice")

    def script(name: str, *arguments: str) -> tuple[str, ...]:
        return (f"benchmarks/{name}.py", *arguments)

    def report(name: str) -> tuple[str, str]:
        return "--out", str(folder / f"{name}.json")

    own = ("--model", bicif, "--device", device)
    twice = ("--model", bicif, "--device", f"{device}, {device}")
    every = ("--model", bicif, "--device", "cuda", "--recordings", str(1200 * gpus))
    of_several = [
        Step("end-to-end-all-gpus", script("end_to_end", *every, *report("end-to-end-all-gpus")), 300),
        Step(
            "end-to-end-all-gpus-flac",
            script("end_to_end", *every, "--format", "flac", *report("end-to-end-all-gpus-flac")),
            300,
        ),
        Step(
            "cluster",
            script("cluster", "--gpus", str(gpus), "--model", bicif, "--recordings", "800", *report("cluster")),
            300,
        ),
    ]  # fmt: skip
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
        Step(
            "stage-costs",
            script("stage_costs", "--device", device, "--daemon-hours", "100", *report("stage-costs")),
            900,
        ),
        Step("end-to-end", script("end_to_end", *own, "--recordings", "1300", *report("end-to-end")), 300),
        Step(
            "end-to-end-flac",
            script("end_to_end", *own, "--recordings", "1300", "--format", "flac", *report("end-to-end-flac")),
            300,
        ),
        *(of_several if gpus > 1 else []),
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
            script("memory", *own, "--minutes", str(memory_minutes), "--ahead", "1500", *report("memory")),
            memory_minutes * 60 + 120,
        ),
    ]  # fmt: skip


def run(step: Step, folder: Path) -> bool:
    """Run a step; True if it succeeded in time."""
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
    every = steps(folder, options.device, options.memory_minutes, max(1, count_gpus()))
    unknown = (wanted or set()) - {step.name for step in every}
    if unknown:
        parser.error(f"there is no step {', '.join(sorted(unknown))}: {', '.join(s.name for s in every)}")
    todo = [s for s in every if wanted is None or s.name in wanted or s.name.startswith("random")]
    ended_well = [run(step, folder) for step in todo]
    raise SystemExit(0 if all(ended_well) else 1)


if __name__ == "__main__":
    main()
