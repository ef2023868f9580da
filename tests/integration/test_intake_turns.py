"""Effects of one or two rescans, and of clock changes, on clocks controlled by the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropscribe.intake.types import Arrival, FolderState, Skip
from tests.support.intake import QUIET_S, folder_of
from tests.support.intake_turned import RESCAN_S, Turned, turned

DATA = b"RIFF" + bytes(400)
BACKENDS = pytest.mark.parametrize("backend", ["inotify", "poll"])
YEAR_S = 366 * 86_400.0
#: Polls as rare as rescans, so that a test knows the number of scans.
SLOWLY = {"poll_s": 3600.0}
FILES = [4_000, pytest.param(20_000, marks=pytest.mark.soak)]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


def put(path: Path, data: bytes = DATA) -> Path:
    path.write_bytes(data)
    return path


@BACKENDS
@pytest.mark.parametrize("files", FILES)
def test_two_rescans_bring_in_everything_when_every_event_was_lost(
    inbox: Path, backend: str, files: int
) -> None:
    with turned(folder_of(inbox, backend=backend, **SLOWLY)) as w:
        for i in range(files):
            if i % 400 == 0:
                (inbox / f"{i // 400}").mkdir()
            put(inbox / f"{i // 400}" / f"{i}.wav", b"RIFF%d" % i)
        w.rescan()
        assert w.watch.unsettled() == files
        w.rescan()
        assert sorted(w.arrived(), key=lambda name: int(name[:-4])) == [f"{i}.wav" for i in range(files)]
        w.rescan()
        assert len(w.arrived()) == files, "none twice"
        assert w.gone() == []


@BACKENDS
@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_one_rescan_detects_that_the_folder_disappeared_and_one_that_it_is_back(
    inbox: Path, backend: str, how: str
) -> None:
    with turned(folder_of(inbox, backend=backend, **SLOWLY)) as w:
        put(inbox / "a.wav")
        w.rescan()
        w.turn(QUIET_S)
        assert w.arrived() == ["a.wav"]
        away = inbox.with_name("away")
        inbox.rename(away)
        if how == "deleted":
            shutil.rmtree(away)
        w.rescan()
        assert w.health().state is FolderState.AWAY
        assert "does not exist" in str(w.health().problem)
        assert w.health().remedy
        assert w.gone() == []
        if how == "deleted":
            inbox.mkdir()
        else:
            away.rename(inbox)
        put(inbox / "b.wav")
        w.rescan()
        assert w.health().problem is None
        w.turn(QUIET_S)
        assert w.arrived() == ["a.wav", "b.wav"]
        w.rescan()
        w.turn(QUIET_S)
        assert w.gone() == [], "whoever made the folder anew deleted no recording"


def test_one_rescan_detects_a_removed_file_and_the_quiet_period_confirms_it(inbox: Path) -> None:
    with turned(folder_of(inbox, **SLOWLY)) as w:
        path = put(inbox / "a.wav")
        w.rescan()
        w.turn(QUIET_S)
        path.unlink()
        w.rescan()
        assert w.gone() == [], "it may be being replaced"
        w.turn(QUIET_S)
        assert w.gone() == ["a.wav"]


def set_clock(jump: float) -> Callable[[Turned], None]:
    def jumps(w: Turned) -> None:
        w.ahead += jump

    return jumps


def change_time_zone(_: Turned) -> None:
    os.environ["TZ"] = "Asia/Shanghai" if os.environ.get("TZ") != "Asia/Shanghai" else "America/New_York"
    time.tzset()


@pytest.fixture
def time_zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


CLOCKS: dict[str, Callable[[Turned], None]] = {
    "an hour ahead": set_clock(3600.0),
    "an hour back": set_clock(-3600.0),
    "years ahead": set_clock(40 * YEAR_S),
    "to the epoch": set_clock(-1_799_999_000.0),
    "another time zone": change_time_zone,
}


@pytest.mark.usefixtures("time_zone")
@pytest.mark.parametrize("clock", CLOCKS)
def test_setting_the_clock_makes_no_file_early_or_late(inbox: Path, clock: str) -> None:
    with turned(folder_of(inbox, quiet_s=4.0, quiet_unprobed_s=4.0, **SLOWLY)) as w:
        put(inbox / "a.wav")
        w.rescan()
        for _ in range(3):
            CLOCKS[clock](w)
            w.turn(1.0)
            assert w.arrived() == []
        CLOCKS[clock](w)
        w.turn(1.0)
        assert w.arrived() == ["a.wav"]
        (arrival,) = (n for n in w.notices if isinstance(n, Arrival))
        assert arrival.settle_s == 4.0
        (inbox / "a.wav").unlink()
        w.rescan()
        CLOCKS[clock](w)
        w.turn(4.0)
        assert w.gone() == ["a.wav"]


@pytest.mark.parametrize(
    "mtime",
    [0.0, -YEAR_S, 1_800_000_000.0 + 30 * YEAR_S, 4_102_444_800.0, 1_800_000_010.0],
    ids=["epoch", "before the epoch", "in 30 years", "2100", "in seconds"],
)
def test_a_date_in_the_future_or_past_makes_a_file_neither_early_nor_late(inbox: Path, mtime: float) -> None:
    with turned(folder_of(inbox, quiet_s=4.0, quiet_unprobed_s=4.0, **SLOWLY)) as w:
        path = put(inbox / "a.wav")
        os.utime(path, (mtime, mtime))
        w.rescan()
        w.turn(3.9)
        assert w.arrived() == []
        w.turn(0.1)
        assert w.arrived() == ["a.wav"]
        for _ in range(3):
            w.rescan()
            w.turn(4.0)
        assert w.arrived() == ["a.wav"], "once"
        # A changed mtime means that the file is still written, even if it is earlier.
        os.utime(path, (mtime - 5, mtime - 5))
        w.rescan()
        w.turn(3.0)
        os.utime(path, (mtime - 10, mtime - 10))
        w.turn(1.0)
        assert len(w.arrived()) == 1
        w.turn(4.0)
        assert w.arrived() == ["a.wav", "a.wav"]


@BACKENDS
def test_a_file_that_cannot_be_read_is_passed_on_ever_more_rarely_until_it_changes(
    inbox: Path, backend: str
) -> None:
    with turned(folder_of(inbox, backend=backend, **SLOWLY)) as w:
        path = put(inbox / "a.wav")
        w.rescan()
        w.turn(QUIET_S)
        assert w.arrived() == ["a.wav"]
        answered = 0
        while w.now < 24 * 3600:
            if len(w.arrived()) > answered:
                answered = len(w.arrived())
                w.watch.unreadable(str(path), "permission denied", w.now)
            w.turn(RESCAN_S)
            w.turn(QUIET_S)
        said = [n for n in w.notices if isinstance(n, Skip)]
        assert [(s.path, s.code) for s in said] == [(path, "unreadable")]
        attempts = len(w.arrived())
        assert 24 * 5 < attempts < 24 * 6 + 12
        if attempts > answered:
            w.watch.unreadable(str(path), "permission denied", w.now)
        path.chmod(0o640)
        w.rescan()
        w.turn(QUIET_S)
        assert len(w.arrived()) == attempts + 1


@BACKENDS
def test_a_tree_deeper_than_a_path_may_be_long_is_named_with_its_remedy(inbox: Path, backend: str) -> None:
    at = os.open(inbox, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=at)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    put(inbox / "a.wav")
    with turned(folder_of(inbox, backend=backend, **SLOWLY)) as w:
        w.turn(QUIET_S)
        assert w.arrived() == ["a.wav"]
        (skip,) = [n for n in w.notices if isinstance(n, Skip)]
        assert skip.code == "too_deep"
        assert "move it further up" in skip.reason
        w.rescan()
        assert len([n for n in w.notices if isinstance(n, Skip)]) == 1, "said once"
    subprocess.run(["rm", "-rf", str(inbox)], check=True)  # its paths are too long for pytest
