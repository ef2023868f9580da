"""SIGKILL while recordings are moved, deleted and renamed: none is lost, none is transcribed or moved twice."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until, write_speech
from tests.support.killed_daemon import KEEPING_POINTS
from tests.support.kills import LAUNCHER

#: Points of each kind: a move between its two renames and after them, a rename in the middle of its transcripts.
SAMPLE = ("a recording is hidden", "a move is recorded, not committed", "a transcript follows")
FORMATS = (".txt", ".srt", ".vtt", ".json", ".timing.json")


class House:
    """Three watched folders: recordings of `inbox` move to `inbox/done`, those of `short` are deleted, those of `stay` stay."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: Counter[bytes] = Counter()
        for name in ("short", "stay"):
            (root / name).mkdir()

    def daemon(self, *command: str) -> DaemonProcess:
        folders = "".join(
            f'[[folder]]\npath = "{self.root}/{name}"\nprofile = "{name}"\nquiet_s = 0.1\n'
            for name in ("short", "stay")
        )
        profiles = (
            '[profiles.default]\nafter_done = "move:done"\nmove_outputs = true\n'
            '[profiles.short]\nafter_done = "delete after 0 d"\n[profiles.stay]\n'
        )
        return DaemonProcess(
            self.root, model="null", quiet_s=0.1, rescan_s=0.5, extra=profiles + folders,
            command=command or (sys.executable, "-m", "dropscribe"),
        )  # fmt: skip

    def drop(self, run: int) -> None:
        """Drop a recording into each folder, and rename that of the run before in `stay`."""
        for i, name in enumerate(("inbox", "short", "stay")):
            path = self.root / name / f"{run}.wav"
            path.parent.mkdir(exist_ok=True)
            made = write_speech(self.root / "made.wav", seconds=0.6 + run / 50, offset=i / 10)
            if name != "short":
                self.contents[made.read_bytes()] += 1
            made.rename(path)
        before = self.root / "stay" / f"{run - 1}.wav"
        if before.exists():
            before.rename(before.with_name(f"{run - 1}-renamed.wav"))

    def check(self) -> None:
        """Whatever happens, every recording is there once, under one name."""
        found = Counter(
            p.read_bytes()
            for p in self.root.rglob("*")
            if p.is_file()
            and (p.suffix == ".wav" or p.name.endswith(".dropscribe.leaving"))
            and "short" not in p.parts
        )
        assert found == self.contents

    def is_settled(self, daemon: DaemonProcess, runs: int) -> bool:
        left = daemon.rows(
            "select 1 from jobs where state in ('queued', 'running') union all select 1 from recordings "
            "where outputs_of_raw is not null or departure in ('moving', 'deleting')"
        )
        done = daemon.rows("select count(*) as n from recordings where departure in ('moved', 'deleted')")[0][
            "n"
        ]
        named = (self.root / "stay" / f"{runs - 2}-renamed.txt").exists() or runs < 2
        return not left and done == 2 * runs and named

    def end(self, runs: int) -> None:
        """Let an undisturbed daemon finish everything, and check what is where, and what is on record."""
        with self.daemon() as daemon:
            wait_until(
                lambda: self.is_settled(daemon, runs) or not daemon.running, "all is where it belongs", 90
            )
            assert daemon.running, daemon.lines[-5:]
            jobs = daemon.rows("select recording_id, count(*) as n from jobs group by recording_id")
            assert {row["n"] for row in jobs} == {1}
            assert len(jobs) == 3 * runs, "a renamed recording is no new one"
            states = daemon.rows("select distinct state from jobs")
            assert [row["state"] for row in states] == ["done"]
            moved = daemon.rows("select path, departed_raw from recordings where departure = 'moved'")
            assert all(Path(os.fsdecode(row["departed_raw"])).name == Path(row["path"]).name for row in moved)
            published = {
                Path(os.fsdecode(row["path_raw"]))
                for row in daemon.rows("select path_raw from outputs where published = 1")
            }
        self.check()
        names = [f"inbox/done/{run}" for run in range(runs)]
        names += [f"stay/{run}-renamed" for run in range(runs - 1)] + [f"stay/{runs - 1}"]
        expected = {f"{name}{form}" for name in names for form in (".wav", *FORMATS)}
        expected |= {f"short/{run}{form}" for run in range(runs) for form in FORMATS}
        there = {
            str(p.relative_to(self.root))
            for d in ("inbox", "short", "stay")
            for p in (self.root / d).rglob("*")
            if p.is_file()
        }
        assert there == expected
        assert published == {self.root / name for name in expected if not name.endswith(".wav")}


@pytest.mark.parametrize(
    "names", [SAMPLE, pytest.param(tuple(KEEPING_POINTS), marks=pytest.mark.soak)], ids=["sample", "all"]
)
def test_killed_while_recordings_are_moved_none_is_lost_or_done_twice(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    house = House(tmp_path)
    for run, name in enumerate(names):
        house.drop(run)
        if run == 0 and "rename" in name:
            continue
        mark = tmp_path / f"mark-{run}"
        nth = min(2, KEEPING_POINTS[name].passages)
        daemon = house.daemon(sys.executable, str(LAUNCHER), name, str(nth), str(mark)).start()
        try:
            assert daemon.process is not None
            daemon.process.wait(DEADLINE_S)
        finally:
            daemon.kill()
        assert daemon.process.returncode == -signal.SIGKILL
        assert mark.exists(), daemon.lines[-5:]
        house.check()
    house.drop(len(names))
    house.end(len(names) + 1)
