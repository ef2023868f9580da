"""Shared memory for decoded audio: one anonymous file of equal slots, and their allocation.

The file is a memfd without a name, so a killed daemon leaves nothing in /dev/shm. Where a sandbox forbids memfds, it is
a file of the runtime, state or temporary directory without a name. Decoders write to slots, the engine reads them; only
this allocator, in the daemon, assigns them.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from dropscribe.engine.protocol import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ
from dropscribe.errors import StorageError
from dropscribe.pipeline.process_limits import file_size_limit

#: Samples per slot: 10.24 s, a whole number of 4 KiB pages. Small, so that the start of a long recording reaches the
#: engine early; large enough that a 6-hour recording takes only some 2,000 messages.
SLOT_SAMPLES = 163_840
SLOT_BYTES = SLOT_SAMPLES * BYTES_PER_SAMPLE
SLOT_S = SLOT_SAMPLES / SAMPLE_RATE_HZ
#: Fewest slots: one for each decoder of the smallest machine, and as many on their way.
LEAST_SLOTS = 4
#: Environment variables with a directory of the service (systemd.exec(5)), several separated by colons.
_DIRECTORIES = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY")
#: Errors of kernels and sandboxes without memfds.
_NO_MEMFD = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})


class Arena:
    """Allocator of slots of `SLOT_BYTES`, identified by their offset in the file. Owned by the pump's thread."""

    def __init__(self, audio_s: float) -> None:
        """Raises StorageError if there is no room for the smallest one."""
        count = max(LEAST_SLOTS, round(audio_s / SLOT_S))
        limit = file_size_limit()
        if limit is not None:
            count = min(count, limit // SLOT_BYTES)
            if count < LEAST_SLOTS:
                raise StorageError(
                    f"this process may write files of at most {limit:,} bytes, and needs {LEAST_SLOTS * SLOT_BYTES:,}",
                    operation="reserve memory for audio",
                    remedy="raise the limit: ulimit -f in a shell, LimitFSIZE= in a systemd unit",
                )
        self.size_bytes = count * SLOT_BYTES
        self.fd = _anonymous_file(self.size_bytes)
        #: The one freed last is taken first: it may still be in a cache, and slots that are never needed take no memory.
        self._free = [i * SLOT_BYTES for i in reversed(range(count))]
        self._held: set[int] = set()

    @property
    def free(self) -> int:
        """Number of free slots."""
        return len(self._free)

    def take(self, wanted: int) -> tuple[int, ...]:
        """Allocate up to `wanted` slots; fewer or none if there are not enough."""
        taken = tuple(self._free.pop() for _ in range(min(wanted, len(self._free))))
        self._held.update(taken)
        return taken

    def put(self, offset: int) -> None:
        """Free a slot. Raises KeyError if it is not allocated: a double free would give it two owners."""
        self._held.remove(offset)
        self._free.append(offset)

    def close(self) -> None:
        """Release the memory; mappings of child processes remain until they end."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _anonymous_file(size: int) -> int:
    """Descriptor of a file of `size` bytes without a name, in memory where possible. Raises StorageError."""
    try:
        descriptor = os.memfd_create("dropscribe-pcm", os.MFD_CLOEXEC)
    except OSError as e:
        if e.errno not in _NO_MEMFD:
            raise _no_memory(e) from e
        return _unlinked_file(size)
    try:
        os.ftruncate(descriptor, size)
    except OSError as e:
        os.close(descriptor)
        raise _no_memory(e) from e
    return descriptor


def _unlinked_file(size: int) -> int:
    """The same on a disk, whose space is reserved: a write into memory mapped from a full disk would kill the process."""
    named = [Path(p) for name in _DIRECTORIES for p in os.environ.get(name, "").split(":") if p]
    error: OSError | None = None
    for directory in (*named, Path(tempfile.gettempdir())):
        try:
            with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, size)
                return os.dup(file.fileno())
        except OSError as e:
            error = e
    assert error is not None
    raise _no_memory(error) from error


def _no_memory(error: OSError) -> StorageError:
    return StorageError.from_system(
        error,
        operation="reserve memory for audio",
        remedy="allow memfd_create(2), or give the daemon a temporary directory with free space (TMPDIR)",
    )
