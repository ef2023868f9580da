"""Why queued jobs wait: pauses, working hours and pace of their folders, as the daemon and the ledger state them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dropscribe.escapes import readable
from dropscribe.ledger.records import JobState
from dropscribe.views.fields import utc

if TYPE_CHECKING:
    from dropscribe.ledger.control import Pause
    from dropscribe.ledger.records import JobSummary


@dataclass(frozen=True, slots=True)
class FolderWait:
    """Why nothing of a folder is begun; `folder` readable, None: of any. `until`: epoch seconds, None if unknown."""

    folder: str | None
    code: str  #: "paused", "draining", "hours", "pace"
    reason: str
    until: float | None

    def document(self) -> dict[str, Any]:
        """folder, code, reason, until (ISO 8601, UTC)."""
        return {"folder": self.folder, "code": self.code, "reason": self.reason, "until": utc(self.until)}

    def text(self, now: float | None = None) -> str:
        """For people: `its hours are 19:00-07:00, again from 19:00`. `now`: epoch seconds, by default those of the clock."""
        if self.until is None:
            return self.reason
        at = datetime.fromtimestamp(self.until, UTC).astimezone()
        today = datetime.now(UTC) if now is None else datetime.fromtimestamp(now, UTC)
        far = at.date() != today.astimezone().date()
        return f"{self.reason}, again from {at.strftime('%a %H:%M' if far else '%H:%M')}"


def folder_waits(said: dict[str, Any] | None, pauses: Sequence[Pause]) -> list[FolderWait]:
    """Pauses on record, and what the running daemon says of hours and pace. `said`: its status file, None without one."""
    found = [
        FolderWait(
            None if p.folder is None else readable(p.folder),
            "draining" if p.draining else "paused",
            f"{'drained' if p.draining else 'paused'} by {p.who}",
            None,
        )
        for p in pauses
    ]
    # A daemon of the previous version does not write this key.
    told = (said or {}).get("waits", [])
    found += [
        FolderWait(w["folder"], w["code"], w["reason"], w["until"])
        for w in told
        if w["code"] not in {"paused", "draining"}
    ]
    return found


def waits_for(job: JobSummary, waits: Sequence[FolderWait]) -> FolderWait | None:
    """What a queued job waits for before all else; None if its turn is what it waits for, or it has a reason of its own."""
    if job.state is not JobState.QUEUED or job.reason:
        return None
    return next((w for w in waits if w.folder is None or w.folder == readable(job.folder)), None)
