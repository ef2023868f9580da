"""Records of a comparison, and the measures computed from them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropscribe.escapes import readable

SCHEMA = "dropscribe/bench/1"
#: Names of the contenders.
STOCK, CALIBRATED, OURS = "stock", "calibrated", "dropscribe"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording in one run. Instants are seconds from the start of the run."""

    path: Path
    began_s: float
    finished_s: float
    text: str
    problem: str | None

    @property
    def wall_s(self) -> float:
        """Seconds from start to end of its transcription."""
        return self.finished_s - self.began_s


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources used by a run; None if they cannot be measured. Memory: peak, bytes."""

    #: Mean GPU utilisation from the first recording to the last, percent.
    gpu_percent: float | None
    #: Above the memory in use before the run.
    gpu_bytes: int | None
    host_bytes: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """One contender with all recordings. `load_s`: from the start of the process to the first recording."""

    name: str
    options: dict[str, Any]
    device: str
    load_s: float
    wall_s: float
    first_text_s: float | None  #: from the start of the run; None if there was no text
    usage: Usage
    recordings: tuple[Recording, ...]
    problem: str | None = None  #: reason why the run failed or is incomplete

    @property
    def done(self) -> tuple[Recording, ...]:
        """Recordings without a problem."""
        return tuple(r for r in self.recordings if r.problem is None)

    @property
    def whole(self) -> bool:
        """True if every recording was transcribed."""
        return self.problem is None and len(self.done) == len(self.recordings)

    def audio_s(self, lengths: dict[Path, float]) -> float:
        """Seconds of audio transcribed."""
        return sum(lengths.get(r.path, 0.0) for r in self.done)

    def rtfx(self, lengths: dict[Path, float]) -> float | None:
        """Audio seconds per wall second; None if nothing was transcribed."""
        audio = self.audio_s(lengths)
        return audio / self.wall_s if audio > 0 and self.wall_s > 0 else None

    def per_recording_s(self) -> float | None:
        """Mean wall seconds per recording, over the whole run."""
        return self.wall_s / len(self.done) if self.done else None


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison. `lengths`: seconds of audio of each recording that could be decoded."""

    created: str  #: ISO 8601, UTC
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    lengths: dict[Path, float]
    runs: tuple[Run, ...]

    def run(self, name: str) -> Run | None:
        """The run of a contender."""
        return next((r for r in self.runs if r.name == name), None)

    def speedup(self, over: str) -> float | None:
        """RTFx of dropscribe divided by that of `over`; None if either has none."""
        ours, theirs = self.run(OURS), self.run(over)
        if ours is None or theirs is None:
            return None
        mine, other = ours.rtfx(self.lengths), theirs.rtfx(self.lengths)
        return None if mine is None or other is None else mine / other

    def same_text(self) -> tuple[int, int]:
        """(recordings with equal text from dropscribe and calibrated FunASR, ignoring spaces; recordings compared)."""
        ours, theirs = self.run(OURS), self.run(CALIBRATED)
        if ours is None or theirs is None:
            return 0, 0
        other = {r.path: _letters(r.text) for r in theirs.done}
        both = [r for r in ours.done if r.path in other]
        return sum(_letters(r.text) == other[r.path] for r in both), len(both)

    def document(self) -> dict[str, Any]:
        """JSON document, schema dropscribe/bench/1.

        created, machine, versions, settings, audio_s, speedup {stock, calibrated} (null if unknown), same_text
        {recordings, compared}, runs [{name, options, device, load_s, wall_s, wall_per_recording_s, rtfx,
        first_text_s, gpu_percent, gpu_bytes, host_bytes, problem, recordings [{file, audio_s, began_s, finished_s,
        wall_s, characters, problem}]}]. Seconds (`_s`) of a run count from its first recording; load_s before that.
        """
        same, compared = self.same_text()
        return {
            "schema": SCHEMA,
            "created": self.created,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "audio_s": round(sum(self.lengths.values()), 3),
            "speedup": {name: _rounded(self.speedup(name)) for name in (STOCK, CALIBRATED)},
            "same_text": {"recordings": same, "compared": compared},
            "runs": [self._run_document(r) for r in self.runs],
        }

    def _run_document(self, run: Run) -> dict[str, Any]:
        return {
            "name": run.name,
            "options": run.options,
            "device": run.device,
            "load_s": _rounded(run.load_s),
            "wall_s": _rounded(run.wall_s),
            "wall_per_recording_s": _rounded(run.per_recording_s()),
            "rtfx": _rounded(run.rtfx(self.lengths)),
            "first_text_s": _rounded(run.first_text_s),
            "gpu_percent": _rounded(run.usage.gpu_percent),
            "gpu_bytes": run.usage.gpu_bytes,
            "host_bytes": run.usage.host_bytes,
            "problem": run.problem,
            "recordings": [
                {
                    "file": readable(r.path),
                    "audio_s": _rounded(self.lengths.get(r.path)),
                    "began_s": _rounded(r.began_s),
                    "finished_s": _rounded(r.finished_s),
                    "wall_s": _rounded(r.wall_s),
                    "characters": len(_letters(r.text)),
                    "problem": r.problem,
                }
                for r in run.recordings
            ],
        }


def first_text(recordings: Sequence[Recording], heard_s: float | None) -> float | None:
    """Time of the first text, seconds: of a recording under way (`heard_s`), or of a finished one."""
    ended = [r.finished_s for r in recordings if r.text]
    return min([*ended, *([] if heard_s is None else [heard_s])], default=None)


def _letters(text: str) -> str:
    """Text normalised for comparison: FunASR leaves some subword markers in, and writes spelt letters in lower case."""
    return "".join(text.replace("@@", "").split()).casefold()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
