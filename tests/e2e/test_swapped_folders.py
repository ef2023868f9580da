"""A user who drops recordings swaps folders for links; the daemon must not reveal files that this user cannot read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.paused_daemon import POINTS

DAEMON, DROPPER = 61_001, 61_002


def as_dropper(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=DROPPER, group=DROPPER, extra_groups=[], capture_output=True, text=True, check=False
    )


def dropped(*command: str | Path) -> None:
    done = as_dropper(*command)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder accessible to both users with `inbox`, writable for all, and `secret`, readable for the daemon only."""
    if os.geteuid() != 0:
        pytest.skip("only root may act as two other users")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    with tempfile.TemporaryDirectory(prefix="dropscribe-users-") as made:
        root = Path(made)
        for name, mode in {".": 0o711, "inbox": 0o777, "secret": 0o700, "marks": 0o700}.items():
            (root / name).mkdir(exist_ok=True)
            (root / name).chmod(mode)
            os.chown(root / name, DAEMON, DAEMON)
        for point in POINTS:
            os.chown(write_speech(root / "secret" / f"{point}.wav", seconds=7.0, offset=1.0), DAEMON, DAEMON)
        yield root


@pytest.fixture(scope="module")
def daemon(root: Path) -> Iterator[DaemonProcess]:
    # The interpreter may be readable for root only, so the daemon may read everything.
    command = (
        *("setpriv", f"--reuid={DAEMON}", f"--regid={DAEMON}", "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
        *("env", f"HOME={root}", sys.executable, "-m", "tests.support.paused_daemon", str(root / "marks")),
    )
    with DaemonProcess(root, model="null", command=command) as running:
        yield running


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("point", POINTS)
def test_a_folder_is_swapped_for_a_link(daemon: DaemonProcess, root: Path, point: str) -> None:
    secret = root / "secret"
    assert as_dropper("ls", secret).returncode != 0
    before = contents(secret)
    # Unique content, or it would be done by reference.
    ours = write_speech(root / f"{point}.wav", seconds=3.0, offset=0.05 * list(POINTS).index(point))
    ours.chmod(0o644)
    place, moved = daemon.inbox / point, daemon.inbox / f"{point}-moved"
    dropped("mkdir", "-m", "777", place)
    mark = root / "marks" / f"{point}.waits"
    dropped("cp", ours, place)
    wait_until(lambda: mark.exists() or not daemon.running, f"the daemon is at {point}")
    dropped("mv", place, moved)
    dropped("ln", "-s", secret, place)
    mark.unlink()

    daemon.wait_for(moved / ours.name)
    wait_until(
        lambda: daemon.state(place / ours.name) in {None, "cancelled", "done"},
        "the first place has a clear end",
    )
    assert contents(secret) == before, "nothing is written there"
    known = {row["sha256"] for row in daemon.rows("select sha256 from recordings")}
    assert not known & {hashlib.sha256(data).hexdigest() for data in before.values()}, (
        "nothing of it is admitted"
    )
    for transcript in daemon.inbox.rglob("*.json"):
        document = json.loads(transcript.read_bytes())
        if document["schema"] == "dropscribe/transcript/1":
            assert document["media"]["duration_ms"] == 3000, transcript
    assert list(moved.glob(f"{point}*.txt")), "the recording in the real place has its transcript"
    assert daemon.running
