"""One daemon per folder, for any user and after any kind of exit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dropscribe.intake.folder_lock import FolderLock, FolderLocks, Taken
from dropscribe.intake.types import FolderState
from tests.support.intake import Watched, folder_of, wait_until

DATA = b"RIFF" + bytes(4000)
HOLD = (
    "import sys; from dropscribe.intake.folder_lock import FolderLock, FolderLocks\n"
    "held = FolderLocks().take(sys.argv[1]); assert isinstance(held, FolderLock), held; print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked the folder like a daemon; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    (inbox / "sub").mkdir(parents=True)
    return inbox


def put(path: Path) -> Path:
    path.write_bytes(DATA)
    return path


def test_a_folder_of_another_daemon_is_left_to_it_and_taken_up_when_that_is_killed(inbox: Path) -> None:
    path = put(inbox / "a.wav")
    with held_by_another(inbox) as other, Watched(folder_of(inbox)) as w:
        wait_until(lambda: w.watcher.health() != [], "it is noticed")
        health = w.watcher.health()[0]
        assert health.state is FolderState.TAKEN
        assert f"process {other.pid}" in str(health.problem)
        assert health.remedy
        w.watcher.reload([folder_of(inbox)])
        assert w.arrivals() == []
        other.kill()
        other.wait()
        w.wait_arrival(path)
        assert w.watcher.health()[0].problem is None
        assert sorted(p.name for p in inbox.iterdir()) == ["a.wav", "sub"], "nothing is left in the folder"


def test_a_folder_inside_another_daemons_folder_is_left_to_that(inbox: Path) -> None:
    put(inbox / "sub" / "a.wav")
    with held_by_another(inbox), Watched(folder_of(inbox / "sub")) as w:
        wait_until(lambda: w.watcher.health() != [], "it is noticed")
        assert w.watcher.health()[0].state is FolderState.TAKEN
        assert f"{inbox}, which contains it" in str(w.watcher.health()[0].problem)
        assert w.arrivals() == []


def test_a_part_that_another_daemon_watches_is_left_to_it(inbox: Path) -> None:
    theirs = put(inbox / "sub" / "theirs.wav")
    with held_by_another(inbox / "sub") as other, Watched(folder_of(inbox)) as w:
        assert f"process {other.pid}" in w.wait_skip(inbox / "sub", "watched_elsewhere").reason
        put(inbox / "sub" / "later.wav")
        w.settle_marker(inbox)
        assert [a.path.name for a in w.arrivals()] == ["zz-marker.wav"]
        assert w.watcher.health()[0].problem is None
        other.kill()
        other.wait()
        w.wait_arrival(theirs)
        # From now on this process has locked it: no other can lock a part of it.
        assert isinstance(FolderLocks().take(str(inbox / "sub")), Taken)


def test_known_files_are_not_gone_when_another_daemon_locks_their_directory(inbox: Path) -> None:
    ours = put(inbox / "sub" / "ours.wav")
    with Watched(folder_of(inbox)) as w:
        known = {ours: w.wait_arrival(ours).signature}
    with held_by_another(inbox / "sub"), Watched(folder_of(inbox), known=lambda _: known) as w:
        w.wait_skip(inbox / "sub", "watched_elsewhere")
        w.settle_marker(inbox)
        assert w.gone() == []


def test_one_daemon_may_watch_a_folder_and_apart_from_it_one_inside(inbox: Path) -> None:
    outer, inner = put(inbox / "a.wav"), put(inbox / "sub" / "b.wav")
    with Watched(folder_of(inbox, recursive=False), folder_of(inbox / "sub")) as w:
        w.wait_arrival(outer)
        w.wait_arrival(inner)
        assert [h.problem for h in w.watcher.health()] == [None, None]


def test_the_same_folder_under_two_names_is_watched_once(inbox: Path) -> None:
    link = inbox.with_name("link")
    link.symlink_to(inbox)
    with Watched(folder_of(inbox), folder_of(link)) as w:
        put(inbox / "a.wav")
        wait_until(lambda: len(w.watcher.health()) == 2, "both were looked at")
        assert sorted(h.state.value for h in w.watcher.health()) == ["taken", "watched"]
        assert any("under another name" in str(h.problem) for h in w.watcher.health())
        watched = next(h.folder for h in w.watcher.health() if h.problem is None)
        w.settle_marker(watched)
        assert len(w.arrivals()) == 2


def test_a_folder_that_is_not_watched_any_more_is_free(inbox: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        assert isinstance(FolderLocks().take(str(inbox)), Taken)
        w.watcher.reload([folder_of(other)])
        held = FolderLocks().take(str(inbox))
        assert isinstance(held, FolderLock)
        held.close()
        w.watcher.reload([folder_of(inbox)])
        w.wait_watching(inbox, 2)
    held = FolderLocks().take(str(inbox))
    assert isinstance(held, FolderLock), "free after the end"
    held.close()
    held.close()
