"""Let the daemon write into the folders that a group shares: `dropscribe doctor --fix`.

A watched folder, or its `output_dir`, and each directory in it that is watched gets the set-group-ID bit and access control
lists that grant the daemon's group everything, in it and in directories made in it later. Files are left as they are.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropscribe.config import Folder, Settings
from dropscribe.doctor import posix_acl
from dropscribe.doctor.posix_acl import ACCESS, DEFAULT, Acl
from dropscribe.escapes import readable
from dropscribe.files import GONE, close, open_directory
from dropscribe.intake.names import Names
from dropscribe.ledger.backend import location_of

SCHEMA = "dropscribe/sharing/1"
#: Permission bits of a shared directory besides those it has.
_SHARED = stat.S_ISGID | stat.S_IRWXU | stat.S_IRWXG
_NO_LISTS = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Account:
    """User and group that the daemon runs as."""

    uid: int
    gid: int

    @classmethod
    def of_daemon(cls, settings: Settings) -> Account:
        """For root that of the owner of the database's directory, for others their own. Raises OSError."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        status = location_of(settings).directory.stat()
        return cls(status.st_uid, status.st_gid)

    def __str__(self) -> str:
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            name = str(self.uid)
        return f"user {name}, group {self.gid}"


@dataclass(frozen=True, slots=True)
class Shared:
    """What was changed on a directory, or why it could not be; both empty where nothing was to be done."""

    path: Path
    changes: tuple[str, ...] = ()
    problem: str = ""

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"path": readable(self.path), "changes": list(self.changes), "problem": self.problem or None}


def share(settings: Settings, account: Account) -> Iterator[Shared]:
    """Change all directories of the watched folders in force; yields those that were changed or could not be."""
    for folder in settings.folders:
        output_dir = settings.profile(folder.profile).output_dir
        top = folder.path if output_dir is None else folder.path / output_dir
        for one in _share_below(top, folder, account):
            if one.changes or one.problem:
                yield one


def share_directory(directory: int, path: Path, account: Account) -> Shared:
    """Change one directory, given by descriptor."""
    status = os.fstat(directory)
    if os.geteuid() not in {0, status.st_uid}:
        return Shared(path, problem=f"it belongs to the user with id {status.st_uid}: run this as root")
    changes: list[str] = []
    try:
        if status.st_gid != account.gid and os.geteuid() == 0 and status.st_uid == account.uid:
            os.fchown(directory, -1, account.gid)
            changes.append(f"group {account.gid}")
        mode = stat.S_IMODE(status.st_mode)
        if mode & _SHARED != _SHARED:
            # With a list, the bits of the group are its mask: they decide for the daemon's group, too.
            os.fchmod(directory, mode | _SHARED)
            changes.append(f"mode {mode:04o} → {mode | _SHARED:04o}")
        changes += _grant(directory, mode | _SHARED, account)
    except OSError as e:
        return Shared(path, tuple(changes), e.strerror or str(e))
    return Shared(path, tuple(changes))


def _grant(directory: int, mode: int, account: Account) -> Iterator[str]:
    for name, what in ((ACCESS, "access"), (DEFAULT, "default access")):
        try:
            now = posix_acl.read(directory, name)
            wanted = (now or Acl.of_mode(mode)).granting(account.gid)
            if now != wanted:
                posix_acl.write(directory, name, wanted)
                yield f"{what}: group {account.gid} may write"
        except OSError as e:
            if e.errno not in _NO_LISTS:
                raise
            # The set-group-ID bit and the bits of the group are all that this file system has.
            return


def _share_below(top: Path, folder: Folder, account: Account) -> Iterator[Shared]:
    """Change `top`, the watched `folder` or its output directory, and the directories in it that are watched."""
    names = Names(folder)
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            directory = open_directory(top, path)
        except OSError as e:
            if path == top or e.errno not in GONE:
                yield Shared(path, problem=e.strerror or str(e))
            continue
        try:
            yield share_directory(directory, path, account)
            if folder.recursive:
                below = (path / name for name in _directories_in(directory))
                waiting += [p for p in below if not names.prunes(p.name, str(p.relative_to(top)))]
        except OSError as e:
            yield Shared(path, problem=e.strerror or str(e))
        finally:
            close(directory)


def _directories_in(directory: int) -> list[str]:
    """Names of the directories in a directory, the last first; links are none. Raises OSError."""
    with os.scandir(directory) as entries:
        return sorted((e.name for e in entries if e.is_dir(follow_symlinks=False)), reverse=True)
