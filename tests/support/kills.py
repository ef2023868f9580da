"""A folder whose daemon is killed repeatedly, and the invariants after each kill and at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropscribe.ledger.sql.postgresql.connections import open_connection
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.killed_daemon import POINTS, Point

LAUNCHER = Path(__file__).with_name("killed_daemon.py")
FORMATS = (".txt", ".srt", ".vtt", ".json")
#: Many attempts, because one recording may be under way at many kills; partial texts as early as possible.
PROFILE = "[profiles.default]\nmax_attempts = 100\npartial_after_s = 0.05\n"
#: The recording that gets other content at each run, so that its transcripts are replaced.
AGAIN = "again.wav"
#: Length of long recordings (several segments), and least length of the others, seconds.
LONG_S, SHORT_S = 200.0, 0.6

Said = dict[str, object]


@dataclass(frozen=True, slots=True)
class Drop:
    """One recording of one run. Equal `seconds` and `offset` are equal contents."""

    name: str
    seconds: float
    offset: float = 0.0


def drops(run: int, *, slow: bool) -> list[Drop]:
    """Recordings of a run: a new one, its copy, new content of `AGAIN`, and with `slow` a long one."""
    seconds = SHORT_S + run / 100
    made = [
        Drop(f"{run}.wav", seconds), Drop(f"{run}-copy.wav", seconds), Drop(AGAIN, seconds, offset=0.2),
    ]  # fmt: skip
    return [*made, Drop(f"{run}-long.wav", LONG_S + run / 100)] if slow else made


def said(path: Path) -> object:
    """Content of a transcript file without job number and instants."""
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    document: dict[str, Any] = json.loads(data)
    del document["job"], document["recording"]["admitted"]
    return document


def transcripts(recording: Path) -> Said:
    return {form: said(recording.with_suffix(form)) for form in FORMATS}


@dataclass
class Chain:
    """One folder and one database through many kills. `model`: "null" or the bundled one."""

    root: Path
    model: str = "null"
    #: URL of an empty PostgreSQL database to use instead of a file.
    server: str = ""
    #: Decoders and engine are fed by a station process.
    stations: bool = False
    #: Transcripts allowed for each recording, by its name; the newest last.
    expected: dict[str, list[Said]] = field(default_factory=dict)
    runs: int = 0

    @property
    def inbox(self) -> Path:
        return self.root / "killed" / "inbox"

    def _daemon(self, place: str, *command: str, server: str = "") -> DaemonProcess:
        root = self.root / place
        root.mkdir(exist_ok=True)
        command = command or (sys.executable, "-m", "dropscribe")
        engine = 'station_processes = "always"' if self.stations else ""
        return DaemonProcess(
            root, model=self.model, quiet_s=0.1, rescan_s=0.5, extra=PROFILE, command=command, server=server, engine=engine,
        )  # fmt: skip

    def _killed(self, *command: str) -> DaemonProcess:
        """The daemon that is killed. What an undisturbed one writes does not depend on the database."""
        return self._daemon("killed", *command, server=self.server)

    def prepare(self, points: list[Point]) -> None:
        """Transcribe all recordings of all runs with an undisturbed daemon for `expected`, then do a first run."""
        daemon = self._daemon("undisturbed")
        made: list[tuple[Drop, Path]] = []
        for run, point in enumerate([None, *points, None]):
            for drop in drops(run, slow=point is not None and point.slow):
                folder = daemon.inbox / str(run)
                folder.mkdir(exist_ok=True)
                made.append(
                    (drop, write_speech(folder / drop.name, seconds=drop.seconds, offset=drop.offset))
                )
        with daemon:
            for _, path in made:
                daemon.wait_for(path)
        for drop, path in made:
            self.expected.setdefault(drop.name, []).append(transcripts(path))
        shutil.rmtree(daemon.root)
        self._killed()  # makes the folders
        self.drop(slow=False)
        self._undisturbed()

    def drop(self, *, slow: bool) -> None:
        """Drop the recordings of the next run; old content is replaced by a rename, as editors do."""
        staging = self.root / "staging"
        staging.mkdir(exist_ok=True)
        for one in drops(self.runs, slow=slow):
            made = write_speech(staging / one.name, seconds=one.seconds, offset=one.offset)
            made.replace(self.inbox / one.name)
        self.runs += 1

    def kill_at(self, name: str, nth: int, *, goes_on: bool = False) -> None:
        """Run a daemon that dies at the `nth` passage of a point. After the death of a child the daemon is killed,
        too: at once, or with `goes_on` after all jobs are done."""
        point = POINTS[name]
        of_daemon = point.is_of_daemon(stations=self.stations)
        if not of_daemon and not self._all_done():
            # Jobs with many attempts would be delayed for minutes after the death of a decoder.
            self._undisturbed()
        self.drop(slow=point.slow)
        mark = self.root / f"mark-{self.runs}"
        daemon = self._killed(sys.executable, str(LAUNCHER), name, str(nth), str(mark)).start()
        try:
            wait_until(lambda: mark.exists() or not daemon.running, f"'{name}' is passed {nth} times")
            assert mark.exists(), (name, daemon.lines[-5:])
            if of_daemon:
                wait_until(lambda: not daemon.running, "it is dead")
            elif goes_on:
                wait_until(lambda: self._all_done() or not daemon.running, f"it goes on after '{name}'")
                assert daemon.running, daemon.lines[-5:]
        finally:
            daemon.kill()
        assert daemon.process is not None
        assert daemon.process.returncode == -signal.SIGKILL
        self.check(name)

    def end(self) -> dict[str, int]:
        """Finish with an undisturbed run; returns counts. Raises AssertionError if an invariant is broken."""
        self.drop(slow=False)
        self._undisturbed()
        wanted = {n for name in self.expected for n in self._names(name)}
        assert {p.name for p in self.inbox.iterdir()} == wanted
        for name, contents in self.expected.items():
            assert transcripts(self.inbox / name) == contents[-1], name
            timing = (self.inbox / name).with_suffix(".timing.json")
            assert json.loads(timing.read_bytes())["recording"], timing
        twice = self._rows("select recording_id from jobs group by recording_id having count(*) > 1")
        assert twice == []
        of_others = self._rows(
            "select state, count(*) from job_history where recording not like ? group by state", "%/" + AGAIN
        )
        assert of_others == [("done", len(self.expected) - 1)]
        # Content that was replaced early may have been cancelled, or never admitted.
        of_again = dict(
            self._rows(
                "select state, count(*) from job_history where recording like ? group by state", "%/" + AGAIN
            )
        )
        assert set(of_again) <= {"done", "cancelled"}
        assert 1 <= of_again["done"] <= sum(of_again.values()) <= self.runs
        assert self._rows("select 1 from outputs where published = 0") == []
        return {"recordings": len(self.expected) - 1, "contents_of_one": self.runs} | {
            f"{state}_of_one": count for state, count in of_again.items()
        }

    def check(self, after: str) -> None:
        """Check the invariants that hold at any moment, also right after a kill."""
        if not self.server:
            assert self._rows("pragma integrity_check") == [("ok",)], after
            assert self._rows("pragma foreign_key_check") == [], after
        known = {n: name for name in self.expected for n in self._names(name)}
        for path in self.inbox.iterdir():
            if path.suffix == ".wav" or (path.name.startswith(".") and path.name.endswith(".dropscribe.tmp")):
                continue
            if path.name.endswith(".partial.txt"):
                assert path.read_text(encoding="utf-8").endswith("\n"), (after, path)
                continue
            assert path.name in known, (after, path)
            if path.name.endswith(".timing.json"):
                assert json.loads(path.read_bytes())["recording"], (after, path)
            else:
                allowed = [content[path.suffix] for content in self.expected[known[path.name]]]
                assert said(path) in allowed, (after, path)
        # The files of every finished job are on disk.
        done = "select r.path_raw from recordings r join jobs j on j.recording_id = r.id where r.latest = 1 and j.state = 'done'"
        for (raw,) in self._rows(done):
            assert transcripts(Path(os.fsdecode(raw))) in self.expected[Path(os.fsdecode(raw)).name], after

    def _undisturbed(self) -> None:
        with self._killed() as daemon:
            wait_until(lambda: self._all_done() or not daemon.running, "everything is done")
            assert daemon.running, daemon.lines[-5:]
        self.check("a run without a kill")

    def _all_done(self) -> bool:
        done = (
            "select count(*) from recordings r join jobs j on j.recording_id = r.id "
            "where r.latest = 1 and j.state = 'done' and r.path_raw = ? and r.size = ?"
        )
        recordings = [p for p in self.inbox.iterdir() if p.suffix == ".wav"]
        return all(self._rows(done, os.fsencode(p), p.stat().st_size) == [(1,)] for p in recordings)

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        if self.server:
            with open_connection(self.server) as server:
                return list(server.execute(sql.replace("?", "%s"), values))
        with closing(sqlite3.connect(self.root / "killed" / "jobs.db", timeout=30)) as connection:
            return connection.execute(sql, values).fetchall()

    @staticmethod
    def _names(recording: str) -> list[str]:
        stem = recording.removesuffix(".wav")
        return [recording, *(stem + form for form in (*FORMATS, ".timing.json"))]
