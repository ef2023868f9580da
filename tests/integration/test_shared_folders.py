"""A folder that a group shares: whoever makes folders in it, the daemon writes beside the recordings, or says why it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dropscribe.config import Settings
from dropscribe.doctor import posix_acl
from dropscribe.doctor.checks.held import look_held
from dropscribe.doctor.posix_acl import DEFAULT, GROUP, RWX, Acl
from dropscribe.doctor.sharing import Account, share, share_directory
from dropscribe.errors import StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import UNWRITABLE
from dropscribe.pipeline.problem import Problem
from dropscribe.service.storage.unwritable import UnwritableFolders
from tests.support.command_line import call, document, outcome, process
from tests.support.daemon_process import wait_until
from tests.support.ledgers import claim_all
from tests.support.publishing import House

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can act as two users")
#: The daemon, and a member of its group.
DAEMON, MEMBER = 60_001, 60_002


@pytest.fixture
def house() -> Iterator[House]:
    """A house of the daemon, whose inbox is as the unit's tmpfiles make it, but without access control lists."""
    # Not below `tmp_path`, which other users cannot enter.
    top = Path(tempfile.mkdtemp(prefix="shared-"))
    top.chmod(0o755)
    made = House(top / "house", profile={"timing_log": False, "formats": ["txt"]}).make()
    for path in (made.root, *made.root.rglob("*")):
        os.chown(path, DAEMON, DAEMON)
    made.inbox.chmod(0o2770)
    yield made
    shutil.rmtree(top)


@contextmanager
def as_daemon() -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(DAEMON)
    os.seteuid(DAEMON)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def as_member(*command: str | Path) -> None:
    subprocess.run(
        command, user=MEMBER, group=MEMBER, extra_groups=[DAEMON], umask=0o022, check=True, cwd="/"
    )


def run_daemon(house: House) -> None:
    with as_daemon():
        house.run(turns=5)


def settings_of(house: House) -> Settings:
    return Settings.model_validate({"database": house.database, "folder": [{"path": house.inbox}]})


@needs_root
def test_a_copied_folder_is_held_with_the_reason_and_goes_on_when_it_can_be_written(house: House) -> None:
    source = house.root.parent / "from a recorder"
    source.mkdir(mode=0o755)
    folder = house.inbox / "meetings"
    as_member("cp", "-r", source, folder)
    house.admit("meetings/a.wav", "一")
    house.admit("b.wav", "二")
    run_daemon(house)
    # Nothing was recognised in vain, and other recordings are done.
    assert house.recognised == ["b.wav"]
    config = house.root / "dropscribe.toml"
    config.write_text(f'database = "{house.database}"\n[[folder]]\npath = "{house.inbox}"\n')
    jobs = call("jobs", "--config", config)
    assert "held" in jobs
    assert "queued" not in jobs
    assert [job["id"] for job in document("jobs", "--state", "held", "--config", config)["jobs"]] == [1]
    assert "held" in call("jobs", "show", "1", "--config", config)
    status, output = outcome("status", "--config", config)
    assert status == 1
    told = " ".join(output.split())
    assert f"job 1 is held: {folder}: user 60001 may not write there" in told
    assert f"chmod g+w '{folder}'" in told
    assert "doctor --fix" in told
    (check,) = look_held(DatabaseLocation(house.database))
    assert check.detail == f"1 job: {folder}: user 60001 may not write there"
    # The remedy that it names.
    as_member("chmod", "g+w", folder)
    run_daemon(house)
    assert house.states() == {"done"}
    assert (folder / "a.txt").read_text(encoding="utf-8").startswith("一\n")


@needs_root
@pytest.mark.parametrize("make", ["mkdir", "cp -r"])
def test_doctor_fix_lets_the_daemon_write_into_folders_of_others(house: House, make: str) -> None:
    source = house.root.parent / "from a recorder"
    source.mkdir(mode=0o755)
    config = house.root / "dropscribe.toml"
    config.write_text(f'database = "{house.database}"\n[[folder]]\npath = "{house.inbox}"\n')
    if make == "cp -r":
        # It gives the folder the permissions of its source; what is there already is changed.
        as_member("cp", "-r", source, house.inbox / "meetings")
    fixed = json.loads(process("doctor", "--fix", "--json", "--config", config).stdout)
    assert fixed["user"] == fixed["group"] == DAEMON
    assert str(house.inbox) in {one["path"] for one in fixed["directories"]}
    assert "nothing was to be changed" in process("doctor", "--fix", "--config", config).stdout
    if make == "mkdir":
        as_member("mkdir", house.inbox / "meetings")
    as_member("mkdir", house.inbox / "meetings" / "today")
    house.admit("meetings/today/a.wav", "一")
    run_daemon(house)
    assert house.states() == {"done"}
    written = (house.inbox / "meetings/today/a.txt").stat()
    assert (written.st_uid, written.st_gid) == (DAEMON, DAEMON)


