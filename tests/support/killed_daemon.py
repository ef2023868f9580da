"""Run dropscribe and kill it, its engine, a decoder or a publishing process (SIGKILL) at a named point of a job.

    python tests/support/killed_daemon.py POINT NTH MARK run --config FILE

One function of the installed program is wrapped; its NTH call creates the file MARK and kills the process. Children are
spawned with the same main module, so the function is wrapped in them, too. If MARK exists, nothing is wrapped.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: Multiprocessing names of the daemon's processes.
DAEMON, ENGINE, DECODER = "MainProcess", "dropscribe-engine", "dropscribe-decoder"
#: Has some points of the daemon where the daemon has station processes.
STATION = "dropscribe-station"
#: For its points the daemon has publishing processes on any machine.
PUBLISHER = "dropscribe-publish"
#: Environment variable with the arguments, for children.
_ORDER = "KILLED_DAEMON"
#: Delay of each batch of a slow engine, seconds: long enough that a partial text is due.
_SLOW_S = 0.3

When = Literal["before", "after", "half", "uncommitted", "committed"]


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the program. `seam`: "module:attribute" for a function, "os:call ending" for a system call on a
    file whose path has this ending, "ledger:operation" for a transaction."""

    process: str
    seam: str
    when: When
    #: Reached only by long recordings: the engine is slowed down.
    slow: bool = False
    #: Least number of passages in a run with a few new recordings.
    passages: int = 1

    def is_of_daemon(self, *, stations: bool) -> bool:
        """True if the daemon itself is killed. `stations`: decoders and engine are fed by a process of their own."""
        return self.process == DAEMON and not (stations and self.seam.startswith(_OF_A_STATION))


_PUBLISH, _PUMP, _PARTIALS = (
    "dropscribe.transcript.placing.publish",
    "dropscribe.pipeline.local.pump:Pump",
    "dropscribe.service.publishing.partial_writer",
)
_OF_A_STATION = (_PUMP, "dropscribe.engine.process:")
_TMP = ".dropscribe.tmp"
_MAKER = "dropscribe.service.publishing.making.file_maker:FileMaker"

