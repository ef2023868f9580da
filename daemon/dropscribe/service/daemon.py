"""The daemon: start the rooms in order, run the main loop, stop the rooms in reverse order."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Loaded
from dropscribe.errors import ConfigError, DatabaseLockedError, DropscribeError, EngineDiedError, EngineError
from dropscribe.intake.watcher import Watcher
from dropscribe.ledger.backend import location_of
from dropscribe.ledger.interface import Ledger
from dropscribe.media.inspector import Inspector
from dropscribe.pipeline.cluster.ray_cluster import join
from dropscribe.pipeline.executor import StationStatus
from dropscribe.pipeline.local.stations_executor import start_executor
from dropscribe.pipeline.process_limits import LEAST_FILE_BYTES, prepare_limits
from dropscribe.pipeline.sizing import decoder_count
from dropscribe.service.activity import Activities
from dropscribe.service.admission.admitter import Admitter
from dropscribe.service.admission.folder_state import FolderConditions
from dropscribe.service.admission.intake_ports import OnRecord, completeness
from dropscribe.service.admission.renames import RenameFinder
from dropscribe.service.changed_files import FileWatch
from dropscribe.service.control.folder_rules import FolderRules
from dropscribe.service.control.queue_control import QueueControl
from dropscribe.service.control.reloading import merged
from dropscribe.service.control.signals import Signals
from dropscribe.service.jobs.beginning import Beginning
from dropscribe.service.jobs.claimer import Claimer, Clocks, worker_name
from dropscribe.service.jobs.dispatcher import Dispatcher
from dropscribe.service.jobs.progress import ProgressLog
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.keeping.runner import RetentionRunner
from dropscribe.service.maintenance import Maintenance
from dropscribe.service.monitoring import sd_notify, status_file
from dropscribe.service.monitoring.events import EventWatch, subscriptions_of
from dropscribe.service.monitoring.reports import Reports
from dropscribe.service.monitoring.status_file import Complaint, Status
from dropscribe.service.publishing.publisher import Publisher
from dropscribe.service.startup import LedgerOpening, announcement
from dropscribe.service.storage.disk_space import FreeSpace
from dropscribe.service.storage.hangs import StorageHangs
from dropscribe.service.storage.storage_retry import Postponable, StorageRetry
from dropscribe.service.storage.unwritable import UnwritableFolders
from dropscribe.service.wall_clock import WallClock
from dropscribe.transcript.types import EngineFacts

#: Time to finish recordings in progress after a request to stop, seconds. Together with closing the processes it stays
#: within the unit's TimeoutStopSec.
DRAIN_S = 20.0
#: Switch interval of the GIL, seconds. The main thread wakes a thousand times a second to feed decoders and engine, and
#: releases the GIL at every read; with Python's default of 5 ms it would wait that long for publishing each time.
SWITCH_S = 0.0001
#: Allocations between two garbage collections. There are few reference cycles, and with Python's default of 700 the
#: collector would take longer than reading the engine's results.
GARBAGE = 50_000
#: Longest turn of the main loop, seconds.
TURN_S = 0.5
#: Shortest interval of housekeeping between two turns, seconds: with a backlog there are hundreds of turns a second.
HOUSEKEEPING_S = 0.05
#: Longest wait of the main loop for a locked database, seconds; it then tries again without a wait, once a second.
DATABASE_WAIT_S = 0.25
#: Time asked of the service manager while the database is being opened, seconds.
START_MARGIN_S = 60.0
STATUS_S = 2.0  #: interval of writing the status file, seconds
#: Longest wait for a recording that is being moved, at a stop, seconds: it goes on after the next start.
RETENTION_STOP_S = 5.0
#: Interval of calling `tend` of admission and publishing, and of checking for hanging file systems, seconds.
TEND_S = 0.5


class Daemon:
    """One run of the service. `reread` reads the configuration again for SIGHUP."""

    def __init__(self, loaded: Loaded, reread: Callable[[], Loaded]) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._reread = reread
        self._log = logs.get("service")
        self._notifier = sd_notify.Notifier.from_environment()
        self._state = "starting"
        #: Facts of the latest ready engine; kept after its death, because its results may still be published.
        self._facts: EngineFacts | None = None
        self._since = time.time()
        self._storage_retry = StorageRetry()
        self._wall = WallClock(time.monotonic, time.time)
        self._reports = Reports(location_of(loaded.settings))
        self._next_status = self._next_tend = 0.0
        self._rules = FolderRules(lambda: self._settings, wall=self._wall.now, monotonic=time.monotonic)
        self._progress_log = ProgressLog()
        self._activities = Activities()
        #: False while a thread of a room is stuck, as of the latest check.
        self._sound = True
        #: True if a thread or child is blocked by a file system and could not be ended: the interpreter would wait for
        #: it at exit.
        self.left_behind = False
        self._stop_by: float | None = None

    def run(self) -> None:
        """Serve until a signal requests a stop. Raises DropscribeError if the daemon cannot start or continue.

        Shutdown unwinds the stack: intake first, so that no new files arrive; then the admitter, so that hashed files
        are recorded; then the publisher, so that finished jobs reach disk and ledger; then the processes; the ledger
        and its lock last, because all the others write to it.
        """
        prepare_limits(operation="start", least_file_bytes=LEAST_FILE_BYTES)
        sys.setswitchinterval(SWITCH_S)
        gc.set_threshold(GARBAGE, 20, 20)
        for line in announcement(self._loaded):
            logs.event(self._log, logs.Action.CONFIG, line)
        with ExitStack() as stack:
            self._signals = stack.enter_context(Signals())
            stack.callback(lambda: logs.event(self._log, logs.Action.STOPPED, "stopped"))
            ledger = self._open_ledger(stack)
            if ledger is None:
                return
            self._ledger = ledger
            stack.enter_context(ledger.limit_waits(DATABASE_WAIT_S))
            self._control = QueueControl(
                ledger, self._rules, lambda: self._settings, storage_retry=self._storage_retry, wake=self._signals.wake
            )  # fmt: skip
            if self._control.was_drained():
                return
            self._control.listen(stack)
            self._verify_ledger = Postponable(self._storage_retry, self._ledger.verify, time.monotonic)
            self._start_rooms(stack)
            self._watch_hotword_files(stack)
            try:
                if self._executor.wait_ready(self._while_starting):
                    self._serve()
            except EngineError:
                # The cluster is gone. Jobs left as running would count as interrupted at the next start, each to be tried alone.
                ledger.hurry()
                self._requeue()
                raise
            ledger.hurry()
            self._requeue()
            self._control.end_drain()

    def _open_ledger(self, stack: ExitStack) -> Ledger | None:
        """Open the ledger, to be closed when `stack` unwinds; None if a stop was requested meanwhile."""
        opening = LedgerOpening(self._settings, stack, self._log)
        stack.callback(status_file.remove, location_of(self._settings))
        self._say_opening(None)
        while (ledger := opening.wait(TURN_S)) is None:
            self._signals.drain()
            if self._signals.stops:
                self._end(opening.abandon)
                return None
            self._say_opening(opening.locked)
        stack.callback(ledger.close)
        return ledger

    def _say_opening(self, locked: DatabaseLockedError | None) -> None:
        """Say in the status, and to the service manager, what the start waits for."""
        said = "opening the database" if locked is None else f"waiting: {locked.path}: {locked.reason}"
        self._notifier.starting(said, START_MARGIN_S)
        complaint = None if locked is None else Complaint(f"{locked.path}: {locked.reason}", locked.remedy)
        complaints = () if complaint is None else (complaint,)
        self._reports.write(Status(self._state, self._since, None, (), 0, 0, complaints), time.time())

    def _start_rooms(self, stack: ExitStack) -> None:
        """Build each room after the rooms it uses, and push its shutdown on `stack`."""
        settings = self._settings
        self._executor = join(settings) if settings.cluster.address else start_executor(settings)
        stack.callback(self._end, self._executor.close)
        self._publisher = Publisher(
            self._ledger, lambda: self._settings, self._engine_facts, self._signals.wake, self._storage_retry,
            activities=self._activities, tally=self._reports.tally,
        )  # fmt: skip
        self._publisher.start()
        stack.callback(self._end, self._publisher.stop)
        self._space = FreeSpace(self._ledger, settings)
        stack.callback(self._space.close)
        clocks = Clocks(time.monotonic, self._wall.now)
        claiming = self._claiming = Claimer(
            self._ledger, stack.enter_context(ThreadPoolExecutor(1, "claim")), self._signals.wake,
            worker=worker_name(settings.host), limit=settings.service.jobs_in_flight,
            clocks=clocks, storage_retry=self._storage_retry, has_room=self._space.has_room,
            rules=self._rules, full=self._space.full,
        )  # fmt: skip
        self._conditions = FolderConditions(self._ledger, {f.path for f in settings.folders})
        self._hangs = StorageHangs(self._ledger, self._activities, lambda: self._settings, time.monotonic)
        unwritable = self._unwritable = UnwritableFolders(
            self._ledger, lambda: self._settings, time.monotonic,
            report=location_of(settings).beside(".unwritable"),
        )  # fmt: skip
        stack.callback(unwritable.close)
        models = self._models = UnusableModels(self._ledger, lambda: self._settings, time.monotonic)
        self._maintenance = Maintenance(
            self._ledger, self._wall, self._space, self._conditions, self._hangs,
            unwritable=unwritable, models=models, storage_retry=self._storage_retry, clock=time.monotonic, wake=claiming.news, claiming=claiming.busy,
        )  # fmt: skip
        beginning = Beginning(
            self._ledger, stack.enter_context(ThreadPoolExecutor(1, "begin")), self._signals.wake,
            storage_retry=self._storage_retry, clock=time.monotonic,
        )  # fmt: skip
        self._dispatcher = Dispatcher(
            self._ledger, self._executor, self._publisher, claiming, beginning,
            settings=lambda: self._settings, clocks=clocks, storage_retry=self._storage_retry,
            outdated=self._adopt_recipes, unwritable=unwritable.found, models=models,
            tally=self._reports.tally,
        )  # fmt: skip
        self._retention = RetentionRunner(
            self._ledger, lambda: self._settings, self._conditions.is_watched, self._signals.wake,
            activities=self._activities, wall=self._wall.now,
        )  # fmt: skip
        self._control.attach(self._dispatcher)
        self._admitter = Admitter(
            self._ledger, lambda: self._settings, self._storage_retry,
            admitted=self._on_admitted, folder=self._conditions.take, activities=self._activities,
            renames=RenameFinder(self._ledger, lambda: self._settings, self._conditions.is_watched),
            renamed=self._retention.renamed,
        )  # fmt: skip
        self._retention.start()
        stack.callback(self._end, partial(self._retention.stop, RETENTION_STOP_S))
        inspector = Inspector()
        stack.callback(self._end, inspector.close)
        self._watcher = Watcher(
            settings.folders,
            known=OnRecord(self._ledger, self._storage_retry),
            completeness=completeness(inspector),
            sink=self._admitter.take,
            rescan_s=lambda: self._settings.service.rescan_s,
        )
        inspector.start()
        self._admitter.start(forget=self._watcher.forget, unreadable=self._watcher.unreadable)
        stack.callback(self._end, self._admitter.stop)
        self._watcher.start()
        stack.callback(self._end, self._watcher.stop)
        self._reports.start_metrics(settings.service, self._ledger, self._wall.now, stack)
        self._events = EventWatch(
            self._ledger, lambda: self._settings, self._storage_retry, Clocks(time.monotonic, self._wall.now),
            low_disks=self._space.complaints, restarts=self._executor.restarts,
        )  # fmt: skip
        # Runs first at shutdown, so that no thread keeps retrying a failed disk.
        stack.callback(self._storage_retry.give_up)

    def _end(self, stop: Callable[[], bool]) -> None:
        """Stop a room; `stop` returns False if a thread or child of it is blocked by a file system."""
        self.left_behind = not stop() or self.left_behind

    def _serve(self) -> None:
        facts = self._facts = self._executor.facts
        self._state = "ready"
        # First of all: who reads that the daemon is ready may ask for its status.
        self._write_status()
        logs.event(
            self._log,
            logs.Action.READY,
            f"ready: {facts.model} on {facts.device}, warm after {facts.warmup_s:.1f} s",
            model=facts.model,
            device=facts.device,
            notice=facts.notice,
        )
        self._notifier.ready(f"{facts.model} on {facts.device}")
        self._maintenance.begin()
        kept, next_housekeeping = True, 0.0
        while not self._finished():
            try:
                stopping = self._stop_by is not None
                draining = self._control.draining
                wake = (self._signals.wake_fd, *self._control.filenos())
                # After a turn without housekeeping the next one comes soon.
                wait_s = TURN_S if kept else HOUSEKEEPING_S
                self._dispatcher.turn(wait_s, wake, claiming=not stopping and not draining)
                self._signals.drain()
                self._executor.supervise()
            except EngineDiedError as e:
                if not self._replace_engine(e):
                    return
            now = time.monotonic()
            kept = now >= next_housekeeping or self._signals.reload
            if kept:
                next_housekeeping = now + HOUSEKEEPING_S
                self._housekeeping()

    def _finished(self) -> bool:
        """Whether to leave the main loop: a stop was requested, and all work is finished or the time is up."""
        if self._signals.stops and self._stop_by is None:
            self._stop_by = time.monotonic() + DRAIN_S
            self._state = "draining"
            self._notifier.stopping()
            logs.event(
                self._log,
                logs.Action.STOPPING,
                f"stopping: finishing recordings in progress: {self._dispatcher.unpublished}",
            )
        if self._stop_by is None:
            # A drain waits for all that is in progress, however long it takes.
            return self._control.draining and self._dispatcher.unpublished == 0 and not self._claiming.busy()
        over = self._signals.stops > 1 or time.monotonic() > self._stop_by
        return over or self._dispatcher.unpublished == 0

    def _requeue(self) -> None:
        back = self._dispatcher.requeue_all()
        if back:
            logs.event(self._log, logs.Action.STOPPING, f"jobs returned to the queue: {back}")

    def _replace_engine(self, fault: EngineDiedError) -> bool:
        lost = self._dispatcher.engine_lost(fault)
        self._executor.replace(f"the engine is gone ({fault.reason}); jobs returned to the queue: {lost}")
        if not self._executor.wait_ready(self._while_starting):
            return False
        self._dispatcher.wake()
        return True

    def _while_starting(self) -> bool:
        """Housekeeping while an engine loads; returns True if a stop was requested."""
        self._signals.drain()
        self._housekeeping()
        return self._signals.stops > 0 or self._control.draining

    def _housekeeping(self) -> None:
        """Check and maintain the rooms between two turns.

        Raises DropscribeError if a thread of a room has died, AlreadyRunningError if another daemon watches a folder,
        UnusableLedgerError if the database is damaged or its file was replaced.
        """
        fault = self._ledger.fault
        if fault is not None:
            raise fault
        self._conditions.refuse_taken()
        for room, alive, cause in (
            ("intake", self._watcher.alive(), self._watcher.failure),
            ("admission", self._admitter.alive(), self._admitter.failure),
            ("publishing", self._publisher.alive(), self._publisher.failure),
            ("keeping", self._retention.alive(), self._retention.failure),
        ):
            if not alive:
                raise DropscribeError(
                    f"the {room} thread has died: {cause!r}",
                    operation="supervise",
                    remedy="the service manager starts the daemon again; please report the traceback in the log",
                )
        if self._signals.reload:
            self._signals.reload = False
            self._reload()
        now = time.monotonic()
        self._control.tend(now)
        if self._stop_by is None and self._state in {"ready", "draining"}:
            self._state = "draining" if self._control.draining else "ready"
        self._maintenance.tend()
        self._watcher.tend()
        if now >= self._next_tend:
            self._next_tend = now + TEND_S
            self._admitter.tend()
            self._publisher.tend()
            self._retention.tend()
            self._storage_retry.tend()
            self._sound = self._hangs.check(self._watcher.silent_threads)
        # Without keep-alives the service manager restarts the daemon.
        if self._sound:
            self._notifier.watchdog(now)
        self._progress_log.tend(now, self._dispatcher.progress)
        if now >= self._next_status:
            self._next_status = now + STATUS_S
            self._verify_ledger()
            self._write_status()
        self._events.tend(now)

    def _reload(self) -> None:
        self._notifier.reloading()
        try:
            loaded = self._reread()
        except ConfigError as e:
            logs.problem(self._log, logs.Action.RELOAD, f"kept the settings in force: {e}")
        else:
            old, new = self._settings, loaded.settings
            # Models that profiles name now are loaded when the first recording needs them.
            new_engine = new.engine.model_copy(update={"sets": old.engine.sets})
            new = new.model_copy(update={"engine": new_engine})
            self._settings, waiting = merged(old, new)
            if waiting:
                logs.problem(
                    self._log,
                    logs.Action.RELOAD,
                    f"{', '.join(waiting)}: changes take effect at the next restart",
                )
            self._ledger.subscribe(subscriptions_of(self._settings))
            self._adopt_recipes()
            self._space.watch(self._settings)
            self._conditions.keep({f.path for f in new.folders})
            self._rules.keep({f.path: f for f in new.folders})
            self._unwritable.reset()
            self._models.reset()
            self._retention.reload()
            self._claiming.allow(self._settings.service.jobs_in_flight)
            self._watcher.reload(new.folders)
            for note in loaded.notes:
                logs.event(self._log, logs.Action.RELOAD, note)
            logs.event(self._log, logs.Action.RELOAD, f"now watching {len(new.folders)} folders")
        self._notifier.ready("reloaded")

    def _watch_hotword_files(self, stack: ExitStack) -> None:
        """Reload when a list of hotwords was changed."""

        def files() -> list[Path]:
            return [p.hotwords_file for p in self._settings.profiles.values() if p.hotwords_file is not None]

        def reload() -> None:
            self._signals.reload = True
            self._signals.wake()

        watch = FileWatch(files, reload)
        watch.start()
        stack.callback(watch.stop)

    def _adopt_recipes(self) -> None:
        """Apply the current recipes to queued jobs."""
        self._maintenance.adopt(self._settings.recipe, {f.path: f.priority for f in self._settings.folders})

    def _write_status(self) -> None:
        in_flight = self._dispatcher.in_flight
        self._notifier.status(f"{self._state}, {in_flight} recordings under way")
        refused = map(Complaint.of, self._storage_retry.complaints())
        stations = self._executor.stations()
        status = Status(
            self._state, self._since, self._facts, tuple(self._watcher.health()), in_flight,
            self._watcher.unsettled(), (*refused, *self._hangs.complaints(), *self._space.complaints()),
            models=self._executor.held,
            in_progress=tuple(self._dispatcher.progress()), unsettled_files=tuple(self._watcher.unsettled_files()),
            waits=tuple(self._rules.waits(self._dispatcher.claims())),
            restarts=self._executor.restarts(), free=self._space.free(),
            control=self._control.path, load=self._dispatcher.load(*self._decoders(stations)), stations=stations,
        )  # fmt: skip
        self._reports.write(status, time.time())

    def _decoders(self, stations: tuple[StationStatus, ...]) -> tuple[int, int]:
        """Decoders, and those of them without work. A station takes more recordings than it has decoders."""
        if not stations:
            return decoder_count(self._settings), self._executor.room()
        return sum(s.decoders for s in stations), sum(s.idle for s in stations)

    def _engine_facts(self) -> EngineFacts:
        if self._facts is None:
            raise EngineError(
                "no engine has been ready yet", operation="publish", remedy="please report this message"
            )
        return self._facts

    def _on_admitted(self) -> None:
        self._dispatcher.wake()
        self._signals.wake()
