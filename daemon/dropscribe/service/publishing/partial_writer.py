"""Partial texts on disk: written beside a recording while it is worked on, and gone when it is not.

The ledger knows of every file before it is written and until it is gone, so that what a killed daemon left is found and
removed, and only that: a file whose bytes are not what we wrote is somebody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Profile, Settings
from dropscribe.errors import DropscribeError, OutputTakenError, StorageError, UnusableLedgerError
from dropscribe.files import is_there
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import PARTIAL, Claim, OwnedOutput
from dropscribe.pipeline.assembly import Heard
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.publishing.directory_cache import DirectoryCache
from dropscribe.service.publishing.output_plan import (
    TIMING,
    directory_state,
    pending,
    root_of,
    sizes_of,
    standing,
)
from dropscribe.service.publishing.partial_policy import Shown, due
from dropscribe.transcript import naming
from dropscribe.transcript.partial import partial_text
from dropscribe.transcript.publish import publish, sweep, withdraw
from dropscribe.transcript.standing import occupied
from dropscribe.transcript.types import EngineFacts

#: After a write the thread rests for so many times what it took: under a backlog of long recordings partial texts
#: come late rather than slow the transcripts down.
REST_TIMES = 9.0


@dataclass(frozen=True, slots=True)
class _Text:
    claim: Claim
    texts: tuple[str, ...]
    heard: Heard


class Partials:
    """A thread that writes. `wants`, `put`, `drop` are the main thread's; `end` may be called by any other."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        engine: Callable[[], EngineFacts],
        died: Callable[[BaseException], None],
        *,
        activities: Activities,
        mine: Callable[[Path], bool] = lambda _: True,
    ) -> None:
        """`mine`: which of the files that a killed daemon left are to be removed at the start."""
        self._activities = activities
        self._mine = mine
        self._ledger = ledger
        self._settings = settings
        self._engine = engine
        self._died = died
        self._log = logs.get("service")
        #: Owned by the main thread.
        self._shown: dict[int, Shown] = {}
        #: Guards the fields below, all by job.
        self._changed = threading.Condition()
        self._pending: dict[int, _Text] = {}
        self._dropped: set[int] = set()
        self._writing: int | None = None
        #: What is on record, of which one may be on disk; (recording, path) is the same in each of a job.
        self._written: dict[int, tuple[OwnedOutput, ...]] = {}
        #: No further try for these: somebody else has the name, or the disk refuses.
        self._given_up: set[int] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="partial", daemon=True)

    def start(self) -> None:
        """Begin with removing what a killed daemon left."""
        self._thread.start()

    def wants(self, claim: Claim, heard: Heard, now: float) -> bool:
        """Whether `put` would be of use now (monotonic seconds)."""
        profile = self._profile(claim)
        if "txt" not in profile.formats:
            return False
        return due(heard, self._shown.get(claim.job_id), after_s=profile.partial_after_s, now=now)

    def put(self, claim: Claim, texts: tuple[str, ...], heard: Heard, now: float) -> None:
        """Have it written soon; what waits for the same job is replaced. Never waits for the disk."""
        self._shown[claim.job_id] = Shown(now, heard.segments)
        with self._changed:
            if claim.job_id not in self._given_up:
                self._pending[claim.job_id] = _Text(claim, texts, heard)
                self._changed.notify_all()

    def drop(self, job_id: int) -> None:
        """The job is not worked on any more: its partial text goes soon. Never waits for the disk."""
        if self._shown.pop(job_id, None) is None:
            return
        with self._changed:
            self._pending.pop(job_id, None)
            self._given_up.discard(job_id)
            self._dropped.add(job_id)
            self._changed.notify_all()

    def end(self, jobs: Collection[int], waiting: Callable[[], None] = lambda: None) -> None:
        """The transcripts of these are on disk: when this returns, their partial texts are not. `waiting`: called meanwhile."""
        with self._changed:
            for job in jobs:
                self._pending.pop(job, None)
            while not self._changed.wait_for(lambda: self._writing not in jobs, 1.0):
                waiting()
        self._take_away(jobs)

    def ask_to_stop(self) -> None:
        """Remove what is there and stop; nobody may call anything else but `join` any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end that was asked for; False when a file system does not answer in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        activity = self._activities.enter("partial texts")
        try:
            self._clear(activity)
            rest_until = 0.0
            while True:
                activity.idle()
                dropped, text = self._next(rest_until)
                if dropped is None:
                    return
                activity.begin()
                if dropped:
                    self._take_away(dropped, activity)
                elif text is not None:
                    began = time.monotonic()
                    with activity.storage("write a partial text", text.claim.folder, text.claim.path):
                        self._attempt(text)
                    ended = time.monotonic()
                    rest_until = ended + REST_TIMES * (ended - began)
        except BaseException as e:
            self._died(e)
            raise
        finally:
            self._activities.leave(activity)

    def _next(self, rest_until: float) -> tuple[set[int] | None, _Text | None]:
        """What to remove or else to write, waiting for it; (None, None) when told to stop and nothing is left."""
        with self._changed:
            while True:
                if self._stopping:
                    self._pending.clear()
                    self._dropped |= set(self._written)
                if self._dropped:
                    dropped, self._dropped = self._dropped, set()
                    return dropped, None
                if self._stopping:
                    return None, None
                rest = rest_until - time.monotonic()
                if self._pending and rest <= 0:
                    self._writing = next(iter(self._pending))
                    return set(), self._pending.pop(self._writing)
                self._changed.wait(rest if self._pending else None)

    def _attempt(self, text: _Text) -> None:
        """Write one; what goes wrong ends the partial text of this job and touches nothing else."""
        claim, refused = text.claim, False
        keys = {"job": claim.job_id, "path": str(claim.path)}
        try:
            self._write(text)
        except OutputTakenError as e:
            refused = True
            logs.event(self._log, logs.Action.STORAGE, f"no partial text at {e.path}: {e.reason}", **keys)
        except UnusableLedgerError:
            # The main thread stops the daemon because of it, and says so.
            refused = True
        except (DropscribeError, OSError) as e:
            refused = True
            logs.problem(self._log, logs.Action.STORAGE, f"no partial text: {e}", **keys)
        finally:
            with self._changed:
                if refused:
                    self._given_up.add(claim.job_id)
                self._writing = None
                self._changed.notify_all()

    def _write(self, text: _Text) -> None:
        """Put the text on record, then on disk.

        Raises OutputTakenError when a file of somebody else stands there, other DropscribeErrors, OSError.
        """
        claim = text.claim
        if not is_there(claim.path, claim.folder):
            return
        root = root_of(claim, self._profile(claim), self._settings())
        before = self._written.get(claim.job_id, ())
        path = before[-1].path if before else self._path(claim)
        if not before:
            before = tuple(o for o in self._ledger.owned([path]).get(path, ()) if _is_partial_of(o, claim))
        there = standing(path, root, before)
        if there is None and occupied(path, root):
            raise OutputTakenError(
                "a file of somebody else has that name",
                operation="write a partial text",
                path=path,
                remedy="nothing needs to be done: the transcript itself has a name of its own",
            )
        data = partial_text(
            text.texts,
            until_ms=text.heard.until_ms,
            declared_ms=text.heard.declared_ms,
            notice=self._engine().notice,
        )
        digest = hashlib.sha256(data).hexdigest()
        ours = () if there is None else (there,)
        held = (claim.job_id, claim.generation)
        if not self._ledger.intend_partial(
            held, path, digest, [o.sha256 for o in ours], time.time(), size=len(data)
        ):
            return  # Cancelled or taken over: the main thread hears of it by itself.
        new = OwnedOutput(claim.job_id, claim.path, path, PARTIAL, digest, published=False, size=len(data))
        with self._changed:
            self._written[claim.job_id] = (*ours, new)
        publish([pending(path, data, there, root)])

    def _path(self, claim: Claim) -> Path:
        """Beside where the transcript will be, named as it will be."""
        profile, settings = self._profile(claim), self._settings()
        formats = [*profile.formats, TIMING] if profile.timing_log else profile.formats
        state = directory_state(
            claim, formats, profile, settings=settings, ledger=self._ledger, index=DirectoryCache()
        )
        plan = naming.plan_names(claim.path, formats, state)
        return plan.paths["txt"].with_name(naming.name_of(claim.path, PARTIAL, plan.form))

    def _take_away(self, jobs: Collection[int], activity: Activity | None = None) -> None:
        """Remove the partial texts of these; `activity`: of this room's own thread."""
        with self._changed:
            gone = [self._written.pop(job) for job in jobs if job in self._written]
        for files in gone:
            self._remove(files, activity)

    def _remove(self, files: Collection[OwnedOutput], activity: Activity | None) -> None:
        """Remove what is ours, then forget it. What cannot be removed stays on record for the next start."""
        one = next(iter(files))
        asking = (
            contextlib.nullcontext()
            if activity is None
            else activity.storage("remove a partial text", one.path.parent, one.path)
        )
        try:
            with asking:
                withdrawn = withdraw(one.path, sizes_of(files), self._root(one))
            if withdrawn:
                self._ledger.forget_partials(list(files))
        except UnusableLedgerError:
            # As above; on record it stays until the next start, which finds it gone.
            return
        except DropscribeError as e:
            logs.problem(
                self._log, logs.Action.STORAGE, f"{e}; it is tried again at the next start",
                job=one.job_id, path=str(one.path),
            )  # fmt: skip

    def _clear(self, activity: Activity) -> None:
        activity.begin()
        left: dict[tuple[Path, Path], list[OwnedOutput]] = {}
        try:
            for one in filter(lambda o: self._mine(o.path), self._ledger.partials()):
                left.setdefault((one.recording, one.path), []).append(one)
        except StorageError as e:
            logs.problem(self._log, logs.Action.STORAGE, f"old partial texts stay until the next start: {e}")
            return
        except UnusableLedgerError:
            return
        for files in left.values():
            self._remove(files, activity)
        for directory, root in {
            one.path.parent: self._root(one) for files in left.values() for one in files
        }.items():
            # A temporary that cannot be removed now is looked for again when a transcript is written there.
            with contextlib.suppress(DropscribeError), activity.storage("clean up", directory, directory):
                sweep(directory, root)

    def _root(self, one: OwnedOutput) -> Path:
        """Where the way to a file on record begins; of a folder that is watched no more nothing is taken on trust."""
        settings = self._settings()
        for folder in settings.folders:
            if one.recording.is_relative_to(folder.path):
                output_dir = settings.profile(folder.profile).output_dir
                directory = one.path.parent
                root = naming.output_root(
                    directory,
                    folder=folder.path,
                    output_dir=output_dir,
                    watched=[f.path for f in settings.folders],
                )
                return root if directory.is_relative_to(root) else Path(directory.anchor)
        return Path(one.path.anchor)

    def _profile(self, claim: Claim) -> Profile:
        profiles = self._settings().profiles
        return profiles.get(claim.profile) or profiles["default"]


def _is_partial_of(output: OwnedOutput, claim: Claim) -> bool:
    return output.format == PARTIAL and output.recording == claim.path
