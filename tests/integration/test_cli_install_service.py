"""`install-service` and `uninstall-service` below a prefix, and what they refuse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dropscribe.cli.manual.shared_files import shared_files
from dropscribe.errors import StorageError, UsageError
from dropscribe.installation import requirements, shipped
from dropscribe.installation.places import of_machine, of_user
from dropscribe.installation.plan import Sources, plan
from tests.support.command_line import call, document

PROGRAM = Path(sys.executable).with_name("dropscribe")
UNIT = Path("etc/systemd/system/dropscribe.service")
CONFIG = Path("etc/dropscribe/dropscribe.toml")


def tree(root: Path) -> dict[str, bytes]:
    """Content of all files below a folder."""
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in root.rglob("*")
        if p.is_file() and not p.is_symlink()
    }


def states(done: dict[str, object]) -> dict[str, str]:
    files = done["files"]
    assert isinstance(files, list)
    return {f["path"]: f["state"] for f in files}


def test_it_writes_all_of_a_service_once(tmp_path: Path) -> None:
    done = document("install-service", "--prefix", tmp_path)
    assert set(states(done).values()) == {"written"}
    assert done["ran"] == []
    assert any("systemctl enable --now dropscribe" in line for line in done["next"])
    unit = (tmp_path / UNIT).read_text(encoding="utf-8")
    assert f"ExecStart={PROGRAM} run --config /etc/dropscribe/dropscribe.toml" in unit
    units = {p.name for p in (tmp_path / UNIT).parent.iterdir() if p.is_file()}
    assert units >= {"dropscribe.service", "dropscribe-notify.service", "dropscribe-share.path"}
    for place in ("sysusers", "tmpfiles"):
        assert (tmp_path / f"etc/{place}.d/dropscribe.conf").is_file()
    share = tmp_path / "usr/local/share"
    assert set(tree(share)) == set(shared_files())
    assert (tmp_path / "usr/local/bin/dropscribe").readlink() == PROGRAM
    assert tomllib.loads((tmp_path / CONFIG).read_text())["database"] == "/var/lib/dropscribe/jobs.db"

    before = tree(tmp_path)
    again = document("install-service", "--prefix", tmp_path)
    assert set(states(again).values()) == {"unchanged"}
    assert tree(tmp_path) == before


def test_what_a_person_changed_stays(tmp_path: Path) -> None:
    call("install-service", "--prefix", tmp_path)
    for name in (UNIT, CONFIG):
        (tmp_path / name).write_text("# mine\n", encoding="utf-8")
    again = states(document("install-service", "--prefix", tmp_path))
    assert (again[f"/{UNIT}"], again[f"/{CONFIG}"]) == ("kept", "kept")
    # Known as changed by hand also at the next time, and when it is removed.
    assert states(document("install-service", "--prefix", tmp_path))[f"/{UNIT}"] == "kept"
    forced = states(document("install-service", "--prefix", tmp_path, "--force"))
    assert (forced[f"/{UNIT}"], forced[f"/{CONFIG}"]) == ("renewed", "kept")
    assert (tmp_path / UNIT).with_name("dropscribe.service.bak").read_text() == "# mine\n"

    (tmp_path / UNIT).write_text("# mine again\n", encoding="utf-8")
    data = tmp_path / "var/lib/dropscribe/jobs.db"
    data.parent.mkdir(parents=True)
    data.write_bytes(b"jobs")
    gone = document("uninstall-service", "--prefix", tmp_path)
    assert {p for p, s in states(gone).items() if s == "kept"} == {f"/{UNIT}"}
    assert "/var/lib/dropscribe" in gone["left"]
    assert set(tree(tmp_path)) == {str(UNIT), f"{UNIT}.bak", str(CONFIG), "var/lib/dropscribe/jobs.db"}
    with pytest.raises(UsageError, match="made no service"):
        call("uninstall-service", "--prefix", tmp_path)


def test_what_was_there_before_is_not_removed(tmp_path: Path) -> None:
    command = tmp_path / "usr/local/bin/dropscribe"
    command.parent.mkdir(parents=True)
    command.symlink_to(PROGRAM)  # as uv and pipx make it
    other = tmp_path / "etc/systemd/system/dropscribe-notify.service"
    other.parent.mkdir(parents=True)
    other.write_text("# of another program\n")
    done = states(document("install-service", "--prefix", tmp_path))
    assert done["/usr/local/bin/dropscribe"] == "unchanged"
    assert done["/etc/systemd/system/dropscribe-notify.service"] == "kept"
    call("install-service", "--prefix", tmp_path)
    call("uninstall-service", "--prefix", tmp_path)
    assert command.readlink() == PROGRAM
    assert other.read_text() == "# of another program\n"
    assert not (tmp_path / UNIT).exists()


def test_an_installation_that_ended_half_way_can_be_repeated_or_removed(tmp_path: Path) -> None:
    obstacle = tmp_path / "usr/local/bin/.dropscribe.new"  # under this name the link is made
    obstacle.mkdir(parents=True)
    with pytest.raises(StorageError, match="--prefix"):
        call("install-service", "--prefix", tmp_path)
    assert (tmp_path / UNIT).exists()
    call("uninstall-service", "--prefix", tmp_path)
    assert tree(tmp_path) == {}
    with pytest.raises(StorageError):
        call("install-service", "--prefix", tmp_path)
    obstacle.rmdir()
    done = states(document("install-service", "--prefix", tmp_path))
    assert (done[f"/{UNIT}"], done["/usr/local/bin/dropscribe"]) == ("unchanged", "written")
    call("uninstall-service", "--prefix", tmp_path)
    assert set(tree(tmp_path)) == {str(CONFIG)}


def test_the_service_can_read_what_root_wrote_with_a_strict_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        call("install-service", "--prefix", tmp_path / "machine")
    finally:
        os.umask(before)
    for path in (tmp_path / "machine").rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & 0o004, path


def test_what_to_do_next_after_an_upgrade_is_a_restart(tmp_path: Path) -> None:
    first = document("install-service", "--prefix", tmp_path)["next"]
    again = document("install-service", "--prefix", tmp_path)["next"]
    assert any("models fetch" in line for line in first)
    assert again[0].startswith("systemctl try-restart dropscribe ")


def test_an_upgrade_renews_what_was_written_and_removes_what_is_no_more(tmp_path: Path) -> None:
    call("install-service", "--prefix", tmp_path, "--cpu")
    drop_in = tmp_path / "etc/systemd/system/dropscribe.service.d/cpu.conf"
    assert drop_in.is_file()
    assert tomllib.loads((tmp_path / CONFIG).read_text())["engine"]["device"] == "cpu"
    record = tmp_path / "etc/dropscribe/installed-files.json"
    # As written by an older version.
    old = (tmp_path / UNIT).read_text(encoding="utf-8").replace("WatchdogSec=60", "WatchdogSec=30")
    (tmp_path / UNIT).write_text(old, encoding="utf-8")
    known = json.loads(record.read_text())
    known[f"/{UNIT}"] = hashlib.sha256(old.encode()).hexdigest()
    record.write_text(json.dumps(known))
    done = states(document("install-service", "--prefix", tmp_path))
    assert done[f"/{UNIT}"] == "renewed"
    assert "WatchdogSec=60" in (tmp_path / UNIT).read_text(encoding="utf-8")
    assert done["/etc/systemd/system/dropscribe.service.d/cpu.conf"] == "removed"
    assert not drop_in.exists()


def test_a_service_of_one_user_stays_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/anna")
    done = document("install-service", "--user", "--prefix", tmp_path)
    assert all(path.startswith("/home/anna/") for path in states(done))
    unit = (tmp_path / "home/anna/.config/systemd/user/dropscribe.service").read_text(encoding="utf-8")
    assert f"ExecStart={PROGRAM} run" in unit
    config = tomllib.loads((tmp_path / "home/anna/.config/dropscribe/dropscribe.toml").read_text())
    assert config["folder"][0]["path"] == "/home/anna/dropscribe"
    assert config["database"] == "/home/anna/.local/state/dropscribe/jobs.db"
    call("uninstall-service", "--user", "--prefix", tmp_path)
    assert set(tree(tmp_path)) == {"home/anna/.config/dropscribe/dropscribe.toml"}


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    sources = Sources(shipped.systemd_files(), {}, "")
    for places, option in ((of_machine(), "--system"), (of_user({"HOME": "/home/anna"}), "--user")):
        folder = tmp_path / option
        folder.mkdir()
        names = []
        for file in plan(places, Path("/bin/true"), sources, systemd=252, cpu=False):
            if file.path.parent == places.units:
                (folder / file.path.name).write_text(file.text, encoding="utf-8")
                names.append(folder / file.path.name)
        done = subprocess.run(
            [analyze, "verify", "--man=no", option, *names], check=False, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
        assert [line for line in done.stdout.splitlines() if "dropscribe" in line] == []


def test_it_refuses_what_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="systemd does not run here"):
        requirements.demand_systemd(tmp_path / "none")
    with pytest.raises(UsageError, match=r"systemd 247 is too old"):
        requirements.demand_version("systemd 247 (247.3-7)\n")
    assert requirements.demand_version("systemd 252 (252.39-1~deb12u1)\n+PAM") == 252
    with pytest.raises(UsageError, match="sudo"):
        requirements.demand_root(1000)
    requirements.demand_root(0)
    for hidden in ("/home/anna/venv/bin/dropscribe", "/root/.local/share/uv/python3", "/tmp/venv/x"):
        with pytest.raises(UsageError, match="hidden from it") as caught:
            requirements.demand_visible([Path("/usr/bin/python3"), Path(hidden)])
        assert "/opt/dropscribe/venv" in caught.value.remedy
    for program in ("/opt/my venv/bin/dropscribe", "/opt/\udcff/bin/dropscribe"):
        with pytest.raises(UsageError, match="blanks"):
            requirements.demand_plain(Path(program))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "dropscribe").touch()
    with pytest.raises(UsageError, match="other users cannot"):
        requirements.demand_readable([closed / "dropscribe"])
    with pytest.raises(UsageError, match="build for CPUs"):
        requirements.demand_matching_torch("2.13.0+cpu", cuda=True)
    requirements.demand_matching_torch("2.13.0", cuda=True)
    for home in ({}, {"HOME": ""}, {"HOME": "anna"}):
        with pytest.raises(UsageError, match="set HOME"):
            of_user(home)
    for environment in ({}, {"XDG_RUNTIME_DIR": str(tmp_path)}):
        with pytest.raises(UsageError, match="enable-linger 1000"):
            requirements.demand_user_manager(environment, 1000)
    (tmp_path / "systemd").mkdir()
    requirements.demand_user_manager({"XDG_RUNTIME_DIR": str(tmp_path)}, 1000)


def test_a_percent_sign_in_a_path_is_no_specifier() -> None:
    files = plan(
        of_machine(),
        Path("/opt/a%b/dropscribe"),
        Sources(shipped.systemd_files(), {}, ""),
        systemd=252,
        cpu=False,
    )
    (unit,) = [f for f in files if f.path.name == "dropscribe.service"]
    assert "ExecStart=/opt/a%%b/dropscribe run" in unit.text
    assert not [f for f in files if f.path.name == "backoff.conf"]
