"""Write a support bundle: facts for remote diagnosis without transcripts, secrets, file names and paths.

A tar.gz of one folder with JSON documents; about.json has versions and the documents that are missing. An allow-list
decides: a value is included if it is known to be harmless (a number, a default, a name defined by dropscribe), else a
mark replaces it (see `redaction.py`).
"""

from __future__ import annotations

import errno
import io
import os
import platform
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dropscribe import __version__, escapes
from dropscribe.config import OLD_MODEL_NAMES, Loaded, Models, foreign_names
from dropscribe.doctor import journal
from dropscribe.doctor.checks.record import Check
from dropscribe.doctor.redaction import Mask
from dropscribe.engine.models.store import BUNDLED_MODELS
from dropscribe.errors import DropscribeError, StorageError, UsageError
from dropscribe.ledger.backend import location_of, open_read_only
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState, JobSummary
from dropscribe.service.monitoring import status_file
from dropscribe.transcript.roles import NULL

SCHEMA = "dropscribe/bundle/1"
#: Most finished jobs whose timings are included, and most failed jobs whose reasons are.
TIMED, FAILED = 50, 100
#: Settings whose value is one of a few words, a model or a device; included unless it is a path.
_SHOWN = frozenset(
    {"engine.device", "engine.precision", "service.log_format", "service.log_level"}
    | {f"engine.models.{role}" for role in Models.model_fields}
    | {f"engine.{name}" for name in OLD_MODEL_NAMES}
)
_SHOWN_OF_FOLDER = frozenset({"backend", "formats", "duplicates", "extensions", "extensions_also"})
PACKAGES = (
    "torch",
    "funasr",
    "numba",
    "numpy",
    "av",
    "soundfile",
    "soxr",
    "sqlalchemy",
    "pysqlite3",
    "watchdog",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force: dotted name, JSON value, and source."""

    name: str
    value: Any
    source: str


def collect(
    loaded: Loaded | None,
    settings: Iterable[Setting],
    checks: Iterable[Check],
    now: float,
    *named: Path,
    refused: Path | None = None,
) -> dict[str, Any]:
    """Collect the documents of a bundle, by name. `loaded` is None if the configuration file `refused` is invalid.

    `named`: paths given on the command line. `now`: epoch seconds.
    """
    mask = mask_for(loaded, *named, refused=refused)
    documents: dict[str, Any] = {}
    missing: dict[str, str] = {}
    documents["settings.json"] = [_setting(s, mask) for s in settings]
    documents["doctor.json"] = [_check(c, mask) for c in checks]
    if loaded is None:
        missing["settings.json"] = "the configuration cannot be read: see doctor.json"
    else:
        try:
            documents["status.json"] = _status(location_of(loaded.settings), mask)
        except (OSError, ValueError) as e:
            missing["status.json"] = type(e).__name__
        try:
            location = location_of(loaded.settings)
            documents["jobs.json"], documents["failures.json"] = _history(location, mask)
        except DropscribeError as e:
            missing["jobs.json"] = missing["failures.json"] = mask.text(e.reason)
    lines = journal.read()
    if lines:
        documents["journal.json"] = list(journal.redact(lines, mask))
    else:
        missing["journal.json"] = "no journal of dropscribe.service that this user may read"
    return {"about.json": _about(now, missing), **documents}


def refuse_impossible(path: Path) -> None:
    """Raise what `write` would raise if the file exists or its folder does not: before the checks, which take a while."""
    if os.path.lexists(path):
        raise _exists(path)
    try:
        path.parent.stat()
    except OSError as e:
        raise _storage(e, path) from e


def write(path: Path, documents: Mapping[str, Any], now: float) -> None:
    """Write the bundle with mode 0600. Raises UsageError if the file exists, StorageError."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in documents.items():
            data = (escapes.dumps(content, indent=1) + "\n").encode()
            entry = tarfile.TarInfo(f"dropscribe-bundle/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(now), 0o600
            archive.addfile(entry, io.BytesIO(data))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as e:
        raise _exists(path) from e
    except OSError as e:
        raise _storage(e, path) from e
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(packed.getvalue())
    except OSError as e:
        path.unlink(missing_ok=True)
        raise _storage(e, path) from e


def mask_for(loaded: Loaded | None, *named: Path, refused: Path | None = None) -> Mask:
    """Mask for the paths of these settings and of this installation.

    For a refused configuration it also masks names that are no settings, because the error message quotes one.
    """
    known: dict[str, list[Path]] = {
        "home": [Path.home()],
        "program": [Path(sys.prefix), Path(__file__).parents[2]],
        "current folder": [Path.cwd()],
        "command line": [*named],
    }
    words: list[str] = [] if refused is None else [*foreign_names(refused)]
    known["configuration"] = [] if refused is None else [refused, refused.absolute()]
    if loaded is not None:
        settings = loaded.settings
        words += [word for profile in settings.profiles.values() for word in profile.hotwords]
        words += [name for name in settings.profiles if name != "default"]
        known["database"] = [settings.database, settings.database.absolute()]
        known["folder"] = [f.path for f in settings.folders]
        known["output folder"] = [p.output_dir for p in settings.profiles.values() if p.output_dir]
        known["configuration"] = [loaded.file, loaded.file.absolute()] if loaded.file else []
        models = {name for role in settings.models_by_role().values() for name in role}
        known["model"] = [Path(name) for name in sorted(models) if "/" in name]
    return Mask(known, words)


def _about(now: float, missing: Mapping[str, str]) -> dict[str, Any]:
    """`dropscribe/bundle/1`: created (epoch seconds), versions, machine, missing {document: reason}."""
    versions = {"dropscribe": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "schema": SCHEMA,
        "created": now,
        "versions": versions,
        "machine": {
            "system": platform.system(),
            "release": platform.release(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "left_out": "transcripts, names of recordings, paths, hotwords, and every text that somebody chose: "
        "a mark like <path 1a2b3c4d> stands for each, the same for the same within this bundle only",
        "missing": dict(missing),
    }


def _setting(setting: Setting, mask: Mask) -> dict[str, Any]:
    parts = setting.name.split(".")
    name = setting.name
    if parts[0] == "profiles" and parts[1] != "default":
        name = ".".join(["profiles", mask.word(parts[1], "profile"), *parts[2:]])
    from_file = setting.source not in ("default", "command line", "embedded")
    return {
        "name": name,
        "value": _value(setting, parts[-1], mask),
        "source": "file" if from_file else setting.source,
    }


def _value(setting: Setting, last: str, mask: Mask) -> Any:
    value = setting.value
    if value is None or setting.source == "default" or isinstance(value, (bool, int, float)):
        return value
    if last == "hotwords":
        return f"{len(value)} words"
    if setting.name in _SHOWN and isinstance(value, str):
        harmless = value in (*BUNDLED_MODELS, NULL) or not re.search(r"/|^[.~]", value)
        return value if harmless else mask.path(value)
    if last in _SHOWN_OF_FOLDER:
        return value
    if isinstance(value, str):
        return mask.path(value) if "/" in value else mask.word(value, "text")
    return f"{len(value)} entries" if isinstance(value, (list, tuple)) else "left out"


def _check(check: Check, mask: Mask) -> dict[str, str]:
    return {
        "name": mask.text(check.name),
        "status": str(check.status),
        "detail": mask.text(check.detail),
        "remedy": mask.text(check.remedy, quotes=False),
    }


def _status(location: DatabaseLocation, mask: Mask) -> dict[str, Any]:
    """Redacted content of the status file. Raises OSError or ValueError if it cannot be read."""
    said = status_file.read(location)
    if said is None:
        raise FileNotFoundError(
            errno.ENOENT, os.strerror(errno.ENOENT), str(status_file.status_path(location))
        )
    kept = {k: said.get(k) for k in ("schema", "pid", "state", "since", "updated", "in_flight", "unsettled")}
    engine = said.get("engine") or {}
    shown = ("device", "precision", "versions", "warmup_s")
    folders = [
        {
            "path": mask.path(f["path"]),
            "backend": f["backend"],
            "problem": f["problem"] and mask.text(f["problem"]),
            "remedy": f["remedy"] and mask.text(f["remedy"], quotes=False),
        }
        for f in said.get("folders", [])
    ]
    return {**kept, "engine": {k: engine.get(k) for k in shown}, "folders": folders}


def _history(location: DatabaseLocation, mask: Mask) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Contents of jobs.json and failures.json. Raises DropscribeError if the database cannot be read."""
    with closing(open_read_only(location)) as ledger:
        counts = {state.value: number for state, number in ledger.counts().items()}
        done = ledger.jobs(state=JobState.DONE, limit=TIMED)
        timed = [{"id": j.id, **_timed(j), "stages_s": _stages(ledger, j.id)} for j in done]
        failed = list(_failures(ledger.jobs(state=JobState.FAILED, limit=FAILED), mask))
    return {"counts": counts, "timings": timed}, failed


def _timed(job: JobSummary) -> dict[str, Any]:
    return {
        "audio_s": job.audio_s,
        "speech_s": job.speech_s,
        "total_s": job.total_s,
        "rtfx": job.rtfx,
        "attempts": job.attempts,
        "truncated": job.truncated is not None,
        "by_reference": job.reference is not None,
    }


def _stages(ledger: Ledger, job: int) -> dict[str, float]:
    detail = ledger.job(job)
    return dict(detail.result.timings.seconds) if detail is not None and detail.result is not None else {}


def _failures(jobs: Iterable[JobSummary], mask: Mask) -> Iterator[dict[str, Any]]:
    for job in jobs:
        yield {
            "id": job.id,
            "file": mask.name(job.recording),
            "code": job.reason_code,
            "reason": mask.text(job.reason or "", job.recording),
            "remedy": mask.text(job.remedy or "", job.recording, quotes=False),
            "attempts": job.attempts,
            "admitted": job.admitted_at,
            "finished": job.finished_at,
        }


def _exists(path: Path) -> UsageError:
    return UsageError("the file exists", operation="write bundle", path=path, remedy="name another file")


def _storage(e: OSError, path: Path) -> StorageError:
    return StorageError.from_system(
        e, operation="write bundle", path=path, remedy="name another file, on another disk"
    )
