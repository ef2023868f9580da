"""Jobs that are done again while the daemon is killed (SIGKILL) between one step and the next."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import document
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.kills import LAUNCHER

FORMATS = ("json", "srt", "txt")
PROFILES = (
    f"[profiles.default]\nformats = {list(FORMATS)}\ntiming_log = false\nmax_attempts = 100\nspeakers = 1\n"
    f"[profiles.short]\nformats = {list(FORMATS)}\ntiming_log = false\nmax_attempts = 100\nspeakers = 1\n"
    "subtitle_max_chars = 6\n"
)
#: Each command, and where the daemon dies before it has done what was asked for: at the first point only, and in the long
#: form at each.
STEPS = (
    (
        ("redo", "1", "--profile", "short"),
        ("an old file is replaced", "claimed", "intended", "before an old file is replaced", "finished, not committed"),
    ),
    (("rename-speaker", "2", "1", "王芳"), ("a temporary is half written", "the names are on the disk", "finished")),
    (
        ("redo", "3", "--recognise"),
        ("finished, not committed", "a segment is recognised", "handed to the publisher"),
    ),
)  # fmt: skip


class Redone:
    """A recording that is done again. Files and ledger are checked after each death."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.daemon = self._daemon()
        self.deaths = 0

    def _daemon(self, *command: str) -> DaemonProcess:
        command = command or (sys.executable, "-m", "dropscribe")
        return DaemonProcess(
            self.root, model="null", quiet_s=0.1, rescan_s=0.5, extra=PROFILES, command=command
        )

    def finish(self) -> None:
        """Run an undisturbed daemon until nothing is left to do."""
        with self._daemon() as daemon:
            wait_until(lambda: self.done() or not daemon.running, "everything is done")
            assert daemon.running, daemon.lines[-5:]
        self.check()

    def done(self) -> bool:
        found = self.rows("select state from jobs")
        return bool(found) and {state for (state,) in found} == {"done"}

    def die_at(self, point: str) -> None:
        self.deaths += 1
        mark = self.root / f"mark-{self.deaths}"
        daemon = self._daemon(sys.executable, str(LAUNCHER), point, "1", str(mark)).start()
        try:
            wait_until(lambda: not daemon.running, f"it dies at '{point}'")
            assert mark.exists(), (point, daemon.lines[-5:])
        finally:
            daemon.kill()
        self.check()

    def add_speaker(self) -> None:
        """Give all words a speaker: the engine without a model tells none."""
        with closing(sqlite3.connect(self.root / "jobs.db", timeout=30)) as connection:
            connection.execute("update segments set speakers = x'01'")
            connection.execute("insert into job_speakers (job_id, number, kind) values (1, 1, 'voice')")
            connection.commit()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.root / "jobs.db", timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    def files(self) -> dict[str, str]:
        """Hash of each transcript file by its name."""
        return {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in self.daemon.inbox.iterdir()
            if p.suffix != ".wav" and not p.name.endswith(".dropscribe.tmp")
        }

    def planned(self, jobs: str) -> set[tuple[str, str]]:
        """Names and hashes of the files on record for these jobs."""
        found = self.rows(f"select path_raw, sha256 from outputs where job_id in ({jobs})")
        return {(Path(os.fsdecode(path)).name, sha) for path, sha in found}

    def check(self) -> None:
        """Whatever stands there is a whole file of a version on record, and the files of the last finished one are there."""
        assert self.rows("pragma integrity_check") == [("ok",)]
        assert self.rows("pragma foreign_key_check") == []
        files = self.files()
        assert set(files.items()) <= self.planned("select id from jobs")
        assert set(files) == {f"talk.{form}" for form in FORMATS}, "none lost, none twice"
        newest = "select max(id) from jobs where state = 'done'"
        assert set(files.items()) <= self.planned(f"{newest} union select id from jobs where state <> 'done'")


@pytest.mark.parametrize("most", [1, pytest.param(5, marks=pytest.mark.soak)])
def test_what_is_done_again_survives_kills_between_all_steps(tmp_path: Path, most: int) -> None:
    redone = Redone(tmp_path)
    write_speech(redone.daemon.inbox / "talk.wav", seconds=3.0)
    redone.finish()
    redone.add_speaker()
    for number, (command, points) in enumerate(STEPS, start=1):
        (made,) = document("jobs", *command, "--config", redone.daemon.config)["jobs"]
        assert (made["new_job"], made["version"], made["reason"]) == (number + 1, number + 1, None)
        assert made["from_tokens"] == ("--recognise" not in command)
        for point in points[:most]:
            redone.die_at(point)
        redone.finish()
        if "rename-speaker" in command:
            assert "王芳" in (redone.daemon.inbox / "talk.txt").read_text(encoding="utf-8")
    jobs = redone.rows("select id, version, supersedes_id, profile, state from jobs order by id")
    assert jobs == [
        (1, 1, None, "default", "done"),
        (2, 2, 1, "short", "done"),
        (3, 3, 2, "short", "done"),
        (4, 4, 3, "short", "done"),
    ]
    assert redone.rows("select count(*) from recordings") == [(1,)]
    assert redone.rows("select 1 from outputs where published = 0") == []
    assert set(redone.files().items()) <= redone.planned("4")
    transcript = json.loads((redone.daemon.inbox / "talk.json").read_bytes())
    assert transcript["job"] == 4
