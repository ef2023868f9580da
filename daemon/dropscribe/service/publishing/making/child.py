"""A publishing process: makes files of jobs, so that the daemon's interpreter does not.

A GPU delivers a hundred recordings a second and more. Their contents never reach the daemon.
"""

from __future__ import annotations

import pickle
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing.connection import Connection

from dropscribe import children
from dropscribe.errors import DropscribeError
from dropscribe.service.publishing.making.file_maker import WRITERS, FileMaker

#: As `ps` and `top` show it.
NAME = "ds-publish"
#: Least interval of reports that work goes on, seconds.
PROGRESS_S = 1.0
#: The message that says so, and that it has started. All others are pickled.
PROGRESS = b""


def main(pipe: Connection) -> None:
    """Say that it has started, then answer ("render" or "write", the argument of that method of `FileMaker`) until the pipe is closed.

    It ends at once then: nothing may be written for a daemon that has ended, because the next one may be at work already.
    """
    children.set_up(NAME)
    children.exit_with_parent(pipe.fileno())
    said = _Said(pipe)
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="write") as writers:
        maker = FileMaker(writers, lambda _: nullcontext(said.progress), said.progress)
        try:
            said.message(PROGRESS)
            while True:
                step, argument = pickle.loads(pipe.recv_bytes())
                said.begin()
                answers: Sequence[object]
                if step == "render":
                    maker.clear()
                    answers = maker.render(argument)
                else:
                    answers = maker.write(argument)
                said.message(pickle.dumps([_explained(one) for one in answers]))
        except (EOFError, OSError):
            # The daemon has ended.
            return


class _Said:
    """Messages to the daemon. Thread-safe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._at = 0.0

    def begin(self) -> None:
        self._at = time.monotonic()

    def progress(self) -> None:
        """Report that work goes on, unless that was done just now."""
        with self._lock:
            now = time.monotonic()
            if now - self._at >= PROGRESS_S:
                self._at = now
                self._pipe.send_bytes(PROGRESS)

    def message(self, data: bytes) -> None:
        with self._lock:
            self._pipe.send_bytes(data)


def _explained(answer: object) -> object:
    """An answer with the traceback of an error that nobody expects, which does not travel with it."""
    if isinstance(answer, Exception) and not isinstance(answer, (DropscribeError, OSError)):
        answer.add_note("".join(traceback.format_exception(answer)))
    return answer
