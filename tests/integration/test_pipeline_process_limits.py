"""Limits of a process that are too low end a command with one line and status 1; the arena does without memfds."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dropscribe.engine.models.store import SAMPLE
from dropscribe.errors import DropscribeError, StorageError
from dropscribe.pipeline import process_limits
from dropscribe.pipeline.local import arena as arena_module
from dropscribe.pipeline.local.arena import LEAST_SLOTS, SLOT_BYTES, Arena
from dropscribe.pipeline.process_limits import prepare_limits


def limited(root: Path, limits: dict[int, int], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dropscribe` with these resource limits."""

    def lower() -> None:
        for kind, value in limits.items():
            resource.setrlimit(kind, (value, value))

    return subprocess.run(
        [sys.executable, "-m", "dropscribe", *arguments],
        capture_output=True, encoding="utf-8", check=False, cwd=root, timeout=120, preexec_fn=lower,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("dropscribe: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({resource.RLIMIT_NOFILE: 48}, ("may open only 48 files", "ulimit -n", "LimitNOFILE=")),
        ({resource.RLIMIT_FSIZE: 1 << 20}, ("at most 1,048,576 bytes", "ulimit -f", "LimitFSIZE=")),
    ],
)
def test_the_daemon_says_which_limit_is_too_low(
    tmp_path: Path, limits: dict[int, int], words: tuple[str, ...]
) -> None:
    done = limited(tmp_path, limits, "run", "--watch", str(tmp_path), "--database", str(tmp_path / "jobs.db"))
    refused(done, *words)
    assert list(tmp_path.iterdir()) == []


def test_transcribe_says_which_limit_is_too_low(tmp_path: Path) -> None:
    refused(
        limited(tmp_path, {resource.RLIMIT_FSIZE: 1 << 20}, "transcribe", str(SAMPLE), "--device", "cpu"),
        "reserve memory for audio", "at most 1,048,576 bytes", "ulimit -f",
    )  # fmt: skip


def test_a_soft_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = {resource.RLIMIT_NOFILE: (20, 4096), resource.RLIMIT_FSIZE: (100, resource.RLIM_INFINITY)}
    monkeypatch.setattr(resource, "getrlimit", soft.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", soft.__setitem__)
    prepare_limits(operation="start", least_file_bytes=1 << 30)
    assert soft[resource.RLIMIT_NOFILE] == (process_limits.WANTED_FILES, 4096)
    assert soft[resource.RLIMIT_FSIZE] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_without_proc_it_is_said_what_to_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_limits, "_PROC", tmp_path / "proc")
    with pytest.raises(DropscribeError, match="/proc is not mounted") as caught:
        prepare_limits(operation="start")
    assert "mount -t proc" in str(caught.value)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("variable", ["RUNTIME_DIRECTORY", "STATE_DIRECTORY", None])
def test_without_memfds_the_arena_is_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, variable: str | None
) -> None:
    def forbidden(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "memfd_create", forbidden)
    if variable is None:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    else:
        monkeypatch.setenv(variable, f"{tmp_path / 'missing'}:{tmp_path}")
    arena = Arena(100.0)
    try:
        assert os.fstat(arena.fd).st_dev == tmp_path.stat().st_dev
        assert os.fstat(arena.fd).st_nlink == 0
        assert os.fstat(arena.fd).st_blocks * 512 >= arena.size_bytes, "its space is reserved"
        assert list(tmp_path.iterdir()) == []
        with mmap.mmap(arena.fd, 0) as memory:
            memory[-5:] = b"sound"
        assert os.pread(arena.fd, 5, arena.size_bytes - 5) == b"sound"
    finally:
        arena.close()


def test_without_memfds_and_room_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "memfd_create", forbidden)
    monkeypatch.setattr(os, "posix_fallocate", full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(StorageError, match="No space left") as caught:
        Arena(100.0)
    assert "TMPDIR" in str(caught.value)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_arena_keeps_below_a_limit_on_the_size_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena_module, "file_size_limit", lambda: 6 * SLOT_BYTES + 17)
    arena = Arena(10_000.0)
    assert arena.free == 6
    arena.close()
    monkeypatch.setattr(arena_module, "file_size_limit", lambda: LEAST_SLOTS * SLOT_BYTES - 1)
    with pytest.raises(StorageError, match="ulimit -f"):
        Arena(10_000.0)
