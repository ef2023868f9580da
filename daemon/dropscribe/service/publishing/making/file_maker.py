"""Make the files of jobs: render them, write them under the names planned for them, and their timing logs.

The same class works in a publishing process and, without one, in a lane of the daemon. It knows neither ledger nor settings.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from dropscribe.files import Readers
from dropscribe.ledger.columns import SegmentRows, segment_rows
from dropscribe.records import sent
from dropscribe.transcript import render
from dropscribe.transcript.placing.publish import PendingFile, Placed, Publication
from dropscribe.transcript.timing import TIMING, timing_log
from dropscribe.transcript.types import Timings, Transcript

#: Threads that write files at once; they mostly wait for the disk.
WRITERS = 8

#: Context manager for calls to the file system of a path. What it yields is to be called after each call that has returned.
Watch = Callable[[Path], AbstractContextManager[Callable[[], None]]]


@sent
@dataclass(frozen=True, slots=True)
class Order:
    """A transcript of which files are to be made."""

    transcript: Transcript
    formats: tuple[str, ...]
    options: render.Options
    #: The setting `subtitle_language_suffix`.
    language: str
    #: The rows of its segments are wanted: they are not on record yet.
    rows: bool


class MadeFile(NamedTuple):
    """A file whose content is made."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(hashlib.sha256(data).hexdigest(), len(data))


class Made(NamedTuple):
    """What was made of a transcript; the contents stay with the maker."""

    files: dict[str, MadeFile]  #: by format
    segment_rows: SegmentRows | None
    language: str  #: in the names of subtitles
    seconds: float


@sent
@dataclass(frozen=True, slots=True)
class Placing:
    """Where files of a job go."""

    job_id: int
    directory: Path
    names: Mapping[str, str]  #: by format
    #: SHA-256 and size of our file there that a file may replace, by format.
    replaces: Mapping[str, tuple[str, int | None]]
    root: Path  #: as in `PendingFile`
    readers: Readers  #: of the recording
    #: Start of the attempt, epoch seconds, if a timing log is to be made afterwards.
    log_from: float | None = None

    @property
    def path(self) -> Path:
        """Path of one of the files, for messages; the directory if there are none."""
        return self.directory / next(iter(self.names.values()), "")


class Written(NamedTuple):
    """Files of a job are on disk under their names."""

    clean: bool  #: as in `Placed`
    seconds: float
    log: MadeFile | None  #: the timing log, which is made but not written


@dataclass(slots=True)
class _Job:
    transcript: Transcript
    files: dict[str, bytes]  #: to be written next, by format


class FileMaker:
    """Makes the files of a batch of jobs: first `render`, then `write`, then `write` again for the timing logs.

    What cannot be made or written is an exception among the answers. Used by one thread.
    """

    def __init__(self, writers: Executor, watch: Watch, made: Callable[[], None] = lambda: None) -> None:
        """`writers`: of at least `WRITERS` threads. `made` is called after each transcript that was rendered."""
        self._writers = writers
        self._watch = watch
        self._made = made
        #: Rendered, and not written completely.
        self._jobs: dict[int, _Job] = {}

    def clear(self) -> None:
        """Forget the previous batch."""
        self._jobs.clear()

    def render(self, orders: Sequence[Order]) -> list[Made | Exception]:
        """Render all formats of each order."""
        answers: list[Made | Exception] = []
        for order in orders:
            try:
                answers.append(self._render(order))
            except Exception as e:
                answers.append(e)
            self._made()
        return answers

    def write(self, placings: Sequence[Placing]) -> list[Written | Exception]:
        """Write files and give them their names; on return they are on disk.

        Jobs share the syncs of their directories. Raises as `Publication` does.
        """
        if not placings:
            return []
        began = time.perf_counter()
        answers: dict[int, Written | Exception] = {}
        with Publication() as publication:
            parts = [placings[i::WRITERS] for i in range(min(WRITERS, len(placings)))]
            futures = [self._writers.submit(self._place, part, publication) for part in parts]
            # All of them use the directories of this publication.
            wait(futures)
            placed: list[tuple[Placing, Placed]] = []
            for part, future in zip(parts, futures, strict=True):
                for placing, ended in zip(part, future.result(), strict=True):
                    error = ended.exception()
                    if isinstance(error, Exception):
                        answers[placing.job_id] = error
                    else:
                        placed.append((placing, ended.result()))
            # Once for all jobs: each sync takes the disk milliseconds.
            with self._watch(placings[0].path):
                publication.sync([one for _, one in placed])
            seconds = time.perf_counter() - began
            for placing, one in placed:
                answers[placing.job_id] = _answer(partial(self._settled, publication, placing, one, seconds))
        return [answers[placing.job_id] for placing in placings]

    def _render(self, order: Order) -> Made:
        began = time.perf_counter()
        transcript = order.transcript
        files = render.render_all(transcript, order.formats, order.options)
        rows = segment_rows(transcript.segments) if order.rows else None
        language = render.subtitle_language(transcript, order.language)
        made = {f: MadeFile.of(data) for f, data in files.items()}
        seconds = time.perf_counter() - began
        self._jobs[transcript.job_id] = _Job(
            replace(transcript, timings=with_stage(transcript.timings, "rendering", seconds)), files
        )
        return Made(made, rows, language, seconds)

    def _place(self, part: Sequence[Placing], publication: Publication) -> list[Future[Placed]]:
        with self._watch(part[0].path) as answered:
            return publication.place_each([self._pending(one) for one in part], answered)

    def _pending(self, placing: Placing) -> list[PendingFile]:
        files = self._jobs[placing.job_id].files
        pending = []
        for f, name in placing.names.items():
            sha256, size = placing.replaces.get(f, (None, None))
            path = placing.directory / name
            pending.append(PendingFile(path, files[f], sha256, size, placing.root, placing.readers))
        return pending

    def _settled(self, publication: Publication, placing: Placing, placed: Placed, seconds: float) -> Written:
        clean = publication.settle(placed)
        if placing.log_from is None:
            del self._jobs[placing.job_id]
            return Written(clean, seconds, None)
        job = self._jobs[placing.job_id]
        timings = with_stage(job.transcript.timings, "publishing", seconds)
        transcript = replace(job.transcript, timings=timings)
        log = timing_log(transcript, started=placing.log_from, ended=time.time())
        job.files = {TIMING: log}
        return Written(clean, seconds, MadeFile.of(log))


def with_stage(timings: Timings, stage: str, seconds: float) -> Timings:
    """Timings with one more stage."""
    return with_seconds(timings, (*timings.seconds, (stage, seconds)))


def with_seconds(timings: Timings, seconds: tuple[tuple[str, float], ...]) -> Timings:
    """Timings with other stages; `dataclasses.replace` takes six times as long."""
    return Timings(seconds, timings.batch_sizes, timings.padding_waste, timings.speech_ms, timings.wall_s)


def _answer(step: Callable[[], Written]) -> Written | Exception:
    try:
        return step()
    except Exception as e:
        return e
