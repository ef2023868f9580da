"""A part of a file as a file of its own: recordings can follow each other in one file."""

from __future__ import annotations

import io
import os


class Span(io.RawIOBase):
    """Bytes [start, end) of the open file `fd`, which the caller must close. Does not move the file's offset."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        super().__init__()
        self.fd = fd
        self.start = start
        self.end = end
        self._at = start

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` of the span. Raises OSError."""
        length = min(length, self.end - self.start - offset)
        return os.pread(self.fd, length, self.start + offset) if offset >= 0 and length > 0 else b""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: object) -> int:
        """See `io.RawIOBase`."""
        view = memoryview(buffer)  # type: ignore[arg-type]  # a buffer, by the interface
        data = self.at(self._at - self.start, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        base = {os.SEEK_SET: self.start, os.SEEK_CUR: self._at, os.SEEK_END: self.end}[whence]
        if base + offset < self.start:
            raise OSError(22, "negative offset")
        self._at = base + offset
        return self._at - self.start

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._at - self.start
