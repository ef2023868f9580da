"""Watches folders: one thread that follows hints, scans, settles and hands over."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Folder
from daemon.intake.folder import FolderWatch, Surroundings
from daemon.intake.scan import Stamp
from daemon.intake.types import FolderHealth, Notice, Signature, Wholeness

#: Longest the thread sleeps without looking at its clock, seconds.
LONGEST_SLEEP_S = 60.0
#: Longest `stop` waits for the thread, seconds.
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class _Hint:
    folder: str
    path: str


@dataclass(frozen=True, slots=True)
class _Forget:
    path: str


@dataclass(frozen=True, slots=True)
class _Reload:
    folders: tuple[Folder, ...]


@dataclass(frozen=True, slots=True)
class _Rescan:
    pass


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Message = _Hint | _Forget | _Reload | _Rescan | _Stop


class Watcher:
    """Hands every complete file in `folders` to `sink` as an `Arrival`, once per signature.

    What is on disk at the start counts as what arrives later. Events are hints; a scan of every folder each
    `rescan_s` seconds (polled folders: `Folder.poll_s`) is what guarantees. A file whose signature is the one in
    `known`, asked once per folder, is not handed over until it changes. After `Gone` a file of that name is new.

    `known`, `wholeness` and `sink` are called from the watcher's own thread and must not wait for long; what
    they raise ends the thread (see `alive`). `sink` is the one responsible from then on: after `Arrival` the
    watcher is done with the file unless it changes or `forget` is called. All methods may be called from any
    thread.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        *,
        known: Callable[[Path], Mapping[Path, Signature]],
        wholeness: Callable[[Path], Wholeness],
        sink: Callable[[Notice], None],
        rescan_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._known = known
        self._sink = sink
        self._around = Surroundings(wholeness, self._say, clock, wall, rescan_s)
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._messages.put(_Reload(tuple(folders)))
        #: By path. Replaced as a whole by the watcher's thread, so that others may read it.
        self._watches: dict[str, FolderWatch] = {}
        self._unsettled = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        #: What ended the thread, if anything did.
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin; the first scan follows at once, in the watcher's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; no notice is given afterwards. May be called twice, or without `start`."""
        self._stopped = True
        self._messages.put(_Stop())
        if self._thread.ident is not None:
            # Not for ever: a share that hangs keeps the thread in the kernel.
            self._thread.join(STOP_S)

    def rescan_now(self) -> None:
        """Scan every folder at once."""
        self._messages.put(_Rescan())

    def reload(self, folders: Sequence[Folder]) -> None:
        """Watch these folders from now on, each by the backend that can be had now; what is known of the files of
        those that stay is kept.
        """
        self._messages.put(_Reload(tuple(folders)))

    def forget(self, path: Path) -> None:
        """Hand `path` over again if it is there, whatever is known of it."""
        self._messages.put(_Forget(str(path)))

    def health(self) -> list[FolderHealth]:
        """What was last said of each folder."""
        return [w.post.health for w in self._watches.values() if w.post.health is not None]

    def unsettled(self) -> int:
        """How many files are waited for."""
        return self._unsettled

    def alive(self) -> bool:
        """False once a thread it needs has died: the service must stop then, rather than run deaf."""
        if self._stopped:
            return True
        return self._thread.is_alive() and all(w.post.alive() for w in self._watches.values())

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as e:
            self.failure = e
            raise
        finally:
            for watch in self._watches.values():
                watch.post.close()

    def _turn(self) -> bool:
        """Wait for something to do and do it; False once told to stop."""
        hints: dict[str, dict[str, None]] = {}
        for message in self._gather():
            match message:
                case _Hint(folder, path):
                    hints.setdefault(folder, {})[path] = None
                case _Forget(path):
                    self._forget(path)
                case _Reload(folders):
                    self._reload(folders)
                case _Rescan():
                    for watch in self._watches.values():
                        watch.scan_now()
                case _Stop():
                    return False
        for path, watch in self._watches.items():
            if self._stopped:
                return False
            watch.turn(self._around.clock(), hints.get(path, ()))
        self._unsettled = sum(watch.unsettled() for watch in self._watches.values())
        return True

    def _gather(self) -> list[_Message]:
        """Every message there is, having slept until the first or until something is due."""
        now = self._around.clock()
        due = min((w.next_turn() for w in self._watches.values()), default=now + LONGEST_SLEEP_S)
        try:
            messages = [self._messages.get(timeout=min(max(due - now, 0.0), LONGEST_SLEEP_S))]
        except queue.Empty:
            return []
        # No more than there were: a sender that never pauses must not keep us from the work.
        messages += [self._messages.get() for _ in range(self._messages.qsize())]
        return messages

    def _say(self, notice: Notice) -> None:
        if not self._stopped:
            self._sink(notice)

    def _forget(self, path: str) -> None:
        for root, watch in self._watches.items():
            if path.startswith(root.rstrip("/") + "/"):
                watch.forget(path, self._around.clock())

    def _reload(self, folders: tuple[Folder, ...]) -> None:
        before = self._watches
        after: dict[str, FolderWatch] = {}
        for folder in folders:
            path = str(folder.path)
            watch = before.get(path)
            if watch is None:
                watch = FolderWatch(folder, self._stamps(folder.path), self._hinter(path), self._around)
            else:
                watch.reconfigure(folder)
            after[path] = watch
        self._watches = after
        for path, watch in before.items():
            if path not in after:
                watch.post.close()

    def _stamps(self, folder: Path) -> dict[str, Stamp]:
        return {str(p): (s.size, s.mtime_ns, s.inode) for p, s in self._known(folder).items()}

    def _hinter(self, folder: str) -> Callable[[str], None]:
        return lambda path: self._messages.put(_Hint(folder, path))