POINTS: dict[str, Point] = {
    # Admission.
    "a complete file is handed over": Point(
        DAEMON, "dropscribe.service.admission.admitter:Admitter._hash_one", "before", passages=3
    ),
    "hashed": Point(DAEMON, "dropscribe.service.admission.admitter:content_hash", "after", passages=3),
    "admitted, not committed": Point(DAEMON, "ledger:admit recordings", "uncommitted"),
    "admitted": Point(DAEMON, "ledger:admit recordings", "committed"),
    # Claim, decoding, recognition.
    "recovered, not committed": Point(DAEMON, "ledger:recover interrupted jobs", "uncommitted"),
    "recovered": Point(DAEMON, "ledger:recover interrupted jobs", "committed"),
    "claimed, not committed": Point(DAEMON, "ledger:claim jobs", "uncommitted"),
    "claimed": Point(DAEMON, "ledger:claim jobs", "committed"),
    "begun, not committed": Point(DAEMON, "ledger:begin decoding", "uncommitted"),
    "begun": Point(DAEMON, "ledger:begin decoding", "committed"),
    "decoding begins": Point(DAEMON, f"{_PUMP}.start", "after", passages=2),
    "a block is decoded": Point(DAEMON, f"{_PUMP}._on_pcm", "before", passages=2),
    "all is decoded": Point(DAEMON, f"{_PUMP}._on_decoded", "before", passages=2),
    "a block goes to the engine": Point(
        DAEMON, "dropscribe.engine.process:ProcessEngine.submit", "after", passages=2
    ),
    "a segment is recognised": Point(DAEMON, f"{_PUMP}._on_segment", "before", passages=2),
    "all is recognised": Point(DAEMON, f"{_PUMP}._end_if_complete", "after", passages=2),
    "handed to the publisher": Point(
        DAEMON, "dropscribe.service.publishing.publisher:Publisher.put", "after", passages=3
    ),
    # Publishing: the texts, then (at the next passage) the timing log.
    "rendered": Point(DAEMON, "dropscribe.service.publishing.publisher:plan_outputs", "after", passages=3),
    "intended, not committed": Point(DAEMON, "ledger:record planned files", "uncommitted", passages=2),
    "intended": Point(DAEMON, "ledger:record planned files", "committed", passages=2),
    "a temporary is open": Point(DAEMON, f"{_PUBLISH}:_open_new", "after", passages=3),
    "a temporary is half written": Point(DAEMON, f"os:write {_TMP}", "half", passages=3),
    "a temporary is written": Point(DAEMON, f"os:fsync {_TMP}", "before", passages=3),
    "a temporary is on the disk": Point(DAEMON, f"os:fsync {_TMP}", "after", passages=3),
    "before a name is given": Point(DAEMON, f"{_PUBLISH}:place_new", "before", passages=3),
    "a name is given": Point(DAEMON, f"{_PUBLISH}:place_new", "after", passages=3),
    "before an old file is replaced": Point(DAEMON, f"os:replace {_TMP}", "before", passages=3),
    "an old file is replaced": Point(DAEMON, f"os:replace {_TMP}", "after", passages=3),
    "before a temporary is removed": Point(DAEMON, f"{_PUBLISH}:_remove", "before", passages=3),
    "the names are not on the disk yet": Point(DAEMON, "os:fsync /inbox", "before", passages=2),
    "the names are on the disk": Point(DAEMON, "os:fsync /inbox", "after", passages=2),
    "finished, not committed": Point(DAEMON, "ledger:finish jobs", "uncommitted"),
    "finished": Point(DAEMON, "ledger:finish jobs", "committed"),
    "the end is logged": Point(
        DAEMON, "dropscribe.service.publishing.publisher:log_done", "after", passages=3
    ),
    # Partial texts.
    "a partial text is intended": Point(DAEMON, "ledger:record a partial text", "committed", slow=True),
    "a partial text is written": Point(DAEMON, f"{_PARTIALS}:publish", "after", slow=True),
    "before a partial text is removed": Point(DAEMON, f"{_PARTIALS}:withdraw", "before", slow=True),
    "a partial text is removed": Point(DAEMON, f"{_PARTIALS}:withdraw", "after", slow=True),
    # The children.
    "a decoder gets an order": Point(DECODER, "dropscribe.media.worker:_serve", "before"),
    "a decoder has filled a block": Point(DECODER, "dropscribe.media.worker:SlotWriter.flush", "before"),
    "a decoder has told of a block": Point(DECODER, "dropscribe.media.worker:SlotWriter.flush", "after"),
    "a decoder is done": Point(DECODER, "dropscribe.media.worker:_serve", "after"),
    "the engine receives": Point(
        ENGINE, "dropscribe.engine.core.scheduler:Scheduler._accept", "after", passages=2
    ),
    "the engine begins a batch": Point(ENGINE, "dropscribe.engine.core.scheduler:Scheduler._begin", "before"),
    "the engine has recognised": Point(
        ENGINE, "dropscribe.engine.core.scheduler:Scheduler._deliver", "before"
    ),
    "the engine has told": Point(ENGINE, "dropscribe.engine.core.scheduler:Scheduler._deliver", "after"),
    "a publisher has rendered": Point(PUBLISHER, f"{_MAKER}.render", "after"),
    "a publisher has half written a temporary": Point(PUBLISHER, f"os:write {_TMP}", "half", passages=3),
    "a publisher has given a name": Point(PUBLISHER, f"{_PUBLISH}:place_new", "after", passages=3),
    "a publisher has replaced an old file": Point(PUBLISHER, f"os:replace {_TMP}", "after", passages=3),
    "a publisher's names are not on the disk yet": Point(PUBLISHER, "os:fsync /inbox", "before", passages=2),
    "a publisher has written": Point(PUBLISHER, f"{_MAKER}.write", "after", passages=2),
}

_KEEPING = "dropscribe.service.keeping"
#: Points that are reached only where recordings are moved or deleted after they were transcribed, or renamed.
KEEPING_POINTS: dict[str, Point] = {
    "a move is intended": Point(DAEMON, "ledger:record the move of a recording", "committed"),
    "a recording is hidden": Point(DAEMON, f"{_KEEPING}.recording_files:_hide", "after"),
    "a recording is moved": Point(DAEMON, f"{_KEEPING}.recording_files:move", "after"),
    "a move is recorded, not committed": Point(DAEMON, "ledger:record a moved recording", "uncommitted"),
    "a move is recorded": Point(DAEMON, "ledger:record a moved recording", "committed"),
    "a recording is deleted": Point(DAEMON, f"{_KEEPING}.recording_files:delete", "after"),
    "a rename is found": Point(DAEMON, "dropscribe.service.admission.renames:is_there", "after"),
    "a transcript follows": Point(DAEMON, f"{_KEEPING}.output_files:rename_new", "after", passages=4),
    "transcripts have followed, not committed": Point(DAEMON, "ledger:record moved files", "uncommitted"),
    "transcripts have followed": Point(DAEMON, "ledger:record moved files", "committed"),
}

