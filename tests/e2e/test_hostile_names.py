"""Recordings with escape sequences, line feeds, C1 and bidirectional controls in their names, through a real daemon and
every command, in a terminal and in a pipe.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.command_line import outcome
from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until, write_speech

#: Names of good recordings, as bytes.
GOOD = (
    b"title\x1b]0;owned\x07.wav",
    b"clear\x1b[2J\x1b[99;99Hx.wav",
    b"link\x1b]8;;x:y\x1b\\here\x1b]8;;\x1b\\.wav",
    b"line\nforged: done.wav",
    b"return\rforged.wav",
    "c1\x9b31m\x85.wav".encode(),
    b"bytes\xff\xfe\x9b.wav",
    "rtl\u202evaw.gpj.wav".encode(),
    "lines\u2028\u2029\u200b\U000e0041.wav".encode(),
    b"[red]x[b][link=x]y.wav",
    "会议 اجتماع 👩\u200d👧 פגישה.wav".encode(),
)
BAD = "broken\x1b[2J\u202e\n.wav".encode()
#: Forbidden output. Colours and rich's cursor movements are permitted.
NEVER = re.compile(
    "\x1b\\]|\x1b\\[2J|\x1b\\[99|\x07|\nforged|\rforged|[\x80-\x9f\u202e\u2028\u2029\u200b\U000e0041]"
)
READABLE = "会议 اجتماع 👩\u200d👧 פגישה.wav"


def in_terminal(*command: str, cwd: Path) -> str:
    """Output of a command on a terminal of 400 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 400, 0, 0))
    # rich assumes 80 columns for a dumb terminal.
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = forked.popen(
        command, environment=environment, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd
    )
    os.close(theirs)
    written = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the last writer has gone
            break
        if not part:
            break
        written += part
    os.close(ours)
    process.wait(DEADLINE_S)
    return written.decode("utf-8").replace("\r\n", "\n")


def in_pipe(*command: str, cwd: Path) -> str:
    done = forked.run(command, cwd=cwd, timeout_s=DEADLINE_S)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def log(root: Path) -> str:
    """Terminal output of a daemon that has stopped; its database and files exist."""
    daemon = DaemonProcess(root, model="null")
    text = daemon.config.read_text(encoding="utf-8").replace('log_format = "json"', 'log_format = "text"')
    daemon.config.write_text(text, encoding="utf-8")
    for i, name in enumerate(GOOD):
        write_speech(Path(os.fsdecode(os.fsencode(daemon.inbox) + b"/" + name)), seconds=1.0 + i / 10)
    Path(os.fsdecode(os.fsencode(daemon.inbox) + b"/" + BAD)).write_bytes(b"RIFF no recording" * 9)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run", "--config", str(daemon.config)],
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    written = bytearray()

    def read() -> None:
        while True:
            try:
                written.extend(os.read(ours, 65536))
            except OSError:
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: b"ready: null" in written or process.poll() is not None, "the daemon is ready")
        wait_until(
            lambda: (
                process.poll() is not None
                or daemon.rows("select count(*) n from jobs where state in ('done', 'failed')")[0]["n"]
                == len(GOOD) + 1
            ),
            "every recording has come to its end",
        )
        assert process.poll() is None, bytes(written)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        reader.join()
        os.close(ours)
    return written.decode("utf-8").replace("\r\n", "\n")


def commands(root: Path) -> dict[str, list[str]]:
    """Every command that prints names, by title."""
    config = ["--config", str(root / "dropscribe.toml")]
    recordings = [os.fsdecode(os.fsencode(root / "inbox") + b"/" + name) for name in (*GOOD, BAD)]
    found = {
        "jobs": ["jobs", *config],
        "failed": ["jobs", "--state", "failed", *config],
        "search": ["jobs", "search", "ø", *config],
        "skipped": ["jobs", "skipped", *config],
        "adopt": ["adopt", str(root / "inbox"), "--database", str(root / "new.db"), "--dry-run"],
        "status": ["status", *config],
        "config": ["config", "--watch", str(root / "in\x1b[2J\u202e")],
        "doctor": ["doctor", "--watch", str(root / "in\x1b[2J\u202e"), "--model", "null", "--vad-model", "null"],
        "init": ["init", str(root / "new\x1b[2J\n.toml"), "--force"],
        "transcribe": ["transcribe", *recordings, *config],
        "write": ["transcribe", *recordings, "--write", *config],
        "missing": ["transcribe", "none\x1b[2J\nforged.wav", *config],
        "option": ["transcribe", "--\x1b]0;owned\x07\u202e=1"],
        "command": ["\x1b[2J\u202e\nforged"],
        "value": ["jobs", "--limit", "\x1b[2J\u202e"],
    }  # fmt: skip
    return found | {f"show {n}": ["jobs", "show", str(n), *config] for n in (1, 4, len(GOOD) + 1)}


def test_the_log_on_a_terminal_shows_names_escaped(log: str) -> None:
    assert NEVER.search(log) is None, NEVER.findall(log)
    for shown in (
        r"\x1b]0;owned\x07.wav",
        r"line\nforged: done.wav",
        r"\u202evaw",
        "[red]x[b][link=x]y",
        READABLE,
    ):
        assert shown in log


#: Commands that print otherwise in a pipe than in a terminal: these run in both, and in the long form all.
IN_BOTH = ("jobs", "search", "status", "show 1", "missing")
#: Commands that print by the way of others; only in the long form.
ALIKE = ("failed", "write", "option", "show 4", f"show {len(GOOD) + 1}")


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_no_command_prints_control_sequences(log: str, root: Path, *, every: bool) -> None:
    assert log
    for title, arguments in commands(root).items():
        if title in ALIKE and not every:
            continue
        command = [sys.executable, "-m", "dropscribe", *arguments]
        for way in (in_terminal, in_pipe) if every or title in IN_BOTH else (in_terminal,):
            said = way(*command, cwd=root)
            assert said.strip(), title
            assert "Traceback" not in said, said
            assert NEVER.search(said) is None, (title, way.__name__, NEVER.findall(said))
            if title in ("jobs", "transcribe"):
                assert READABLE in said or title == "transcribe"
            if way is in_pipe:
                assert "\x1b" not in said, title
            if title in ("jobs", "write"):
                assert r"\x1b]0;owned\x07" in said
                assert "[red]x[b][link=x]y" in said


def test_json_has_no_control_sequences_and_decodes_to_the_names(
    log: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log
    monkeypatch.chdir(root)
    whole = {"jobs", "failed", "search", "skipped", "status", "config", "doctor", "show 1"}
    for title, arguments in commands(root).items():
        if title not in whole | {"transcribe"}:
            continue
        if title == "transcribe":
            said = in_pipe(sys.executable, "-m", "dropscribe", *arguments, "--json", cwd=root)
        else:
            _, said = outcome(*arguments, "--json")
        assert NEVER.search(said) is None, (title, NEVER.findall(said))
        documents = (
            [json.loads(line) for line in said.splitlines()] if title == "transcribe" else [json.loads(said)]
        )
        if title == "jobs":
            names = {Path(j["recording"]).name for j in documents[0]["jobs"]}
            wanted = {name.decode("utf-8", "backslashreplace") for name in (*GOOD, BAD)}
            assert names == wanted
    files = [p for p in (root / "inbox").iterdir() if p.suffix == ".json"]
    assert len(files) >= 2 * len(GOOD)
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert NEVER.search(text) is None, path
        assert os.fsencode(path.name).startswith(
            json.loads(text)["recording"]["name"].encode().partition(b"\\x")[0].removesuffix(b".wav")
        )
