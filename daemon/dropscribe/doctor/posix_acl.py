"""Read and write POSIX access control lists of directories as extended attributes (acl(5)), without libacl or setfacl."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
#: Tags of linux/posix_acl.h, in the order in which entries are stored.
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
RWX = 0o7
_VERSION = 2
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
#: Id of entries without one.
_NO_ID = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Acl:
    """Entries: (tag, id of a user or group, None for other tags) → permission bits, `RWX` for all."""

    entries: dict[tuple[int, int | None], int]

    @classmethod
    def of_mode(cls, mode: int) -> Acl:
        """The list that permission bits are equal to."""
        return cls({
            (USER_OBJ, None): mode >> 6 & RWX, (GROUP_OBJ, None): mode >> 3 & RWX, (OTHER, None): mode & RWX,
        })  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Acl:
        """Raises ValueError if it is none."""
        if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _VERSION:
            raise ValueError("this access control list has another version")
        try:
            found = list(_ENTRY.iter_unpack(data[_HEADER.size :]))
        except struct.error as e:
            raise ValueError("this access control list is cut") from e
        return cls({(tag, None if of == _NO_ID else of): permissions for tag, permissions, of in found})

    def encode(self) -> bytes:
        """The value of the attribute."""
        ordered = sorted(self.entries.items(), key=lambda entry: (entry[0][0], entry[0][1] or 0))
        return _HEADER.pack(_VERSION) + b"".join(
            _ENTRY.pack(tag, permissions, _NO_ID if of is None else of) for (tag, of), permissions in ordered
        )

    def granting(self, group: int) -> Acl:
        """This list, in which owner, owning group and `group` may do everything; other entries stay."""
        changed = {(USER_OBJ, None): RWX, (GROUP_OBJ, None): RWX, (GROUP, group): RWX, (MASK, None): RWX}
        return Acl(self.entries | changed)


def read(directory: int, name: str) -> Acl | None:
    """The list of a directory descriptor; None if it has none. Raises OSError (EOPNOTSUPP without such lists)."""
    try:
        return Acl.decode(os.getxattr(directory, name))
    except OSError as e:
        if e.errno == errno.ENODATA:
            return None
        raise


def write(directory: int, name: str, acl: Acl) -> None:
    """Set the list of a directory descriptor. Raises OSError."""
    os.setxattr(directory, name, acl.encode())
