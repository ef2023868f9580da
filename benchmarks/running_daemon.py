"""Run the real daemon as a process on a new folder, for benchmarks."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import soundfile
import surroundings
from numpy.typing import NDArray

from dropscribe.engine.models.store import SAMPLE

RATE = 16_000
#: Polling interval for database and folder, seconds: the resolution of measurements.
LOOK_S = 0.02
#: Behind the name of a process: its main thread alone.
MAIN_THREAD = " main thread"


def options_of(parser: argparse.ArgumentParser) -> None:
    """Add the options of every benchmark that runs the daemon."""
    parser.add_argument("--model", default="paraformer-mini", help="name or directory")
    parser.add_argument("--vad-model", default="vad-mini", help="name or directory")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--station-processes",
        choices=["auto", "always", "several"],
        default="auto",
        help="which devices get one",
    )
    parser.add_argument("--cluster", metavar="ADDRESS", help="let the nodes of this Ray cluster do the work")
    parser.add_argument(
        "--root", type=Path, help="work in a new folder below this one (default: the temporary one)"
    )


class Daemon:
    """`dropscribe run` on `root/inbox`. A context manager: running and warm inside; `ready_s`: seconds to READY."""

    def __init__(
        self,
        options: argparse.Namespace,
        *,
        quiet_s: float = 0.5,
        log_level: str = "warning",
        through: Sequence[str] = (),
        profile_lines: str = "",
        further: str = "",
        program: Sequence[str] = ("-m", "dropscribe"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`through`: command that execs the daemon, such as setpriv with its options. `program`: what Python runs.

        `profile_lines`: settings of the default profile; `further`: sections of the configuration.
        """
        self._through = through
        self._program = program
        self._environment = {**os.environ, **(environment or {})}
        self._folder = tempfile.TemporaryDirectory(prefix="dropscribe-bench-", dir=options.root)
        self.root = Path(self._folder.name)
        self.inbox, self.database = self.root / "inbox", self.root / "jobs.db"
        self.inbox.mkdir()
        self.quiet_s = quiet_s
        self.ready_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self.root / "dropscribe.toml"
        folder = f'[[folder]]\npath = "{self.inbox}"\nquiet_s = {quiet_s}\nquiet_unprobed_s = {quiet_s}\n'
        engine = f'[engine]\nmodel = "{options.model}"\nvad_model = "{options.vad_model}"\ndevice = "{options.device}"\n'
        engine += f'station_processes = "{getattr(options, "station_processes", "auto")}"\n'
        service = f'[service]\nlog_format = "json"\nlog_level = "{log_level}"\n'
        profile = f"[profiles.default]\n{profile_lines}" if profile_lines else ""
        cluster = f'[cluster]\naddress = "{options.cluster}"\n' if getattr(options, "cluster", None) else ""
        text = f'database = "{self.database}"\n{folder}{engine}{service}{cluster}{profile}{further}'
        self._config.write_text(text, encoding="utf-8")

    def start(self) -> float:
        """Start it and wait until it is warm; returns seconds from the start of the process to READY."""
        began = time.monotonic()
        with (self.root / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._through, sys.executable, *self._program, "run", "--config", str(self._config)],
                stderr=log,
                stdout=log,
                env=self._environment,
                cwd=surroundings.ROOT,
            )
        self.wait(lambda: self.status().get("state") == "ready")
        self.ready_s = time.monotonic() - began
        return self.ready_s

    def stop(self) -> None:
        """Send SIGTERM and wait for the end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def status(self) -> dict[str, Any]:
        """Content of its status file; empty if there is none yet, or it is from another process."""
        path = self.root / "jobs.db.status.json"
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return said if said.get("pid") == self.pid else {}

    def facts(self) -> dict[str, Any]:
        """Model, device, precision and versions, as reported by the engine."""
        found: dict[str, Any] = self.status().get("engine") or {}
        return found

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true; ends the benchmark with the log if the daemon exits."""
        while not condition():
            self.check()
            time.sleep(LOOK_S)

    def check(self) -> None:
        """End the benchmark with the log if the daemon has exited."""
        if self._process is None or self._process.poll() is not None:
            raise SystemExit((self.root / "daemon.log").read_text(encoding="utf-8", errors="replace"))

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by process name: of all threads, and of the main thread alone."""
        spent: dict[str, float] = {}
        children = {p.pid for p in psutil.Process(self.pid).children(recursive=True)}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, fields = status.read_text().split("(", 1)[1].rsplit(")", 1)
                main = status.parent / "task" / status.parent.name / "stat"
                threads = {"": fields.split(), MAIN_THREAD: main.read_text().rsplit(")", 1)[1].split()}
            except (OSError, IndexError):
                continue  # it has just ended
            if int(status.parent.name) == self.pid:
                name = "daemon"
            elif int(status.parent.name) not in children:
                continue
            for which, numbers in threads.items():
                ticks = int(numbers[11]) + int(numbers[12])
                spent[name + which] = round(
                    spent.get(name + which, 0.0) + ticks / os.sysconf("SC_CLK_TCK"), 2
                )
        return spent

    @contextmanager
    def cores_each_second(self) -> Iterator[dict[str, list[float]]]:
        """Cores that each kind of process used, second by second, while the block runs; complete at its end."""
        found: dict[str, list[float]] = {}
        over = threading.Event()

        def look() -> None:
            before, then, seconds = self.cpu_s(), time.monotonic(), 0
            while not over.wait(1.0):
                spent, now = self.cpu_s(), time.monotonic()
                for name, total in spent.items():
                    if not name.endswith(MAIN_THREAD):
                        used = (total - before.get(name, 0.0)) / (now - then)
                        found.setdefault(name, [0.0] * seconds).append(round(used, 2))
                before, then, seconds = spent, now, seconds + 1
                for used_by in found.values():
                    used_by.extend([0.0] * (seconds - len(used_by)))

        looking = threading.Thread(target=look, name="cores")
        looking.start()
        try:
            yield found
        finally:
            over.set()
            looking.join()

    def engine_pid(self) -> int:
        """Process ID of the first engine."""
        children = psutil.Process(self.pid).children(recursive=True)
        return next(child.pid for child in children if child.name() == "ds-engine")

    def tenths(self, recordings: int) -> tuple[float, float]:
        """When one tenth and nine tenths of the recordings were done, monotonic seconds; one more went before them."""
        ends = [
            at
            for (at,) in self.rows("select finished_at from jobs where state = 'done' order by finished_at")
        ]
        ahead = time.time() - time.monotonic()
        return ends[1 + recordings // 10 - 1] - ahead, ends[1 + recordings - recordings // 10 - 1] - ahead

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as db:
            return db.execute(sql, values).fetchall()

    def ended(self) -> dict[str, int]:
        """Number of jobs by state."""
        return dict(self.rows("select state, count(*) from jobs group by state"))

    def wait_for(self, jobs: int) -> None:
        """Wait until that many jobs are done; ends the benchmark if one fails."""

        def look() -> bool:
            counts = self.ended()
            if counts.get("failed"):
                reasons = self.rows("select distinct reason from jobs where state = 'failed' limit 3")
                raise SystemExit(f"{counts['failed']} jobs failed: {reasons}")
            return counts.get("done", 0) >= jobs

        self.wait(look)


def sample() -> NDArray[np.int16]:
    """The bundled recording, 16 kHz mono."""
    with wave.open(str(SAMPLE), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def write_pcm(path: Path, parts: Iterable[NDArray[np.int16]]) -> None:
    """Write a 16 kHz mono WAV file from parts, which need not be in memory together."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for part in parts:
            file.writeframes(part.tobytes())


def write_recording(path: Path, seconds: float, seed: int) -> None:
    """Write speech and pauses, different for each seed, as FLAC where `path` is named so, else as WAV."""
    parts = _spoken(seconds, seed)
    if path.suffix == ".flac":
        soundfile.write(path, np.concatenate(list(parts)), RATE)
    else:
        write_pcm(path, parts)


def write_recordings(paths: Sequence[Path], seconds: float) -> None:
    """Write them as `write_recording` does, the seed of each being its place, on all cores: FLAC takes its time."""
    with ProcessPoolExecutor() as processes:
        list(processes.map(write_recording, paths, itertools.repeat(seconds), range(len(paths))))


def _spoken(seconds: float, seed: int) -> Iterator[NDArray[np.int16]]:
    rng = np.random.default_rng(seed)
    said = sample()
    left = round(seconds * RATE)
    while left > 0:
        pause = rng.integers(-8, 8, size=round(rng.uniform(0.3, 2.0) * RATE), dtype=np.int16)
        block = np.concatenate([pause, said])[:left]
        yield block
        left -= len(block)
