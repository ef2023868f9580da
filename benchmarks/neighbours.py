"""Measure the cost of files in a watched folder that are no recordings, or that the daemon may not read.

    .venv/bin/python benchmarks/neighbours.py [--foreign 40000] [--unreadable 2000] [--recordings 10] [--out FILE.json]

Runs the real daemon with the built-in `null` model. The other files arrive first, then recordings, all of which are
waited for; then the daemon runs on for --idle-s and is stopped. The same again after a restart over all these files.
Reported for each run: - log lines, and bytes the daemon wrote, in all and during --idle-s; - seconds from the arrival
of the recordings to the first and the last of their transcripts; - seconds of the stop.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import running_daemon
import surroundings
from running_daemon import Daemon, write_recording

#: Root may read all files unless these capabilities are dropped.
POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def fill(root: Path, inbox: Path, foreign: int, unreadable: int) -> None:
    """Write the files beside the folder and move them in, at most 500 a directory."""
    names = [(f"{i}.dat", 0o644) for i in range(foreign)] + [(f"{i}.wav", 0) for i in range(unreadable)]
    staging = root / "staging"
    for number, (name, mode) in enumerate(names):
        folder = staging / f"{number // 500:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(b"RIFF" + bytes(2000))
        path.chmod(mode)
    for folder in sorted(staging.iterdir()):
        folder.rename(inbox / folder.name)


def written(daemon: Daemon) -> int:
    """Bytes that the daemon's process has sent to storage."""
    fields = dict(
        line.split(": ") for line in Path(f"/proc/{daemon.pid}/io").read_text(encoding="ascii").splitlines()
    )
    return int(fields["write_bytes"])


def log_lines(daemon: Daemon) -> int:
    return (daemon.root / "daemon.log").read_bytes().count(b"\n")


def measure(daemon: Daemon, recordings: int, idle_s: float, tag: str) -> dict[str, Any]:
    """Drop recordings, wait for all, run on for `idle_s`, stop."""
    lines = log_lines(daemon)
    done = daemon.ended().get("done", 0)
    for i in range(recordings):
        write_recording(daemon.root / "one.wav", 2.0, hash((tag, i)) % 2**32)
        (daemon.root / "one.wav").rename(daemon.inbox / f"{tag}-{i}.wav")
    began = time.monotonic()
    daemon.wait_for(done + 1)
    first_s = time.monotonic() - began
    daemon.wait_for(done + recordings)
    last_s = time.monotonic() - began
    before, busy = written(daemon), log_lines(daemon)
    time.sleep(idle_s)
    figures = {
        "first_recording_s": round(first_s, 2),
        "last_recording_s": round(last_s, 2),
        "log_lines": log_lines(daemon),
        "log_lines_during_recordings": busy - lines,
        "log_lines_idle": log_lines(daemon) - busy,
        "written_mb": round(written(daemon) / 1e6, 1),
        "written_mb_idle": round((written(daemon) - before) / 1e6, 1),
        "skips_on_record": daemon.rows("select count(*) from skips")[0][0],
    }
    began = time.monotonic()
    daemon.stop()
    return figures | {"stop_s": round(time.monotonic() - began, 1)}


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--foreign", type=int, default=40_000)
    parser.add_argument("--unreadable", type=int, default=2000)
    parser.add_argument("--recordings", type=int, default=10)
    parser.add_argument("--idle-s", type=float, default=20.0)
    running_daemon.options_of(parser)
    options = parser.parse_args()
    options.model = options.vad_model = "null"
    with Daemon(options, log_level="info", through=POWERLESS) as daemon:
        fill(daemon.root, daemon.inbox, options.foreign, options.unreadable)
        runs = [measure(daemon, options.recordings, options.idle_s, "first")]
        (daemon.root / "daemon.log").unlink()
        daemon.start()
        runs.append(measure(daemon, options.recordings, options.idle_s, "second"))
    surroundings.report("neighbours", options, {"runs": runs})


if __name__ == "__main__":
    main()
