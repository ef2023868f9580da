"""Write partial texts beside the transcripts of recordings in progress, and remove them afterwards.

Each file is on record in the ledger from before it is written until it is removed, so that the next start removes the
files of a killed daemon and no others: a file whose content is not on record is foreign and never removed.
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
from dropscribe.engine.models.store import notice_of
from dropscribe.errors import DropscribeError, OutputTakenError, StorageError, UnusableLedgerError
from dropscribe.files import is_there, readers_of
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import PARTIAL, Claim, OwnedOutput
from dropscribe.pipeline.assembly import Heard
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.publishing.directory_cache import DirectoryCache
from dropscribe.service.publishing.group_facts import GroupFacts, Places
from dropscribe.service.publishing.output_plan import (
    directory_state,
    intended_by,
    pending,
    sizes_of,
    standing,
)
from dropscribe.service.publishing.partial_policy import Shown, due
from dropscribe.transcript import naming
from dropscribe.transcript.placing.publish import publish, sweep, withdraw
from dropscribe.transcript.placing.standing import occupied
from dropscribe.transcript.renderers.partial import partial_text
from dropscribe.transcript.timing import TIMING
from dropscribe.transcript.types import EngineFacts

#: Pause after a write, as a multiple of its duration: under a backlog of long recordings partial texts are delayed
#: instead of slowing transcripts down.
REST_TIMES = 9.0


@dataclass(frozen=True, slots=True)
class _Text:
    claim: Claim
    texts: tuple[str, ...]
    heard: Heard


class Partials:
    """Write and remove partial texts in a thread. `wants`, `put`, `drop`: main thread only; `end`: any other thread."""

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
        """`died` is called with the exception that ended the thread.

        `mine`: predicate for the paths of leftover files to remove at the start.
        """
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
        #: Recorded versions of each partial text, at most one of them on disk; all of a job have the same path.
        self._written: dict[int, tuple[OwnedOutput, ...]] = {}
        #: Jobs without further writes, because the name is taken or storage failed.
        self._given_up: set[int] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="partial", daemon=True)

    def start(self) -> None:
        """Start the thread, which first removes the files that a killed daemon left."""
        self._thread.start()

    def wants(self, claim: Claim, heard: Heard, now: float) -> bool:
        """Whether a partial text is due at `now` (monotonic seconds); the caller should then `put` it."""
        profile = self._profile(claim)
        if "txt" not in profile.formats:
            return False
        return due(heard, self._shown.get(claim.job_id), after_s=profile.partial_after_s, now=now)

    def put(self, claim: Claim, texts: tuple[str, ...], heard: Heard, now: float) -> None:
        """Queue a partial text, replacing a queued one of the same job. Never waits for the disk."""
        self._shown[claim.job_id] = Shown(now, heard.segments)
        with self._changed:
            if claim.job_id not in self._given_up:
                self._pending[claim.job_id] = _Text(claim, texts, heard)
                self._changed.notify_all()

    def drop(self, job_id: int) -> None:
        """Queue the removal of the partial text of a job that is no longer in progress. Never waits for the disk."""
        if self._shown.pop(job_id, None) is None:
            return
        with self._changed:
            self._pending.pop(job_id, None)
            self._given_up.discard(job_id)
            self._dropped.add(job_id)
            self._changed.notify_all()

    def end(self, jobs: Collection[int], waiting: Callable[[], None] = lambda: None) -> None:
        """Remove the partial texts of jobs whose transcripts are published, before returning.

        `waiting` is called about once a second while a write of one of them is under way.
        """
        with self._changed:
            for job in jobs:
                self._pending.pop(job, None)
            while not self._changed.wait_for(lambda: self._writing not in jobs, 1.0):
                waiting()
        self._remove_partials(jobs)

    def ask_to_stop(self) -> None:
        """Remove all partial texts and end the thread; only `join` may be called afterwards."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread to end after `ask_to_stop`; False if a file system does not answer in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        activity = self._activities.enter("partial texts")
        try:
            self._remove_leftovers(activity)
            rest_until = 0.0
            while True:
                activity.idle()
                dropped, text = self._next(rest_until)
                if dropped is None:
                    return
                activity.begin()
                if dropped:
                    self._remove_partials(dropped, activity)
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
        """Wait for the next work: (jobs to remove, None) or (empty set, text to write); (None, None) at the end."""
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
        """Write one partial text; a failure stops further ones of this job and nothing else."""
        claim, refused = text.claim, False
        keys = {"job": claim.job_id, "path": str(claim.path)}
        try:
            self._write(text)
        except OutputTakenError as e:
            refused = True
            logs.event(self._log, logs.Action.STORAGE, f"no partial text at {e.path}: {e.reason}", **keys)
        except UnusableLedgerError:
            # The main thread reports it and stops the daemon.
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
        """Record the intent, then write the file.

        Raises OutputTakenError if a foreign file has the name, other DropscribeErrors, OSError.
        """
        claim = text.claim
        if not is_there(claim.path, claim.folder):
            return
        _, root = Places(self._settings()).of(claim, self._profile(claim))
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
            notice=self._notice(claim),
            headings=text.heard.headings,
        )
        digest = hashlib.sha256(data).hexdigest()
        ours = () if there is None else (there,)
        held = (claim.job_id, claim.generation)
        if not self._ledger.intend_partial(
            held, path, digest, [o.sha256 for o in ours], time.time(), size=len(data)
        ):
            return  # The job was cancelled or taken over; the next heartbeat tells the main thread.
        new = OwnedOutput(claim.job_id, claim.path, path, PARTIAL, digest, published=False, size=len(data))
        with self._changed:
            self._written[claim.job_id] = (*ours, new)
        publish([pending(path, data, there, root, readers_of(claim.path, claim.folder))])

    def _path(self, claim: Claim) -> Path:
        """Path of the partial text: same directory and name form as the transcript."""
        profile, settings = self._profile(claim), self._settings()
        formats = [*profile.formats, TIMING] if profile.timing_log else profile.formats
        with GroupFacts([claim], settings, self._ledger) as facts:
            state = directory_state(
                claim,
                formats,
                facts.place(claim, profile),
                facts=facts,
                index=DirectoryCache(),
                version=claim.named_version,
            )
        plan = naming.plan_names(claim.path, formats, state)
        return plan.directory / naming.name_of(claim.path, PARTIAL, plan.form)

    def _remove_partials(self, jobs: Collection[int], activity: Activity | None = None) -> None:
        """Remove the partial texts of these jobs. `activity`: that of the writing thread, None on any other thread."""
        with self._changed:
            gone = [self._written.pop(job) for job in jobs if job in self._written]
        for files in gone:
            self._remove(files, activity)

    def _remove(self, files: Collection[OwnedOutput], activity: Activity | None) -> None:
        """Remove own versions of a file, then their records. A file that cannot be removed stays on record."""
        one = next(iter(files))
        marked = (
            contextlib.nullcontext()
            if activity is None
            else activity.storage("remove a partial text", one.path.parent, one.path)
        )
        try:
            with marked:
                withdrawn = withdraw(one.path, sizes_of(files), self._root(one))
            if withdrawn:
                self._ledger.forget_partials(list(files))
        except UnusableLedgerError:
            # The main thread stops the daemon; the record stays, and the next start finds the file gone.
            return
        except DropscribeError as e:
            logs.problem(
                self._log, logs.Action.STORAGE, f"{e}; it is tried again at the next start",
                job=one.job_id, path=str(one.path),
            )  # fmt: skip

    def _remove_leftovers(self, activity: Activity) -> None:
        activity.begin()
        left: dict[tuple[Path, Path], list[OwnedOutput]] = {}
        try:
            for one in filter(
                lambda o: o.path.is_absolute() and self._mine(o.path), self._ledger.partials(left=True)
            ):
                left.setdefault((one.recording, one.path), []).append(one)
            places = {
                one.path.parent: self._root(one)
                for one in self._ledger.unpublished()
                if one.path.is_absolute() and self._mine(one.path)
            }
        except StorageError as e:
            logs.problem(self._log, logs.Action.STORAGE, f"old partial texts stay until the next start: {e}")
            return
        except UnusableLedgerError:
            return
        for directory, root in places.items():
            # Before the records are removed, which identify what is left. A temporary file that cannot be removed now is
            # swept when a transcript is next written there.
            with contextlib.suppress(DropscribeError), activity.storage("clean up", directory, directory):
                sweep(directory, root, intended_by(self._ledger))
        for files in left.values():
            self._remove(files, activity)

    def _root(self, one: OwnedOutput) -> Path:
        """Directory below which no symbolic link is followed to a recorded file; `/` if no setting covers it."""
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

    def _notice(self, claim: Claim) -> str | None:
        """Notice of a demonstration model, if the profile of the recording names one."""
        engine, recogniser = self._engine(), self._settings().model_set(self._profile(claim)).asr
        return engine.notice if recogniser == engine.model else notice_of(recogniser)

    def _profile(self, claim: Claim) -> Profile:
        profiles = self._settings().profiles
        return profiles.get(claim.profile) or profiles["default"]


def _is_partial_of(output: OwnedOutput, claim: Claim) -> bool:
    return output.format == PARTIAL and output.recording == claim.path
