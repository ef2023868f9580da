"""Run the real daemon in its own process, on temporary folders."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import psutil

import dropscribe
from tests.support import forked
from tests.support.command_line import outcome

BUNDLED = Path(dropscribe.__file__).parent / "engine" / "bundled"
SAMPLE = BUNDLED / "sample" / "sample.wav"

#: Time limit after which a test fails, seconds; never a measured quantity.
DEADLINE_S = 240.0


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = DEADLINE_S) -> None:
    """Wait until `condition` holds; fail with `what` after `limit_s`. The longer it takes, the more rarely it is looked at."""
    deadline = time.monotonic() + limit_s
    pause_s = 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.25)


class DaemonProcess:
    """`dropscribe run` on `root/inbox` with the database `root/jobs.db`; a context manager."""

    def __init__(
        self,
        root: Path,
        *,
        model: str = "paraformer-mini",
        quiet_s: float = 0.5,
        extra: str = "",
        folder: str = "",
        engine: str = "",
        service: str = "",
        rescan_s: float = 1.0,
        server: str = "",
        command: Sequence[str] = (sys.executable, "-m", "dropscribe"),
    ) -> None:
        """`server`: URL of a PostgreSQL database to use instead; its state is in `root` then.

        `extra`, `folder`, `engine`, `service`: further lines of the configuration, its only folder, [engine], [service].

        `command`: replaces `dropscribe`; it must exec the daemon without a fork.
        """
        self.root = root
        self.model = model
        self.server = server
        self.command = tuple(command)
        self.inbox = root / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.database = root / "jobs.db"
        self.config = root / "dropscribe.toml"
        self.config.write_text(
            f"""
database = "{server or self.database}"
{extra}
[[folder]]
path = "{self.inbox}"
quiet_s = {quiet_s}
quiet_unprobed_s = {quiet_s}
incomplete_s = {quiet_s * 2}
{folder}

[engine]
model = "{model}"
vad_model = "{"null" if model == "null" else "vad-mini"}"
device = "cpu"
{engine}

[service]
rescan_s = {rescan_s}
log_format = "json"
{service}
""",
            encoding="utf-8",
        )
        self.lines: list[dict[str, Any]] = []
        self.process: subprocess.Popen[str] | forked.Forked | None = None

    def start(self) -> Self:
        """Start the daemon without waiting."""
        self.lines = []
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        if self.server:
            environment["STATE_DIRECTORY"] = str(self.root)
        self.process = forked.popen(
            [*self.command, "run", "--config", self.config],
            environment=environment,
            stderr=subprocess.PIPE,
            models=self.model != "null",
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        return self

    def _read(self, process: subprocess.Popen[str] | forked.Forked) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"action": "unparsed", "event": line})

    def wait_ready(self) -> Self:
        """Wait for the log line after the warm-up of the engine."""
        wait_until(lambda: self.actions("ready") != [] or not self.running, "the daemon is ready")
        assert self.running, self.lines[-5:]
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def actions(self, action: str) -> list[dict[str, Any]]:
        """Log lines of one action."""
        return [line for line in list(self.lines) if line.get("action") == action]

    def kill(self) -> None:
        """Send SIGKILL: no clean-up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """Send SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(DEADLINE_S)
        self._close()
        return status

    def status(self) -> str:
        """Output of `dropscribe status`, run in this process: tests ask again and again."""
        return outcome("status", "--config", self.config)[1]

    def child(self, name: str) -> int:
        """Process id of a child by its process name ("ds-engine", "ds-decoder")."""
        found = self.children(name)
        assert found, f"no child is called {name}"
        return found[0]

    def children(self, name: str) -> list[int]:
        """Process ids of all children of that name, and of theirs."""
        assert self.process is not None
        return [p.pid for p in psutil.Process(self.process.pid).children(recursive=True) if p.name() == name]

    @contextmanager
    def engine_held(self) -> Iterator[None]:
        """Stop the engine process (SIGSTOP) within the block, so that no job is finished."""
        engine = self.child("ds-engine")
        os.kill(engine, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(engine, signal.SIGCONT)

    def _close(self) -> None:
        """Read the last log lines and close the pipe, after the process has ended."""
        self._reader.join()
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self.running:
            assert self.process is not None
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process is not None:
            self._close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows of an SQL query on the database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()

    def state(self, recording: Path) -> str | None:
        """State of the latest job of a recording; None if it has none."""
        found = self.rows(
            "select j.state from jobs j join recordings r on r.id = j.recording_id"
            " where r.path_raw = ? order by j.id desc limit 1",
            os.fsencode(recording),
        )
        return str(found[0]["state"]) if found else None

    def wait_for(self, recording: Path, state: str = "done") -> None:
        """Wait until the latest job of a recording is in `state`."""
        wait_until(
            lambda: self.state(recording) == state or not self.running,
            f"{recording.name} is {state}; last log: {self.lines[-3:]}",
        )
        assert self.state(recording) == state, f"the daemon has ended: {self.lines[-3:]}"


def write_speech(path: Path, *, seconds: float | None = None, offset: float = 0.0) -> Path:
    """Write the bundled sample, or a part or a repetition of it, as a WAV file at `path`."""
    with closing(wave.open(str(SAMPLE), "rb")) as source:
        rate = source.getframerate()
        frames = source.readframes(source.getnframes())
    data = frames[int(offset * rate) * 2 :]
    if seconds is not None:
        need = int(seconds * rate) * 2
        data = (data * (need // len(data) + 1))[:need]
    with closing(wave.open(str(path), "wb")) as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes(data)
    return path


def pieces(data: bytes, count: int) -> Iterator[bytes]:
    """Split `data` into `count` nearly equal parts."""
    step = len(data) // count + 1
    for i in range(0, len(data), step):
        yield data[i : i + step]
