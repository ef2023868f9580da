"""Shared memory for decoded audio: one anonymous file of equal slots, and their allocation.

The file is a memfd without a name, so a killed daemon leaves nothing in /dev/shm. Decoders write to slots, the engine
reads them; only this allocator, in the daemon, assigns them.
"""

from __future__ import annotations

import os
from collections import deque

from dropscribe.engine.protocol import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ

#: Samples per slot: 10.24 s, a whole number of 4 KiB pages. Small, so that the start of a long recording reaches the
#: engine early; large enough that a 6-hour recording takes only some 2,000 messages.
SLOT_SAMPLES = 163_840
SLOT_BYTES = SLOT_SAMPLES * BYTES_PER_SAMPLE
SLOT_S = SLOT_SAMPLES / SAMPLE_RATE_HZ


class Arena:
    """Allocator of slots of `SLOT_BYTES`, identified by their offset in the file. Owned by the pump's thread."""

    def __init__(self, audio_s: float) -> None:
        count = max(4, round(audio_s / SLOT_S))
        self.size_bytes = count * SLOT_BYTES
        self.fd = os.memfd_create("dropscribe-pcm", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.size_bytes)
        self._free = deque(i * SLOT_BYTES for i in range(count))
        self._held: set[int] = set()

    @property
    def free(self) -> int:
        """Number of free slots."""
        return len(self._free)

    def take(self, wanted: int) -> tuple[int, ...]:
        """Allocate up to `wanted` slots; fewer or none if there are not enough."""
        taken = tuple(self._free.popleft() for _ in range(min(wanted, len(self._free))))
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
