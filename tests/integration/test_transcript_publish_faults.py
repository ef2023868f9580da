"""Storage failures of publishing at every system call, temporary and permanent; in the database, too.

One recording is new, another has new content. After any failure files are complete, old or new; the job is retried;
and at the end the folder equals one without failures.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.transcript.placing.publish import sweep
from tests.support.publishing import FORMATS, House
from tests.support.syscall_faults import FaultyDisk, Seen

#: Errors, used in turn for successive calls.
ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
#: Whether the error lasts, and every how many calls one fails. A lasting one affects all later calls anyway, so fewer places
#: are tested; more of both in the long form.
PUBLISHING = [
    pytest.param(False, 3, id="once"),
    pytest.param(True, 18, id="from then on"),
    pytest.param(False, 1, id="once, everywhere", marks=pytest.mark.soak),
    pytest.param(True, 9, id="from then on, often", marks=pytest.mark.soak),
]
RECORDING = [
    pytest.param(True, 22, id="from then on"),
    pytest.param(True, 11, id="from then on, often", marks=pytest.mark.soak),
    pytest.param(False, 1, id="once, everywhere", marks=pytest.mark.soak),
]


@pytest.fixture(scope="module")
def disk() -> Iterator[FaultyDisk]:
    with FaultyDisk() as faulty:
        yield faulty


class Trial:
    """A `House` with a new recording and one with changed content, and their expected results."""

    def __init__(self, root: Path) -> None:
        self.house = House(root / "house").make()
        self.house.admit("b.wav", "as it was")
        self.house.run()
        self.before = self.house.visible()
        self.house.admit("b.wav", "as it is")
        self.house.admit("a.wav", "new")
        self.kept = self.house.keep()
        self.house.run()
        self.after = self.house.visible()
        assert set(self.after) == {f"{n}.{f}" for n in "ab" for f in FORMATS}
        assert self.before["b.txt"].startswith(b"as it was\n")
        assert self.after["b.txt"].startswith(b"as it is\n")

    def again(self) -> House:
        self.house.restore(self.kept)
        return self.house

    def assert_whole(self) -> None:
        """Assert that every visible file is complete, old or new."""
        for name, data in self.house.visible().items():
            assert name in self.after, name
            if name.endswith(".timing.json"):
                json.loads(data)
            else:
                assert data in {self.before.get(name), self.after[name]}, name
        assert self.before.keys() <= self.house.visible().keys()
        assert self.house.rows("pragma integrity_check") == [("ok",)]

    def left(self) -> list[Path]:
        """Temporary files left in the folder."""
        return [p for p in self.house.inbox.iterdir() if p.name.startswith(".")]

    def assert_done(self, *, started_again: bool = False) -> None:
        """Assert that the result equals that without failures."""
        found = self.house.visible()
        assert found.keys() == self.after.keys()
        assert {n: d for n, d in found.items() if not n.endswith(".timing.json")} == {
            n: d for n, d in self.after.items() if not n.endswith(".timing.json")
        }
        assert self.left() == []
        assert self.house.states() == {"done"}
        assert self.house.rows("select count(*) from jobs") == [(3,)]
        # A storage failure counts no attempt; a daemon that ends during an attempt does.
        assert self.house.rows("select max(attempts) from jobs") <= [(1 + started_again,)]
        # Each file has one published record, and no record of unwritten files remains.
        assert self.house.rows("select count(*) from outputs where published = 0") == [(0,)]
        assert self.house.rows("select count(*) from outputs where published = 1") == [(3 * len(FORMATS),)]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def told(seen: Seen) -> None:
    assert seen.error is None, seen.error


@pytest.mark.parametrize(("lasting", "stride"), PUBLISHING)
def test_every_call_of_publishing_may_fail(
    disk: FaultyDisk, trial: Trial, stride: int, *, lasting: bool
) -> None:
    nth, failed = 0, set[str]()
    while True:
        nth += stride
        house = trial.again()
        error = errno.ENOSPC if lasting else ERRORS[nth % len(ERRORS)]
        seen = disk.run(house.run, house.inbox, nth=nth, error=error, lasting=lasting, naming=True)
        told(seen)
        failed |= {call.name for call in seen.failed}
        trial.assert_whole()
        if lasting and seen.failed:
            # The history has reason and path of the waiting job.
            waiting = house.rows("select reason, remedy, reason_code from jobs where state = 'queued'")
            assert all(r[2] == "storage" and str(house.inbox) in r[0] and r[1] for r in waiting), waiting
            assert house.rows(
                "select count(*) from outputs where published = 0 and path like '%.timing.json'"
            ) <= [(6,)]
            house.run()
        if {call.name for call in seen.failed} <= {"unlink", "unlinkat"} and trial.left():
            # Only the removal of temporaries failed; the next publish in this folder does it.
            sweep(house.inbox)
        trial.assert_done()
        if not seen.failed:
            break
    if stride > 1:
        assert len(failed) > 1, "a sample"
        return
    assert {"write", "fsync", "openat"} <= failed
    assert failed & {"link", "linkat"}
    assert failed & {"rename", "renameat", "renameat2"}
    assert failed & {"unlink", "unlinkat"}


@pytest.mark.parametrize(("lasting", "stride"), RECORDING)
def test_the_database_may_refuse_anything_meanwhile(
    disk: FaultyDisk, trial: Trial, stride: int, *, lasting: bool
) -> None:
    """The daemon retries after a temporary failure; after a permanent one another start is enough."""
    nth = waited = 0
    while True:
        nth += stride
        house = trial.again()
        error = errno.ENOSPC if lasting else ERRORS[nth % 2]
        seen = disk.run(house.run, house.database.parent, nth=nth, error=error, lasting=lasting)
        if not seen.failed:
            break
        if seen.error is not None:
            # Only opening the database may end the daemon; no job has begun then.
            assert house.visible().keys() == trial.before.keys()
        trial.assert_whole()
        if seen.error is not None or lasting:
            waited += bool(house.storage_retry.complaints())
            house.run()
        trial.assert_done(started_again=seen.error is not None or lasting)
    assert nth > 30
    assert waited > 2 or not lasting


def test_every_file_of_a_private_recording_is_private(tmp_path: Path) -> None:
    house = House(tmp_path).make()
    house.admit("private.wav", "one")
    house.admit("shared.wav", "two")
    (house.inbox / "private.wav").chmod(0o600)
    (house.inbox / "shared.wav").chmod(0o644)
    house.run()
    modes = {p.name: p.stat().st_mode & 0o044 for p in house.inbox.iterdir() if p.suffix != ".wav"}
    assert len(modes) == 2 * len(FORMATS)
    assert modes == {name: 0 if name.startswith("private") else 0o044 for name in modes}


def test_a_folder_that_is_read_only_or_not_ours(trial: Trial) -> None:
    house = trial.again()
    if os.geteuid() == 0:
        mounted = subprocess.run(
            ["mount", "--bind", house.inbox, house.inbox], check=False, capture_output=True, text=True
        )
        if mounted.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {mounted.stderr}")
        subprocess.run(["mount", "-o", "remount,ro,bind", house.inbox], check=True)
    else:
        house.inbox.chmod(0o500)
    try:
        house.run()
        assert house.visible() == trial.before
        assert [p for p in house.inbox.iterdir() if p.name.startswith(".")] == []
        told = house.rows("select reason, remedy from jobs where state = 'queued'")
        assert len(told) == 2
        assert all(str(house.inbox) in reason and "output_dir" in remedy for reason, remedy in told), told
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", house.inbox], check=True)
        else:
            house.inbox.chmod(0o700)
    house.run()
    trial.assert_done()
