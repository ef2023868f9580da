"""The lines of `dropscribe status --watch`, for a terminal of any size. Pure: what is shown is passed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from dropscribe import durations
from dropscribe.columns import columns, cropped, folded, shortened
from dropscribe.escapes import one_line, readable
from dropscribe.ledger.control import FolderBacklog
from dropscribe.ledger.records import JobState, JobSummary
from dropscribe.transcript.naming import recording_name
from dropscribe.views.status import Process, Queue
from dropscribe.views.waiting import FolderWait, folder_waits

#: Width of the names on the left, and of bars, columns.
_LABEL, _BAR = 11, 12
#: Fewest lines for the jobs in progress, while others have something to say, too.
_LEAST_JOBS = 4


class Style(StrEnum):
    """What a part of a line is, for its colour."""

    PLAIN = "plain"
    LABEL = "label"
    GOOD = "good"
    BAD = "bad"
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: how busy it is, percent, and its memory, bytes."""

    name: str
    busy_percent: float
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Screen:
    """All that is shown. `now`: epoch seconds."""

    now: float
    process: Process
    queue: Queue | None
    backlog: Sequence[FolderBacklog]
    problems: Sequence[str]
    gpus: Sequence[Gpu] = ()

    def lines(self, width: int, height: int) -> list[Line]:
        """At most `height` lines of at most `width` columns: what matters most comes first."""
        said = self.process.said or {}
        head = [*self._head(said), *self._figures(said)]
        running = list(self._running(said, width))
        rest = [list(self._waits(said, width)), list(self._problems(width)), list(self._failures(width))]
        room = height - len(head)
        wanted = sum(len(part) + 1 for part in rest if part)
        for_jobs = min(len(running), max(_LEAST_JOBS, room - wanted - 2))
        out = list(head)
        if running:
            out += [(), *_cut(running, for_jobs)]
        for part in rest:
            left = height - len(out) - 1
            if part and left > 0:
                out += [(), *_cut(part, left)]
        return [_fitted(line, width) for line in out[:height]]

    def _head(self, said: dict[str, Any]) -> Iterator[Line]:
        clock = _local(self.now).strftime("%H:%M:%S")
        if not self.process.running:
            yield Part("dropscribe ", Style.LABEL), Part("not running", Style.BAD), Part(f"  {clock}")
            return
        state = said.get("state", "starting")
        engine = said.get("engine")
        model = f"  {engine['model']} on {engine['device']}" if engine else "  loading the engine"
        since = f" for {_span(self.now - said['since'])}" if "since" in said else ""
        style = Style.GOOD if state == "ready" else Style.BAD
        yield Part("dropscribe ", Style.LABEL), Part(state, style), Part(f"{since}{model}  {clock}")

    def _figures(self, said: dict[str, Any]) -> Iterator[Line]:
        recordings = sum(b.recordings for b in self.backlog)
        known = [b.audio_s for b in self.backlog if b.audio_s is not None]
        audio = f", about {_hours(sum(known))} of audio" if known and recordings else ""
        yield _labelled("queue", f"{_count(recordings)}{audio}; {said.get('in_flight', 0)} in progress")
        if self.queue is not None:
            counts = self.queue.counts
            held = sum(h.count for h in self.queue.held)
            yield _labelled(
                "history",
                f"{counts[JobState.DONE]:,} done, {counts[JobState.FAILED]:,} failed, "
                f"{counts[JobState.CANCELLED]:,} cancelled; {held:,} held",
            )
        load = said.get("load")
        if load:
            yield _labelled(
                "speed",
                f"{load['recordings_per_min']:.0f} recordings a minute, {_rate(load['audio_rate'])} × real time",
            )
            busy, all_of_them = int(load["decoders_busy"]), int(load["decoders"])
            yield (
                *_labelled("decoders", ""),
                *_bar(busy / max(1, all_of_them)),
                Part(f"  {busy} of {all_of_them} busy"),
            )
        for gpu in self.gpus:
            used, total = gpu.used_bytes / 2**30, gpu.total_bytes / 2**30
            text = f"  {gpu.busy_percent:.0f} % busy, {used:.1f} of {total:.1f} GiB"
            yield (*_labelled(f"GPU {gpu.name}", ""), *_bar(gpu.busy_percent / 100), Part(text))
        end = self._end(said)
        if end:
            yield _labelled("end", end)

    def _end(self, said: dict[str, Any]) -> str:
        """When the queue is done at the speed of the last minute, without what waits for something else."""
        rate = (said.get("load") or {}).get("audio_rate", 0.0)
        waits = folder_waits(said, self.queue.pauses if self.queue else ())
        open_ones = [b for b in self.backlog if _wait_of(b, waits) is None]
        left = sum(b.audio_s or 0.0 for b in open_ones)
        left += sum(
            max(0, (job["duration_ms"] or 0) - job["position_ms"]) / 1000
            for job in said.get("in_progress", [])
        )
        if not left or any(b.audio_s is None for b in open_ones):
            return ""
        if rate <= 0:
            return "nothing was recognised in the last minute"
        return (
            f"about {_when(self.now + left / rate, self.now)}, in {_span(left / rate)}, if nothing comes in"
        )

    def _running(self, said: dict[str, Any], width: int) -> Iterator[Line]:
        room = max(16, width - _BAR - 30)
        for job in said.get("in_progress", []):
            if job["stage"] == "waiting":
                continue
            share = job["position_ms"] / job["duration_ms"] if job["duration_ms"] else None
            name = shortened(one_line(recording_name(Path(job["recording"]))), room)
            percent = "" if share is None else f"{share:4.0%}"
            yield (
                Part(f"  {name}{' ' * (room - columns(name))}  {job['stage']:<12}"),
                *(_bar(share) if share is not None else (Part(" " * _BAR),)),
                Part(f" {percent:>5} {durations.spent(job['elapsed_s']):>7}"),
            )
        waiting = sum(job["stage"] == "waiting" for job in said.get("in_progress", []))
        if waiting:
            yield (Part(f"  {waiting} more claimed, not begun yet"),)

    def _waits(self, said: dict[str, Any], width: int) -> Iterator[Line]:
        waits = folder_waits(said, self.queue.pauses if self.queue else ())
        for wait in waits:
            of_it = [b for b in self.backlog if wait.folder is None or readable(b.folder) == wait.folder]
            count = _count(sum(b.recordings for b in of_it))
            yield from _told(
                "waits", f"{wait.folder or 'all folders'}, {count}: {wait.text(self.now)}", width
            )
        for held in self.queue.held if self.queue else ():
            remedy = f" → {held.remedy}" if held.remedy else ""
            yield from _told("held", f"{_count(held.count)}: {held.reason}{remedy}", width)

    def _problems(self, width: int) -> Iterator[Line]:
        for text in self.problems:
            yield from _told("problem", text, width, Style.BAD)

    def _failures(self, width: int) -> Iterator[Line]:
        for job in self.queue.failures if self.queue else ():
            yield from _told("failed", _failure(job), width, Style.BAD)


