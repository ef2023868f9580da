"""Run a program for a message, without a shell: the event as JSON on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from dropscribe.escapes import one_line
from dropscribe.notify.schedule import Answer

#: Most bytes of what a program writes that are told when it fails.
_TOLD_BYTES = 500
#: Variables that a program gets. Nothing else: the environment of the service may hold secrets.
_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


def run(command: Sequence[str], uid: str, body: bytes, timeout_s: float) -> Answer:
    """One try. The program and all that it has started in its process group are killed after `timeout_s` seconds."""
    environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    environment["DROPSCRIBE_MESSAGE_ID"] = uid
    # A file, because a pipe that a grandchild holds would keep us waiting.
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=said, cwd="/", env=environment,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as e:
            reason = getattr(e, "strerror", None) or str(e)
            return Answer(accepted=False, reason=f"{command[0]} cannot be run: {one_line(reason)}")
        try:
            child.communicate(body, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return Answer(
                accepted=False, reason=f"{command[0]} did not end within {timeout_s:g} s and was killed"
            )
        finally:
            # Also what it left behind in its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.returncode == 0:
            return Answer(accepted=True)
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - _TOLD_BYTES))
        last = one_line(said.read().decode("utf-8", "replace").strip())
    ended = (
        f"was killed by signal {-child.returncode}"
        if child.returncode < 0
        else f"ended with {child.returncode}"
    )
    return Answer(accepted=False, reason=f"{command[0]} {ended}" + (f": {last}" if last else ""))
