"""Run commands on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path


def on_terminal(*arguments: str | Path, columns: int = 80, cwd: Path | None = None) -> list[str]:
    """Run `python -m dropscribe …` with its streams on a terminal; returns the lines as written, escape sequences included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        command = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, close_fds=True,
        )  # fmt: skip
        os.close(theirs)
        written = bytearray()
        try:
            while chunk := os.read(ours, 1 << 16):
                written += chunk
        except OSError:
            # The last process with the terminal has closed it.
            pass
        command.wait(120)
    finally:
        os.close(ours)
    return written.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
