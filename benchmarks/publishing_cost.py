"""Measure what admission and publishing cost the daemon's process with full groups: processor time of its threads.

    .venv/bin/python benchmarks/publishing_cost.py [--recordings 600] [--processes 2] [--packed] [--out FILE.json]

Without daemon, engine and decoders: so many small files arrive at once and are admitted, then so many results of 40 segments
and 1,360 tokens are published, 128 at a time, as a GPU with a backlog delivers them (`daemon_cost.py` measures a whole
daemon, whose groups are small on a slow machine). Ledger, threads, publishing processes and files are the real ones.

- `admission`, `publishing`: `user` and `system`, milliseconds of processor time a recording in this process; `user` includes
  SQLite and hashes, which work without the lock of the interpreter. `by_thread`: the same by thread.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import surroundings
from daemon_cost import thread_of
from talking_daemon import REGION_MS, TEXT, TOKENS, _name_threads

sys.path.insert(0, str(surroundings.ROOT))

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.files import FileSignature
from dropscribe.intake.types import Arrival
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.pipeline.assembly import Result
from dropscribe.service.activity import Activities
from dropscribe.service.admission.admitter import Admitter
from dropscribe.service.admission.renames import RenameFinder
from dropscribe.service.publishing.making.makers import Makers
from dropscribe.service.publishing.publisher import Publisher, Ready
from dropscribe.service.storage.storage_retry import StorageRetry
from dropscribe.transcript.packed_segments import PackedSegments
from dropscribe.transcript.types import MediaFacts, Segment, Timings, Tokens
from tests.support.ledgers import ENGINE

#: Recordings that are with the publisher at once.
AT_ONCE = 128
#: Segments of a recording, and its length, ms.
SEGMENTS = 40
LENGTH_MS = SEGMENTS * REGION_MS
#: Time for the publishing processes to start, and between two looks at what is done, seconds.
START_S, LOOK_S = 8.0, 0.02


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--recordings", type=int, default=600)
    parser.add_argument("--processes", type=int, default=2, help="publishing processes")
    parser.add_argument("--packed", action="store_true", help="segments arrive packed, as from a station")
    options = parser.parse_args()
    _name_threads()
    logs.setup(level="warning")
    with tempfile.TemporaryDirectory(prefix="dropscribe-publishing-") as made:
        surroundings.report("publishing_cost", options, measured(Path(made), options))


def measured(root: Path, options: Any) -> dict[str, Any]:
    inbox, database = root / "inbox", root / "jobs.db"
    inbox.mkdir()
    settings = Settings.model_validate({
        "database": database, "folder": [{"path": inbox}], "engine": {"model": "mini", "vad_model": "vad"},
        "profiles": {"default": {"punctuation": "off"}},
    })  # fmt: skip
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        return {
            "admission": admitted(ledger, settings, inbox, options.recordings),
            "publishing": published(ledger, settings, options),
        }


def admitted(ledger: Ledger, settings: Settings, inbox: Path, count: int) -> dict[str, Any]:
    admitter = Admitter(
        ledger, lambda: settings, StorageRetry(), admitted=lambda: None, folder=lambda _: None,
        activities=Activities(), renames=RenameFinder(ledger, lambda: settings, lambda _: True),
    )  # fmt: skip
    arrivals = []
    for number in range(count):
        path = inbox / f"r{number:05d}.wav"
        path.write_bytes(b"%d" % number)
        arrivals.append(Arrival(inbox, path, FileSignature.of(path.stat()), 0.0, 0.0))
    admitter.start(lambda _: None, lambda _, __: None)

    def work() -> None:
        for arrival in arrivals:
            admitter.take(arrival)
        while sum(ledger.counts().values()) < count:
            time.sleep(LOOK_S)

    try:
        return costs(work, count)
    finally:
        admitter.stop()


def published(ledger: Ledger, settings: Settings, options: Any) -> dict[str, Any]:
    claims = []
    while len(claims) < options.recordings:
        claims += ledger.claim("benchmark", AT_ONCE, time.time(), 3600.0, allow_isolated=True)
    ledger.begin([(claim.job_id, claim.generation) for claim in claims])
    media = MediaFacts(LENGTH_MS, "wav", "pcm_s16le", 16_000, 1, "soundfile")
    timings = Timings((("decoding", 0.1), ("vad", 0.1), ("recognition", 1.0)), (40,), 0.1, LENGTH_MS, 2.0)
    waiting = []
    for i, claim in enumerate(claims):
        segments = PackedSegments.of(said(i)) if options.packed else said(i)
        waiting.append(Ready(claim, Result(media, segments, timings)))
    woken = threading.Event()
    publisher = Publisher(
        ledger, lambda: settings, lambda: ENGINE, woken.set, StorageRetry(),
        activities=Activities(), makers=Makers(options.processes),
    )  # fmt: skip
    publisher.start()
    time.sleep(START_S)

    def work() -> None:
        under_way = 0
        while waiting or under_way:
            while waiting and under_way < AT_ONCE:
                publisher.put(waiting.pop())
                under_way += 1
            woken.wait(LOOK_S)
            woken.clear()
            for one in publisher.completed():
                assert one.problem is None, one
                under_way -= 1

    try:
        return costs(work, options.recordings)
    finally:
        publisher.stop()


def said(number: int) -> tuple[Segment, ...]:
    """What a recording says, different for each number."""
    step, texts = REGION_MS // TOKENS, TEXT * 2
    segments = []
    for index in range(SEGMENTS):
        at, begin = (number * 31 + index * 7) % len(TEXT), index * REGION_MS
        starts = [begin + i * step for i in range(TOKENS)]
        sure = bytes(180 + (at * 7 + i * 13) % 76 for i in range(TOKENS))
        text = texts[at : at + TOKENS]
        tokens = Tokens(text, starts, [start + step - 20 for start in starts], sure)
        segments.append(Segment(index, begin, begin + REGION_MS, text, tokens))
    return tuple(segments)


def costs(work: Callable[[], None], count: int) -> dict[str, Any]:
    before, began = spent(), time.monotonic()
    work()
    wall_s, after = time.monotonic() - began, spent()
    threads: dict[str, dict[str, float]] = {}
    for (thread, kind), seconds in after.items():
        ms = (seconds - before[thread, kind]) / count * 1000
        if ms > 0:
            threads.setdefault(thread, {})[kind] = round(ms, 2)
    return {
        **{kind: round(sum(t.get(kind, 0.0) for t in threads.values()), 2) for kind in ("user", "system")},
        "wall_ms": round(wall_s / count * 1000, 2),
        "by_thread": dict(sorted(threads.items(), key=lambda one: -sum(one[1].values()))),
    }


def spent() -> Counter[tuple[str, str]]:
    """Processor seconds so far by thread and kind (user, system)."""
    found: Counter[tuple[str, str]] = Counter()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            name, numbers = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            thread = "main" if int(task.name) == os.getpid() else thread_of(name)
            for kind, ticks in zip(("user", "system"), numbers.split()[11:13], strict=True):
                found[thread, kind] += int(ticks) / os.sysconf("SC_CLK_TCK")
    return found


if __name__ == "__main__":
    main()
