"""Problems of the watched folder itself: removed, renamed, unmounted, unreadable, too large for inotify."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD, WatchDescriptor

from dropscribe.errors import StorageError
from dropscribe.files import FileSignature
from tests.support.intake import Watched, folder_of, signature_of, wait_until
from tests.support.intake_isolated import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
DATA = b"RIFF" + bytes(4000)
BACKENDS = pytest.mark.parametrize("backend", ["inotify", "poll"])


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


def put(path: Path) -> Path:
    path.write_bytes(DATA)
    return path


def wait_problem(w: Watched, folder: Path, words: str) -> None:
    wait_until(
        lambda: any(words in (h.problem or "") for h in w.health(folder)),
        f"the problem '{words}' is said; said so far: {w.health(folder)}",
    )


@BACKENDS
def test_deleted_and_made_again(inbox: Path, backend: str) -> None:
    with Watched(folder_of(inbox, backend=backend)) as w:
        old = put(inbox / "old.wav")
        w.wait_arrival(old)
        shutil.rmtree(inbox)
        wait_problem(w, inbox, "does not exist")
        assert w.health(inbox)[-1].remedy
        inbox.mkdir()
        w.wait_watching(inbox, 2)
        w.wait_arrival(put(inbox / "new.wav"))
        (inbox / "sub").mkdir()
        w.wait_arrival(put(inbox / "sub" / "deeper.wav"))
        assert w.gone() == []
        assert w.watcher.alive()


def test_made_again_at_once_is_watched_again(inbox: Path) -> None:
    """Too fast for a rescan to find it missing, and often with the same inode."""
    with Watched(folder_of(inbox, backend="inotify"), rescan_s=3600) as w:
        old = put(inbox / "old.wav")
        w.wait_arrival(old)
        for i in range(3):
            shutil.rmtree(inbox)
            inbox.mkdir()
            w.wait_arrival(put(inbox / f"new-{i}.wav"))
            w.settle_marker(inbox, f"marker-{i}.wav")
        assert old not in w.gone()


@BACKENDS
def test_renamed_away_and_back(inbox: Path, backend: str) -> None:
    with Watched(folder_of(inbox, backend=backend)) as w:
        old = put(inbox / "old.wav")
        w.wait_arrival(old)
        away = inbox.rename(inbox.with_name("away"))
        wait_problem(w, inbox, "does not exist")
        put(away / "meanwhile.wav")
        away.rename(inbox)
        w.wait_arrival(inbox / "meanwhile.wav")
        w.wait_arrival(put(inbox / "after.wav"))
        w.settle_marker(inbox)
        assert len(w.arrivals(old)) == 1
        assert w.gone() == []


def test_missing_at_start_and_made_later(tmp_path: Path) -> None:
    inbox = tmp_path / "later"
    known = {inbox / "known.wav": FileSignature(1, 2, 3)}
    with Watched(folder_of(inbox), known=lambda _: known) as w:
        wait_problem(w, inbox, "does not exist")
        inbox.mkdir()
        w.wait_arrival(put(inbox / "a.wav"))
        assert w.health(inbox)[-1].problem is None
        w.settle_marker(inbox)
        assert w.gone() == []


def test_a_folder_empty_at_the_start_cancels_no_jobs(inbox: Path) -> None:
    """Like the mount point of a share that is not mounted yet."""
    known = {inbox / "known.wav": FileSignature(1, 2, 3)}
    with Watched(folder_of(inbox), known=lambda _: known) as w:
        w.wait_watching(inbox)
        w.settle_marker(inbox)
        assert w.gone() == []


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    place = put(tmp_path / "inbox")
    with Watched(folder_of(place)) as w:
        wait_problem(w, place, "not a folder")
        place.unlink()
        place.mkdir()
        w.wait_arrival(put(place / "a.wav"))


def test_a_folder_with_a_problem_does_not_block_another(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    with Watched(folder_of(tmp_path / "missing"), folder_of(good)) as w:
        wait_problem(w, tmp_path / "missing", "does not exist")
        w.wait_arrival(put(good / "a.wav"))


def test_a_link_as_the_folder(inbox: Path) -> None:
    link = inbox.with_name("link")
    link.symlink_to(inbox)
    with Watched(folder_of(link), rescan_s=3600) as w:
        w.wait_watching(link)
        (inbox / "sub").mkdir()
        w.wait_arrival(put(link / "a.wav"))
        put(inbox / "sub" / "b.wav")
        w.wait_arrival(link / "sub" / "b.wav")
        (link / "c.wav").symlink_to("a.wav")
        assert w.wait_arrival(link / "c.wav").signature == signature_of(inbox / "a.wav")


def test_lost_events_cause_a_scan(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overflow event of the kernel's queue, without any other event."""
    real = InotifyFD.handle_event

    def overflow(self: InotifyFD, event: InotifyEvent) -> None:
        if not event.is_ignored:
            event = InotifyEvent(WatchDescriptor(-1), InotifyConstants.IN_Q_OVERFLOW, 0, b"")
        real(self, event)

    monkeypatch.setattr(InotifyFD, "handle_event", overflow)
    with Watched(folder_of(inbox, backend="inotify"), rescan_s=3600) as w:
        w.wait_watching(inbox)
        (inbox / "new").mkdir()
        w.wait_arrival(put(inbox / "new" / "a.wav"))


@pytest.fixture(scope="module")
def unshare() -> list[str]:
    """Command prefix that runs a process in new namespaces; skips if that is not permitted."""
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = "test -w /proc/sys/user/max_inotify_watches && mount -t tmpfs none /mnt"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "sh", "-c", probe], check=False).returncode
    ):
        pytest.skip("user and mount namespaces are not allowed here")
    return command


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder accessible to all users, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


@pytest.mark.parametrize("scenario", sorted(set(SCENARIOS) - {"unreadable"}))
def test_in_namespaces_of_its_own(unshare: list[str], scenario: str, open_folder: Path) -> None:
    if scenario == "does_not_answer" and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse to make a file system with that hangs")
    run([*unshare, sys.executable, "-m", "tests.support.intake_isolated", scenario, str(open_folder)])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_unreadable_directories_are_reported_and_their_files_not_gone(open_folder: Path) -> None:
    run([sys.executable, "-m", "tests.support.intake_isolated", "unreadable", str(open_folder)])


def run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_the_known_files_is_retried_after_an_error(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile no file is reported as new or gone, and the folder's thread keeps running."""
    monkeypatch.setattr("dropscribe.intake.folder.AGAIN_S", 0.1)
    known, new = put(inbox / "known.wav"), put(inbox / "new.wav")
    asked = 0

    def record(_: Path) -> Mapping[Path, FileSignature]:
        nonlocal asked
        asked += 1
        if asked <= 3:
            raise StorageError("disk I/O error", operation="read what is on record", path=inbox)
        return {known: signature_of(known), inbox / "removed.wav": signature_of(known)}

    with Watched(folder_of(inbox), known=record, rescan_s=3600) as w:
        w.wait_arrival(new)
        w.wait_gone(inbox / "removed.wav")
        assert asked > 3
        assert w.arrivals(known) == []
