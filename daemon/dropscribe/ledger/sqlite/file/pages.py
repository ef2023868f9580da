"""Read the rows that stand in the pages of a database file, whether or not a tree leads to them.

Where a page that leads to others is lost, SQLite finds none of them; the rows in them are whole nevertheless. Source of the
format: https://sqlite.org/fileformat2.html, sections 1.6 and 2.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

#: Of every database of ours, bytes.
PAGE_BYTES = 4096
#: A row that claims to be larger is none, bytes.
_MOST_BYTES = 1 << 28
_HEADER_BYTES = 100
_TABLE_LEAF = 13
#: Bytes of an integer by its serial type.
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | float | str | bytes | None


def rows(path: Path) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """(row number, values) of every row in a leaf of a table; the log must be empty. What is no row is passed over."""
    count = path.stat().st_size // PAGE_BYTES
    with path.open("rb") as file:
        for number in range(1, count + 1):
            page = _page(file, number)
            begin = _HEADER_BYTES if number == 1 else 0
            if page[begin] != _TABLE_LEAF:
                continue
            cells = int.from_bytes(page[begin + 3 : begin + 5], "big")
            first = begin + 8
            for at in range(first, min(first + 2 * cells, PAGE_BYTES - 1), 2):
                try:
                    yield _cell(file, page, int.from_bytes(page[at : at + 2], "big"), count)
                except (ValueError, IndexError, struct.error):
                    continue


def _page(file: BinaryIO, number: int) -> bytes:
    file.seek((number - 1) * PAGE_BYTES)
    return file.read(PAGE_BYTES)


def _cell(file: BinaryIO, page: bytes, at: int, count: int) -> tuple[int, tuple[Value, ...]]:
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size > _MOST_BYTES:
        raise ValueError("too large")
    most = PAGE_BYTES - 35
    local = size
    if size > most:
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        local = least + (size - least) % (PAGE_BYTES - 4)
        local = local if local <= most else least
    payload = page[at : at + local]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while len(payload) < size:
        if not 1 < following <= count:
            raise ValueError("it leads nowhere")
        more = _page(file, following)
        following = int.from_bytes(more[:4], "big")
        payload += more[4:]
    return rowid - (1 << 64) if rowid >= 1 << 63 else rowid, _record(payload[:size])


def _record(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    body, values = end, []
    while at < end:
        kind, at = _varint(payload, at)
        value, body = _value(payload, body, kind)
        values.append(value)
    if body != len(payload):
        raise ValueError("it is longer than its values")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in {0, 8, 9}:
        return {0: None, 8: 0, 9: 1}[kind], at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack(">d", payload[at : at + 8])[0], at + 8
    if kind < 12:
        raise ValueError("no such type")
    end = at + (kind - 12) // 2
    data = payload[at:end]
    return (data.decode("utf-8") if kind % 2 else data), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 9 bytes, and where it ends."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9
