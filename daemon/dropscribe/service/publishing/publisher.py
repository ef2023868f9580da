"""Publish finished jobs: render, name, record the intents, write the files, record the jobs as done.

A lane (a thread of a `FolderPool`) takes the queued jobs of one output location (a folder or an `output_dir`) through
each step as a batch, so that a hundred small recordings share three commits. It plans the names and keeps the ledger; what
takes an interpreter long, rendering and writing, is done by a `Team` of publishing processes, or by the lane itself where
there are none. There are at least two lanes, so that one works while another waits for the disk. A location whose file
system hangs does not block lanes for the others. Names of a location are planned by one lane at a time.

Crash safety rests on the order: the intent is committed before the file is written, and the file is on disk before the
job is recorded as done. So it does not matter which process is killed in between.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.errors import (
    DropscribeError,
    OutputNameError,
    OutputTakenError,
    RecordingChangedError,
    StorageError,
    UnusableLedgerError,
    UnwritableError,
)
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim, Finish
from dropscribe.output_places import require_writable
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.sizing import lane_count
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.monitoring.tally import Tally
from dropscribe.service.publishing.directory_cache import DirectoryCache
from dropscribe.service.publishing.done_log import log_done
from dropscribe.service.publishing.failure_notes import FailureNotes
from dropscribe.service.publishing.group_facts import GroupFacts, Places
from dropscribe.service.publishing.groups import Groups
from dropscribe.service.publishing.making.file_maker import (
    WRITERS,
    FileMaker,
    Made,
    MadeFile,
    Watch,
    Written,
    with_stage,
)
from dropscribe.service.publishing.making.makers import Makers
from dropscribe.service.publishing.making.team import Team
from dropscribe.service.publishing.output_plan import (
    Ordered,
    Orders,
    OutputPlan,
    intended_by,
    intents,
    outputs_place,
    placing,
    plan_outputs,
)
from dropscribe.service.publishing.partial_writer import Partials
from dropscribe.service.publishing.placed_partials import PlacedPartials, place_of
from dropscribe.service.storage.folder_pool import FolderPool
from dropscribe.service.storage.storage_retry import StorageRetry
from dropscribe.transcript.placing.publish import not_allowed, sweep
from dropscribe.transcript.timing import TIMING
from dropscribe.transcript.types import EngineFacts, Timings

T = TypeVar("T")

#: Most jobs in a batch.
BATCH = 64
#: Groups of a location that are under way at once. Further jobs are gathered until one is published: the commits of one job take
#: as long as those of ten. With publishing processes one group is rendered and written while the daemon plans and records
#: another; without them both would share the daemon's interpreter.
GROUPS, GROUPS_HERE = 2, 1
#: Longest waits of `stop`, seconds: for transcripts, and for the removal of partial texts.
STOP_S = 10.0
PARTIALS_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A job ready to be published; `result` None: that of job `claim.reference` is on record, which may be this job."""

    claim: Claim
    result: Result | None


@dataclass(frozen=True, slots=True)
class Published:
    """End of publishing a job; `problem` None: it is recorded as done."""

    job_id: int
    problem: Problem | None


class _Place:
    """State of one output location, shared by the lanes that publish there."""

    def __init__(self) -> None:
        self.index = DirectoryCache()
        #: Directories from which leftover temporary files have been removed.
        self.swept: set[Path] = set()
        #: Held while names are planned, so that two lanes do not plan the same name.
        self.planning = threading.RLock()


@dataclass(frozen=True, slots=True)
class _Lane:
    """Context of a lane while it publishes a batch."""

    target: Path
    place: _Place
    activity: Activity

    @property
    def watch(self) -> Watch:
        """Marks calls to the file system of the location."""
        return partial(self.activity.storage, "publish", self.target)


