"""Every command where it may not read, may not write, or cannot print: one line, a documented exit code, no traceback.

The files belong to another user. Tests that run as root drop root's right to read and write them anyway; others take
the right from their own files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropscribe.cli import app
from dropscribe.engine.models.store import SAMPLE
from tests.support.command_line import Done, Main
from tests.support.histories import History
from tests.support.powerless import AS_ROOT, COMMAND, powerless

SOMEBODY = 65534
#: Without a model, so that nothing is loaded.
NO_MODEL = ("--model", "null", "--vad-model", "null")


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process, without rights on the files of others. An exception it raises fails the test."""
    main = Main(monkeypatch, capsys)
    return lambda *arguments, cwd, home=None: main(*arguments, cwd=cwd, home=home, within=powerless())


def process(*arguments: str | Path, cwd: Path, redirection: str = "", home: Path | None = None) -> Done:
    """Run a command as a process without rights on the files of others; `redirection` as in a shell."""
    command = [*COMMAND, sys.executable, "-m", "dropscribe", *(os.fspath(a) for a in arguments)]
    if redirection:
        command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command]
    env = os.environ | {"HOME": str(home or cwd)}
    # The directory is entered before the rights are dropped.
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, cwd=cwd, env=env, timeout=120
    )
    return Done(done.returncode, done.stdout, done.stderr)


def told(done: Done, status: int) -> str:
    """The one line of an error."""
    lines = done.stderr.splitlines()
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, lines
    assert lines[0].startswith("dropscribe: ")
    assert lines[0].endswith(")"), "there is a remedy"
    return lines[0]


def close(*paths: Path) -> None:
    """Take all rights on files or directories away from this user."""
    for path in paths:
        path.chmod(0)
        if AS_ROOT:
            os.chown(path, SOMEBODY, SOMEBODY)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with a closed folder, and a database, configuration and recording in it and beside it."""
    closed = tmp_path / "closed"
    closed.mkdir()
    with History(tmp_path / "jobs.db") as history:
        history.done("talk.wav", "hello there")
    (tmp_path / "talk.wav").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "ds.toml").write_text(f'database = "{closed}/jobs.db"\n', encoding="utf-8")
    for name in ("jobs.db", "ds.toml", "talk.wav"):
        (closed / name).write_bytes((tmp_path / name).read_bytes())
    close(tmp_path / "jobs.db", tmp_path / "ds.toml", tmp_path / "talk.wav", closed)
    yield tmp_path
    closed.chmod(0o755)


#: command → arguments that name a file of another user, exit code, words of the error. `{}` is the folder of the file.
DENIED = {
    "run": [("--watch {}/closed", 2, "watch"), ("--config {}/ds.toml", 2, "ds.toml")],
    "init": [("{}/closed/new.toml", 1, "write configuration"), ("{}/closed/new.toml --force", 1, "new.toml")],
    "config": [("--config {}/ds.toml", 2, "read configuration")],
    "adopt": [("{} --database {}/closed/jobs.db", 1, "lock database"), ("{} --config {}/ds.toml", 2, "ds.toml")],
    "transcribe": [("{}/talk.wav", 2, "talk.wav"), (f"{SAMPLE} --config {{}}/ds.toml", 2, "ds.toml")],
    "bench": [("{}/talk.wav", 2, "talk.wav"), (f"{SAMPLE} --out {{}}/closed/b --model null --vad-model null", 1, "closed/b")],
    "eval": [("{}/closed", 1, "closed")],
    "diff": [("{}/closed/a.json {}/closed/b.json", 1, "closed")],
    "jobs": [("--database {}/jobs.db", 3, "open database"), ("--config {}/ds.toml", 2, "ds.toml")],
    "jobs show": [("1 --database {}/jobs.db", 3, "open database")],
    "jobs search": [("hello --database {}/jobs.db", 3, "open database")],
    "jobs skipped": [("--database {}/jobs.db", 3, "open database")],
    "speakers list": [("--database {}/jobs.db", 3, "open database")],
    "speakers enrol": [("Ann {}/talk.wav --database {}/own.db", 2, "talk.wav")],
    "status": [("--database {}/jobs.db", 3, "open database"), ("--config {}/ds.toml", 2, "ds.toml")],
    "backup": [(". --database {}/jobs.db", 3, "open database")],
    "restore": [("{}/jobs.db --database new.db", 3, "open database")],
    "stats": [("--database {}/jobs.db", 3, "open database")],
    "export": [("--database {}/jobs.db", 3, "open database")],
    "pause": [("--database {}/jobs.db", 3, "jobs.db")],
    "resume": [("--database {}/jobs.db", 3, "jobs.db")],
    "drain": [("--config {}/ds.toml", 2, "ds.toml")],
    "notify list": [("--database {}/jobs.db", 3, "open database")],
    "purge": [("1 --database {}/jobs.db", 3, "open database")],
    "vacuum": [("--database {}/jobs.db", 3, "open database")],
    "copy-database": [("{}/jobs.db new.db", 3, "open database")],
    "web": [("--config {}/ds.toml", 2, "ds.toml")],
    "install-service": [("--prefix {}/closed", 1, "install")],
    "uninstall-service": [("--prefix {}/closed", 1, "install")],
    "doctor": [("--repair --config {}/ds.toml", 2, "ds.toml")],
    "models list": [("--config {}/ds.toml", 2, "ds.toml")],
    "models fetch": [("--config {}/ds.toml", 2, "ds.toml")],
    "models verify": [("--config {}/ds.toml", 2, "ds.toml")],
}  # fmt: skip
CASES = [
    pytest.param(name, *case, folder, id=f"{name} {case[0]}{folder}".replace(str(SAMPLE), "SAMPLE"))
    for name, cases in DENIED.items()
    for case in cases
    for folder in ("", "/closed")
    if not (folder and "closed" in case[0])
]


def test_every_command_is_covered() -> None:
    assert set(app.COMMANDS) <= {name.split(maxsplit=1)[0] for name in DENIED}


@pytest.mark.parametrize(("name", "arguments", "status", "words", "folder"), CASES)
def test_a_file_of_another_user_is_told_in_one_line(
    place: Path, call: Call, name: str, arguments: str, status: int, words: str, folder: str
) -> None:
    at = f"{place}{folder}"
    line = told(call(*name.split(), *arguments.replace("{}", at).split(), cwd=place), status)
    assert words in line
    assert str(place) in line


def test_an_error_of_the_system_is_a_document_with_json(place: Path, call: Call) -> None:
    done = call("jobs", "--json", "--database", place / "closed" / "jobs.db", cwd=place)
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["exit_code"], error["reason"]) == ("ledger", 3, "Permission denied")
    assert error["remedy"]


def test_the_doctor_reports_what_it_may_not_read_and_goes_on(place: Path) -> None:
    """Also in a current directory that cannot be read, where the engine and its children start."""
    closed = place / "closed"
    done = process(
        "doctor",
        "--json",
        "--database",
        closed / "jobs.db",
        "--watch",
        closed,
        *NO_MODEL,
        cwd=closed if AS_ROOT else place,
        home=place,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    for name in ("database", f"folder:{closed}"):
        assert checks[name]["status"] == "fail"
        assert checks[name]["remedy"]
    assert checks["model"]["status"] == "warning", "it goes on to the end"


def test_a_database_that_may_only_be_read_can_be_queried(tmp_path: Path, call: Call) -> None:
    """SQLite would have to create the log beside it."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with History(shelf / "jobs.db") as history:
        history.done("talk.wav", "hello there")
    for path, mode in ((shelf / "jobs.db", 0o444), (shelf, 0o555)):
        if AS_ROOT:
            os.chown(path, SOMEBODY, SOMEBODY)
        path.chmod(mode)
    try:
        done = call("jobs", "--json", "--database", shelf / "jobs.db", cwd=tmp_path)
    finally:
        shelf.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert [job["state"] for job in json.loads(done.stdout)["jobs"]] == ["done"]


