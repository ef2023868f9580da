"""Scenarios that change mounts, limits or the user. Each runs in its own process and namespaces
(`unshare … python -m tests.support.intake_isolated SCENARIO FOLDER`) and raises an exception on failure.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dropscribe.files import FileSignature
from dropscribe.intake import runner
from dropscribe.intake.folder_lock import FolderLocks, Taken
from dropscribe.intake.types import FolderState
from tests.support.intake import QUIET_S, Watched, folder_of, wait_until
from tests.support.intake_turned import turned

DATA = b"RIFF" + bytes(100)

#: From mount(2).
MS_NOSUID, MS_NODEV = 2, 4


def limit(name: str, value: int) -> None:
    Path("/proc/sys/user", name).write_text(str(value), encoding="ascii")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def put(path: Path) -> Path:
    path.write_bytes(DATA)
    return path


def too_few_watches(folder: Path) -> None:
    for i in range(10):
        (folder / f"{i}").mkdir()
    limit("max_inotify_watches", 3)
    with Watched(folder_of(folder)) as w:
        wait_until(lambda: any(h.problem for h in w.health(folder)), "the limit is noticed")
        health = w.watcher.health()[0]
        assert health.backend == "poll"
        assert "fs.inotify.max_user_watches" in f"{health.problem} {health.remedy}"
        w.wait_arrival(put(folder / "7" / "a.wav"))
        assert w.watcher.alive()
        limit("max_inotify_watches", 100)
        wait_until(lambda: w.watcher.health()[0].problem is None, "it recovers when the limit is raised")
        assert w.watcher.health()[0].backend == "inotify"
        # Also for directories created after the watches were set.
        limit("max_inotify_watches", 5)
        (folder / "later").mkdir()
        wait_until(lambda: w.watcher.health()[0].backend == "poll", "the limit is noticed again")
        w.wait_arrival(put(folder / "later" / "b.wav"))


def no_instances(folder: Path) -> None:
    limit("max_inotify_instances", 0)
    with Watched(folder_of(folder)) as w:
        wait_until(lambda: any(h.problem for h in w.health(folder)), "the limit is noticed")
        assert "fs.inotify.max_user_instances" in str(w.watcher.health()[0].problem)
        w.wait_arrival(put(folder / "a.wav"))


def unmounted_and_mounted_again(folder: Path) -> None:
    store, inbox = folder / "store", folder / "inbox"
    store.mkdir()
    inbox.mkdir()
    mount("-t", "tmpfs", "none", str(store))
    mount("--bind", str(store), str(inbox))
    with Watched(folder_of(inbox)) as w:
        old = put(inbox / "old.wav")
        w.wait_arrival(old)
        unmount(inbox)
        wait_until(lambda: any(h.problem for h in w.health(inbox)), "it is noticed")
        assert "unmounted" in str(w.health(inbox)[-1].problem)
        put(store / "new.wav")
        mount("--bind", str(store), str(inbox))
        w.wait_arrival(inbox / "new.wav")
        assert w.health(inbox)[-1].problem is None
        w.settle_marker(inbox)
        assert w.gone() == []
        assert len(w.arrivals(old)) == 1


def hidden_by_an_empty_mount(folder: Path) -> None:
    old = put(folder / "old.wav")
    with Watched(folder_of(folder)) as w:
        w.wait_arrival(old)
        mount("-t", "tmpfs", "none", str(folder))
        wait_until(lambda: any(h.problem for h in w.health(folder)), "it is noticed")
        w.settle_marker(folder)  # a file in it: it was meant
        assert w.health(folder)[-1].problem is None
        unmount(folder)
        w.wait_arrival(put(folder / "after.wav"))
        w.settle_marker(folder, "marker-2.wav")
        assert old not in w.gone()
        assert len(w.arrivals(old)) == 1


def part_unmounted(folder: Path) -> None:
    (folder / "share").mkdir()
    mount("-t", "tmpfs", "none", str(folder / "share"))
    inner, outer = put(folder / "share" / "a.wav"), put(folder / "b.wav")
    with Watched(folder_of(folder)) as w:
        w.wait_arrival(inner)
        w.wait_arrival(outer)
        unmount(folder / "share")
        outer.unlink()
        w.wait_gone(outer)
        w.settle_marker(folder)
        assert w.gone() == [outer]


def part_unmounted_and_mounted_again(folder: Path) -> None:
    """Jobs cancelled while their files were missing are done after the mount."""
    store, share = folder / "store", folder / "inbox" / "share"
    store.mkdir()
    share.mkdir(parents=True)
    mount("-t", "tmpfs", "none", str(store))
    mount("--bind", str(store), str(share))
    kept, cancelled = put(share / "kept.wav"), put(share / "cancelled.wav")
    record: dict[Path, FileSignature] = {}
    watched = folder_of(folder / "inbox")
    with Watched(watched, known=lambda _: record) as w:
        record[kept] = w.wait_arrival(kept).signature
        w.wait_arrival(cancelled)
        unmount(share)
        # The removal of a bind mount causes no event; only a scan finds it.
        w.watcher.reload([watched])
        w.settle_marker(folder / "inbox")
        mount("--bind", str(store), str(share))
        w.wait_arrival(cancelled, 2)
        assert len(w.arrivals(kept)) == 1
        assert w.gone() == []


def unreadable(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    known = put(closed / "known.wav")
    folder.chmod(0o777)
    with Watched(folder_of(folder)) as w:
        record = {known: w.wait_arrival(known).signature}
    closed.chmod(0)
    os.setresuid(65534, 65534, 65534)
    with Watched(folder_of(folder), known=lambda _: record) as w:
        skip = w.wait_skip(closed, "unreadable")
        assert "read" in skip.reason
        w.settle_marker(folder)
        assert w.gone() == []
        assert w.watcher.health()[0].problem is None


def does_not_answer(folder: Path) -> None:
    """A file system whose server never answers: every system call on it blocks."""
    hanging, good = folder / "hanging", folder / "good"
    hanging.mkdir()
    good.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    flags = MS_NOSUID | MS_NODEV
    if libc.mount(b"none", os.fsencode(hanging), b"fuse", flags, options) != 0:
        raise OSError(ctypes.get_errno(), "cannot mount a file system of our own")
    runner.HUNG_S = 0.5
    with Watched(folder_of(hanging), folder_of(good)) as w:
        w.wait_arrival(put(good / "a.wav"))
        wait_until(lambda: [h.problem is None for h in w.watcher.health()] == [False, True], "it is noticed")
        assert w.watcher.health()[0].state is FolderState.AWAY
        assert "not answered" in str(w.watcher.health()[0].problem)
        w.watcher.tend()
        w.watcher.tend()
        assert len(w.health(hanging)) == 1, "said once"
        w.wait_arrival(put(good / "b.wav"))
        os.close(server)
        unmount(hanging)
        w.wait_arrival(put(hanging / "c.wav"))
        w.watcher.tend()
        assert w.health(hanging)[-1].problem is None
        assert w.watcher.alive()


def one_rescan_notices_a_share_that_went(folder: Path) -> None:
    store, inbox = folder / "store", folder / "inbox"
    store.mkdir()
    inbox.mkdir()
    mount("-t", "tmpfs", "none", str(store))
    mount("--bind", str(store), str(inbox))
    put(inbox / "a.wav")
    with turned(folder_of(inbox, poll_s=3600.0)) as w:
        w.turn(QUIET_S)
        assert w.arrived() == ["a.wav"]
        unmount(inbox)
        w.rescan()
        assert w.health().state is FolderState.AWAY
        assert "unmounted" in str(w.health().problem)
        for _ in range(3):
            w.rescan()
        mount("--bind", str(store), str(inbox))
        put(inbox / "b.wav")
        w.rescan()
        assert w.health().problem is None
        w.turn(QUIET_S)
        assert w.arrived() == ["a.wav", "b.wav"]
        assert w.gone() == [], "an empty mount is not deleted"


def one_rescan_notices_that_watches_are_granted_again(folder: Path) -> None:
    for i in range(10):
        (folder / f"{i}").mkdir()
    limit("max_inotify_watches", 3)
    with turned(folder_of(folder, poll_s=3600.0)) as w:
        assert "fs.inotify.max_user_watches" in str(w.health().problem)
        assert (w.health().backend, w.health().state) == ("poll", FolderState.WATCHED)
        limit("max_inotify_watches", 100)
        w.rescan()
        assert (w.health().backend, w.health().problem) == ("inotify", None)
        limit("max_inotify_watches", 5)
        (folder / "later").mkdir()
        w.rescan()
        assert "fs.inotify.max_user_watches" in str(w.health().problem)


def read_only(folder: Path) -> None:
    inbox = folder / "inbox"
    inbox.mkdir()
    mount("-t", "tmpfs", "none", str(inbox))
    path = put(inbox / "a.wav")
    mount("-o", "remount,ro", str(inbox))
    with Watched(folder_of(inbox)) as w:
        w.wait_arrival(path)
        assert isinstance(FolderLocks().take(str(inbox)), Taken), "held, though nothing can be written there"


SCENARIOS: dict[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (
        too_few_watches,
        no_instances,
        unmounted_and_mounted_again,
        hidden_by_an_empty_mount,
        part_unmounted,
        part_unmounted_and_mounted_again,
        does_not_answer,
        read_only,
        one_rescan_notices_a_share_that_went,
        one_rescan_notices_that_watches_are_granted_again,
        unreadable,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
