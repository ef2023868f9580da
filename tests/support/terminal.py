"""Run commands on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

from tests.support import forked


def shown_on(terminal: int) -> bytes:
    """All that processes write to a terminal until the last of them closes it. `terminal`: our end of it."""
    written = bytearray()
    try:
        while chunk := os.read(terminal, 1 << 16):
            written += chunk
    except OSError:  # EIO: the other end is closed
        pass
    return bytes(written)


def on_terminal(*arguments: str | Path, columns: int = 80, cwd: Path | None = None) -> list[str]:
    """Run `python -m dropscribe …` with its streams on a terminal; returns the lines as written, escape sequences included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        command = forked.popen(
            [sys.executable, "-m", "dropscribe", *arguments],
            environment=os.environ, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
        )  # fmt: skip
        os.close(theirs)
        written = shown_on(ours)
        command.wait(120)
    finally:
        os.close(ours)
    return written.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
