"""Measure what metrics and notifications cost the daemon: the same backlog with and without them, in turn.

The daemon runs with the built-in `null` model, so that its own work is all there is. With notifications each job writes an
event for two targets; the sender does not run, as it is another process.

    .venv/bin/python benchmarks/monitoring.py [--recordings 600] [--pairs 5] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from ingest import ROOT, start, throughput

TARGETS = "".join(
    f'[[notify]]\nname = "{name}"\nurl = "http://127.0.0.1:9/"\nsecret_files = ["secret"]\nevents = ["done", "failed"]\n{more}'
    for name, more in (("each", ""), ("hourly", "digest_s = 3600\n"))
)


def measure(*, on: bool, recordings: int) -> dict[str, float]:
    """One run of a new daemon."""
    root = Path(tempfile.mkdtemp(prefix="dropscribe-bench-", dir=ROOT))
    inbox = root / "inbox"
    inbox.mkdir()
    extra = f'metrics_file = "{root}/dropscribe.prom"\nmetrics_s = 5\n{TARGETS}' if on else ""
    process = start(root, inbox, extra)
    try:
        return throughput(root, inbox, process, recordings)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pairs = []
    for number in range(options.pairs):
        # The order alternates, so that a drift of the machine cancels out.
        order = (False, True) if number % 2 == 0 else (True, False)
        runs = {on: measure(on=on, recordings=options.recordings) for on in order}
        pairs.append({"without": runs[False], "with": runs[True]})
        print(json.dumps(pairs[-1]))
    report = {
        "benchmark": "monitoring",
        "pairs": pairs,
        **{
            f"{name}_with_by_without": round(
                statistics.median(p["with"][name] / p["without"][name] for p in pairs), 4
            )
            for name in ("jobs_per_s", "cpu_ms_per_job")
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
