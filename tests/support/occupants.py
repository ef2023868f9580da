"""Objects at a path that dropscribe uses: context managers that replace the path by a FIFO, a link, a device, …"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

_LEASE = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)"
_HOLD = "; import signal; signal.signal(signal.SIGIO, signal.SIG_IGN); print('held', flush=True); sys.stdin.read()"


def _vacated(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextmanager
def fifo(path: Path) -> Iterator[None]:
    _vacated(path)
    os.mkfifo(path)
    yield


@contextmanager
def fifo_with_a_writer(path: Path) -> Iterator[None]:
    _vacated(path)
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)
    os.write(end, b"x" * 1000)
    yield
    os.close(end)


def linked_to(target: str) -> Callable[[Path], AbstractContextManager[None]]:
    @contextmanager
    def link(path: Path) -> Iterator[None]:
        _vacated(path)
        path.symlink_to(path.parent / target)
        yield

    return link


@contextmanager
def hard_link(path: Path) -> Iterator[None]:
    _vacated(path)
    os.link(path.with_name("b.wav"), path)
    yield


@contextmanager
def sparse(path: Path) -> Iterator[None]:
    _vacated(path)
    with path.open("wb") as file:
        file.truncate(4 << 40)
    yield


@contextmanager
def directory(path: Path) -> Iterator[None]:
    _vacated(path)
    path.mkdir()
    (path / "notes.txt").write_bytes(b"mine")
    yield


@contextmanager
def socket_end(path: Path) -> Iterator[None]:
    _vacated(path)
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as end:
        # The whole path may be too long for a socket address.
        os.chdir(path.parent)
        end.bind(path.name)
        os.chdir(before)
        yield


@contextmanager
def device(path: Path) -> Iterator[None]:
    _vacated(path)
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError as e:
        pytest.skip(f"no devices can be made here: {e}")
    yield


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    _vacated(path)
    path.write_bytes(b"mine")
    path.chmod(0)
    yield


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Keep the existing file, but make it immutable (chattr +i)."""
    path.touch()
    done = subprocess.run(["chattr", "+i", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file can be protected here: {done.stderr.strip()}")
    yield
    subprocess.run(["chattr", "-i", path], check=True)


@contextmanager
def leased(path: Path) -> Iterator[None]:
    """Keep the existing file, but let opening it block on another process."""
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", _LEASE + _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            pytest.skip("no leases can be had here")
        yield
        holder.communicate(b"")


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Keep the existing file, but let it grow constantly."""
    done = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not done.wait(0.0005):
                file.write(b"more")

    path.touch()
    with path.open("ab") as file:
        file.write(b"more")
    thread = threading.Thread(target=grow)
    thread.start()
    yield
    done.set()
    thread.join()


OCCUPANTS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "pipe": fifo,
    "pipe with a writer": fifo_with_a_writer,
    "link to an endless device": linked_to("/dev/zero"),
    "link to a terminal": linked_to("/dev/tty"),
    "link to the recording": linked_to("b.wav"),
    "link to itself": linked_to("b.txt"),
    "link to nothing": linked_to("nowhere"),
    "hard link to the recording": hard_link,
    "sparse file of 4 TB": sparse,
    "directory": directory,
    "socket": socket_end,
    "device": device,
    "unreadable file": unreadable,
    "protected file": immutable,
    "leased file": leased,
    "growing file": growing,
}
