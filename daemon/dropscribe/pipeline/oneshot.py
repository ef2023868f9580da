"""Transcribe files once, with the decoders, engine and assembly of the daemon but without a ledger."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dropscribe.config import Settings
from dropscribe.errors import EngineDiedError
from dropscribe.escapes import readable
from dropscribe.files import FileSignature, content_hash, readers_of
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Progress, Work, channels_of, options_of
from dropscribe.pipeline.earlier_files import earlier_files
from dropscribe.pipeline.local.stations_executor import start_executor
from dropscribe.pipeline.problem import Problem
from dropscribe.pipeline.process_limits import prepare_limits
from dropscribe.transcript import naming, render
from dropscribe.transcript.placing.publish import PendingFile, publish
from dropscribe.transcript.timing import timing_log
from dropscribe.transcript.types import EngineFacts, Transcript

_PLAIN = render.Options()


@dataclass(frozen=True, slots=True)
class Finished:
    """Result of one file, or the problem that prevented it."""

    path: Path
    end: Result | Problem


class OneShot:
    """Own executor for a few files. Use as a context manager."""

    def __init__(self, settings: Settings, profiles: Sequence[str] = ("default",)) -> None:
        """`profiles`: those that `transcribe` will be called with."""
        self._settings = settings.loading(profiles)
        self._stack = ExitStack()
        self._tickets = itertools.count(1)

    def __enter__(self) -> Self:
        prepare_limits(operation="transcribe")
        with ExitStack() as stack:
            self._executor = start_executor(self._settings)
            stack.callback(self._executor.close)
            self._executor.wait_ready(lambda: False)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def facts(self) -> EngineFacts:
        """Model, device and versions."""
        return self._executor.facts

    def transcribe(
        self, paths: list[Path], progress: Callable[[Path, Progress], None], profile: str = "default"
    ) -> Iterator[Finished]:
        """Transcribe each file, yielding in order of completion; `progress` is called for files in progress.

        `profile`: name of the profile whose settings apply.

        When the engine dies, the files in progress end with a problem and are not retried.
        """
        waiting = deque((next(self._tickets), path) for path in paths)
        running: dict[int, Path] = {}
        settings = self._settings.profile(profile)
        while waiting or running:
            while waiting and self._executor.room():
                ticket, path = waiting.popleft()
                running[ticket] = path
                track, channels = settings.audio_track, channels_of(settings)
                self._executor.start(
                    Work(
                        ticket,
                        path,
                        None,
                        options_of(self._settings, settings),
                        track=track,
                        channels=channels,
                    )
                )
            outcomes: list[Outcome] = []
            try:
                outcomes = self._executor.turn(0.1)
                self._executor.supervise()
            except EngineDiedError as e:
                for ticket in self._executor.abandon():
                    yield Finished(running.pop(ticket), Problem.of(e))
                self._executor.replace(e.reason)
                self._executor.wait_ready(lambda: False)
            for ticket, path in running.items():
                state = self._executor.progress(ticket)
                if state is not None:
                    progress(path, state)
            for outcome in outcomes:
                yield Finished(running.pop(outcome.ticket), outcome.end)


def transcript_of(path: Path, result: Result, engine: EngineFacts, recipe: str = "") -> Transcript:
    """Transcript of a file without a ledger record, as job 0, made with a `recipe` of the settings. Hashes the file; raises OSError and DropscribeError."""
    return Transcript(
        recording_name=readable(path.name),
        sha256=content_hash(path, None, FileSignature.of(path.stat())),
        job_id=0,
        created_at=time.time(),
        media=result.media,
        engine=engine.using(result.used),
        segments=result.segments,
        timings=result.timings,
        incomplete=result.remarks,
        speakers=result.speakers,
        recipe=recipe,
    )


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A transcript file; `replaced`: it replaced one of an earlier run."""

    path: Path
    replaced: bool


def write_beside(
    path: Path, transcript: Transcript, only: str | None = None, options: render.Options = _PLAIN
) -> list[WrittenFile]:
    """Publish every format and the timing log, or only format `only`, beside `path`.

    `options`: of the profile. Files of an earlier run are replaced, others never. Raises OSError, StorageError, OutputTakenError.
    """
    formats = [*naming.DEFAULT_FORMATS, "timing"] if only is None else [only]
    now = time.time()
    files = render.render_all(transcript, [f for f in formats if f != "timing"], options)
    if "timing" in formats:
        files["timing"] = timing_log(transcript, started=now - transcript.timings.wall_s, ended=now)
    names = [p.name for p in path.parent.iterdir()]
    earlier = earlier_files(path, transcript.sha256, names, files, options)
    state = naming.DirectoryState(path.parent, frozenset(names), frozenset(earlier))
    paths = naming.plan_names(path, formats, state).paths
    readers = readers_of(path, None)
    pending = []
    for name in formats:
        before = earlier.get(paths[name].name)
        replaces, size = (None, None) if before is None else (before.sha256, before.size)
        pending.append(PendingFile(paths[name], files[name], replaces, size, readers=readers))
    publish(pending)
    return [WrittenFile(p.path, p.replaces is not None) for p in pending]
