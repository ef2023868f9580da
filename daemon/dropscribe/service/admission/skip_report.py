"""Log lines about skipped files: one for each folder and reason code, however many files there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dropscribe.intake.types import Skip

#: Time for which the files of a line are collected, seconds.
COLLECT_S = 2.0
#: The same while files keep coming, seconds.
COLLECT_MOST_S = 30.0
#: Shortest time between two lines of a folder and code after one with a count, seconds.
AGAIN_S = 60.0
#: Most files that get a line each.
EACH = 3
#: Most different reasons counted for a line; further ones count as the last.
MOST_REASONS = 100


@dataclass(frozen=True, slots=True)
class SkipLine:
    """One line of the log. `path`: the file it is about; None: `count` files of `folder`."""

    message: str
    folder: Path
    code: str
    count: int
    path: Path | None


@dataclass(slots=True)
class _Group:
    """Files of one folder and code since the last line."""

    since: float
    first: list[Skip] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class SkipReport:
    """Collect skipped files and decide when to log what about them. `now`: monotonic seconds."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Path, str], _Group] = {}
        #: When the next line may follow one with a count.
        self._again_at: dict[tuple[Path, str], float] = {}

    def take(self, skip: Skip, now: float) -> None:
        """Add a file."""
        group = self._groups.setdefault((skip.folder, skip.code), _Group(now))
        if len(group.first) < EACH:
            group.first.append(skip)
        known = skip.reason in group.reasons or len(group.reasons) < MOST_REASONS
        group.reasons[skip.reason if known else next(reversed(group.reasons))] += 1

    def due(self, now: float, *, more: bool = False, ending: bool = False) -> list[SkipLine]:
        """Lines to log at `now`. `more`: further files are about to be added. `ending`: the last call."""
        lines: list[SkipLine] = []
        for key, group in list(self._groups.items()):
            wait_s = COLLECT_MOST_S if more else COLLECT_S
            if not ending and now < max(group.since + wait_s, self._again_at.get(key, 0.0)):
                continue
            del self._groups[key]
            lines += self._lines(*key, group)
            if group.reasons.total() > EACH:
                self._again_at[key] = now + AGAIN_S
            else:
                self._again_at.pop(key, None)
        return lines

    @staticmethod
    def _lines(folder: Path, code: str, group: _Group) -> list[SkipLine]:
        count = group.reasons.total()
        if count <= EACH:
            return [
                SkipLine(f"{s.path.name}: skipped: {s.reason}", folder, code, 1, s.path) for s in group.first
            ]
        reason, most = group.reasons.most_common(1)[0]
        others = len(group.reasons) - 1
        why = reason if not others else f"{reason} ({most:,} of them; {others} other reasons)"
        message = f"{folder}: {count:,} files skipped: {why}; 'dropscribe jobs skipped' lists them"
        return [SkipLine(message, folder, code, count, None)]
