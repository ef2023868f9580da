"""A file system that hangs on request: a FUSE server in its own process, without libfuse.

It passes all requests through to a directory. `hang()` stops the server (SIGSTOP): system calls on it then block in
the kernel, as for a network share without a server; `answer()` resumes it. Needs root and /dev/fuse; skipped
elsewhere.
"""

# ruff: noqa: PTH101, PTH102, PTH104, PTH112, PTH118, PTH208, T201 - a passthrough names the system calls it stands for

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2
_IN = struct.Struct("<IIQQIIII")  # fuse_in_header
_OUT = struct.Struct("<IiQ")  # fuse_out_header
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
(LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT) = (
    1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 25, 26,
)  # fmt: skip
OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, MKDIR, RENAME2, BATCH_FORGET, INTERRUPT = (
    27, 28, 29, 30, 35, 9, 45, 42, 36,
)  # fmt: skip


class HangingDisk:
    """`path` mirrors the directory `behind`; a context manager."""

    def __init__(self, path: Path, behind: Path) -> None:
        self.path = path
        self._behind = behind
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("mounting a file system that hangs needs root")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("this kernel has no /dev/fuse")
        self.path.mkdir(exist_ok=True)
        self._behind.mkdir(exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hanging_disk", str(self.path), str(self._behind)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        assert self._server.stdout is not None
        said = self._server.stdout.readline().strip()
        if said != "mounted":
            self._server.wait()
            self._server.stdout.close()
            pytest.skip(f"no FUSE file system can be mounted here: {said}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._server.stdout is not None
        # Its death closes the connection: blocked system calls return an error.
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(self.path), _MNT_DETACH)

    def hang(self) -> None:
        """Stop answering requests."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)
        status = Path(f"/proc/{self._server.pid}/stat")
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)

    def answer(self) -> None:
        """Answer pending and later requests."""
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)


class _Server:
    """Pass requests through. One thread; inodes are numbered by path."""

    def __init__(self, fd: int, behind: str) -> None:
        self._fd = fd
        self._paths: dict[int, str] = {1: behind}
        self._nodes: dict[str, int] = {behind: 1}
        self._files: dict[int, Any] = {}
        self._next = 2

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, 1 << 18)
            except OSError as e:
                if e.errno == errno.ENODEV:
                    return
                if e.errno in {errno.EINTR, errno.EAGAIN, errno.ENOENT}:
                    continue
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            body = request[_IN.size :]
            if opcode in {FORGET, BATCH_FORGET, INTERRUPT}:
                continue
            try:
                data, code = self._handle(opcode, node, body), 0
            except OSError as e:
                data, code = b"", -(e.errno or errno.EIO)
            with contextlib.suppress(FileNotFoundError):  # the calling process was killed
                os.write(self._fd, _OUT.pack(_OUT.size + len(data), code, unique) + data)

    def _handle(self, opcode: int, node: int, body: bytes) -> bytes:
        path = self._paths.get(node, "")
        match opcode:
            case 26:  # INIT
                major, minor, readahead, _ = struct.unpack_from("<IIII", body)
                return struct.pack(
                    "<IIIIHHIIHH8I", major, min(minor, 31), readahead, 0, 12, 9, 1 << 16, 1, 0, 0, *[0] * 8
                )
            case 1:  # LOOKUP
                return self._entry(self._join(path, body))
            case 3:  # GETATTR
                return self._attr_out(path)
            case 4:  # SETATTR
                valid, _, _, size = struct.unpack_from("<IIQQ", body)
                if valid & 1:
                    (mode,) = struct.unpack_from("<I", body, 68)
                    os.chmod(path, mode & 0o7777)
                if valid & 8:
                    os.truncate(path, size)
                if valid & 0x30:
                    atime, mtime = struct.unpack_from("<QQ", body, 32)
                    atime_ns, mtime_ns = struct.unpack_from("<II", body, 56)
                    os.utime(path, ns=(atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns))
                return self._attr_out(path)
            case 9:  # MKDIR
                made = self._join(path, body[8:])
                os.mkdir(made, 0o777)
                return self._entry(made)
            case 10 | 11:  # UNLINK, RMDIR
                gone = self._join(path, body)
                (os.unlink if opcode == UNLINK else os.rmdir)(gone)
                self._forget(gone)
                return b""
            case 12 | 45:  # RENAME, RENAME2
                (target,) = struct.unpack_from("<Q", body)
                flags = struct.unpack_from("<I", body, 8)[0] if opcode == RENAME2 else 0
                old, new = body[16 if opcode == RENAME2 else 8 :].split(b"\0")[:2]
                source, to = self._join(path, old), self._join(self._paths[target], new)
                if flags & 1 and os.path.lexists(to):
                    raise OSError(errno.EEXIST, "exists")
                os.rename(source, to)
                number = self._nodes.pop(source, None)
                self._forget(to)
                if number is not None:
                    self._paths[number], self._nodes[to] = to, number
                return b""
            case 13:  # LINK
                (old_node,) = struct.unpack_from("<Q", body)
                made = self._join(path, body[8:])
                os.link(self._paths[old_node], made)
                return self._entry(made)
            case 14:  # OPEN
                (flags,) = struct.unpack_from("<I", body)
                return self._opened(os.open(path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)))
            case 35:  # CREATE
                flags, mode = struct.unpack_from("<II", body)
                made = self._join(path, body[16:])
                file = os.open(made, flags | os.O_CREAT, mode & 0o7777)
                return self._entry(made) + self._opened(file)
            case 15:  # READ
                handle, offset, size = struct.unpack_from("<QQI", body)
                return os.pread(self._files[handle], size, offset)
            case 16:  # WRITE
                handle, offset, size = struct.unpack_from("<QQI", body)
                return struct.pack("<II", os.pwrite(self._files[handle], body[40 : 40 + size], offset), 0)
            case 17:  # STATFS
                s = os.statvfs(path)
                return struct.pack(
                    "<QQQQQIIII6I",
                    s.f_blocks,
                    s.f_bfree,
                    s.f_bavail,
                    s.f_files,
                    s.f_ffree,
                    s.f_bsize,
                    255,
                    s.f_frsize,
                    0,
                    *[0] * 6,
                )
            case 18 | 29:  # RELEASE, RELEASEDIR
                (handle,) = struct.unpack_from("<Q", body)
                file = self._files.pop(handle)
                if isinstance(file, int):
                    os.close(file)
                return b""
            case 20:  # FSYNC
                (handle,) = struct.unpack_from("<Q", body)
                os.fsync(self._files[handle])
                return b""
            case 25 | 30:  # FLUSH, FSYNCDIR
                return b""
            case 27:  # OPENDIR
                return self._opened([".", "..", *os.listdir(path)])
            case 28:  # READDIR
                handle, offset, size = struct.unpack_from("<QQI", body)
                return self._entries(path, self._files[handle], offset, size)
        raise OSError(errno.ENOSYS, "not supported")

    def _entries(self, path: str, names: list[str], offset: int, size: int) -> bytes:
        out = b""
        for index, name in enumerate(names[offset:], offset + 1):
            raw = os.fsencode(name)
            kind = 4 if name in {".", ".."} or os.path.isdir(os.path.join(path, name)) else 8
            one = struct.pack("<QQII", 1000 + index, index, len(raw), kind) + raw
            one += bytes(-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return out

    def _opened(self, file: Any) -> bytes:
        handle, self._next = self._next, self._next + 1
        self._files[handle] = file
        return struct.pack("<QII", handle, 0, 0)

    def _entry(self, path: str) -> bytes:
        attributes = self._attributes(path)
        number = self._nodes.get(path)
        if number is None:
            number, self._next = self._next, self._next + 1
            self._nodes[path], self._paths[number] = number, path
        # No caching: each lookup must reach the server.
        return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + attributes

    def _attr_out(self, path: str) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attributes(path)

    @staticmethod
    def _attributes(path: str) -> bytes:
        s = os.lstat(path)
        times = [divmod(t, 10**9) for t in (s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns)]
        return _ATTR.pack(
            s.st_ino, s.st_size, s.st_blocks, *(t[0] for t in times), *(t[1] for t in times),
            s.st_mode, s.st_nlink, s.st_uid, s.st_gid, 0, 4096, 0,
        )  # fmt: skip

    @staticmethod
    def _join(path: str, name: bytes) -> str:
        return os.path.join(path, os.fsdecode(name.split(b"\0", 1)[0]))

    def _forget(self, path: str) -> None:
        self._nodes.pop(path, None)


def _main(path: str, behind: str) -> None:
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode={stat.S_IFDIR:o},user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.mount(b"hanging", os.fsencode(path), b"fuse.hanging", _MS_NOSUID | _MS_NODEV, options.encode())
        != 0
    ):
        print(os.strerror(ctypes.get_errno()), flush=True)
        return
    print("mounted", flush=True)
    os.umask(0)
    _Server(fd, behind).serve()


if __name__ == "__main__":
    _main(*sys.argv[1:])
