r"""Convert paths, text and `stat` numbers to what database columns hold, and back.

A file name is bytes. Text columns are Unicode, so a path is kept in a binary column, with a text column beside it that shows
bytes outside UTF-8 as `\xNN`.

An inode number has 64 bits without a sign, a column 64 bits with one. File systems that hash their inode numbers
(mergerfs, many network shares) use all of them. A modification time in ns exceeds a column in the year 2262; file
systems go on, and files with wrong dates are common.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, NamedTuple

from dropscribe.escapes import readable
from dropscribe.transcript.types import NO_TAGS, Segment, Tokens

#: Columns of `segments` besides `job_id`, in the order of `segment_values`.
SEGMENT_COLUMNS = ("idx", "start_ms", "end_ms", "text", "tokens", "marks", "speakers", "tags")
#: Those that are text, and those that are empty rather than NULL.
_TEXTS = frozenset({"text", "tokens", "tags"})
_NEVER_NULL = frozenset({"text", "tokens"})
#: The columns of `SegmentRows.numbers`: numbers, then for each further column where its bytes begin, from 1, and how many they are,
#: 0 for NULL.
PACKED_COLUMNS = (
    *SEGMENT_COLUMNS[:3],
    *(f"{column}_{what}" for column in SEGMENT_COLUMNS[3:] for what in ("at", "size")),
)


class SegmentRows(NamedTuple):
    """Values of `SEGMENT_COLUMNS` of all segments of a job, as two: several hundred cost an interpreter milliseconds.

    Another process makes them, and SQLite takes them apart.
    """

    numbers: str  #: JSON: a list of the values of `PACKED_COLUMNS` for each segment
    data: bytes


_SPAN = 2**64
_MOST = 2**63 - 1
#: Smallest stored modification time that means a time before 1970: common file systems begin in 1901. Nanoseconds
#: after 2262 overflow 64 bits and are stored as smaller, negative numbers.
_EARLIEST_NS = -(2**61)


class RawPath(bytes):
    """A path as the operating system has it, or the part of one that a range begins with."""

    __slots__ = ()


#: What stands for a host as a whole; see `Places.key`.
OWN = RawPath()


class UnnamedPath(bytes):
    """The key of a path on the host without a name, read by a host that has one."""

    __slots__ = ()


class PathEnd(RawPath):
    """End of a range of paths, as of `below`."""

    __slots__ = ()


@dataclass(frozen=True)
class Places:
    """Where paths belong, in a database that several hosts use: `key` is what it has in place of a path.

    `@NAME:` stands before the path on a host with a name, `@STORAGE:` in place of the path of a shared folder. So the same path
    on two hosts is two, and a shared folder is one, wherever it is mounted. A key of another place is no absolute path.
    """

    #: Name of this host; "" without one.
    host: str = ""
    #: (name of the storage, its folder on this host)
    shared: tuple[tuple[str, Path], ...] = ()

    @property
    def host_storage(self) -> str:
        """What keys of paths on this host begin with, as `storages`."""
        return f"@{self.host}" if self.host else ""

    @property
    def storages(self) -> tuple[str, ...]:
        """What keys of paths that this host reaches begin with, up to the colon; "" for paths of a host without a name."""
        return (self.host_storage, *(f"@{name}" for name, _ in self.shared))

    @property
    def trivial(self) -> bool:
        """True if every path is its key."""
        return not self.host and not self.shared

    @cached_property
    def _own(self) -> bytes:
        """What the key of a path on this host begins with."""
        return b"@%s:" % self.host.encode() if self.host else b""

    @cached_property
    def _shared(self) -> dict[bytes, bytes]:
        """What keys in a shared folder begin with → the folder, without a slash at its end."""
        return {b"@%s:" % name.encode(): os.fsencode(root).rstrip(b"/") for name, root in self.shared}

    def storage_of(self, folder: Path) -> str:
        """The one of `storages` that a path is in."""
        return next((f"@{n}" for n, root in self.shared if folder.is_relative_to(root)), self.host_storage)

    def key(self, path: bytes) -> bytes:
        """The key of a path; of "" it is that of this host as a whole, of what is of another place (see `shown`) its own."""
        if isinstance(path, PathEnd):
            # The byte before "0" is "/": as a path this would lie beside the folder.
            return self.key(RawPath(path[:-1] + b"/"))[:-1] + path[-1:]
        if path.startswith(b"@"):
            return path.removeprefix(b"@:")
        for start, root in self._shared.items():
            if path.startswith(root) and path[len(root) : len(root) + 1] in {b"", b"/"}:
                return start + path[len(root) :]
        return self._own + path

    def path(self, key: bytes) -> bytes:
        """The path of a key, as a `RawPath`; the key itself if it is of another place, see `path_of`, or anything else."""
        if key.startswith(b"@"):
            end = key.find(b":") + 1
            start = key[:end]
            root = b"" if start and start == self._own else self._shared.get(start)
            return key if root is None else RawPath(root + key[end:])
        if key.startswith(b"/"):
            # Not changed: a column may have other things than paths.
            return UnnamedPath(key) if self.host else RawPath(key)
        return key

    def label(self, folder: Path) -> str:
        """The key of a folder as text, by which statistics tell folders of several hosts apart."""
        return readable(path_of(self.key(raw(folder))))

    def shown(self, label: str) -> str:
        """The folder of a `label` as this host has it; of another host `@HOST:` and its path, without a name `@:` and its path."""
        for name, root in self.shared:
            if label.startswith(f"@{name}:"):
                return readable(root).rstrip("/") + label[len(name) + 2 :]
        if self.host and label.startswith("/"):
            return f"@:{label}"
        return label.removeprefix(f"@{self.host}:") if self.host else label


def host_of(worker: str) -> str:
    """The host of a worker, "HOST/…"; "" for one without a name."""
    return worker.rpartition("/")[0]


def raw(path: Path | str) -> RawPath:
    """The bytes of the path, as the operating system has it."""
    return RawPath(os.fsencode(path))


def path_of(raw_path: bytes) -> Path:
    """The path that `raw` encoded; of another host it is not absolute: "@HOST:/..." or, of the one without a name, "@:/..."."""
    if isinstance(raw_path, UnnamedPath):
        return Path(f"@:{os.fsdecode(raw_path)}")
    return Path(os.fsdecode(raw_path))


def storable(text: str) -> str:
    """Text without lone surrogates, which come from file names in it and which a text column cannot hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def below(folder: Path) -> tuple[RawPath, RawPath]:
    """Bounds [first, last) of the raw paths below `folder`."""
    prefix = raw(folder).rstrip(b"/")
    # "0" is the byte after "/": everything between begins with "folder/".
    return RawPath(prefix + b"/"), PathEnd(prefix + b"0")


