"""Measure latency: start of the daemon, first job against the tenth, and one long recording on an idle daemon.

    .venv/bin/python benchmarks/latency.py [--minutes 60] [--model DIR] [--vad-model DIR] [--device cuda:0] [--out FILE.json]

- start: from the start of the process to READY, twice; the second time with warm caches.
- short: ten recordings of 10 s, one after another on the idle daemon; the first is the daemon's first job.
- long: a recording of --minutes, moved into the folder complete. Seconds count from its completion as judged by the
  daemon, that is after the quiet period (`quiet_s`, also reported). First text: when NAME.partial.txt or else the
  transcript exists; whole: when the last sidecar exists.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import running_daemon
import surroundings
from running_daemon import Daemon

#: Number and length (seconds) of the short recordings.
SHORT, SHORT_S = 10, 10.0
#: Last sidecar of a recording to be written.
SIDECARS = ("txt", "srt", "vtt", "json", "timing.json")


def drop(daemon: Daemon, name: str, seconds: float, seed: int) -> tuple[float, float]:
    """Drop a recording; returns seconds to (first text, last sidecar)."""
    staged = daemon.root / name
    running_daemon.write_recording(staged, seconds, seed)
    target = daemon.inbox / name
    partial, final = target.with_suffix(".partial.txt"), target.with_suffix(".txt")
    sidecars = [target.with_suffix(f".{suffix}") for suffix in SIDECARS]
    began = time.monotonic()
    first: list[float] = []

    def whole() -> bool:
        if not first and (_has_text(partial) or final.exists()):
            first.append(time.monotonic())
        return bool(first) and all(p.exists() for p in sidecars)

    staged.rename(target)
    daemon.wait(whole)
    return first[0] - began, time.monotonic() - began


def _has_text(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def main() -> None:
    parser = surroundings.parser(__doc__)
    running_daemon.options_of(parser)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    with Daemon(options) as daemon:
        starts = [daemon.ready_s]
        daemon.stop()
        starts.append(daemon.start())
        short = [drop(daemon, f"short-{i}.wav", SHORT_S, i)[1] - daemon.quiet_s for i in range(SHORT)]
        first, whole = drop(daemon, "long.wav", options.minutes * 60, SHORT)
        facts = daemon.facts()
    figures: dict[str, Any] = {
        "engine": facts,
        "quiet_s": daemon.quiet_s,
        "resolution_s": running_daemon.LOOK_S,
        "start_to_ready_s": [round(s, 3) for s in starts],
        "short_jobs_s": [round(s, 3) for s in short],
        "first_job_s": round(short[0], 3),
        "tenth_job_s": round(short[-1], 3),
        "long": {
            "audio_s": options.minutes * 60,
            "first_text_s": round(first - daemon.quiet_s, 3),
            "whole_s": round(whole - daemon.quiet_s, 3),
        },
    }
    surroundings.report("latency", options, figures)


if __name__ == "__main__":
    main()