#: Places that are reached only by a command: a run with new recordings does not pass them.
CONTROL_POINTS: dict[str, Point] = {
    "paused, not committed": Point(DAEMON, "ledger:pause", "uncommitted"),
    "cancelled, not answered": Point(DAEMON, "ledger:cancel jobs", "committed"),
}


class Death:
    """Count passages, and kill the process at the last. Thread-safe."""

    def __init__(self, nth: int, mark: Path) -> None:
        self._left = nth
        self._mark = mark
        self._lock = threading.Lock()

    def passage(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
            try:
                os.close(os.open(self._mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: Point, nth: int, mark: Path) -> None:
    """Make this process die at the `nth` passage if it is the one that `point` names."""
    process = multiprocessing.current_process().name
    if process == ENGINE and point.slow:
        _wrap("dropscribe.engine.core.scheduler:Scheduler._deliver", lambda: time.sleep(_SLOW_S), None)
    if process == DAEMON and point.process == PUBLISHER:
        _have_publishers()
    of_station = process == STATION and not point.is_of_daemon(stations=True)
    if not (process == point.process or (of_station and point.process == DAEMON)) or mark.exists():
        return
    death = Death(nth, mark)
    kind, _, rest = point.seam.partition(":")
    if kind == "ledger":
        _wrap_transaction(rest, point.when, death)
    elif kind == "os":
        call, _, ending = rest.partition(" ")
        _wrap_call(call, ending, point.when, death)
    elif point.when == "before":
        _wrap(point.seam, death.passage, None)
    else:
        _wrap(point.seam, None, death.passage)


def _have_publishers() -> None:
    """Let the daemon have publishing processes, and wait for them: what is published before they are there is its own."""
    makers: Any = importlib.import_module("dropscribe.service.publishing.making.makers")
    makers.publisher_count = lambda: 2
    start = makers.Makers.start

    def started(self: Any) -> None:
        start(self)
        while not all(place.child.is_ready() for place in self._places):
            time.sleep(0.02)

    makers.Makers.start = started


def _wrap(seam: str, before: Callable[[], None] | None, after: Callable[[], None] | None) -> None:
    module, _, path = seam.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    real: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before()
        done = real(*arguments, **named)
        if after is not None:
            after()
        return done

    setattr(owner, name, call)


def _wrap_transaction(operation: str, when: When, death: Death) -> None:
    databases = [importlib.import_module("dropscribe.ledger.sql.sqlite.db").SqliteDatabase]
    if importlib.util.find_spec("psycopg") is not None:
        databases.append(importlib.import_module("dropscribe.ledger.sql.postgresql.db").PostgresDatabase)
    for database in databases:
        database.write = _write(database.write, operation, when, death)


def _write(real: Callable[..., Any], operation: str, when: When, death: Death) -> Callable[..., Any]:
    """The method `write` of a database that dies in transactions of this operation."""

    @contextlib.contextmanager
    def write(self: Any, what: str) -> Iterator[Any]:
        with real(self, what) as connection:
            yield connection
            if what == operation and when == "uncommitted":
                death.passage()
        if what == operation and when == "committed":
            death.passage()

    return write


def _wrap_call(name: str, ending: str, when: When, death: Death) -> None:
    """Wrap a function of `os` for files (path or descriptor as first argument) whose path has this ending."""
    real: Callable[..., Any] = getattr(os, name)

    def meant(file: Any) -> bool:
        path = Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else file
        return str(path).endswith(ending)

    def call(file: Any, *rest: Any, **named: Any) -> Any:
        if not meant(file):
            return real(file, *rest, **named)
        if when == "half":
            # Never nothing: a process that is not the one that dies goes on.
            written = real(file, rest[0][: max(1, len(rest[0]) // 2)])
            death.passage()
            return written
        if when == "before":
            death.passage()
        done = real(file, *rest, **named)
        if when == "after":
            death.passage()
        return done

    setattr(os, name, call)


def _arm_as_ordered() -> None:
    name, nth, mark = os.environ[_ORDER].split("\n")
    arm((POINTS | KEEPING_POINTS | CONTROL_POINTS)[name], int(nth), Path(mark))


if __name__ == "__main__":
    os.environ[_ORDER] = "\n".join(sys.argv[1:4])
    del sys.argv[1:4]
    _arm_as_ordered()
    importlib.import_module("dropscribe.cli.app").main()
elif __name__ == "__mp_main__":
    _arm_as_ordered()
