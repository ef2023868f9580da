"""Find what people are to be told besides the ends of jobs: held jobs, a backlog, low disks, replaced engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dropscribe.config import Settings
from dropscribe.durations import spent
from dropscribe.escapes import readable
from dropscribe.ledger.events import Condition, Event, EventKind, Subscription
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobState
from dropscribe.pipeline.executor import Restarts
from dropscribe.service.jobs.claimer import Clocks
from dropscribe.service.monitoring.status_file import Complaint
from dropscribe.service.storage.storage_retry import Postponable, StorageRetry

#: Interval of looking, seconds.
LOOK_S = 30.0


def subscriptions_of(settings: Settings) -> list[Subscription]:
    """What the targets in the settings want."""
    return [
        Subscription(
            target.name,
            frozenset(map(EventKind, target.events)),
            frozenset(target.folders),
            frozenset(target.profiles),
            target.digest_s,
        )
        for target in settings.notify
    ]


class EventWatch:
    """Puts on record what began or happened since the last look. Owned by the main thread."""

    def __init__(
        self, ledger: Ledger, settings: Callable[[], Settings], storage_retry: StorageRetry, clocks: Clocks, *,
        low_disks: Callable[[], Iterable[Complaint]], restarts: Callable[[], Restarts],
    ) -> None:  # fmt: skip
        self._look = Postponable(storage_retry, self.look, clocks.monotonic)
        self._next = 0.0
        self._ledger = ledger
        self._settings = settings
        self._low_disks = low_disks
        self._restarts = restarts
        self._wall = clocks.wall
        #: Replaced engines that were told.
        self._told = restarts().engines

    def tend(self, now: float) -> None:
        """Look if it is time; `now`: monotonic seconds. A look that storage refuses is repeated later."""
        if now >= self._next:
            self._next = now + LOOK_S
            self._look()

    def look(self) -> None:
        """Put on record what is new. Raises StorageError; the next look finds it again then."""
        now = self._wall()
        restarts = self._restarts()
        if restarts.engines > self._told:
            facts = {"reason": restarts.last_reason, "replaced": restarts.engines - self._told}
            self._ledger.announce([Event(EventKind.ENGINE, now, facts)], now)
            self._told = restarts.engines
        if self._settings().notify:
            self._ledger.note_conditions([*self._disks(), *self._holds(), *self._backlog(now)], now)

    def _disks(self) -> list[Condition]:
        return [
            Condition(f"disk:{c.problem}", EventKind.DISK, {"problem": c.problem, "remedy": c.remedy})
            for c in self._low_disks()
        ]

    def _holds(self) -> list[Condition]:
        """One for each folder and reason code, with the reason of most of its jobs."""
        return [
            Condition(
                f"held:{held.code}:{readable(held.folder)}", EventKind.HELD,
                {
                    "code": held.code, "reason": held.reason, "remedy": held.remedy, "jobs": held.count,
                    "folder": readable(held.folder),
                },
                held.folder,
            )
            for held in self._ledger.held_folders()
        ]  # fmt: skip

    def _backlog(self, now: float) -> list[Condition]:
        waiting = self._ledger.jobs(state=JobState.QUEUED, limit=1, oldest_first=True)
        if not waiting or now - waiting[0].admitted_at < self._settings().service.backlog_s:
            return []
        waited_s = round(now - waiting[0].admitted_at)
        oldest = readable(waiting[0].recording)
        facts = {"waited_s": waited_s, "waited": spent(waited_s), "job": waiting[0].id, "recording": oldest}
        return [Condition("backlog", EventKind.BACKLOG, facts)]
