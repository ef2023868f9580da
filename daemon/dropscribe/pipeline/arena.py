"""Shared memory for decoded audio: one anonymous file of equal slots, and who holds which.

The file is a memfd: it has no name, so a killed daemon leaves nothing behind in /dev/shm. Decoders write
into slots, the engine reads them; only this allocator, in the daemon, decides who may.
"""

from __future__ import annotations

import os
from collections import deque

from dropscribe.engine.protocol import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ

#: Samples in a slot: 10.24 s, a whole number of 4 KiB pages. Small enough that the first speech of a
#: long recording leaves early, large enough that a 6-hour file is some 2,000 messages.
SLOT_SAMPLES = 163_840
SLOT_BYTES = SLOT_SAMPLES * BYTES_PER_SAMPLE
SLOT_S = SLOT_SAMPLES / SAMPLE_RATE_HZ


class Arena:
    """Slots of `SLOT_BYTES`, named by their offset in the file. Owned by the pump's thread."""

    def __init__(self, audio_s: float) -> None:
        count = max(4, round(audio_s / SLOT_S))
        self.size_bytes = count * SLOT_BYTES
        self.fd = os.memfd_create("dropscribe-pcm", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.size_bytes)
        self._free = deque(i * SLOT_BYTES for i in range(count))
        self._held: set[int] = set()

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return len(self._free)

    def take(self, wanted: int) -> tuple[int, ...]:
        """Up to `wanted` free slots, fewer (or none) when they run short."""
        taken = tuple(self._free.popleft() for _ in range(min(wanted, len(self._free))))
        self._held.update(taken)
        return taken

    def put(self, offset: int) -> None:
        """Give a slot back. Raises KeyError for a slot that nobody holds: two owners would corrupt audio."""
        self._held.remove(offset)
        self._free.append(offset)

    def close(self) -> None:
        """Release the memory; the children's own mappings live until they end."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
