"""Measure the first scan of a folder with a long history: time and memory.

    python benchmarks/known.py --jobs 1000000 --files 50000 --out benchmarks/results/known-NAME.json

A ledger with --jobs finished jobs, and a real folder with --files of their files. Measured are reading the records
alone, and the first scan of the folder, which finds no new file. Memory is resident memory before, peak and after
(Linux).
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import surroundings

from dropscribe.config import Folder
from dropscribe.files import FileSignature
from dropscribe.intake.folder import FolderWatch, Surroundings
from dropscribe.intake.folder_lock import FolderLocks
from dropscribe.intake.types import Completeness, Gone, Known, Notice
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Admission

#: Admissions per transaction.
BATCH = 5_000
#: Files per directory.
TOGETHER = 500
#: Default rescan interval of the daemon, seconds.
RESCAN_S = 30.0


def fill(database: Path, folder: Path, jobs: int, files: int) -> None:
    """Insert `jobs` finished recordings; create the files of the first `files` of them."""
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        for first in range(0, jobs, BATCH):
            some = range(first, min(jobs, first + BATCH))
            ledger.admit([_admission(folder, n, there=n < files) for n in some], 1.0)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE jobs SET state = 'done', finished_at = 2.0")
        connection.commit()


def _admission(folder: Path, number: int, *, there: bool) -> Admission:
    path = folder / f"customer-{number // TOGETHER:05}" / f"conversation of the day, part {number:07}.wav"
    size, mtime_ns, inode = 1_000_000, 1_700_000_000_000_000_000 + number, number
    if there:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"RIFF")
        status = path.stat()
        size, mtime_ns, inode = status.st_size, status.st_mtime_ns, status.st_ino
    return Admission(path, folder, size, mtime_ns, inode, f"{number:064x}", "default", "m|v", False, 2.0, 3)


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Duration of `work`, and resident memory of this process before, at its peak and after."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    # proc(5): has the highest value counted anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    began = time.monotonic()
    kept = work()
    took = time.monotonic() - began
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    highest = int(status.split("VmHWM:")[1].split()[0]) * 1024
    after = psutil.Process().memory_info().rss
    del kept
    return {
        "seconds": round(took, 2),
        "highest_growth_mb": round((highest - before) / 1e6, 1),
        "growth_mb": round((after - before) / 1e6, 1),
    }


def first_look(ledger: Ledger, folder: Path, notices: list[Notice]) -> FolderWatch:
    """A folder watch after its first scan."""
    around = Surroundings(
        lambda path: (
            Known(k.path, FileSignature(k.size, k.mtime_ns, k.inode), k.unfinished)
            for k in ledger.known(path)
        ),
        lambda _: Completeness.UNKNOWN,
        notices.append,
        time.monotonic,
        time.time,
        RESCAN_S,
        FolderLocks(),
    )
    watch = FolderWatch(Folder(path=folder), lambda _: None, around)
    watch.turn(time.monotonic(), ())
    return watch


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dropscribe-known-") as name:
        root = Path(os.path.realpath(name))
        folder, database = root / "inbox", root / "jobs.db"
        folder.mkdir()
        # By another process: what making it leaves behind in memory would hide what reading it takes.
        making = multiprocessing.get_context("spawn").Process(
            target=fill, args=(database, folder, options.jobs, options.files)
        )
        making.start()
        making.join()
        with closing(open_ledger(DatabaseLocation(database))) as ledger:
            notices: list[Notice] = []
            watches: list[FolderWatch] = []
            figures: dict[str, Any] = {
                "reading what is on record": measured(lambda: deque(ledger.known(folder), maxlen=0)),
                "first look": measured(lambda: watches.append(first_look(ledger, folder, notices))),
                "taken for new": watches[0].unsettled(),
                "taken for gone": sum(isinstance(n, Gone) for n in notices),
            }
            watches[0].post.close()
    surroundings.report("known", options, figures)


if __name__ == "__main__":
    main()
