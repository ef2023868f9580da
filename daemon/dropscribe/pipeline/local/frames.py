"""Messages over a pipe: whole ones, to and from a process that may not read or write at the moment."""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Iterator

#: Length of a message, before it.
_LENGTH = struct.Struct("!Q")
#: Bytes per read: what a pipe of the largest size holds.
_READ = 1 << 20


class FrameSender:
    """Sends messages without waiting. Raises OSError if the other end is closed. Owned by one thread."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: write end of a pipe, which stays the caller's."""
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._unsent: deque[memoryview] = deque()

    @property
    def pending(self) -> bool:
        """True if the pipe was full: `flush` must be called again."""
        return bool(self._unsent)

    def send(self, message: bytes) -> None:
        """Send a message, now or with later calls of `flush`."""
        self._unsent.append(memoryview(_LENGTH.pack(len(message)) + message))
        self.flush()

    def flush(self) -> None:
        """Send what the pipe takes now."""
        while self._unsent:
            first = self._unsent[0]
            try:
                sent = os.write(self._descriptor, first)
            except BlockingIOError:
                return
            if sent == len(first):
                self._unsent.popleft()
            else:
                self._unsent[0] = first[sent:]


class FrameReceiver:
    """Takes the messages that have arrived, without waiting. Owned by one thread."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: read end of a pipe, which stays the caller's."""
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._arrived = bytearray()
        #: True once the other end is closed and all that was sent has arrived.
        self.ended = False

    def receive(self) -> list[bytes]:
        """Whole messages, in order."""
        while not self.ended:
            try:
                read = os.read(self._descriptor, _READ)
            except BlockingIOError:
                break
            self._arrived += read
            self.ended = not read
        return list(self._whole())

    def _whole(self) -> Iterator[bytes]:
        at = 0
        while len(self._arrived) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._arrived, at)
            begin = at + _LENGTH.size
            if len(self._arrived) - begin < length:
                break
            yield bytes(memoryview(self._arrived)[begin : begin + length])
            at = begin + length
        del self._arrived[:at]


def read_frame(descriptor: int) -> bytes:
    """The next message, waiting for it. Raises EOFError once the other end is closed."""
    (length,) = _LENGTH.unpack(_read(descriptor, _LENGTH.size))
    return _read(descriptor, length)


def write_frame(descriptor: int, message: bytes) -> None:
    """Send a message, waiting until the pipe has taken it. Raises OSError if the other end is closed."""
    left = memoryview(_LENGTH.pack(len(message)) + message)
    while left:
        left = left[os.write(descriptor, left) :]


def _read(descriptor: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(descriptor, min(count, _READ))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
