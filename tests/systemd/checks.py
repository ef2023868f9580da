"""The checks of boot.py, inside the booted machine: one line each, `ok` or `FAILED`. Standard library only.

In their order: each finds the service as the one before left it.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.systemd import machine
from tests.systemd.machine import demand, drop, run, shown, wait, wait_done

#: As in the unit: how long a daemon that says nothing is waited for, and until it is started again.
WATCHDOG_S, RESTART_S = 60.0, 10.0
STOP_S = 60.0
#: As in daemon/dropscribe/pipeline/local/engine_supervisor.py: an engine without progress is replaced after it.
HUNG_S = 180.0
WANTED = json.loads(Path("/root/wanted.json").read_text(encoding="utf-8"))
#: How much slower than others this machine's processor is, by which work is given more time, or made less.
SLOWER = int(WANTED["slower"])
#: The model of all checks but the last. An emulated processor takes minutes to load one that needs torch, and what is
#: looked at here does not lie in the model.
MODEL, VAD_MODEL = ("paraformer-mini", "vad-mini") if SLOWER == 1 else ("null", "null")
#: Loading takes so long at most, seconds.
START_S = 120.0 * SLOWER
MOST_EXPOSURE = 2.0
MOST_EXPOSURE_OF_THE_PAGE = 1.5
INSTALLATION = machine.CHECKOUT / "docs" / "installation.md"
#: Of recordings, seconds of audio: under way long enough to be met there.
MEDIUM_S = 400.0 if SLOWER == 1 else 1200.0

CHECKS: list[Callable[[], str]] = []


def check(function: Callable[[], str]) -> Callable[[], str]:
    """Adds it to the list; it returns what was seen, or raises."""
    CHECKS.append(function)
    return function


@check
def installed_as_the_readme_says() -> str:
    """Runs the commands of docs/installation.md, from the accounts to the configuration."""
    page = INSTALLATION.read_text(encoding="utf-8")
    block = next(
        b
        for b in re.findall(r"^```sh root\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        if "systemd-sysusers" in b
    )
    steps = block[block.index("ln -sf") : block.index("runuser")]
    machine.CONFIG.unlink(missing_ok=True)
    run("sh", "-ec", f"cd {machine.CHECKOUT}\n{steps}")
    machine.configure('\nasr = "paraformer-zh"', f'\nasr = "{MODEL}"')
    machine.configure('\nvad = "fsmn-vad"', f'\nvad = "{VAD_MODEL}"')
    machine.configure('\ndevice = "auto"', '\ndevice = "cpu"')
    folder = Path("/srv/dropscribe").stat()
    demand(stat.S_IMODE(folder.st_mode) == 0o2770, f"/srv/dropscribe has mode {folder.st_mode:o}")
    demand(Path("/srv/dropscribe").group() == "dropscribe", "/srv/dropscribe has another group")
    run("useradd", "--create-home", "--groups", "dropscribe", "anna")
    Path("/home/anna").chmod(0o755)
    Path("/var/drop").mkdir(mode=0o755)
    return "account, folders, unit, configuration"


@check
def unit_is_valid() -> str:
    said = run("systemd-analyze", "verify", str(machine.UNIT))
    complaints = [line for line in said.splitlines() if machine.UNIT.name in line]
    demand(not complaints, "; ".join(complaints))
    return "systemd-analyze verify finds nothing"


def documented_doctor() -> str:
    """The command that docs/installation.md has administrators run."""
    text = INSTALLATION.read_text(encoding="utf-8")
    found = re.search(r"^runuser .*?\\\n.*doctor.*$", text, re.MULTILINE)
    assert found is not None
    return found[0]


@check
def doctor_before_the_first_start() -> str:
    said = run("sh", "-c", documented_doctor(), limit_s=START_S)
    demand("fail" not in said.split(), said)
    return f"{said.count('ok ')} checks of its own are ok"


@check
def start_is_over_when_it_is_ready() -> str:
    since = machine.now()
    # Enabling and starting apart, so that the time in between can be seen.
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "dropscribe")
    run("systemctl", "start", "--no-block", "dropscribe")
    wait("activating", lambda: shown("ActiveState") == "activating", 10)
    demand("warm after" not in machine.journal(since), "it was ready before it could be")
    wait("active", lambda: shown("ActiveState") != "activating", START_S)
    demand(machine.is_ready(), f"it is {shown('ActiveState')}: {shown('Result')}")
    demand("warm after" in machine.journal(since), "active, but the model is not warm")
    took = (int(shown("ActiveEnterTimestampMonotonic")) - int(shown("InactiveExitTimestampMonotonic"))) / 1e6
    return f"activating for {took:.1f} s, until the model was warm"


@check
def status_text() -> str:
    wait("a status", lambda: "under way" in shown("StatusText"), 10)
    text = shown("StatusText")
    demand(text in run("systemctl", "status", "dropscribe"), "systemctl status does not show it")
    code, said = machine.ended(
        "runuser", "-u", "dropscribe", "--", machine.DROPSCRIBE, "status", "--config", str(machine.CONFIG)
    )
    demand(code == 0, said)
    return f"“{text}”; dropscribe status agrees"


@check
def recording_dropped_by_a_member_of_the_group() -> str:
    path = drop(machine.recording("first.wav"))
    took = wait_done(path)
    for suffix in (".txt", ".srt", ".vtt", ".json", ".timing.json"):
        machine.as_user("anna", "test", "-r", str(path.with_suffix(suffix)))
        machine.as_user("anna", "test", "-w", str(path.with_suffix(suffix)))
    demand(path.with_suffix(".txt").owner() == "dropscribe", "the transcript belongs to somebody else")
    text = run("cat", str(path.with_suffix(".txt"))).splitlines()[0]
    return f"done after {took:.1f} s, readable and writable for the group: {text}"


@check
def command_of_a_member_of_the_group() -> str:
    """Through the socket: she may not write the database herself."""
    control = Path("/run/dropscribe/control.sock").stat()
    demand(stat.S_IMODE(control.st_mode) == 0o660, f"the socket has mode {stat.S_IMODE(control.st_mode):o}")
    options = ("--config", str(machine.CONFIG))
    said = machine.as_user("anna", machine.DROPSCRIBE, "pause", *options)
    demand("working → paused" in said, said)
    status = machine.ended("runuser", "-u", "anna", "--", machine.DROPSCRIBE, "status", *options)[1]
    demand("paused by anna" in status, status)
    code, refused = machine.ended("runuser", "-u", "nobody", "--", machine.DROPSCRIBE, "resume", *options)
    demand(code != 0, f"nobody may resume: {refused}")
    said = machine.as_user("anna", machine.DROPSCRIBE, "resume", *options)
    demand("paused, by anna" in said, said)
    return "paused and resumed by anna, refused to nobody"


@check
def recording_that_somebody_else_still_writes() -> str:
    path = machine.INBOX / "slow.wav"
    shutil.move(machine.recording("slow.wav"), "/var/drop/slow.wav")
    # Everything is written at once; the file stays open for much longer than quiet_s.
    script = f"exec 3>{path}; cat /var/drop/slow.wav >&3; sleep 9"
    with subprocess.Popen(["runuser", "-u", "anna", "--", "sh", "-c", script]):
        wait("the file", path.exists, 10)
        time.sleep(8)
        early = machine.state(path)
    demand(early == "none", f"it was {early} while it was open")
    wait_done(path)
    return "not taken while open, taken when closed"


@check
def sandbox() -> str:
    """Runs probe.py as a unit that differs from ours in what it executes only."""
    for folder in ("/srv/open", "/var/open"):
        Path(folder).mkdir(mode=0o777)
        Path(folder).chmod(0o777)
    for file in (
        "/etc/dropscribe/open",
        "/opt/dropscribe/open",
        "/home/anna/open",
        "/root/open",
        "/tmp/open",
    ):
        Path(file).write_text("open", encoding="utf-8")
        Path(file).chmod(0o666)
    Path("/root").chmod(0o755)
    os.mknod("/dev/open", stat.S_IFCHR, os.makedev(1, 11))
    Path("/dev/open").chmod(0o666)
    foreign = Path("/srv/dropscribe/foreign")
    foreign.write_text("anna's", encoding="utf-8")
    foreign.chmod(0o664)
    shutil.copy(machine.CHECKOUT / "tests/systemd/probe.py", "/opt/dropscribe/probe.py")
    changed = {"Type": "oneshot", "ExecStart": "/usr/bin/python3 /opt/dropscribe/probe.py", "Restart": "no"}
    lines = []
    for line in machine.UNIT.read_text(encoding="utf-8").splitlines():
        key = line.partition("=")[0]
        if key not in ("WatchdogSec", "ExecReload", "NotifyAccess"):
            lines.append(f"{key}={changed[key]}" if key in changed else line)
    Path("/run/systemd/system/dropscribe-probe.service").write_text("\n".join(lines), encoding="utf-8")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "dropscribe-probe")
    said = run("journalctl", "--unit", "dropscribe-probe", "--output", "cat", "--no-pager")
    outcomes = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    wrong = [f"may not {name}: {why}" for name, why in outcomes["allowed"].items() if why is not None]
    wrong += [f"may {name}" for name, why in outcomes["forbidden"].items() if why is None]
    demand(not wrong, "; ".join(wrong))
    said = machine.as_user("dropscribe", "/usr/bin/python3", "/opt/dropscribe/probe.py")
    anyhow = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["forbidden"]
    for name in outcomes["allowed"]:
        print(f"        may {name}")
    for name, why in outcomes["forbidden"].items():
        print(
            f"        may not {name} ({why}{'' if anyhow[name] is None else '; nor could it without the unit'})"
        )
    by_the_unit = sum(why is None for why in anyhow.values())
    return f"{len(outcomes['allowed'])} things allowed, {len(anyhow)} refused, {by_the_unit} of them by the unit alone"


@check
def exposure_of_the_running_service() -> str:
    return f"systemd-analyze security: {exposure_of('dropscribe', MOST_EXPOSURE)}"


@check
def notifications_by_a_service_of_their_own() -> str:
    """A signed webhook to this machine itself; the service may not see what is transcribed."""
    received: list[tuple[Mapping[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    secret = Path("/etc/dropscribe/operations.secret")
    secret.write_text(f"whsec_{base64.b64encode(os.urandom(32)).decode()}\n", encoding="ascii")
    shutil.chown(secret, group="dropscribe")
    secret.chmod(0o640)
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    with machine.CONFIG.open("a", encoding="utf-8") as file:
        file.write(
            f'\n[[notify]]\nname = "here"\nurl = "http://127.0.0.1:{server.server_port}/"\n'
            f'secret_files = ["{secret}"]\nevents = ["done"]\n'
        )
    unit = machine.CHECKOUT / "systemd/dropscribe-notify.service"
    run("install", "-Dm644", str(unit), f"/etc/systemd/system/{unit.name}")
    run("systemctl", "daemon-reload")
    run("systemctl", "reload", "dropscribe")
    run("systemctl", "enable", "--now", "dropscribe-notify", limit_s=START_S)
    path = drop(machine.recording("told.wav"))
    wait_done(path)
    took = wait("the notification", lambda: received, 60.0 * SLOWER)
    headers, body = received[0]
    told = json.loads(body)
    demand(told["type"] == "job.done" and "told.wav" in body.decode(), f"it says {told}")
    demand(
        headers.get("webhook-signature", headers.get("Webhook-Signature", "")).startswith("v1,"), str(headers)
    )
    pid = run("systemctl", "show", "--property", "MainPID", "--value", "dropscribe-notify").strip()
    code, seen = machine.ended("nsenter", "-t", pid, "-m", "ls", "/srv/dropscribe/inbox")
    demand(code != 0, f"it sees {seen}")
    run("systemctl", "stop", "dropscribe-notify")
    server.shutdown()
    return f"signed, {took:.0f} s after the transcript; {exposure_of('dropscribe-notify', MOST_EXPOSURE)}"


@check
def page_by_its_socket() -> str:
    """Started by the first visitor, without a network of its own."""
    for name in ("dropscribe-web.socket", "dropscribe-web.service"):
        run("install", "-Dm644", str(machine.CHECKOUT / "systemd" / name), f"/etc/systemd/system/{name}")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "dropscribe-web.socket")

    def fetched(path: str, **headers: str) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:8970{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60.0 * SLOWER) as answer:
            return bytes(answer.read())

    page = fetched("/").decode("utf-8")
    demand("first.wav" in page or "told.wav" in page, f"the page shows no recording: {page[:500]}")
    jobs = json.loads(fetched("/api/v1/jobs"))["jobs"]
    done = next(job["id"] for job in jobs if job["state"] == "done")
    sound = fetched(f"/recordings/{done}/sound.wav", Range="bytes=0-3")
    demand(sound == b"RIFF", f"its sound begins with {sound!r}")
    pid = run("systemctl", "show", "--property", "MainPID", "--value", "dropscribe-web").strip()
    code, said = machine.ended("nsenter", "-t", pid, "-m", "touch", "/srv/dropscribe/inbox/by-the-page")
    demand(code != 0, f"it may write into a watched folder: {said}")
    network = Path(f"/proc/{pid}/ns/net").stat().st_ino
    demand(network != Path("/proc/1/ns/net").stat().st_ino, "it has the network of the machine")
    seen = exposure_of("dropscribe-web", MOST_EXPOSURE_OF_THE_PAGE)
    run("systemctl", "disable", "--now", "dropscribe-web.socket", "dropscribe-web.service")
    return f"history, API and sound; {seen}"


def exposure_of(unit: str, most: float) -> str:
    """What systemd-analyze says of a running service. Raises FailedCheckError beyond `most`."""
    said = run("systemd-analyze", "security", "--no-pager", f"{unit}.service")
    found = re.search(r"Overall exposure level for .*: ([\d.]+) ", said)
    assert found is not None, said
    demand(float(found[1]) <= most, f"{found[1]} is more than {most}")
    return f"exposure {found[1]}"


@check
def reload_takes_up_a_folder() -> str:
    pid, second = machine.main_pid(), Path("/srv/dropscribe/second")
    machine.as_user("anna", "mkdir", "-m", "2775", str(second))
    with machine.CONFIG.open("a", encoding="utf-8") as file:
        file.write(f'\n[[folder]]\npath = "{second}"\n')
    run("systemctl", "reload", "dropscribe")
    wait_done(drop(machine.recording("reloaded.wav"), second))
    demand(machine.main_pid() == pid, "the daemon is another one")
    return "a recording in the new folder is done, by the same daemon"


@check
def reload_of_wrong_settings_changes_nothing() -> str:
    pid, since = machine.main_pid(), machine.now()
    before = machine.CONFIG.read_text(encoding="utf-8")
    machine.CONFIG.write_text(before + "\nno_such_setting = 1\n", encoding="utf-8")
    run("systemctl", "reload", "dropscribe")
    wait("the refusal", lambda: "kept the settings in force" in machine.journal(since), 10)
    machine.CONFIG.write_text(before, encoding="utf-8")
    wait_done(drop(machine.recording("refused.wav")))
    demand(machine.main_pid() == pid, "the daemon is another one")
    return "said so, and went on"


@check
def second_daemon_is_refused() -> str:
    code, said = machine.ended(
        "runuser", "-u", "dropscribe", "--", machine.DROPSCRIBE, "run", "--config", str(machine.CONFIG)
    )
    demand(code == 4, f"it ended with {code}: {said}")
    demand(machine.is_ready(), "the first one is gone")
    return f"exit code 4: {said.strip().splitlines()[-1]}"


def survives(name: str, number: int, what: str, limit_s: float) -> str:
    """Signal the processes called so while a recording is under way; the service stays and the recording is done."""
    pid, since = machine.main_pid(), machine.now()
    path = drop(machine.recording(f"{what}.wav", seconds=MEDIUM_S))
    wait(f"{path.name} under way", lambda: machine.state(path) == "running", 60)
    victims = machine.named(name)
    demand(bool(victims), f"there is no {name}")
    for victim in victims:
        os.kill(victim, number)
    took = wait_done(path, limit_s)
    demand(machine.main_pid() == pid and machine.restarts() == 0, "the service was restarted")
    wait("they are gone", lambda: not set(victims) & set(machine.members()), 10)
    word = "replaced" if "the engine is replaced" in machine.journal(since) else "gone on"
    return f"{word}; the recording under way was done {took:.0f} s later, the daemon is the same"


@check
def decoder_killed() -> str:
    return survives("ds-decoder", signal.SIGKILL, "decoder-killed", START_S)


@check
def engine_killed() -> str:
    return survives("ds-engine", signal.SIGKILL, "engine-killed", START_S)


@check
def engine_hung() -> str:
    """The daemon finds it; its own watchdog is content, because its main loop turns."""
    return survives("ds-engine", signal.SIGSTOP, "engine-hung", HUNG_S + START_S)


def comes_back(number: int, what: str, limit_s: float) -> str:
    """Signal the daemon while a recording is under way; systemd starts another, which does it."""
    before, children = machine.restarts(), set(machine.members())
    path = drop(machine.recording(f"{what}.wav", seconds=MEDIUM_S))
    wait(f"{path.name} under way", lambda: machine.state(path) == "running", 60)
    pid = machine.main_pid()
    os.kill(pid, number)
    ended = wait("the end of it", lambda: machine.main_pid() != pid, limit_s)
    wait("its processes to be gone", lambda: not children & set(machine.members()), 5)
    took = wait("another one ready", lambda: machine.restarts() > before and machine.is_ready(), START_S)
    wait_done(path, START_S)
    attempts = machine.job(path)[1]
    return f"ended after {ended:.0f} s, ready again {took:.0f} s later; the recording under way is done ({attempts} attempts)"


@check
def daemon_killed() -> str:
    return comes_back(signal.SIGKILL, "daemon-killed", 10)


@check
def daemon_hung() -> str:
    since = machine.now()
    seen = comes_back(signal.SIGSTOP, "daemon-hung", WATCHDOG_S + 30)
    demand("Watchdog timeout" in machine.journal(since), "it was not the watchdog")
    return f"watchdog; {seen}"


@check
def stop_during_a_job() -> str:
    """The engine is held meanwhile, so that no machine is quick enough to finish the job while the daemon drains."""
    path = drop(machine.recording("stopped.wav", seconds=MEDIUM_S))
    wait(f"{path.name} under way", lambda: machine.state(path) == "running", 60)
    for engine in machine.named("ds-engine"):
        os.kill(engine, signal.SIGSTOP)
    began = time.monotonic()
    run("systemctl", "stop", "dropscribe")
    took = time.monotonic() - began
    demand(shown("Result") == "success", f"the result is {shown('Result')}")
    demand(not machine.members(), "processes are left")
    demand(took < STOP_S, f"it took {took:.0f} s")
    demand(machine.state(path) == "queued", f"the job is {machine.state(path)}")
    left = [p.name for p in machine.INBOX.glob("stopped*") if p != path and ".partial." not in p.name]
    demand(not left, f"there are {left}")
    return f"stopped after {took:.0f} s, the job is queued again, no transcript is there yet"


@check
def start_finishes_it() -> str:
    run("systemctl", "start", "dropscribe", limit_s=START_S)
    path = machine.INBOX / "stopped.wav"
    took = wait_done(path, 600 * SLOWER)
    return f"done {took:.0f} s after the start ({machine.job(path)[1]} attempts)"


@check
def stop_when_idle() -> str:
    began = time.monotonic()
    run("systemctl", "stop", "dropscribe")
    demand(shown("Result") == "success" and not machine.members(), f"the result is {shown('Result')}")
    demand(not machine.DATABASE.with_name("jobs.db.status.json").exists(), "the status file is left")
    return f"stopped after {time.monotonic() - began:.1f} s, no process and no status left"


def stays_down(code: int) -> str:
    """Start what cannot start; systemd does not try again."""
    since = machine.now()
    run("systemctl", "reset-failed", "dropscribe")
    failed, _ = machine.ended("systemctl", "start", "dropscribe", limit_s=START_S)
    demand(failed != 0, "it started")
    demand(shown("ExecMainStatus") == str(code), f"it ended with {shown('ExecMainStatus')}")
    time.sleep(RESTART_S + 5)
    demand(shown("ActiveState") == "failed" and machine.restarts() == 0, "it was tried again")
    said = [line for line in machine.journal(since).splitlines() if line.startswith("dropscribe: ")]
    demand(bool(said), "it did not say why")
    return f"exit code {code}, not tried again: {said[-1]}"


@check
def wrong_settings() -> str:
    machine.configure('device = "cpu"', 'device = "gpu"')
    try:
        return stays_down(2)
    finally:
        machine.configure('device = "gpu"', 'device = "cpu"')


@check
def database_of_a_newer_version() -> str:
    kept = machine.DATABASE.with_name("kept.db")
    shutil.copy2(machine.DATABASE, kept)
    run(
        "/usr/bin/python3", "-c",
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute(\"UPDATE alembic_version SET version_num = '9999'\"); c.commit(); c.close()",
        str(machine.DATABASE),
    )  # fmt: skip
    try:
        return stays_down(3)
    finally:
        kept.replace(machine.DATABASE)
        shutil.chown(machine.DATABASE, "dropscribe", "dropscribe")


@check
def engine_that_cannot_start() -> str:
    """A GPU that is off the bus for a while comes back: systemd tries again, unlike with wrong settings."""
    machine.configure(f'\nasr = "{MODEL}"', '\nasr = "/var/cache/dropscribe/missing"')
    run("systemctl", "reset-failed", "dropscribe")
    code, _ = machine.ended("systemctl", "start", "dropscribe", limit_s=START_S)
    demand(code != 0, "it started")
    demand(shown("ExecMainStatus") == "5", f"it ended with {shown('ExecMainStatus')}")
    machine.configure('\nasr = "/var/cache/dropscribe/missing"', f'\nasr = "{MODEL}"')
    took = wait("another try that works", machine.is_ready, START_S)
    wait_done(drop(machine.recording("after.wav")))
    return f"exit code 5; ready {took:.0f} s after the cause was gone, by itself"


@check
def bundle_with_the_journal() -> str:
    """Root may read the journal, and in it stands what happened above, without the names that stand there."""
    file = Path("/root/bundle.tar.gz")
    command = (machine.DROPSCRIBE, "doctor", "--config", str(machine.CONFIG), "--bundle", str(file))
    run(*command, limit_s=START_S)
    with tarfile.open(file) as archive:
        opened = {m.name: archive.extractfile(m) for m in archive.getmembers()}
        texts = {name: document.read().decode() for name, document in opened.items() if document is not None}
    journal = json.loads(texts["dropscribe-bundle/journal.json"])
    of_systemd = [e["systemd"] for e in journal if "systemd" in e]
    demand(any("Watchdog timeout" in line for line in of_systemd), "nothing of the watchdog is in it")
    demand(any(e.get("action") == "job_done" for e in journal), "no job is in it")
    names = [p.name for p in machine.INBOX.glob("*.wav")]
    told = [w for w in (*names, "anna", "/srv", "/opt", "/etc", "/var") for t in texts.values() if w in t]
    demand(len(names) > 5 and not told, f"it tells {told}")
    return f"{len(texts)} documents, {len(journal)} entries of the journal, no name and no path"


@check
def demonstration_model_in_the_sandbox() -> str:
    """With torch, numba and machine code written at run time; where all others had it, it is only asked for text."""
    if MODEL == "null":
        machine.configure('\nasr = "null"', '\nasr = "paraformer-mini"')
        machine.configure('\nvad = "null"', '\nvad = "vad-mini"')
        run("systemctl", "restart", "dropscribe", limit_s=START_S)
    path = drop(machine.recording("spoken.wav"))
    took = wait_done(path, START_S)
    text = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0]
    demand(sum("\u4e00" <= c <= "\u9fff" for c in text) > 3, f"it says {text}")
    return f"{text} (after {took:.0f} s)"


@check
def doctor_of_that_model_with_the_path_of_root() -> str:
    """As docs/installation.md has it, from the shell of an administrator whose programs nobody else may enter."""
    Path("/root/bin").mkdir()
    Path("/root").chmod(0o700)
    said = run("sh", "-c", f"PATH=/root/bin:$PATH\n{documented_doctor()}", limit_s=START_S)
    demand("paraformer-mini with vad-mini on cpu, warm" in said, said)
    demand("running as process" in said, "it does not see the service")
    return f"{said.count('ok ')} checks of its own are ok"


@check
def service_made_and_removed_by_its_own_commands() -> str:
    """After all others: at its end there is no service, and everything of the person is still there."""
    config = machine.CONFIG.read_text(encoding="utf-8")
    said = run(machine.DROPSCRIBE, "install-service", "--force", "--cpu")
    demand("/etc/systemd/system/dropscribe.service" in said, said)
    demand(machine.CONFIG.read_text(encoding="utf-8") == config, "the configuration is another one")
    again = run(machine.DROPSCRIBE, "install-service", "--cpu")
    demand("renewed" not in again and "written" not in again, again)
    run("systemctl", "restart", "--no-block", "dropscribe")
    wait("active again", machine.is_ready, START_S)
    took = wait_done(drop(machine.recording("installed.wav")))
    shown_page = run(
        "sh",
        "-c",
        "bash -c '. /usr/local/share/bash-completion/completions/dropscribe; complete -p dropscribe'",
    )
    demand("_dropscribe" in shown_page, shown_page)
    removed = run(machine.DROPSCRIBE, "uninstall-service")
    demand(not machine.UNIT.exists(), "the unit is still there")
    demand(not machine.is_ready(), "the service still runs")
    kept = (machine.CONFIG, machine.DATABASE, machine.INBOX / "installed.txt")
    demand(all(p.exists() for p in kept), f"something is lost: {removed}")
    return f"a recording done after {took:.1f} s; then no service, and all data"


@check
def service_of_one_user_without_root() -> str:
    """Installed, started, used and removed by that user alone; nothing of it outside the user's own folders."""
    home, uid = Path("/home/anna"), machine.as_user("anna", "id", "-u").strip()

    def as_anna(*command: str, limit_s: float = 300.0) -> str:
        own = ("env", "-i", f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{uid}", "PATH=/usr/bin:/bin")
        return run("runuser", "-u", "anna", "--", *own, *command, limit_s=limit_s)

    def is_active() -> bool:
        return "ActiveState=active" in as_anna("systemctl", "--user", "show", "dropscribe")

    # What makes a service manager of a user start without a login; its page says that it is wanted for that.
    run("loginctl", "enable-linger", "anna")
    wait("the user's service manager", Path(f"/run/user/{uid}/systemd/private").exists, 60.0 * SLOWER)
    said = as_anna(machine.DROPSCRIBE, "install-service", "--user", "--cpu")
    unit, config = (
        home / ".config/systemd/user/dropscribe.service",
        home / ".config/dropscribe/dropscribe.toml",
    )
    demand(str(unit) in said, said)
    again = as_anna(machine.DROPSCRIBE, "install-service", "--user", "--cpu")
    demand("renewed" not in again and "written" not in again, again)
    text = config.read_text(encoding="utf-8")
    for old, new in (("paraformer-zh", MODEL), ("fsmn-vad", VAD_MODEL)):
        demand(f'"{old}"' in text, f"{old} is not in {text}")
        text = text.replace(f'"{old}"', f'"{new}"')
    config.write_text(text, encoding="utf-8")
    demand(not machine.UNIT.exists(), "it made a unit of the machine")
    as_anna("systemctl", "--user", "enable", "--now", "dropscribe", limit_s=START_S)
    demand(is_active(), as_anna("systemctl", "--user", "show", "dropscribe"))
    inbox = home / "dropscribe"
    transcript = drop(machine.recording("own.wav"), inbox).with_suffix(".txt")
    took = wait("the transcript", transcript.exists, 60.0 * SLOWER)
    demand(transcript.owner() == "anna", f"the transcript belongs to {transcript.owner()}")
    removed = as_anna(machine.DROPSCRIBE, "uninstall-service", "--user")
    demand(not unit.exists() and not is_active(), f"it is still there: {removed}")
    kept = (config, home / ".local/state/dropscribe/jobs.db", transcript)
    demand(all(p.exists() for p in kept), f"something is lost: {removed}")
    return f"a transcript after {took:.1f} s; then no service, and all data"


def headline() -> str:
    systemd = run("systemctl", "--version").splitlines()[0]
    python = run(
        "/opt/dropscribe/venv/bin/python",
        "-c",
        "import torch, platform as p; print(p.python_version(), torch.__version__)",
    )
    unit = (machine.CHECKOUT / "systemd/dropscribe.service").read_text(encoding="utf-8")
    release = Path("/etc/debian_version").read_text(encoding="utf-8").strip()
    return (
        f"{run(machine.DROPSCRIBE, '--version').strip()} on Debian {release}, {systemd}, Linux {platform.release()}, "
        f"Python and torch {python.strip()}; processor {'emulated' if SLOWER > 1 else 'by KVM'}; "
        f"unit {machine.digest(unit)}; {time.strftime('%Y-%m-%d')}"
    )


def main() -> None:
    """Run what is wanted."""
    print(headline())
    failed = 0
    for function in CHECKS:
        if not re.search(WANTED["only"], function.__name__):
            continue
        since, began, name = machine.now(), time.monotonic(), function.__name__.replace("_", " ")
        try:
            seen = function()
        except Exception as e:
            failed += 1
            print(f"FAILED  {name}: {type(e).__name__}: {e}")
            tail = machine.journal(since).splitlines()[-40:]
            print("\n".join(f"        | {line}" for line in tail))
        else:
            print(f"ok      {name}: {seen} [{time.monotonic() - began:.0f} s]")
    print(f"{failed} failed")
    print("all checks ran")


if __name__ == "__main__":
    main()
    sys.exit(0)
