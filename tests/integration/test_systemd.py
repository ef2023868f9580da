"""The unit and its companion files, checked by systemd's tools and against the product."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dropscribe.cli.commands.init import production_file
from dropscribe.config import SYSTEM_FILE, Settings, WebSettings
from dropscribe.errors import AlreadyRunningError, ConfigError, EngineError, LedgerError
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.control import client

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNIT = FOLDER / "dropscribe.service"
MOST_EXPOSURE = 2.0
#: Drop-in from the unit's comment that permits downloads of models.
NETWORK_DROP_IN = "PrivateNetwork=no\nIPAddressDeny=\nRestrictAddressFamilies=AF_INET AF_INET6\n"


class Unit:
    """A unit file; settings given several times are kept in order."""

    def __init__(self, text: str) -> None:
        self.settings: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line and not line.startswith(("#", "[")):
                key, _, value = line.partition("=")
                self.settings.setdefault(key, []).append(value)

    def one(self, key: str) -> str:
        (value,) = self.settings[key]
        return value


@pytest.fixture
def unit() -> Unit:
    return Unit(UNIT.read_text(encoding="utf-8"))


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def called(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        env={**os.environ, "SYSTEMD_PAGER": "cat", "LC_ALL": "C"},
    )


def exposure(analyze: str, unit: Path) -> float:
    done = called(analyze, "security", "--offline=true", "--no-pager", unit)
    assert done.returncode == 0, done.stdout
    match = re.search(r"Overall exposure level for .*: ([\d.]+) ", done.stdout)
    assert match is not None, done.stdout
    return float(match[1])


def seconds(span: str) -> float:
    match = re.fullmatch(r"(\d+)(min|s)?", span)
    assert match is not None, span
    return int(match[1]) * (60 if match[2] == "min" else 1)


def test_the_service_is_hardened(analyze: str) -> None:
    assert exposure(analyze, UNIT) <= MOST_EXPOSURE


def test_the_service_is_still_hardened_when_it_may_fetch_models(analyze: str, tmp_path: Path) -> None:
    stated = [line.strip("# ") for line in UNIT.read_text(encoding="utf-8").splitlines()]
    assert all(line in stated for line in NETWORK_DROP_IN.splitlines())
    drop_ins = tmp_path / "dropscribe.service.d"
    drop_ins.mkdir()
    shutil.copy(UNIT, tmp_path)
    (drop_ins / "network.conf").write_text(f"[Service]\n{NETWORK_DROP_IN}", encoding="utf-8")
    opened = exposure(analyze, tmp_path / UNIT.name)
    if opened == exposure(analyze, UNIT):
        # Some versions read no drop-ins offline; appended settings override earlier ones, too.
        text = UNIT.read_text(encoding="utf-8").replace("[Install]", f"{NETWORK_DROP_IN}\n[Install]")
        (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
        opened = exposure(analyze, tmp_path / UNIT.name)
    assert exposure(analyze, UNIT) < opened <= MOST_EXPOSURE


def test_the_unit_is_valid(analyze: str, unit: Unit, tmp_path: Path) -> None:
    """`verify` requires the command to exist, which has another path in a checkout."""
    command = shlex.split(unit.one("ExecStart"))[0]
    here = Path(sys.executable).with_name("dropscribe")
    text = UNIT.read_text(encoding="utf-8").replace(command, str(here))
    (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
    done = called(analyze, "verify", tmp_path / UNIT.name)
    complaints = [line for line in done.stdout.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, []), done.stdout


def test_the_command_of_the_unit_is_one_the_product_has(unit: Unit) -> None:
    program, command, *options = shlex.split(unit.one("ExecStart"))
    here = Path(sys.executable).with_name(Path(program).name)
    assert here.exists(), f"{here} was not installed"
    done = subprocess.run(
        [here, command, "--help"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    for option in options:
        if option.startswith("--"):
            assert option in done.stdout


def test_the_paths_of_the_unit_agree_with_each_other_and_the_product(unit: Unit) -> None:
    file = Path(shlex.split(unit.one("ExecStart"))[-1])
    assert file == SYSTEM_FILE
    assert "ConfigurationDirectory" not in unit.settings
    state = Path("/var/lib") / unit.one("StateDirectory")
    assert Settings.model_fields["database"].default.parent == state == Path(unit.one("WorkingDirectory"))
    # Members of the group reach the socket; that the daemon may listen on it is the last of these.
    runtime = Path("/run") / unit.one("RuntimeDirectory")
    assert client.SERVICE_SOCKET.parent == runtime
    assert (unit.one("RuntimeDirectoryMode"), unit.one("Group")) == ("0750", "dropscribe")
    assert "AF_UNIX" in unit.one("RestrictAddressFamilies").split()
    cache = Path("/var/cache") / unit.one("CacheDirectory")
    environment = dict(pair.split("=", 1) for pair in shlex.split(unit.one("Environment")))
    assert environment["HOME"] == str(cache)
    folders = (FOLDER / "dropscribe.tmpfiles.conf").read_text(encoding="utf-8")
    made = {line.split()[1] for line in folders.splitlines() if line.startswith("d ")}
    watched = unit.one("ReadWritePaths").removeprefix("-")
    # The inbox of `init --system` must exist at the first start of the service.
    inbox = tomllib.loads(production_file())["folder"][0]["path"]
    assert Path(inbox).is_relative_to(watched)
    assert made == {watched, inbox, str(state), str(cache), str(file.parent)}


def test_the_files_its_comments_install_are_there(unit: Unit) -> None:
    named = set(re.findall(r"systemd/([\w.-]+)", UNIT.read_text(encoding="utf-8")))
    system = {"system"}  # from /etc/systemd/system/…
    assert named - system == {p.name for p in FOLDER.iterdir()}
    accounts = (FOLDER / "dropscribe.sysusers.conf").read_text(encoding="utf-8")
    assert f"u {unit.one('User')} " in accounts
    assert unit.one("Group") == unit.one("User")


def test_the_unit_that_notifies_may_call_out_and_reads_no_recording(analyze: str, tmp_path: Path) -> None:
    file = FOLDER / "dropscribe-notify.service"
    text = file.read_text(encoding="utf-8")
    notify, daemon = Unit(text), Unit(UNIT.read_text(encoding="utf-8"))
    assert exposure(analyze, file) <= MOST_EXPOSURE
    assert "PrivateNetwork" not in notify.settings
    assert daemon.one("PrivateNetwork") == "yes"
    assert notify.one("SocketBindDeny") == "any"
    watched = daemon.one("ReadWritePaths").removeprefix("-")
    assert notify.one("InaccessiblePaths").removeprefix("-") == watched
    assert "ReadWritePaths" not in notify.settings
    same = ("User", "Group", "StateDirectory", "StateDirectoryMode", "UMask")
    assert [notify.one(key) for key in same] == [daemon.one(key) for key in same]
    program, *command = shlex.split(notify.one("ExecStart"))
    assert command == ["notify", "run", "--config", str(SYSTEM_FILE)]
    sender = importlib.import_module("dropscribe.notify.serve")
    assert seconds(notify.one("TimeoutStopSec")) >= 2 * sender.DRAIN_S
    (tmp_path / file.name).write_text(text.replace(program, "/bin/true"), encoding="utf-8")
    done = called(analyze, "verify", "--man=no", tmp_path / file.name)
    assert [line for line in done.stdout.splitlines() if file.name in line] == []


def test_the_unit_that_shares_folders_is_started_by_the_report_of_the_daemon(
    analyze: str, tmp_path: Path
) -> None:
    path = Unit((FOLDER / "dropscribe-share.path").read_text(encoding="utf-8"))
    database = Settings.model_fields["database"].default
    assert path.one("PathChanged") == str(DatabaseLocation(database).beside(".unwritable"))
    text = (FOLDER / "dropscribe-share.service").read_text(encoding="utf-8")
    command = shlex.split(Unit(text).one("ExecStart"))
    assert command[1:] == ["doctor", "--fix", "--config", str(SYSTEM_FILE)]
    for name in ("dropscribe-share.path", "dropscribe-share.service"):
        there = (FOLDER / name).read_text(encoding="utf-8").replace(command[0], "/bin/true")
        (tmp_path / name).write_text(there, encoding="utf-8")
    done = called(
        analyze,
        "verify",
        "--man=no",
        tmp_path / "dropscribe-share.path",
        tmp_path / "dropscribe-share.service",
    )
    assert [line for line in done.stdout.splitlines() if "dropscribe-share" in line] == []


def test_time_limits_leave_the_daemon_its_own(unit: Unit) -> None:
    limits = importlib.import_module("dropscribe.service.daemon")
    supervisor = importlib.import_module("dropscribe.pipeline.local.engine_supervisor")
    assert seconds(unit.one("TimeoutStopSec")) >= 2 * limits.DRAIN_S
    assert seconds(unit.one("TimeoutStartSec")) > supervisor.READY_TIMEOUT_S
    assert seconds(unit.one("WatchdogSec")) > 20 * limits.TURN_S


def test_no_restart_where_a_person_is_needed(unit: Unit) -> None:
    final = {int(code) for code in unit.one("RestartPreventExitStatus").split()}
    assert final == {e.exit_code for e in (ConfigError, LedgerError, AlreadyRunningError)}
    assert EngineError.exit_code not in final
    assert unit.one("Restart") == "on-failure"


def test_one_process_for_the_signal_and_one_recording_for_the_memory(unit: Unit) -> None:
    """SIGTERM to the children would end the drain; a decoder killed for memory must not stop the service."""
    assert unit.one("KillMode") == "mixed"
    assert unit.one("OOMPolicy") == "continue"


def test_no_command_needs_a_program_that_a_minimal_debian_lacks(unit: Unit) -> None:
    """`/bin/kill` is part of procps, which is not installed everywhere; a shell is."""
    commands = [unit.one(key) for key in ("ExecStart", "ExecReload")]
    programs = {shlex.split(c)[0].lstrip("+-@:!") for c in commands}
    assert programs == {"/opt/dropscribe/venv/bin/dropscribe", "/bin/sh"}


def test_the_reload_command_signals_the_daemon(unit: Unit) -> None:
    """Without PATH, as in a machine with nothing but a shell."""
    # The tests may run where SIGHUP is ignored, which a child inherits.
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            environment = {"MAINPID": str(daemon.pid), "PATH": "/nowhere"}
            subprocess.run(shlex.split(unit.one("ExecReload")), env=environment, check=True, timeout=60)
            assert daemon.wait(60) == -signal.SIGHUP
        finally:
            daemon.kill()


def test_hardening_permits_gpu_access(unit: Unit) -> None:
    assert unit.one("DeviceAllow") == "char-nvidia* rw"
    assert unit.one("PrivateDevices") == "no"
    assert unit.one("MemoryDenyWriteExecute") == "no"
    assert unit.one("ProcSubset") == "all"


def test_growing_delays_stand_apart_for_newer_systemd() -> None:
    parser = configparser.ConfigParser(strict=True)
    parser.read_string((FOLDER / "backoff.conf").read_text(encoding="utf-8"))
    assert set(parser["Service"]) == {"restartsteps", "restartmaxdelaysec"}


@pytest.mark.skipif(
    os.geteuid() != 0, reason="making accounts and owned folders needs root, also in a test root"
)
def test_the_account_and_the_folders_are_made(tmp_path: Path) -> None:
    for tool in ("systemd-sysusers", "systemd-tmpfiles"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for name, content in (("passwd", "root:x:0:0::/:/bin/sh\n"), ("group", "root:x:0:\n")):
        (root / "etc" / name).write_text(content, encoding="utf-8")
    done = called("systemd-sysusers", f"--root={root}", FOLDER / "dropscribe.sysusers.conf")
    assert done.returncode == 0, done.stdout
    account = next(
        line.split(":")
        for line in (root / "etc/passwd").read_text(encoding="utf-8").splitlines()
        if line.startswith("dropscribe:")
    )
    assert account[5:] == ["/var/cache/dropscribe", "/usr/sbin/nologin"]
    done = called("systemd-tmpfiles", "--create", f"--root={root}", FOLDER / "dropscribe.tmpfiles.conf")
    assert done.returncode == 0, done.stdout
    watched = (root / "srv/dropscribe").stat()
    assert (watched.st_mode & 0o7777, watched.st_uid, watched.st_gid) == (
        0o2770,
        int(account[2]),
        int(account[3]),
    )


def test_the_page_is_reached_by_a_socket_and_reaches_nothing(analyze: str) -> None:
    file, listening = FOLDER / "dropscribe-web.service", FOLDER / "dropscribe-web.socket"
    assert exposure(analyze, file) <= 1.5
    page, daemon = Unit(file.read_text(encoding="utf-8")), Unit(UNIT.read_text(encoding="utf-8"))
    assert page.one("PrivateNetwork") == "yes"
    assert page.one("ProtectSystem") == "strict"
    assert not {"ReadWritePaths", "StateDirectory"} & page.settings.keys()
    same = ("User", "Group", "UMask")
    assert [page.one(key) for key in same] == [daemon.one(key) for key in same]
    web = WebSettings.model_validate({})
    assert Unit(listening.read_text(encoding="utf-8")).one("ListenStream") == f"{web.address}:{web.port}"
    program, *command = shlex.split(page.one("ExecStart"))
    assert command == ["web", "--config", str(SYSTEM_FILE)]
    assert program == shlex.split(daemon.one("ExecStart"))[0]