@pytest.mark.parametrize("variable", ["HOME", "MODELSCOPE_CACHE"])
def test_a_cache_that_cannot_be_read_is_told_with_what_to_set(place: Path, variable: str) -> None:
    done = subprocess.run(
        [*COMMAND, sys.executable, "-m", "dropscribe", "models", "path", "fsmn-vad"],
        capture_output=True, encoding="utf-8", check=False, cwd=place, timeout=60,
        env=os.environ | {"HOME": str(place), variable: str(place / "closed")},
    )  # fmt: skip
    line = told(Done(done.returncode, done.stdout, done.stderr), 5)
    assert "the cache of models cannot be read" in line
    assert f"set {variable} to a directory" in line


# the current directory


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("--help", 0),
        ("--version", 0),
        ("config", 0),
        ("jobs", 3),
        ("jobs skipped", 3),
        ("status", 3),
        ("init", 1),
        ("adopt .", 1),
        ("run --watch .", 2),
        ("transcribe talk.wav", 2),
        ("bench talk.wav", 2),
        ("doctor --repair", 3),
        ("models path vad-mini", 0),
        ("models path fsmn-vad", 1),
    ],
)
def test_a_current_directory_that_cannot_be_read(
    place: Path, call: Call, arguments: str, status: int
) -> None:
    if not AS_ROOT:
        pytest.skip("needs a directory of another user")
    done = call(*arguments.split(), cwd=place / "closed", home=place)
    if status:
        told(done, status)
    else:
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["jobs", "init", "status --json"])
def test_a_current_directory_that_was_removed(tmp_path: Path, arguments: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = 'rmdir "$PWD" && exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", sys.executable, "-P", "-m", "dropscribe", *arguments.split()],
        capture_output=True, encoding="utf-8", check=False, cwd=gone, timeout=60,
    )  # fmt: skip
    line = told(Done(done.returncode, done.stdout, done.stderr), 2)
    assert "use the current directory: it was removed" in line
    assert bool(done.stdout) == ("--json" in arguments)


# output

#: Each succeeds and prints more than one line.
PRINTING = {
    "help": ["--help"],
    "config": ["config"],
    "jobs": ["jobs", "--database", "{}/mine.db"],
    "jobs show": ["jobs", "show", "1", "--database", "{}/mine.db"],
    "jobs search": ["jobs", "search", "hello", "--database", "{}/mine.db"],
    "status": ["status", "--database", "{}/mine.db"],
    "init": ["init", "{}/new.toml"],
}


@pytest.mark.parametrize("name", PRINTING)
def test_output_on_a_full_disk_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    done = process(*_printing(tmp_path, name), cwd=tmp_path, redirection="> /dev/full")
    assert "write to standard output: No space left on device" in told(done, 1)


@pytest.mark.parametrize("redirection", [">&- 2>&-", "> /dev/null 2> /dev/full", "2>&1 | true"])
@pytest.mark.parametrize("name", ["help", "jobs"])
def test_closed_and_broken_outputs_cause_no_traceback(tmp_path: Path, name: str, redirection: str) -> None:
    done = process(*_printing(tmp_path, name), cwd=tmp_path, redirection=redirection)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0


def _printing(tmp_path: Path, name: str) -> list[str]:
    if "--database" in PRINTING[name]:
        with History(tmp_path / "mine.db") as history:
            history.done("talk.wav", "hello there")
    return [a.replace("{}", str(tmp_path)) for a in PRINTING[name]]