def _failure(job: JobSummary) -> str:
    name = shortened(one_line(recording_name(job.recording)), 24)
    remedy = f" → {job.remedy}" if job.remedy else ""
    return one_line(f"{name} (job {job.id}): {job.reason}{remedy}")


def _wait_of(backlog: FolderBacklog, waits: Sequence[FolderWait]) -> FolderWait | None:
    return next((w for w in waits if w.folder is None or w.folder == readable(backlog.folder)), None)


def _labelled(label: str, text: str) -> Line:
    return Part(f"{label:<{_LABEL}}", Style.LABEL), Part(one_line(text))


def _told(label: str, text: str, width: int, style: Style = Style.LABEL) -> Iterator[Line]:
    """A text with its label, on up to two lines."""
    first, *others = folded(one_line(text), max(10, width - _LABEL))
    yield Part(f"{label:<{_LABEL}}", style), Part(first)
    if others:
        yield Part(" " * _LABEL), Part(" ".join(others))


def _bar(share: float) -> Line:
    filled = round(_BAR * min(1.0, max(0.0, share)))
    return Part("█" * filled, Style.BAR), Part("░" * (_BAR - filled))


def _cut(lines: Sequence[Line], most: int) -> list[Line]:
    """The first `most` lines; the last of them says how many more there are."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], (Part(f"  … and {len(lines) - most + 1} more"),)]


def _fitted(line: Line, width: int) -> Line:
    """The line, its last part shortened so that it fits."""
    used = list(itertools.accumulate((columns(p.text) for p in line), initial=0))
    if used[-1] <= width:
        return line
    fitting = [p for p, end in zip(line, used[1:], strict=True) if end <= width]
    rest = line[len(fitting)]
    room = width - used[len(fitting)]
    return (*fitting, Part(cropped(rest.text, room), rest.style)) if room > 0 else tuple(fitting)


def _count(recordings: int) -> str:
    return f"{recordings:,} recording{'s' * (recordings != 1)}"


def _rate(times: float) -> str:
    return f"{times:.1f}" if times < 9.95 else f"{times:,.0f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else durations.length(seconds)


def _span(seconds: float) -> str:
    """`40 s`, `12 min`, `3:05 h`, `4 days`."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{max(0.0, seconds):.0f} s"
    if minutes < 60:
        return f"{minutes:.0f} min"
    if minutes < 48 * 60:
        return f"{int(minutes // 60)}:{int(minutes % 60):02} h"
    return f"{minutes / 1440:.0f} days"


def _local(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC).astimezone()


def _when(instant: float, now: float) -> str:
    at = _local(instant)
    return at.strftime("%H:%M" if at.date() == _local(now).date() else "%a %d %b %H:%M")
