"""Run each watched folder in its own thread, so that a share that hangs does not block other folders."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from dropscribe.config import Folder
from dropscribe.intake.folder import FolderWatch, Surroundings
from dropscribe.intake.types import FolderHealth, FolderState, UnsettledFile

#: Longest sleep of the thread, seconds.
LONGEST_SLEEP_S = 60.0
#: Most messages handled before files that are due.
MOST_MESSAGES = 2000
#: Most files in the list of those that are not complete.
LISTED = 20
#: Time without a response after which a file system is reported as hanging, seconds.
HUNG_S = 60.0


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened at `path`."""

    path: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Pass `path` to the sink again if it exists."""

    path: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The content of an arrival could not be read, for this reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Use these settings of the same folder from now on."""

    folder: Folder


@dataclass(frozen=True, slots=True)
class Stop:
    """End the thread."""


Message = Hint | Forget | Unreadable | Reconfigure | Stop


class FolderRunner:
    """Run a `FolderWatch` in its own thread. All methods may be called from any thread."""

    def __init__(self, folder: Folder, around: Surroundings) -> None:
        self.folder = folder.path
        self._around = around
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._watch = FolderWatch(folder, lambda path: self._messages.put(Hint(path)), around)
        self._unsettled = 0
        self._unsettled_files: tuple[UnsettledFile, ...] = ()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"intake-{folder.path.name}", daemon=True)
        #: The exception that ended the thread, if any.
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queue a message for the folder's thread."""
        if isinstance(message, Stop):
            self._stopping = True
        self._messages.put(message)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, with a limit: a share that hangs blocks it in the kernel."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def running(self) -> bool:
        """True until the thread has ended."""
        return self._thread.is_alive()

    def alive(self) -> bool:
        """False once a required thread has died."""
        return self._stopping or (self._thread.is_alive() and self._watch.post.alive())

    def unsettled(self) -> int:
        """Number of files that are settling."""
        return self._unsettled

    def unsettled_files(self) -> tuple[UnsettledFile, ...]:
        """At most `LISTED` of the files that are settling, the first seen first."""
        return self._unsettled_files

    def hangs(self, now: float) -> bool:
        """True if the folder's file system has not responded for `HUNG_S` at `now` (monotonic seconds)."""
        asked = self._watch.asked_at
        return asked is not None and now - asked >= HUNG_S

    def silent_thread(self, now: float, seconds: float) -> int | None:
        """Native id of the thread if it has been blocked in one file system call for `seconds` or longer."""
        asked = self._watch.asked_at
        return self._thread.native_id if asked is not None and now - asked >= seconds else None

    def health(self, now: float) -> FolderHealth | None:
        """Health of the folder at `now` (monotonic seconds); None before its first check has ended."""
        said, asked = self._watch.post.health, self._watch.asked_at
        if asked is None or now - asked < HUNG_S:
            return said
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._around.wall() - (now - asked)))
        return FolderHealth(
            self.folder,
            "poll" if said is None else said.backend,
            f"its file system has not answered since {since}",
            "check the disk or the network share; watching resumes when it responds",
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
        """Wait for messages or the next due time and handle them; False after `Stop`."""
        hints: dict[str, None] = {}
        watch = self._watch
        for message in self._receive():
            match message:
                case Hint(path):
                    hints[path] = None
                case Forget(path):
                    watch.forget(path, self._around.clock())
                case Unreadable(path, reason):
                    watch.unreadable(path, reason, self._around.clock())
                case Reconfigure(folder):
                    watch.reconfigure(folder)
                case Stop():
                    return False
        if self._stopping:
            return False
        watch.turn(self._around.clock(), hints)
        self._unsettled = watch.unsettled()
        self._unsettled_files = watch.unsettled_files(LISTED, self._around.clock()) if self._unsettled else ()
        return True

    def _receive(self) -> list[Message]:
        """All queued messages, after a wait for the first one or for the next due time."""
        due = self._watch.next_turn() - self._around.clock()
        try:
            messages = [self._messages.get(timeout=min(max(due, 0.0), LONGEST_SLEEP_S))]
        except queue.Empty:
            return []
        # A part of those queued by now: neither continuous senders nor a burst may delay files that are due.
        count = min(self._messages.qsize(), MOST_MESSAGES)
        messages += [self._messages.get() for _ in range(count)]
        return messages
