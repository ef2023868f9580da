"""Write the files of a plan, remove them again, and leave alone what a person changed.

The SHA-256 of each written file is on record: a file whose content is another one was changed by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from dropscribe.errors import StorageError
from dropscribe.escapes import readable
from dropscribe.installation.places import Places
from dropscribe.installation.plan import PlannedFile

WRITTEN, RENEWED, UNCHANGED, KEPT, REMOVED = "written", "renewed", "unchanged", "kept", "removed"
#: Width of the states in a list.
STATE_COLUMNS = len(UNCHANGED)
_REMEDY = "give this user write access there, or name another place with --prefix"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file; `path` without prefix."""

    path: Path
    state: str


def install(files: Iterable[PlannedFile], places: Places, prefix: Path, *, force: bool) -> list[FileResult]:
    """Write files below `prefix`, remove those of an earlier installation that are not among them. Raises StorageError.

    A file that was changed by hand, or that something else wrote, is kept; with `force` it is replaced, and the old one is
    FILE.bak. If it ends half-way, it may be repeated, and what it wrote can be removed.
    """
    before = recorded(places, prefix)
    planned = [(file, _digest(file.text)) for file in files]
    ours = {str(f.path): digest for f, digest in planned if not f.once}
    with _readable_by_all() if not places.user else nullcontext():
        # On record before they are there, so that none is left behind that nobody knows.
        missing = {p: d for p, d in ours.items() if _content(below(prefix, Path(p))) is None}
        _put_record(before | missing, places, prefix)
        results = [_write(file, before, prefix, force=force) for file, _ in planned]
        gone = [p for p in before if p not in ours]
        results += [r for p in gone if (r := _remove(Path(p), before[p], prefix)) is not None]
        state = {str(r.path): r.state for r in results}
        # A file that a person changed stays on record as it was written, so that it is known as changed. One that was there
        # before, as it should be, is of somebody else.
        record = {p: d for p, d in before.items() if state.get(p) == KEPT}
        record |= {
            p: d for p, d in ours.items() if state[p] != KEPT and (state[p] != UNCHANGED or p in before)
        }
        _put_record(record, places, prefix)
    return results


def uninstall(places: Places, prefix: Path) -> list[FileResult]:
    """Remove the files on record, except those that a person changed. Raises StorageError."""
    record = recorded(places, prefix)
    results = [r for p, digest in record.items() if (r := _remove(Path(p), digest, prefix)) is not None]
    _unlink(places.record, prefix)
    return results


def summary(results: Iterable[FileResult], places: Places) -> list[str]:
    """Lines for people: the many manual pages and completion scripts together, each other file by itself."""
    listed = list(results)
    lines = [
        f"{r.state:<{STATE_COLUMNS}}  {readable(r.path)}"
        for r in listed
        if not r.path.is_relative_to(places.share)
    ]
    states = Counter(r.state for r in listed if r.path.is_relative_to(places.share))
    where = f"manual pages and completion scripts below {readable(places.share)}"
    return [*lines, *(f"{state:<{STATE_COLUMNS}}  {number} {where}" for state, number in states.items())]


def is_installed(places: Places, prefix: Path) -> bool:
    """True if there is a record of written files."""
    return below(prefix, places.record).exists()


def recorded(places: Places, prefix: Path) -> dict[str, str]:
    """Path → SHA-256 of the files written earlier; empty without a record that can be read."""
    text = _content(below(prefix, places.record))
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = {}
    return (
        {p: d for p, d in found.items() if isinstance(d, str) and p.startswith("/")}
        if isinstance(found, dict)
        else {}
    )


def below(prefix: Path, path: Path) -> Path:
    """An absolute path below the prefix."""
    return prefix / path.relative_to("/")


def _put_record(record: Mapping[str, str], places: Places, prefix: Path) -> None:
    _put(places.record, json.dumps(record, indent=1, sort_keys=True) + "\n", prefix)


@contextmanager
def _readable_by_all() -> Iterator[None]:
    """Folders that are made can be entered by the user of the service, whatever the umask of root."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _write(file: PlannedFile, before: Mapping[str, str], prefix: Path, *, force: bool) -> FileResult:
    target = below(prefix, file.path)
    there = _content(target)
    if there is None:
        _put(file.path, file.text, prefix, link=file.link)
        return FileResult(file.path, WRITTEN)
    if there == file.text:
        return FileResult(file.path, UNCHANGED)
    if file.once:
        return FileResult(file.path, KEPT)
    if before.get(str(file.path)) != _digest(there):
        if not force:
            return FileResult(file.path, KEPT)
        try:
            target.rename(target.with_name(f"{target.name}.bak"))
        except OSError as e:
            raise _failed(e, target) from e
    _put(file.path, file.text, prefix, link=file.link)
    return FileResult(file.path, RENEWED)


def _remove(path: Path, digest: str, prefix: Path) -> FileResult | None:
    """None if there is no such file."""
    there = _content(below(prefix, path))
    if there is None:
        return None
    if _digest(there) != digest:
        return FileResult(path, KEPT)
    _unlink(path, prefix)
    return FileResult(path, REMOVED)


def _unlink(path: Path, prefix: Path) -> None:
    target = below(prefix, path)
    try:
        target.unlink(missing_ok=True)
        # A folder of drop-ins is ours if nothing is left in it.
        if (
            target.parent.suffix == ".d"
            and not any(target.parent.iterdir())
            and target.parent.parent.name != "etc"
        ):
            target.parent.rmdir()
    except OSError as e:
        raise _failed(e, target) from e


def _put(path: Path, text: str, prefix: Path, *, link: bool = False) -> None:
    """Write by rename, so that a crash leaves the old file or the new one."""
    target = below(prefix, path)
    new = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        if link:
            new.symlink_to(text)
        else:
            new.write_text(text, encoding="utf-8")
            new.chmod(0o644)
        new.replace(target)
    except OSError as e:
        raise _failed(e, target) from e


def _content(path: Path) -> str | None:
    """Text of a file, or target of a link; None if there is none."""
    try:
        if path.is_symlink():
            return str(path.readlink())
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _failed(e, path) from e


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _failed(error: OSError, path: Path) -> StorageError:
    return StorageError.from_system(error, operation="install", path=path, remedy=_REMEDY)
