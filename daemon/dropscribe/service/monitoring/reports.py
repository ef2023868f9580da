"""Write what the status gathers: the status file, and the metrics if they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dropscribe.config import ServiceSettings
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.service.monitoring.status_file import Status, StatusFile
from dropscribe.service.monitoring.tally import Tally

if TYPE_CHECKING:
    from dropscribe.service.monitoring.metrics_writer import MetricsWriter


class Reports:
    """The files in which the daemon says how it is. Owned by the main thread."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._status_file = StatusFile(location)
        self._metrics: MetricsWriter | None = None
        #: Counted by the rooms that end jobs.
        self.tally = Tally()

    def start_metrics(
        self, settings: ServiceSettings, ledger: Ledger, wall: Callable[[], float], stack: ExitStack
    ) -> None:
        """Write metrics from now on, if the settings name a file, until `stack` unwinds. `wall`: epoch seconds."""
        if settings.metrics_file is None:
            return
        # The library is imported only where it is wanted.
        from dropscribe.service.monitoring.metrics_writer import MetricsWriter  # noqa: PLC0415

        self._metrics = MetricsWriter(settings.metrics_file, settings.metrics_s, ledger, self.tally, wall)
        self._metrics.start()
        stack.callback(self._metrics.stop)

    def write(self, status: Status, now: float) -> None:
        """Write the status, and let the metrics be made of it."""
        self._status_file.renew(status, now)
        if self._metrics is not None:
            self._metrics.take(status)
