"""Write the metrics at an interval, on a thread of its own: neither disk, ledger nor nvidia-smi delays the daemon."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from dropscribe import logs
from dropscribe.errors import DropscribeError, StorageError
from dropscribe.ledger.interface import Ledger
from dropscribe.service.monitoring.atomic_file import replace_file
from dropscribe.service.monitoring.gpus import read_gpus
from dropscribe.service.monitoring.metrics import Gathered, render
from dropscribe.service.monitoring.status_file import Status
from dropscribe.service.monitoring.tally import Tally

#: Longest wait for the thread at a stop, seconds.
STOP_S = 2.0
#: Readable for the exporter of another user, whatever the umask of the service.
_MODE = 0o644


class MetricsWriter:
    """Writes what the status gathers, with numbers of the ledger and the GPUs. Methods are called by the main thread."""

    def __init__(
        self, file: Path, interval_s: float, ledger: Ledger, tally: Tally, wall: Callable[[], float]
    ) -> None:
        """`wall`: epoch seconds."""
        self._file = file
        self._interval_s = interval_s
        self._ledger = ledger
        self._tally = tally
        self._wall = wall
        self._log = logs.get("service")
        self._refused = False
        #: The newest status; replaced as a whole.
        self._status: Status | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, status: Status) -> None:
        """Set the status that is written next."""
        self._status = status

    def stop(self) -> None:
        """Remove the file: a daemon that has stopped has no metrics. What cannot be removed tells its age itself."""
        self._over.set()
        self._thread.join(STOP_S)
        with contextlib.suppress(OSError):
            self._file.unlink()

    def write(self) -> None:
        """Write the file once, if there is a status; a failure is logged once and otherwise ignored."""
        status = self._status
        if status is None:
            return
        try:
            replace_file(self._file, render(self._gather(status)), mode=_MODE)
        except (OSError, StorageError) as e:
            if not self._refused:
                logs.problem(
                    self._log, logs.Action.STORAGE, f"cannot write the metrics: {e}",
                    remedy="see that the folder of service.metrics_file is there, and that the daemon may write into it "
                    "(under systemd: ReadWritePaths=)",
                )  # fmt: skip
            self._refused = True
        except DropscribeError:
            # The ledger cannot be used any more; the main thread stops the daemon for it.
            return
        else:
            self._refused = False

    def _gather(self, status: Status) -> Gathered:
        on_gpu = status.engine is not None and status.engine.device.startswith("cuda")
        pauses = self._ledger.pauses()
        return Gathered(
            now=self._wall(),
            status=status,
            totals=self._tally.totals(),
            queue=self._ledger.queue_numbers(),
            paused_folders=sum(p.folder is not None for p in pauses),
            paused_all=sum(p.folder is None for p in pauses),
            gpus=read_gpus() if on_gpu else (),
            outbox=tuple(self._ledger.outbox.counts().values()),
        )

    def _run(self) -> None:
        while not self._over.is_set():
            self.write()
            # The first status comes within seconds.
            self._over.wait(self._interval_s if self._status is not None else 0.5)
