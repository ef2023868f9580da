"""The thread of one watched folder: a share that hangs holds up nobody else's."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from dropscribe.config import Folder
from dropscribe.intake.folder import FolderWatch, Surroundings
from dropscribe.intake.types import FolderHealth, FolderState

#: Longest the thread sleeps without looking at its clock, seconds.
LONGEST_SLEEP_S = 60.0
#: A file system that has not answered for so long is said to hang, seconds.
HUNG_S = 60.0


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened at `path`."""

    path: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Hand `path` over again if it is there."""

    path: str


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Go on under these settings of the same folder."""

    folder: Folder


@dataclass(frozen=True, slots=True)
class Rescan:
    """Look through the folder now."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the thread."""


Message = Hint | Forget | Reconfigure | Rescan | Stop


class FolderRunner:
    """Runs a `FolderWatch` in a thread of its own. Its methods may be called from any thread."""

    def __init__(self, folder: Folder, around: Surroundings) -> None:
        self.folder = folder.path
        self._around = around
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._watch = FolderWatch(folder, lambda path: self._messages.put(Hint(path)), around)
        self._unsettled = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"intake-{folder.path.name}", daemon=True)
        #: What ended the thread, if anything did.
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def send(self, message: Message) -> None:
        """Have it done in the folder's thread, after what was sent before."""
        if isinstance(message, Stop):
            self._stopping = True
        self._messages.put(message)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end. Not for ever: a share that hangs keeps it in the kernel."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def running(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def alive(self) -> bool:
        """False once a thread it needs has died."""
        return self._stopping or (self._thread.is_alive() and self._watch.post.alive())

    def unsettled(self) -> int:
        """How many files are waited for."""
        return self._unsettled

    def hangs(self, now: float) -> bool:
        """Whether the folder's file system has not answered for long, at `now` (monotonic seconds)."""
        asked = self._watch.asked_at
        return asked is not None and now - asked >= HUNG_S

    def silent_thread(self, now: float, seconds: float) -> int | None:
        """The thread (native id) if it has worked, or waited for the file system, for `seconds` without an answer."""
        asked = self._watch.asked_at
        return self._thread.native_id if asked is not None and now - asked >= seconds else None

    def health(self, now: float) -> FolderHealth | None:
        """How the folder is at `now` (monotonic seconds); None before the first look at it has ended."""
        said, asked = self._watch.post.health, self._watch.asked_at
        if asked is None or now - asked < HUNG_S:
            return said
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._around.wall() - (now - asked)))
        return FolderHealth(
            self.folder,
            "poll" if said is None else said.backend,
            f"its file system has not answered since {since}",
            "see to the disk or the network share; it goes on by itself when there is an answer",
            self._around.wall(),
            FolderState.AWAY,
        )

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as e:
            self.failure = e
            raise
        finally:
            self._watch.post.close()

    def _turn(self) -> bool:
        """Wait for something to do and do it; False once told to stop."""
        hints: dict[str, None] = {}
        watch = self._watch
        for message in self._gather():
            match message:
                case Hint(path):
                    hints[path] = None
                case Forget(path):
                    watch.forget(path, self._around.clock())
                case Reconfigure(folder):
                    watch.reconfigure(folder)
                case Rescan():
                    watch.scan_now()
                case Stop():
                    return False
        if self._stopping:
            return False
        watch.turn(self._around.clock(), hints)
        self._unsettled = watch.unsettled()
        return True

    def _gather(self) -> list[Message]:
        """Every message there is, having slept until the first or until something is due."""
        due = self._watch.next_turn() - self._around.clock()
        try:
            messages = [self._messages.get(timeout=min(max(due, 0.0), LONGEST_SLEEP_S))]
        except queue.Empty:
            return []
        # No more than there were: a sender that never pauses must not keep us from the work.
        messages += [self._messages.get() for _ in range(self._messages.qsize())]
        return messages