def signed(number: int) -> int:
    """Map an inode number or a modification time (ns) to 64 bits with a sign."""
    return (number + _MOST + 1) % _SPAN - _MOST - 1


def inode_of(number: int) -> int:
    """The inode number that `signed` mapped."""
    return number % _SPAN


def mtime_of(number: int) -> int:
    """The modification time that `signed` mapped, ns."""
    return number + _SPAN if number < _EARLIEST_NS else number


def segment_values(s: Segment) -> tuple[Any, ...]:
    """Values of `SEGMENT_COLUMNS`."""
    return (
        s.index,
        s.start_ms,
        s.end_ms,
        storable(s.text),
        storable(_tokens(s.tokens)),
        s.marks or None,
        s.speakers or None,
        dumped(s.tags.record()) if s.tags != NO_TAGS else None,
    )


def segment_rows(segments: Iterable[Segment]) -> SegmentRows:
    """Values of `SEGMENT_COLUMNS` of each segment, packed."""
    index, data, at = [], [], 1
    for segment in segments:
        values = segment_values(segment)
        row = list(values[:3])
        for value in values[3:]:
            part = value.encode() if isinstance(value, str) else value or b""
            row += (at, len(part))
            data.append(part)
            at += len(part)
        index.append(row)
    return SegmentRows(json.dumps(index, separators=(",", ":")), b"".join(data))


def unpacked(rows: SegmentRows) -> list[tuple[Any, ...]]:
    """Values of `SEGMENT_COLUMNS` of each segment."""
    found = []
    for row in json.loads(rows.numbers):
        values = row[:3]
        for column, at, size in zip(SEGMENT_COLUMNS[3:], row[3::2], row[4::2], strict=True):
            part = rows.data[at - 1 : at - 1 + size]
            value = part.decode() if column in _TEXTS else part
            values.append(value if size or column in _NEVER_NULL else None)
        found.append(tuple(values))
    return found


#: `json.dumps` makes a new one each time it is asked for other than its defaults.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumped(value: Any) -> str:
    """JSON as columns hold it."""
    return storable(_JSON.encode(value))


def _tokens(said: Tokens) -> str:
    """The JSON of `dumped` for a list of (text, start_ms, end_ms[, confidence]), made faster."""
    texts = map(encode_basestring, said.texts)
    if said.confidence:
        sure = zip(texts, said.starts_ms, said.ends_ms, said.confidence, strict=True)
        return f"[{','.join([f'[{text},{start},{end},{c}]' for text, start, end, c in sure])}]"
    columns = zip(texts, said.starts_ms, said.ends_ms, strict=True)
    return f"[{','.join([f'[{text},{start},{end}]' for text, start, end in columns])}]"
