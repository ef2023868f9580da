"""Publishing with the real ledger, dispatcher, publisher and disk; only recognition is replaced."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropscribe.config import Settings
from dropscribe.errors import StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Admission, JobState
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.service.activity import Activities
from dropscribe.service.jobs.beginning import Beginning
from dropscribe.service.jobs.claimer import Claimer, Clocks
from dropscribe.service.jobs.dispatcher import Dispatcher
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.publishing.making.makers import Makers
from dropscribe.service.publishing.publisher import Publisher
from dropscribe.service.storage.storage_retry import StorageRetry
from dropscribe.service.storage.unwritable import UnwritableFolders
from tests.support.claiming import AtOnce
from tests.support.executors import InstantExecutor
from tests.support.ledgers import ENGINE

FORMATS = ("txt", "srt", "vtt", "json", "timing.json")
#: Most turns of a run, 1 s of its clock each: longer than any delay of a job.
TURNS = 90


@dataclass
class House:
    """One folder, `root/inbox`, and one database, `root/state/jobs.db`; each `run` is a new daemon."""

    root: Path
    texts: dict[str, str] = field(default_factory=dict)
    #: Options of the default profile, and further profiles.
    profile: dict[str, object] = field(default_factory=dict)
    profiles: dict[str, dict[str, object]] = field(default_factory=dict)
    #: Publishing processes; None: as many as suit the machine.
    processes: int | None = None
    #: Names of the recordings that were recognised, in order.
    recognised: list[str] = field(default_factory=list)
    #: Storage failures of the latest run.
    storage_retry: StorageRetry = field(default_factory=StorageRetry)

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def database(self) -> Path:
        return self.root / "state" / "jobs.db"

    def make(self) -> House:
        self.inbox.mkdir(parents=True)
        self.database.parent.mkdir()
        open_ledger(DatabaseLocation(self.database)).close()
        return self

    def admit(self, name: str, text: str, *, profile: str = "default") -> None:
        """Add a recording with this content to the ledger; its text will be `text`."""
        self.texts[name] = text
        path = self.inbox / name
        path.write_bytes(b"stands for sound")
        with closing(open_ledger(DatabaseLocation(self.database))) as ledger:
            ledger.admit(
                [Admission(path, self.inbox, 16, 1, 1, f"sha of {text}", profile, "mini|vad", True, 0.0, 3)], 1.0
            )  # fmt: skip

    def keep(self) -> Path:
        """Copy the current state, for `restore`."""
        return Path(shutil.copytree(self.root, self.root.with_name(self.root.name + "-kept")))

    def restore(self, kept: Path) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(kept, self.root)

    def run(self, turns: int = TURNS) -> None:
        """Run turns until everything is done, at most so many, of 1 s each."""
        models = {"model": "mini", "vad_model": "vad"}
        # Without punctuation, as the recipe of the jobs says.
        off: dict[str, Any] = {"punctuation": "off"}
        profiles = {name: off | given for name, given in (self.profiles | {"default": self.profile}).items()}
        settings = Settings.model_validate(
            {
                "database": self.database,
                "folder": [{"path": self.inbox}],
                "engine": models,
                "profiles": profiles,
            }
        )
        now, woken = [1000.0], threading.Event()
        self.storage_retry = StorageRetry(retry_s=0.001)
        with closing(open_ledger(DatabaseLocation(self.database))) as ledger:
            ledger.reset_overlong_delays(now[0], 0.0)
            ledger.recover(now[0])
            publisher = Publisher(
                ledger, lambda: settings, lambda: ENGINE, woken.set, self.storage_retry,
                activities=Activities(), makers=Makers(self.processes),
            )  # fmt: skip
            clocks = Clocks(lambda: now[0], lambda: now[0])
            claiming = Claimer(
                ledger, AtOnce(), lambda: None, worker="test", limit=8,
                clocks=clocks, storage_retry=self.storage_retry, has_room=lambda: True,
            )  # fmt: skip
            beginning = Beginning(
                ledger, AtOnce(), lambda: None, storage_retry=self.storage_retry, clock=lambda: now[0]
            )
            unwritable = UnwritableFolders(ledger, lambda: settings, lambda: now[0], lambda: now[0])
            executor = InstantExecutor(self.texts)
            dispatcher = Dispatcher(
                ledger, executor, publisher, claiming, beginning,
                settings=lambda: settings, clocks=clocks, storage_retry=self.storage_retry, outdated=lambda: None,
                unwritable=unwritable.found, models=UnusableModels(ledger, lambda: settings, lambda: now[0]),
            )  # fmt: skip
            publisher.start()
            try:
                for _ in range(turns):
                    unwritable.tend()
                    dispatcher.turn(0.0, (), claiming=True)
                    if not dispatcher.in_flight and _all_over(ledger):
                        break
                    now[0] += 1.0
                    if dispatcher.in_flight:
                        woken.wait(0.02)
                        woken.clear()
                dispatcher.requeue_all()
            finally:
                self.storage_retry.give_up()
                publisher.stop()
                unwritable.close()
                self.recognised += executor.recognised
            assert publisher.alive(), publisher.failure

    def states(self) -> set[str]:
        """States of the jobs of the current recordings."""
        return {
            s for (s,) in self.rows("select state from jobs j join recordings r on r.id = recording_id where latest")
        }  # fmt: skip

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        # With the ledger's SQLite library: two libraries in one process break each other's locks.
        with closing(driver().connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            return list(connection.execute(sql).fetchall())

    def visible(self) -> dict[str, bytes]:
        """Every visible file beside the recordings."""
        return {
            p.name: p.read_bytes()
            for p in self.inbox.iterdir()
            if p.suffix != ".wav" and not p.name.startswith(".")
        }


def _all_over(ledger: Ledger) -> bool:
    try:
        counts = ledger.counts()
    except StorageError:
        return False
    return not (counts.get(JobState.QUEUED) or counts.get(JobState.RUNNING))