class Publisher:
    """Publish jobs in own threads. All methods are called by the main thread and do not block, except `stop`."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        engine: Callable[[], EngineFacts],
        wake: Callable[[], None],
        storage_retry: StorageRetry,
        *,
        activities: Activities,
        tally: Tally | None = None,
        makers: Makers | None = None,
    ) -> None:
        self._ledger = ledger
        self._makers = makers or Makers()
        self._tally = tally or Tally()
        self._settings = settings
        self._engine = engine
        self._wake = wake
        self._storage_retry = storage_retry
        self._log = logs.get("service")
        #: Partial texts of jobs in progress; owned here, because a transcript replaces them.
        self.partials = PlacedPartials(
            lambda mine: Partials(ledger, settings, engine, self._on_death, activities=activities, mine=mine),
            settings,
        )
        #: Notes beside the recordings of failed and held jobs.
        self.notes = FailureNotes(ledger, settings, self._on_death, activities=activities)
        self._out: queue.SimpleQueue[Published] = queue.SimpleQueue()
        #: Jobs that are not with the lanes yet. Owned by the main thread.
        self._groups: Groups[Ready] = Groups(GROUPS if self._makers.processes else GROUPS_HERE)
        self._lock = threading.Lock()
        #: By output location; guarded by `_lock`.
        self._places: dict[Path, _Place] = {}
        #: Thread-local: `writers`, the pool of the lane.
        self._local = threading.local()
        self._lanes: FolderPool[Ready] = FolderPool(
            "publishing", self._run, threads=lane_count(), batch=BATCH, activities=activities,
            died=self._on_death, around=self._with_writers,
        )  # fmt: skip
        #: Jobs that cannot be published because a file system does not answer, as of the latest `tend`.
        self.waiting: frozenset[int] = frozenset()
        #: Exception that ended a thread; read by `alive`.
        self.failure: BaseException | None = None

    def start(self) -> None:
        self.partials.start()
        self.notes.start()
        self._makers.start()
        self._lanes.start()

    def put(self, ready: Ready) -> None:
        """Queue a job; `completed` returns its end."""
        self._groups.add(place_of(ready.claim, self._settings()), ready.claim.job_id, ready)
        self._pass_on()

    def completed(self) -> list[Published]:
        """Jobs published or failed since the last call."""
        out = []
        while not self._out.empty():
            out.append(self._out.get_nowait())
        if out:
            self._groups.ended(published.job_id for published in out)
            self._pass_on()
        return out

    def _pass_on(self, *, everything: bool = False) -> None:
        due = self._groups.due(everything=everything)
        for place, group in itertools.groupby(due, key=itemgetter(0)):
            self._lanes.put_all(place, [ready for _, ready in group])

    def alive(self) -> bool:
        """False once a thread has died; the daemon must then stop."""
        return self.failure is None

    def tend(self) -> None:
        """Replace lanes blocked by a slow file system and update `waiting`; call it periodically."""
        self._lanes.tend()
        self.notes.tend()
        slow = self._lanes.slow()
        # What was gathered for a file system that does not answer waits with the lanes, too, and is counted there.
        self._groups.unlimited = frozenset(place_of(r.claim, self._settings()) for r in slow)
        self._pass_on()
        self.waiting = frozenset(ready.claim.job_id for ready in (self._lanes.slow() if slow else ()))

    def stop(self) -> bool:
        """Publish queued jobs, then end the threads; False if one is blocked by a file system that does not answer.

        Unpublished jobs stay claimed in the ledger, and the next start requeues them.
        """
        self._pass_on(everything=True)
        lanes = self._lanes.finish(STOP_S)
        self._makers.close()
        notes = self.notes.stop(PARTIALS_STOP_S)
        return self.partials.stop(PARTIALS_STOP_S) and notes and lanes

    @contextlib.contextmanager
    def _with_writers(self) -> Iterator[None]:
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="write") as self._local.writers:
            yield

    def _run(self, target: Path, batch: list[Ready], activity: Activity) -> None:
        with self._lock:
            place = self._places.setdefault(target, _Place())
        try:
            self._publish_batch(batch, _Lane(target, place, activity))
        except StorageError as e:
            # Raised only during shutdown, after `StorageRetry.give_up`. The jobs stay claimed in the ledger: the next
            # start requeues them and recognises the files already written by their intents.
            logs.problem(self._log, logs.Action.STORAGE, f"{len(batch)} jobs are left to the next start: {e}")
        except UnusableLedgerError:
            # The main thread stops the daemon. The jobs stay claimed, as above.
            self._wake()

    def _on_death(self, cause: BaseException) -> None:
        self.failure = cause
        self._wake()

    def _publish_batch(self, batch: list[Ready], lane: _Lane) -> None:
        here = FileMaker(self._local.writers, lane.watch, lane.activity.working)
        with self._makers.team(len(batch), here, lane.watch, lane.activity.working) as team:
            plans = self._planned(self._rendered(batch, lane, team), lane)
            of_jobs = {r.claim.job_id: r for r in batch}
            try:
                written = self._write([(d, d.files) for d in plans], lane, team, of_jobs)
                made = {
                    d.claim.job_id: (d, with_stage(d.timings, "publishing", w.seconds)) for d, w in written
                }
                logs_written = self._write(
                    [(d, {TIMING: w.log}) for d, w in written if w.log is not None], lane, team, of_jobs
                )
            finally:
                for d in plans:
                    lane.place.index.ended(d.directory, d.names.values())
        whole = {d.claim.job_id for d, _ in logs_written} | {
            job_id for job_id, (d, _) in made.items() if TIMING not in d.names
        }
        # Before the job is recorded as done, so that a done job never has a partial text beside its transcript.
        with lane.activity.storage("remove partial texts", lane.target, lane.target):
            self.partials.end(lane.target, whole, lane.activity.working)
        self._finish([one for job_id, one in made.items() if job_id in whole], lane)
        self._wake()

    @contextlib.contextmanager
    def _planning(self, lane: _Lane) -> Iterator[None]:
        """Context manager for planning names, one lane per location at a time.

        Waiting for the other lane is marked as a file system call, because that lane may be blocked in one.
        """
        with lane.activity.storage("publish", lane.target, lane.target):
            while not lane.place.planning.acquire(timeout=1.0):
                lane.activity.working()
        try:
            yield
        finally:
            lane.place.planning.release()

    def _rendered(self, batch: list[Ready], lane: _Lane, team: Team) -> list[tuple[Ready, Ordered, Made]]:
        orders, of_group = [], Orders(self._settings(), self._ledger)
        for r in batch:
            one = self._attempt(lane, r, partial(self._order, r, of_group))
            # The result of a long recording is read for a second.
            lane.activity.working()
            if one is not None:
                orders.append((r, one))
        rendered = team.render([one.order for _, one in orders])
        made = [
            (r, one, self._attempt(lane, r, partial(_result, answer)))
            for (r, one), answer in zip(orders, rendered, strict=True)
        ]
        return [(r, one, answer) for r, one, answer in made if answer is not None]

    def _order(self, ready: Ready, orders: Orders) -> Ordered:
        engine, result, reference = self._engine(), ready.result, None
        if result is None:
            reference = ready.claim.reference
            stored = None if reference is None else self._ledger.stored_result(reference)
            if stored is None:
                raise StorageError(
                    f"the result of job {reference} is no longer on record", operation="publish",
                    path=ready.claim.path, remedy="the recording is transcribed anew",
                )  # fmt: skip
            engine = stored.engine
            if reference == ready.claim.job_id:
                timings, reference = stored.timings, None
            else:
                timings = Timings(speech_ms=stored.timings.speech_ms)
            result = Result(stored.media, stored.segments, timings, speakers=stored.speakers)
        else:
            engine = engine.using(result.used)
        return orders.of(ready.claim, result, engine, reference)

    def _planned(self, rendered: list[tuple[Ready, Ordered, Made]], lane: _Lane) -> list[OutputPlan]:
        if not rendered:
            return []
        batch = [r for r, _, _ in rendered]
        with self._planning(lane), self._facts(batch, lane) as facts:
            self._sweep(batch, facts, lane)
            attempts = [
                self._attempt(lane, r, partial(self._plan_outputs, one, made, facts, lane))
                for r, one, made in rendered
            ]
        return [d for d in attempts if d is not None]

    def _facts(self, batch: list[Ready], lane: _Lane) -> GroupFacts:
        settings = self._settings()
        return self._storage_retry.insist(
            lambda: GroupFacts([r.claim for r in batch], settings, self._ledger), lane.activity.working
        )

    @staticmethod
    def _plan_outputs(job: Ordered, made: Made, facts: GroupFacts, lane: _Lane) -> OutputPlan:
        with lane.activity.storage("publish", lane.target, job.claim.path):
            return plan_outputs(job, made, facts=facts, index=lane.place.index)

    def _write(
        self,
        files: list[tuple[OutputPlan, dict[str, MadeFile]]],
        lane: _Lane,
        team: Team,
        of_jobs: Mapping[int, Ready],
    ) -> list[tuple[OutputPlan, Written]]:
        """Record the intents and let the files be written; returns the plans whose files are on disk."""
        meant = [(d.claim.job_id, d.claim.generation, intents(d, made)) for d, made in files]
        refused = self._storage_retry.insist(
            lambda: self._ledger.intend(meant, time.time()), lane.activity.working
        )
        for job_id in refused:
            self._refuse(job_id, lane)
        going = [(d, made) for d, made in files if d.claim.job_id not in refused]
        answers = team.write([placing(d, made) for d, made in going])
        written = []
        for (d, _), answer in zip(going, answers, strict=True):
            one = self._attempt(lane, of_jobs[d.claim.job_id], partial(_result, answer))
            if one is not None:
                written.append((d, one))
                if not one.clean:
                    lane.place.swept.clear()
        return written

    def _sweep(self, batch: list[Ready], facts: GroupFacts, lane: _Lane) -> None:
        roots = dict(facts.place(r.claim, facts.settings.profile(r.claim.profile)) for r in batch)
        for directory in roots.keys() - lane.place.swept:
            lane.place.swept.add(directory)
            # Leftovers that cannot be removed are harmless until a write needs their name, which reports the error.
            with (
                contextlib.suppress(StorageError, OutputNameError),
                lane.activity.storage("clean up", lane.target, directory),
            ):
                if sweep(directory, roots[directory], intended_by(self._ledger)):
                    lane.place.index.clear()

    def _finish(self, plans: list[tuple[OutputPlan, Timings]], lane: _Lane) -> None:
        finished = [
            Finish(
                d.claim.job_id,
                d.claim.generation,
                d.transcript.media,
                d.transcript.engine,
                timings,
                d.transcript.segments,
                d.reference,
                d.transcript.speakers,
                d.segment_rows,
            )
            for d, timings in plans
        ]
        refused = self._storage_retry.insist(
            lambda: self._ledger.finish(finished, time.time()), lane.activity.working
        )
        # Bound once: the logger that is kept is set up anew for each line.
        now, log = time.time(), self._log.bind()
        tells = logs.tells(log)
        for d, timings in plans:
            if d.claim.job_id in refused:
                self._refuse(d.claim.job_id, lane)
                continue
            if tells:
                log_done(log, d, timings, now)
            self._tally.done(d.transcript.media, timings, recognised=d.reference is None)
            self._out.put(Published(d.claim.job_id, None))

    def _attempt(self, lane: _Lane, ready: Ready, step: Callable[[], T]) -> T | None:
        """Run one step of one job; an error ends that job only, and returns None. Its result is kept on record."""
        try:
            return step()
        except OutputTakenError as e:
            # Another program took the name after planning: the job is tried again with newly planned names.
            problem = Problem.of(e)
        except UnusableLedgerError:
            # Not a fault of the recording: no job may fail because the ledger is damaged.
            raise
        except DropscribeError as e:
            # The path identifies the disk: with an `output_dir` it is not that of the recording.
            reason = e.reason if e.path is None else f"{e.operation} {e.path}: {e.reason}"
            problem = replace(Problem.of(e), reason=reason)
        except OSError as e:
            where = f"publish {e.filename}: " if isinstance(e.filename, str) else ""
            problem = Problem(
                StorageError.code, where + (e.strerror or str(e)),
                "see that the disk is mounted and can be written to", FaultKind.STORAGE,
            )  # fmt: skip
            if e.errno == errno.ENAMETOOLONG:
                problem = Problem.of(not_allowed(ready.claim.path, e))
        if problem.kind is FaultKind.STORAGE:
            problem = self._denied(ready.claim, lane) or problem
        self._keep(ready, lane)
        self._end(ready.claim.job_id, problem, lane)
        return None

    def _denied(self, claim: Claim, lane: _Lane) -> Problem | None:
        """Problem of a job whose outputs' directory may not be written; None if it may, or the cause is another."""
        place = outputs_place(claim, Places(self._settings()))
        try:
            with lane.activity.storage("publish", lane.target, place.directory):
                require_writable(place)
        except (UnwritableError, OutputNameError) as e:
            return Problem.of(e)
        except StorageError:
            return None
        return None

    def _keep(self, ready: Ready, lane: _Lane) -> None:
        """Store the result of a job that cannot be published, so that it is not recognised again."""
        claim, result = ready.claim, ready.result
        if result is None:
            return
        kept = Finish(
            claim.job_id,
            claim.generation,
            result.media,
            self._engine().using(result.used),
            result.timings,
            result.segments,
            speakers=result.speakers,
        )
        self._storage_retry.insist(lambda: self._ledger.keep([kept], time.time()), lane.activity.working)

    def _refuse(self, job_id: int, lane: _Lane) -> None:
        """End a job whose recording was replaced or whose claim was lost; its result is discarded."""
        reason = "the recording was replaced, or its job taken over or cancelled, meanwhile"
        self._end(job_id, Problem(RecordingChangedError.code, reason, "", FaultKind.CHANGED), lane)

    def _end(self, job_id: int, problem: Problem, lane: _Lane) -> None:
        # The planned names were added to the listing but may not exist, and temporary files may be left.
        with self._planning(lane):
            lane.place.index.clear()
            lane.place.swept.clear()
        self._out.put(Published(job_id, problem))


def _result(answer: T | Exception) -> T:
    """What a maker made; raises what it answered instead."""
    if isinstance(answer, Exception):
        raise answer
    return answer
