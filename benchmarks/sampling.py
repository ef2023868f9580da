"""Who holds the interpreter of a process, by samples of py-spy, which is installed apart (`pip install py-spy`)."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

#: Samples per second.
RATE = 200
#: Time for py-spy to find its way in a process, seconds.
START_S = 2.0


def options_of(parser: argparse.ArgumentParser) -> None:
    """Add the options; both are needed for samples."""
    parser.add_argument("--py-spy", help="path of py-spy, to sample functions that hold the interpreter")
    parser.add_argument("--profile", type=Path, help="write the samples there")


@contextlib.contextmanager
def sampled(options: argparse.Namespace, pid: int) -> Iterator[None]:
    """Sample a process, if that is wanted."""
    if not options.py_spy or not options.profile:
        yield
        return
    command = [
        options.py_spy,
        "record",
        "-p",
        str(pid),
        "--gil",
        "--threads",
        "--nonblocking",
        "--rate",
        str(RATE),
    ]
    spy = subprocess.Popen([*command, "--format", "raw", "-d", "100000", "-o", options.profile])
    time.sleep(START_S)
    yield
    spy.send_signal(signal.SIGINT)
    spy.wait()


def percent_by_thread(options: argparse.Namespace, seconds: float) -> dict[str, float]:
    """Share of `seconds` for which each thread held the interpreter, threads of the same kind together; highest first."""
    if not options.py_spy or not options.profile:
        return {}
    counts: Counter[str] = Counter()
    for line in options.profile.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        thread = stack.partition(";")[0].partition(":")[2].strip() or stack.partition(";")[0]
        counts[re.sub(r"[-_ ]?\d+$", "", thread)] += int(count)
    return {name: round(100 * count / RATE / seconds, 1) for name, count in counts.most_common()}