def test_own_folders_need_no_root_and_lists_of_others_stay(tmp_path: Path) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    (inbox / "deep" / "er").mkdir(parents=True)
    elsewhere.mkdir(mode=0o700)
    (inbox / "link").symlink_to(elsewhere)
    before = elsewhere.stat().st_mode
    descriptor = os.open(inbox, os.O_RDONLY)
    try:
        theirs = Acl.of_mode(0o750).granting(54_321)
        try:
            posix_acl.write(descriptor, DEFAULT, theirs)
        except OSError as e:
            pytest.skip(f"no access control lists here: {e}")
        mine = Account(os.geteuid(), os.getegid())
        settings = Settings.model_validate({"database": tmp_path / "jobs.db", "folder": [{"path": inbox}]})
        assert {one.path for one in share(settings, mine)} == {inbox, inbox / "deep", inbox / "deep/er"}
        found = posix_acl.read(descriptor, DEFAULT)
        assert found is not None
        assert found.entries == theirs.entries | {(GROUP, os.getegid()): RWX}
        assert share_directory(descriptor, inbox, mine).changes == ()
    finally:
        os.close(descriptor)
    assert elsewhere.stat().st_mode == before
    assert (inbox / "deep").stat().st_mode & 0o2070 == 0o2070


def test_the_directories_that_are_watched_are_changed_and_no_others(tmp_path: Path) -> None:
    """Also below a link, which a configured folder may be."""
    real, inbox = tmp_path / "disk", tmp_path / "inbox"
    watched = ["#1 interviews", "@home", "@home/day one"]
    for name in (*watched, "#recycle/old", ".hidden", "archive/2019"):
        (real / name).mkdir(parents=True)
    inbox.symlink_to(real)
    folder = {"path": inbox, "exclude": ["archive/*"]}
    settings = Settings.model_validate({"database": tmp_path / "jobs.db", "folder": [folder]})
    mine = Account(os.geteuid(), os.getegid())
    assert [one.path for one in share(settings, mine)] == [inbox, *(inbox / name for name in watched)]
    assert real.stat().st_mode & 0o2070 == 0o2070
    assert list(share(settings, mine)) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"database": tmp_path / "jobs.db", "folder": [{"path": tmp_path / "no"}]}
    )
    (told,) = share(settings, Account(os.geteuid(), os.getegid()))
    assert (told.path, told.problem) == (tmp_path / "no", "No such file or directory")


@needs_root
def test_a_folder_of_another_user_is_named(house: House) -> None:
    as_member("mkdir", "-m", "755", house.inbox / "hers")
    with as_daemon():
        told = {one.path.name: one.problem for one in share(settings_of(house), Account(DAEMON, DAEMON))}
    assert "as root" in told["hers"]
    assert told["inbox"] == ""


@pytest.mark.parametrize("data", [b"", b"\x01\0\0\0", b"\x02\0\0\0\x01\0"])
def test_what_is_no_access_control_list_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="access control list"):
        Acl.decode(data)


@pytest.fixture
def ledger(house_of_one: House) -> Iterator[Ledger]:
    opened = open_ledger(DatabaseLocation(house_of_one.database))
    yield opened
    opened.close()


@pytest.fixture
def house_of_one(tmp_path: Path) -> House:
    return House(tmp_path / "house").make()


def test_a_folder_is_probed_and_its_jobs_alone_are_held(house_of_one: House, ledger: Ledger) -> None:
    house = house_of_one
    (house.inbox / "deep/er").mkdir(parents=True)
    for name in ("deep/a.wav", "deep/b.wav", "deep/er/c.wav", "d.wav"):
        house.admit(name, name)
    closed = [True]

    def probe(_: object) -> None:
        if closed:
            raise StorageError("it is closed")

    settings = settings_of(house)
    report = house.root / "state" / "jobs.db.unwritable"
    folders = UnwritableFolders(
        ledger, lambda: settings, lambda: 0.0, lambda: 1000.0, report=report, probe=probe, probe_s=0.01
    )
    (claim,) = claim_all(ledger, 900.0, limit=1)
    folders.tend()
    folders.found(claim, Problem("unwritable", "deep: it is closed", "open it", None))  # type: ignore[arg-type]
    ledger.release(
        claim.job_id, claim.generation, 901.0,
        not_before=931.0, refund=True, isolate=False, code=UNWRITABLE, reason="deep: it is closed",
    )  # fmt: skip
    folders.tend()
    assert report.read_text() == f"{house.inbox / 'deep'}\n"
    assert [(h.code, h.reason, h.count) for h in ledger.held()] == [(UNWRITABLE, "deep: it is closed", 2)]
    assert [c.path.name for c in claim_all(ledger, 1001.0)] == ["c.wav", "d.wav"]
    closed.clear()
    released: list[int] = []

    def tend() -> bool:
        released.append(folders.tend())
        return any(released)

    wait_until(tend, "it is released")
    assert sum(released) == 2
    assert ledger.held() == []
    assert not report.exists()
    assert [c.path.name for c in claim_all(ledger, 1001.0)] == ["a.wav", "b.wav"]
    folders.close()
