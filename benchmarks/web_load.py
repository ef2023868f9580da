"""Measure what the page costs the daemon's throughput: the same backlog without and with people on the page, in turn.

What decides the throughput of a daemon with a GPU is the GPU, which the page never uses. Here the engine needs no model and
takes a fixed time for each second of audio, as a GPU does (`talking_daemon.py`); everything else of the daemon is real. The
page runs as its unit has it (`Nice=10`); the clients, which would be other machines, with the lowest priority. The figure means
something only where the engine decides: `engine_share`, what was reached without the page of what the engine allows, must be
near 1, else lower --speed. Where the cores are busy anyway, the page takes what its priority gives it.

    .venv/bin/python benchmarks/web_load.py [--recordings 100] [--speed 240] [--pairs 3] [--tabs 20] [--readers 4] [--listeners 2]
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from urllib.parse import quote

import running_daemon
import surroundings
import talking_daemon
from daemon_cost import wait_for

HERE = Path(__file__).resolve().parent
#: Recordings before the measured ones: what people read and hear meanwhile.
WARM = 20
#: Priorities of the page and of the clients, as of nice(1).
PAGE_NICE, CLIENTS_NICE = 10, 19
#: Time between two requests of a reader, and of a tab, seconds.
READS_S, RENEWS_S = 1.0, 2.0


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--recordings", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each recording")
    parser.add_argument("--speed", type=float, default=240.0, help="of the engine, times real time")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument(
        "--tabs", type=int, default=20, help="which show the status and are renewed every 2 s"
    )
    parser.add_argument(
        "--readers", type=int, default=4, help="who search and open recordings, one page a second"
    )
    parser.add_argument("--listeners", type=int, default=2, help="whose sound is decoded for them")
    parser.add_argument("--root", type=Path, help="work in a new folder below this one")
    options = parser.parse_args()
    options.model = options.vad_model = "null"
    options.device = "cpu"
    pairs = []
    for number in range(options.pairs):
        # The order alternates, so that a drift of the machine cancels out.
        order = (False, True) if number % 2 == 0 else (True, False)
        runs = {on: measured(options, on=on) for on in order}
        pairs.append({"without": runs[False], "with": runs[True]})
        print(pairs[-1], file=sys.stderr)
    ratios = [p["with"]["recordings_per_s"] / p["without"]["recordings_per_s"] for p in pairs]
    most = options.speed / options.seconds
    figures = {
        "engine_share": round(statistics.median(p["without"]["recordings_per_s"] for p in pairs) / most, 3),
        "with_by_without": round(statistics.median(ratios), 4),
        "pairs": pairs,
        "cores": os.cpu_count(),
    }
    surroundings.report("web_load", options, figures)


def measured(options: argparse.Namespace, *, on: bool) -> dict[str, Any]:
    """One run of a new daemon."""
    with running_daemon.Daemon(
        options,
        program=(str(HERE / "talking_daemon.py"),),
        environment={talking_daemon.SPEED: str(options.speed)},
    ) as daemon:
        staging = daemon.root / "staging"
        staging.mkdir()
        for number in range(WARM + options.recordings):
            running_daemon.write_recording(staging / f"r{number:05d}.flac", options.seconds, number)
        files = sorted(staging.iterdir())
        for file in files[:WARM]:
            file.rename(daemon.inbox / file.name)
        daemon.wait_for(WARM)
        with people(options, daemon) if on else nobody() as seen:
            for file in files[WARM:]:
                file.rename(daemon.inbox / file.name)
            wait_for(daemon, WARM + options.recordings)
            first, last = daemon.rows(
                "select min(claimed_at), max(finished_at) from jobs where id > ?", WARM
            )[0]
        return {
            "recordings_per_s": round(options.recordings / (last - first), 2),
            "cpu_s": daemon.cpu_s(),
            **seen,
        }


@contextmanager
def nobody() -> Iterator[dict[str, Any]]:
    """The time without the page."""
    yield {}


@contextmanager
def people(options: argparse.Namespace, daemon: running_daemon.Daemon) -> Iterator[dict[str, Any]]:
    """The page, and people on it; what they saw is in the yielded dictionary at the end."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    configuration = str(daemon.root / "dropscribe.toml")
    page = subprocess.Popen(
        ["nice", "-n", str(PAGE_NICE), sys.executable, "-m", "dropscribe", "web", "--config", configuration,
         "--port", str(port)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    context = get_context("spawn")
    over: Event = context.Event()
    told: Queue[list[float]] = context.Queue()
    clients = context.Process(
        target=visit, args=(port, options.tabs, options.readers, options.listeners, over, told)
    )
    seen: dict[str, Any] = {}
    try:
        daemon.wait(lambda: answers(port))
        clients.start()
        told.get(timeout=60)  # everybody has seen something
        yield seen
        over.set()
        times = sorted(told.get(timeout=60))
        seen |= {
            "answers": len(times), "answer_p50_ms": round(statistics.median(times) * 1000, 1),
            "answer_p95_ms": round(times[int(len(times) * 0.95)] * 1000, 1),
        }  # fmt: skip
        clients.join()
    finally:
        over.set()
        page.terminate()
        page.wait()
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        seen["children_cpu_s"] = round(spent.ru_utime + spent.ru_stime, 1)


def answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def visit(port: int, tabs: int, readers: int, listeners: int, over: Event, told: Queue[list[float]]) -> None:
    """What all clients do, in a process of their own."""
    os.nice(CLIENTS_NICE)
    times: list[float] = []

    def get(address: str, most: int = 1 << 30) -> None:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", quote(address, safe="/?=&"))
        answer = connection.getresponse()
        assert answer.status == 200, (address, answer.status)
        answer.read(most)
        connection.close()
        times.append(time.monotonic() - began)

    def tab(number: int) -> None:
        while not over.wait(RENEWS_S):
            get("/status?part=now" if number % 2 else f"/recordings/{WARM}")

    def reader(number: int) -> None:
        rng = random.Random(number)
        while not over.wait(READS_S):
            get(rng.choice(["/", "/?q=计划", "/?q=预算&state=done", f"/recordings/{rng.randint(1, WARM)}"]))

    def listener(number: int) -> None:
        while not over.wait(READS_S):
            get(f"/recordings/{1 + number % WARM}/sound.wav", 1 << 20)

    for address in ("/", "/status", "/recordings/1"):
        get(address)
    threads = [
        threading.Thread(target=what, args=(number,))
        for what, count in ((tab, tabs), (reader, readers), (listener, listeners))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    told.put([])
    for thread in threads:
        thread.join()
    told.put(times)


if __name__ == "__main__":
    main()
