"""Measure what the page of `dropscribe web` costs with years of history, in this process, without a network.

    .venv/bin/python benchmarks/web_pages.py [--jobs 1000000] [--segments 3] [--calls 20] [--database FILE] [--out FILE.json]

First --jobs finished recordings are inserted (some 2,000 per second) into a database in a temporary folder, or in FILE, which
is kept and reused by the next run. Each page is then asked for --calls times: median, 99th percentile and maximum in ms,
and the size of the answer in bytes. One recording of three hours is added.
"""

from __future__ import annotations

import random
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import filled_ledger
import surroundings
import uvicorn
from filled_ledger import ENGINE, FOLDER, LEASE_S, RARE
from playwright.sync_api import sync_playwright
from starlette.testclient import TestClient

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Admission, Finish
from dropscribe.transcript.types import MediaFacts, Segment, Speaker, Timings, Tokens
from dropscribe.web import serve
from dropscribe.web.app import build
from dropscribe.web.security import Rules
from dropscribe.web.site import Site

#: The long recording: its segments, the characters and the length of each.
SEGMENTS, CHARACTERS, STEP_MS = 1350, 36, 8000


def add_long(ledger: Ledger) -> int:
    """Add a recording of three hours with punctuation, doubtful words and three speakers; returns its job."""
    now, rng = time.time(), random.Random(1)
    segments = []
    for i in range(SEGMENTS):
        text = "".join(chr(0x4E00 + rng.randrange(filled_ledger.ALPHABET)) for _ in range(CHARACTERS))
        begins = range(i * STEP_MS, i * STEP_MS + 200 * CHARACTERS, 200)
        tokens = Tokens(
            text, begins, [b + 190 for b in begins], bytes(rng.choice((255, 250, 90)) for _ in text)
        )
        marks = bytes(2 if k % 12 == 11 else int(k % 6 == 5) for k in range(CHARACTERS))
        speakers = bytes([1 + i // 4 % 3]) * CHARACTERS
        segments.append(Segment(i, begins[0], begins[-1] + 200, text, tokens, marks, speakers))
    admission = Admission(
        FOLDER / f"long-{now}.wav", FOLDER, 10, 1, 1, f"long-{now}", "long", "long", True, 2.0, 3
    )
    (admitted,) = ledger.admit([admission], now)
    (claim,) = [
        c
        for c in ledger.claim("long", 1, now + 1, LEASE_S, allow_isolated=False)
        if c.job_id == admitted.job_id
    ]
    media = MediaFacts(SEGMENTS * STEP_MS, "wav", "pcm_s16le", 16_000, 1, "soundfile")
    speaking = tuple(Speaker(number, None) for number in (1, 2, 3))
    done = Finish(claim.job_id, claim.generation, media, ENGINE, Timings(), tuple(segments), None, speaking)
    assert ledger.finish([done], now + 3) == []
    return claim.job_id


def measured(client: TestClient, site: Site, address: str, calls: int) -> dict[str, Any]:
    times = []
    for _ in range(calls):
        site.forget()
        began = time.perf_counter()
        answer = client.get(address)
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (address, answer.status_code)
    times.sort()
    return {
        "calls": calls,
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(times[min(calls - 1, int(calls * 0.99))], 2),
        "longest_ms": round(times[-1], 2),
        "bytes": len(answer.content),
    }


def pages(location: DatabaseLocation, long: int, calls: int) -> dict[str, Any]:
    with Site(location, None, Rules()) as site:
        client = TestClient(build(site), base_url="http://127.0.0.1:8970")
        client.get("/")
        after = client.get("/api/v1/jobs?limit=50").json()["next"]
        asked = {
            "list": "/",
            "list, next page": f"/?after={after}",
            "list, failed": "/?state=failed",
            "list, by path": "/?path=000123",
            "list, nothing": "/?path=nothing",
            "search, common character": "/?q=一",
            "search, 2 characters": "/?q=一丁",
            "search, rare": f"/?q={RARE}",
            "search, nothing": "/?q=完全没有",
            "recording of 3 hours": f"/recordings/{long}",
            "status": "/status",
            "status, renewed": "/status?part=now",
            "api, 500 jobs": "/api/v1/jobs?limit=500",
        }
        return {what: measured(client, site, address, calls) for what, address in asked.items()}


def first_paint(location: DatabaseLocation, long: int, calls: int) -> dict[str, Any]:
    """When Chromium shows something of the long recording, and when it has all of it, ms after it was asked for; loopback."""
    executable = shutil.which("chromium")
    if executable is None:
        return {"skipped": "chromium is not installed"}
    painted, whole = [], []
    with (
        Site(location, None, Rules()) as site,
        socket.create_server(("127.0.0.1", 0)) as listening,
        sync_playwright() as playwright,
    ):
        server = uvicorn.Server(serve.config_of(build(site)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        browser = playwright.chromium.launch(executable_path=executable)
        for _ in range(calls):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/recordings/{long}", wait_until="load")
            page.wait_for_timeout(300)
            painted.append(
                page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
            whole.append(
                page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            )
            page.close()
        browser.close()
        server.should_exit = True
        thread.join()
    return {
        "calls": calls, "p50_ms": round(statistics.median(painted), 1), "longest_ms": round(max(painted), 1),
        "whole_p50_ms": round(statistics.median(whole), 1),
    }  # fmt: skip


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=filled_ledger.SEGMENTS, help="of each recording")
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--database", type=Path, help="made where it is not there, kept, and used again")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dropscribe-web-"))
    location = DatabaseLocation(options.database or folder / "jobs.db")
    try:
        ledger = open_ledger(location)
        there = sum(ledger.counts().values())
        filling = filled_ledger.fill(
            ledger, max(0, options.jobs - there), first=there, segments=options.segments
        )
        long = add_long(ledger)
        ledger.close()
        found = pages(location, long, options.calls)
        for what, one in found.items():
            print(f"{what:28} {one['p50_ms']:9.2f} ms {one['bytes']:9} bytes", file=sys.stderr)
        paint = first_paint(location, long, min(options.calls, 10))
        surroundings.report("web_pages", options, {"filling": filling, "pages": found, "first_paint": paint})
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
