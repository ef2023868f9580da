"""Measure the throughput of the daemon without recognition, its idle cost, and its memory for a long recording.

Runs the real daemon (folders, decoders, SQLite, sidecar files) with the built-in `null` model, which returns the same
text for every segment. Prints a table and writes JSON.

    .venv/bin/python benchmarks/ingest.py [--recordings 8334] [--idle-s 120] [--hours 6] [--out FILE.json]

Measured: - jobs/s: from the move of the recordings into the folder (all at once, already written elsewhere on the
same file system) to the last job `done` with sidecars on disk; including the quiet period. - idle: CPU seconds of the
daemon and its children per wall second afterwards, with recordings and sidecars in the folder. - long: growth of
resident memory of each process during one recording of --hours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import dropscribe as product

ROOT = Path(__file__).resolve().parents[1]


def write_wav(path: Path, seconds: float, seed: int) -> None:
    """Write noise that is different for each seed, so that no two recordings have the same content."""
    rng = np.random.default_rng(seed)
    block = rng.integers(-3000, 3000, size=16_000, dtype=np.int16)
    samples = int(seconds * 16_000)
    with path.open("wb") as file:
        size = samples * 2
        file.write(
            b"RIFF"
            + struct.pack("<I", 36 + size)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
        )
        file.write(b"data" + struct.pack("<I", size))
        left = samples
        while left > 0:
            file.write(block[: min(left, block.size)].tobytes())
            left -= block.size


def start(root: Path, inbox: Path, extra: str = "") -> subprocess.Popen[bytes]:
    """`extra`: further lines of the configuration, at its end: first of [service], then sections."""
    config = root / "dropscribe.toml"
    config.write_text(
        f'database = "{root}/jobs.db"\n[[folder]]\npath = "{inbox}"\n[engine]\nmodel = "null"\nvad_model = "null"\n'
        'device = "cpu"\n[service]\nlog_format = "json"\nlog_level = "warning"\n' + extra,
        encoding="utf-8",
    )
    log = (root / "daemon.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run", "--config", str(config)], stderr=log, cwd=ROOT
    )
    while json.loads(_status(root) or '{"state": ""}')["state"] != "ready":
        if process.poll() is not None:
            raise SystemExit((root / "daemon.log").read_text())
        time.sleep(0.1)
    return process


def _status(root: Path) -> str:
    path = root / "jobs.db.status.json"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def finished(root: Path) -> int:
    with closing(sqlite3.connect(f"file:{root}/jobs.db?mode=ro", uri=True, timeout=30)) as db:
        return int(db.execute("select count(*) from jobs where state = 'done'").fetchone()[0])


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s(pid: int) -> float:
    return sum(p.cpu_times().user + p.cpu_times().system for p in family(pid))


def throughput(
    root: Path, inbox: Path, process: subprocess.Popen[bytes], recordings: int
) -> dict[str, float]:
    staging = root / "staging"
    staging.mkdir()
    for i in range(recordings):
        folder = staging / f"{i // 500:04d}"
        folder.mkdir(exist_ok=True)
        write_wav(folder / f"{i:06d}.wav", 2.0, i)
    before = cpu_s(process.pid)
    began = time.monotonic()
    for folder in sorted(staging.iterdir()):
        folder.rename(inbox / folder.name)
    while (done := finished(root)) < recordings:
        if process.poll() is not None:
            raise SystemExit("the daemon has exited; see daemon.log")
        print(f"\r{done}/{recordings}", end="", file=sys.stderr)
        time.sleep(0.25)
    wall = time.monotonic() - began
    print(file=sys.stderr)
    cpu = cpu_s(process.pid) - before
    return {
        "recordings": recordings,
        "wall_s": round(wall, 2),
        "jobs_per_s": round(recordings / wall, 1),
        "cpu_ms_per_job": round(cpu / recordings * 1000, 2),
    }


def idle(inbox: Path, process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    files = sum(len(names) for _, _, names in os.walk(inbox))
    time.sleep(5)
    before, began = cpu_s(process.pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_s(process.pid) - before) / (time.monotonic() - began)
    return {"files_in_tree": files, "seconds": seconds, "cpu_percent_of_a_core": round(share * 100, 3)}


def long_recording(root: Path, inbox: Path, process: subprocess.Popen[bytes], hours: float) -> dict[str, Any]:
    source = root / "long.wav"
    write_wav(source, hours * 3600, 99_999_999)
    already = finished(root)
    resident = {p.pid: p.memory_info().rss for p in family(process.pid)}
    peak = dict(resident)
    names: dict[int, str] = {}
    began = time.monotonic()
    source.rename(inbox / "long.wav")
    while finished(root) == already:
        for p in family(process.pid):
            try:
                # Pages of the mapped recording or arena are shared and do not count for the process.
                memory = p.memory_info()
                peak[p.pid] = max(peak.get(p.pid, 0), memory.rss)
                names[p.pid] = p.name()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    growth = {
        f"{names.get(pid, '?')}-{pid}": round((peak[pid] - resident.get(pid, 0)) / 2**20, 1) for pid in peak
    }
    return {
        "hours": hours,
        "file_mb": round((inbox / "long.wav").stat().st_size / 2**20),
        "wall_s": round(time.monotonic() - began, 1),
        "growth_mb_by_process": growth,
        "largest_growth_mb": max(growth.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=int, default=8334, help="with their sidecars about 50,000 files")
    parser.add_argument("--idle-s", type=float, default=120)
    parser.add_argument("--hours", type=float, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="dropscribe-bench-", dir=ROOT))
    inbox = root / "inbox"
    inbox.mkdir()
    process = start(root, inbox)
    try:
        report: dict[str, Any] = {
            "benchmark": "ingest",
            "dropscribe": product.__version__,
            "commit": subprocess.run(
                ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=True
            ).stdout.strip(),
            "machine": {
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
                "kernel": platform.release(),
            },
            "throughput": throughput(root, inbox, process, options.recordings),
        }
        report["idle"] = idle(inbox, process, options.idle_s)
        report["long_recording"] = long_recording(root, inbox, process, options.hours)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
