"""How many decoders, hashers and publishers this machine gets, and how much audio is held where."""

from __future__ import annotations

import os

from dropscribe.config import Settings
from dropscribe.pipeline.arena import SLOT_S

#: Longest speech segment (60 s) and what VAD looks ahead, seconds.
OPEN_SEGMENT_S = 70.0
#: Cores that daemon, engine and hashing keep busy at full load: a compressed recording costs a core more to decode than
#: a GPU to recognise.
OTHERS = 4
#: More decoders than this no engine keeps up with, and each costs some 30 MB.
MOST_DECODERS = 32
#: More threads than this no disk keeps up with.
MOST_HASHERS = 16
#: More threads than this would mostly wait for the interpreter.
MOST_LANES = 4
#: Slots of the arena for each decoder: what it decodes while the engine is busy with a batch of a GPU's size. 20 MB.
SLOTS_A_DECODER = 64


def cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0))


def decoder_count(settings: Settings) -> int:
    """Decoder processes: as configured, else half the cores, on large machines all but `OTHERS`, and 2 to `MOST_DECODERS`."""
    mine = cores()
    return settings.media.decoders or min(MOST_DECODERS, max(2, mine // 2, mine - OTHERS))


def hasher_count() -> int:
    """Threads that hash: hashing leaves the interpreter lock, and a core does some 5,000 hours of WAV an hour, less than a GPU."""
    return min(MOST_HASHERS, max(2, cores() // 2))


def lane_count() -> int:
    """Threads that publish: each spends its time waiting for the disk, but what is between needs the interpreter."""
    return min(MOST_LANES, max(2, cores() // 4))


def audio_bounds(settings: Settings) -> tuple[float, float]:
    """(arena, engine capacity) in audio seconds.

    A segment that is still open occupies the engine without moving on, at most one per decoder; the capacity
    must exceed all of them together or everybody would wait for everybody.
    """
    decoders = decoder_count(settings)
    arena_s = max(settings.service.queue_audio_s, SLOTS_A_DECODER * decoders * SLOT_S)
    return arena_s, max(settings.service.queue_audio_s, 2 * decoders * OPEN_SEGMENT_S)
