"""Scenarios that change what belongs to the machine: mounts, limits, the user. Each is run as a process in
namespaces of its own: `unshare … python -m tests.intake_isolated SCENARIO FOLDER`; it fails by exception.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.intake_material import Watched, folder_of, wait_until

DATA = b"RIFF" + bytes(100)


def limit(name: str, value: int) -> None:
    Path("/proc/sys/user", name).write_text(str(value), encoding="ascii")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def unmount(path: Path) -> None:
    subprocess.run(["umount", str(path)], check=True)


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
        # And when directories come later than the watches do.
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


def unreadable(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    known = put(closed / "known.wav")
    folder.chmod(0o777)
    with Watched(folder_of(folder)) as w:
        w.wait_arrival(known)
    closed.chmod(0)
    os.setresuid(65534, 65534, 65534)
    with Watched(folder_of(folder), known=lambda _: {known: w.arrivals(known)[0].signature}) as w:
        skip = w.wait_skip(closed, "unreadable")
        assert "read" in skip.reason
        w.settle_marker(folder)
        assert w.gone() == []
        assert w.watcher.health()[0].problem is None


SCENARIOS: dict[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (
        too_few_watches,
        no_instances,
        unmounted_and_mounted_again,
        hidden_by_an_empty_mount,
        part_unmounted,
        unreadable,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
