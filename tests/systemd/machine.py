"""The machine the checks run on: its commands, its service, its recordings. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
import wave
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

CHECKOUT = Path("/root/checkout")
DROPSCRIBE = "/opt/dropscribe/venv/bin/dropscribe"
UNIT = Path("/etc/systemd/system/dropscribe.service")
CONFIG = Path("/etc/dropscribe/dropscribe.toml")
DATABASE = Path("/var/lib/dropscribe/jobs.db")
INBOX = Path("/srv/dropscribe/inbox")
SAMPLE = CHECKOUT / "daemon/dropscribe/engine/bundled/sample/sample.wav"
#: Between two looks, seconds.
LOOK_S = 0.25


class FailedCheckError(Exception):
    """What was seen instead."""


def run(*command: str, limit_s: float = 300.0) -> str:
    """What it printed, stderr too. Raises FailedCheckError when it ends with another status than 0."""
    code, said = ended(*command, limit_s=limit_s)
    if code != 0:
        raise FailedCheckError(f"{' '.join(command)} ended with {code}: {said[-1500:]}")
    return said


def ended(*command: str, limit_s: float = 300.0) -> tuple[int, str]:
    """(status, what it printed, stderr too)."""
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=limit_s, env={**os.environ, "SYSTEMD_PAGER": "cat", "NO_COLOR": "1", "COLUMNS": "160"},
    )  # fmt: skip
    return done.returncode, done.stdout


def demand(holds: bool, otherwise: str) -> None:
    """Raises FailedCheckError with `otherwise` unless it holds."""
    if not holds:
        raise FailedCheckError(otherwise)


def wait(what: str, holds: Callable[[], object], limit_s: float) -> float:
    """Seconds until it held. Raises FailedCheckError after `limit_s`."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() > began + limit_s:
            raise FailedCheckError(f"not after {limit_s:.0f} s: {what}")
        time.sleep(LOOK_S)
    return time.monotonic() - began


def digest(unit: str) -> str:
    """Of the settings of a unit, in a few letters; the comments do not count. By it a report says which it is of."""
    settings = [line for line in unit.splitlines() if line and not line.startswith("#")]
    return hashlib.sha256("\n".join(settings).encode()).hexdigest()[:12]


def as_user(user: str, *command: str) -> str:
    """Run it as somebody else."""
    return run("runuser", "-u", user, "--", *command)


# The service


def shown(name: str) -> str:
    """A property of the service, as `systemctl show` has it."""
    return run("systemctl", "show", "--property", name, "--value", "dropscribe").strip()


def restarts() -> int:
    return int(shown("NRestarts"))


def main_pid() -> int:
    return int(shown("MainPID"))


def is_ready() -> bool:
    return shown("ActiveState") == "active" and main_pid() > 0


def journal(since: str) -> str:
    """What the service, and systemd of it, have said from that moment on."""
    return run("journalctl", "--unit", "dropscribe", "--output", "cat", "--no-pager", "--since", since)


def now() -> str:
    """This moment, for `journal`."""
    # The journal knows microseconds and the option, too; without them the past second would count.
    return f"@{time.time():.6f}"


def named(name: str) -> list[int]:
    """The processes called so (`ds-engine`, `ds-decoder`)."""
    code, said = ended("pgrep", "--exact", name)
    return [int(pid) for pid in said.split()] if code == 0 else []


def members() -> list[int]:
    """Every process of the service's control group."""
    group = Path(f"/sys/fs/cgroup/system.slice/{UNIT.name}/cgroup.procs")
    return [int(pid) for pid in group.read_text(encoding="ascii").split()] if group.exists() else []


def configure(old: str, new: str) -> None:
    """Replace text that stands in the configuration."""
    text = CONFIG.read_text(encoding="utf-8")
    demand(old in text, f"{old!r} is not in the configuration")
    CONFIG.write_text(text.replace(old, new), encoding="utf-8")


# Recordings


def recording(name: str, *, seconds: float = 0.0) -> Path:
    """A new recording outside the inbox: the sample, longer if wanted, never with the bytes of another one."""
    target = Path("/root") / name
    with wave.open(str(SAMPLE)) as sample:
        parameters, once = sample.getparams(), sample.readframes(sample.getnframes())
    length = len(once) // (parameters.sampwidth * parameters.nchannels) / parameters.framerate
    with wave.open(str(target), "wb") as file:
        file.setparams(parameters)
        # Some silence first, another length for every name.
        file.writeframes(bytes(2 * (sum(name.encode()) + 37 * len(name))))
        for _ in range(max(1, round(seconds / length))):
            file.writeframes(once)
    return target


def drop(source: Path, folder: Path = INBOX) -> Path:
    """Copy it in as somebody who drops recordings does, and be rid of the original."""
    target = folder / source.name
    shutil.move(source, Path("/var/drop") / source.name)
    as_user("anna", "cp", f"/var/drop/{source.name}", str(target))
    (Path("/var/drop") / source.name).unlink()
    return target


def job(path: Path) -> tuple[str, int]:
    """(state, attempts) of the newest job of a recording; ("none", 0) before there is one."""
    if not DATABASE.exists():
        return "none", 0
    question = (
        "SELECT j.state, j.attempts FROM jobs j JOIN recordings r ON r.id = j.recording_id "
        "WHERE r.path = ? ORDER BY j.id DESC LIMIT 1"
    )
    # immutable=0 and mode=ro: root must not be the one who makes the database's side files.
    with closing(sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True, timeout=10)) as connection:
        row = connection.execute(question, (str(path),)).fetchone()
    return (str(row[0]), int(row[1])) if row else ("none", 0)


def state(path: Path) -> str:
    return job(path)[0]


def wait_done(path: Path, limit_s: float = 300.0) -> float:
    """Seconds until it was done and its transcript whole. Raises FailedCheckError."""
    waited = wait(
        f"{path.name} done (it is {state(path)})", lambda: state(path) in ("done", "failed"), limit_s
    )
    demand(state(path) == "done", f"{path.name} is {state(path)}")
    transcript = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    demand(bool(transcript["text"]), f"the transcript of {path.name} is empty")
    demand(not path.with_suffix(".partial.txt").exists(), "an unfinished text was left behind")
    return waited
