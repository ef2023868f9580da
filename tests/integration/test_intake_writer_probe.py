"""The writer probe on the real kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dropscribe.intake.settling import Writer
from dropscribe.intake.writer_probe import probe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 100)
    return path


def test_a_file_without_writer_is_free(file: Path) -> None:
    assert probe(file, file.parent) is Writer.FREE
    with file.open("rb"):
        assert probe(file, file.parent) is Writer.FREE, "readers do not matter"


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_open_for_writing_is_busy(file: Path, mode: str) -> None:
    with file.open(mode):
        assert probe(file, file.parent) is Writer.BUSY
    assert probe(file, file.parent) is Writer.FREE


def test_a_writer_in_another_process_is_detected(file: Path) -> None:
    code = "import sys; f = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        assert probe(file, file.parent) is Writer.BUSY
        writer.communicate(b"")
    assert probe(file, file.parent) is Writer.FREE


def test_failed_probes_are_unknown(file: Path, tmp_path: Path) -> None:
    assert probe(tmp_path / "none.wav", tmp_path) is Writer.UNKNOWN
    assert probe(tmp_path, tmp_path) is Writer.UNKNOWN
    os.mkfifo(tmp_path / "pipe.wav")
    assert probe(tmp_path / "pipe.wav", tmp_path) is Writer.UNKNOWN


def test_it_does_not_touch_the_file(file: Path) -> None:
    before = file.stat()
    probe(file, file.parent)
    after = file.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns, before.st_size) == (
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_size,
    )


def test_a_writer_that_breaks_the_lease_kills_no_process(file: Path) -> None:
    """The kernel signals the holder of a lease when a file is opened for writing; by default that ends the process.

    A separate process probes constantly while writers open and close the file, and must survive.
    """
    code = (
        "import sys\nfrom pathlib import Path\nfrom dropscribe.intake.writer_probe import probe\nprint('ready', flush=True)\n"
        "for _ in range(6_000): probe(Path(sys.argv[1]), Path(sys.argv[1]).parent)\nprint('alive', flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True
    ) as prober:
        assert prober.stdout is not None
        assert prober.stdout.readline() == "ready\n"
        done = threading.Event()

        def write() -> None:
            while not done.is_set():
                with file.open("ab"):
                    pass

        writers = [threading.Thread(target=write) for _ in range(2)]
        for thread in writers:
            thread.start()
        answer = prober.stdout.readline()
        done.set()
        for thread in writers:
            thread.join()
        prober.wait()
    assert answer == "alive\n", f"ended by signal {-prober.returncode}"
    assert signal.getsignal(signal.SIGIO) == signal.SIG_DFL, "no handler of the process is touched"
